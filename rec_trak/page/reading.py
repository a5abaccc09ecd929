"""How much of a log's histories the model reads, and which articles it does not. Not here: one row (rows.py), HTML."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rec_trak.page.rows import SHORT, Titles
from rec_trak.page.tables import shown
from rec_trak.results.files import Results
from rec_trak.results.histories import row_read
from rec_trak.results.ranking import HISTORY_READ

LISTED = 20  # articles that are left unread most often


def reading(results: Results, titles: Titles) -> dict[str, Any]:
    """`told`, how much the model reads and how much it does not, in a sentence, '' without histories; `unread`, the
    LISTED articles that it most often does not read, each with headline, class and how many places.

    Args:
        results: of the run.
        titles: see `rows.known_titles`.
    """
    rows, model = results.rows, results.metadata.get("model") or {}
    nothing: dict[str, Any] = {"told": "", "unread": []}
    if "history_ids" not in rows:
        return nothing
    held, read = Counter(), Counter()
    for part in rows.parts([name for name in ("history_ids", HISTORY_READ) if name in rows]):
        for text in part["history_ids"]:
            held.update(text.split())
        if HISTORY_READ in rows:
            for text in part[HISTORY_READ]:
                read.update(text.split())
            continue
        for text in part["history_ids"]:
            ids = row_read({"history_ids": text}, model)
            if ids is None:
                return nothing | {"told": "This run does not tell what of a history the model reads."}
            read.update(ids)
    total, known = held.total(), read.total()
    if not total:
        return nothing
    most, end = model.get("max_history"), model.get("history_truncation")
    kept = f", the {end} {most} of each at most" if type(most) is int and end in ("first", "last") else ""
    told = f"The model reads {known:,} of the {total:,} articles that histories hold{kept}"
    told += f"; the other {total - known:,} it does not read." if known < total else ": all of them."
    return {"told": told, "unread": [_named(*one, titles) for one in (held - read).most_common(LISTED)]}


def _named(article: str, places: int, titles: Titles) -> dict[str, Any]:
    title, label = titles.get(article, ("", ""))
    return {"title": shown(title, SHORT) or shown(article, 60), "label": label, "places": places}
