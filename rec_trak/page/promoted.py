"""Which article may be promoted, as a line of the first screen: what the log says, and what was asked about.

Not here: judging articles (detection/suspects.py), or which of their clicks look injected.
"""

from __future__ import annotations

import shlex
from typing import Any

from rec_trak.detection.answer import GIVEN, TARGETS
from rec_trak.errors import DataError
from rec_trak.page.advice import Part
from rec_trak.page.rows import Titles
from rec_trak.page.tables import read_json, shown
from rec_trak.runs.finished import FinishedRun

FILE = "suspects.json"
NAMED = 3  # articles named


def suspected(run: FinishedRun) -> dict[str, Any] | None:
    """What suspects.json of this scoring says: `judged`, how many articles, and `articles`, the ids of the suspicious
    ones, the most suspicious first; None where nobody looked.

    Raises:
        DataError: it is not what scripts/suspects.py writes.
    """
    path = run.file(FILE)
    if path is None:
        return None
    content = read_json(path)
    try:
        return {"judged": int(content["judged"]), "articles": [str(one["article_id"]) for one in content["suspicious"]]}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read (missing or misplaced: {shown(error)}). Run scripts/suspects.py again."
        ) from None


def promoted(
    run: FinishedRun, told: dict[str, Any] | None, detection: dict[str, Any] | None, titles: Titles
) -> list[Part]:
    """The line: articles that unusual users click, read or pass over, or that none stands out, or that nobody looked.

    Args:
        run: the finished run.
        told: what `suspected` gives.
        detection: what `detection.detection` gives.
        titles: see `rows.known_titles`.
    """
    asked = (detection or {"promoted": None})["promoted"]
    if not (asked and asked["articles"]):
        return _found(run, told, titles)
    same = bool(told and set(asked["articles"]) == set(told["articles"]))
    if asked["injected"] and asked["among"]:
        known = f"By the labels {asked['among']:,} of the {asked['injected']:,} injected clicks are on "
        found = _lower(_found(run, told, titles, same))
        return [known, *_named(asked["articles"], titles), ". From the click log alone: ", *found]
    if same:
        return _found(run, told, titles)
    by = {GIVEN: ", as `detect.py` was asked to", TARGETS: ", which the targets are about"}
    return [
        *_found(run, told, titles),
        " Injected clicks were looked for on ",
        *_named(asked["articles"], titles),
        f"{by.get(asked['by'], '')}.",
    ]


def _found(run: FinishedRun, told: dict[str, Any] | None, titles: Titles, named: bool = False) -> list[Part]:
    """What the click log says; `named`: the articles stand just before it."""
    if told is None:
        return [
            f"Nobody has looked: `python scripts/suspects.py --results_dir {shlex.quote(str(run.folder))}` names "
            "articles that unusual users click, read or pass over, or says that none stands out."
        ]
    if not told["articles"]:
        return [
            f"No article stands out: of {told['judged']:,} with clicks enough to judge, none is "
            "clicked, read or passed over by unusual users. A small or careful attack would not show."
        ]
    count = len(told["articles"])
    which = f"{count:,} stand out, which unusual users click, read or pass over"
    which = which if count > 1 else "one stands out, which unusual users click, read or pass over"
    return [
        f"Of {told['judged']:,} articles with clicks enough to judge, {which}: ",
        *(["the same"] if named else _named(told["articles"], titles)),
        ". A strong push by the platform itself would look the same.",
    ]


def _lower(parts: list[Part]) -> list[Part]:
    """The parts of a sentence, as what stands behind a colon."""
    first = parts[0]
    return [f"{first[:1].lower()}{first[1:]}", *parts[1:]] if isinstance(first, str) else parts


def _named(articles: list[str], titles: Titles) -> list[Part]:
    parts: list[Part] = []
    for article in articles[:NAMED]:
        title = shown(titles.get(article, ("", ""))[0], 70) or shown(article, 60)
        parts += [", "] * bool(parts) + [{"kind": "article", "id": article, "text": f"“{title}”"}]
    more = len(articles) - NAMED
    return [*parts, f" and {more:,} more" * (more > 0)]
