"""The first screen: ten plain lines for somebody who decides, and the sums that its picture shows. Not here: HTML.

A line is a name and parts; a part is text, or a user or article to link to. Each number is one that stands below too.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.page.advice import Part, how_sure, retrained, what_next
from rec_trak.page.naming import sums_by_article
from rec_trak.page.promoted import promoted
from rec_trak.page.rows import Titles
from rec_trak.page.tables import read_csv, shown
from rec_trak.results.files import Results
from rec_trak.results.ranking import best_first
from rec_trak.runs.aside import own_file
from rec_trak.runs.finished import FinishedRun

FIRST = 100  # rows that are called the strongest
NAMED = 3  # articles, clicks and users named in a line
SUSPECTED = 5  # rows that look injected, named in a line
DRAWN, DRAWN_LOW = 6, 2  # bars of the picture, of articles with the largest sums and the lowest
TITLE = 70  # characters of a headline in a line

Line = dict[str, Any]


def ten_lines(
    run: FinishedRun, sets: list[Results], titles: Titles, sections: dict[str, Any], told: list[str]
) -> list[Line]:
    """What was asked, found, how sure it is and what to do next.

    Args:
        run, sets: the run and the target sets that are told; the first of them is what the lines are about.
        titles: see `rows.known_titles`.
        sections: `trust`, `validation`, `suspects`, `detection`, `comparison` as their modules give them, None where
            missing.
        told: `sections.told` of the ranking: its classes and how concentrated it is.
    """
    primary = sets[0] if sets else run.results
    order = _strongest(primary)
    lines = [
        ("Asked", _asked(run, sets, titles)),
        ("Promoted", promoted(run, sections["suspects"], sections["detection"], titles) if len(order) > 1 else []),
        ("Articles", _articles(primary, order, titles, told)),
        ("Clicks", _clicks(primary, order, titles)),
        ("Users", _users(primary, order)),
        ("Injected", _found(primary, order, titles, sections["detection"])),
        ("Other model", _compared(sections["comparison"])),
        ("Retrained", retrained(sections["validation"], sets)),
        ("How sure", how_sure(run, sets, sections)),
        ("Next", what_next(run, sets, sections)),
    ]
    return [{"name": name, "parts": parts} for name, parts in lines if parts]


def plain_text(line: Line) -> str:
    """The line for a terminal."""
    shown = [part for part in line["parts"] if isinstance(part, str) or part["kind"] != "section"]
    return f"{line['name']}: " + "".join(part if isinstance(part, str) else part["text"] for part in shown).rstrip()


def mentioned(lines: list[Line], kind: str) -> list[str]:
    """Ids of the articles, or of the users, that the lines name."""
    return [
        part["id"] for line in lines for part in line["parts"] if not isinstance(part, str) and part["kind"] == kind
    ]


def picture(primary: Results, titles: Titles) -> dict[str, Any]:
    """The articles whose clicks did most, as bars: `bars` with article, title, class, sum, rows, and where a bar starts
    and how long it is, in percent of the width; `zero`, where 0 stands."""
    sums = sums_by_article(primary)
    low = sums[sums["sum"] < 0].tail(DRAWN_LOW)
    drawn = pd.concat([sums[sums["sum"] > 0].head(DRAWN), low])
    most, least = (
        max(drawn["sum"].max(), 0.0) if len(drawn) else 0.0,
        min(drawn["sum"].min(), 0.0) if len(drawn) else 0.0,
    )
    width = (most - least) or 1.0
    bars = [
        {
            "article_id": line["article_id"],
            "title": _title(line["article_id"], titles),
            "label": titles.get(line["article_id"], ("", ""))[1],
            "rows": int(line["rows"]),
            "sum": float(line["sum"]),
            "start": round(100 * (min(line["sum"], 0.0) - least) / width, 2),
            "width": round(100 * abs(line["sum"]) / width, 2),
        }
        for line in drawn.to_dict("records")
    ]
    return {"bars": bars, "zero": round(-100 * least / width, 2), "articles": len(sums)}


def _strongest(primary: Results) -> np.ndarray:
    """The numbers of the FIRST rows with a positive score, the highest first."""
    order = best_first(primary.scores)[:FIRST]
    return order[primary.scores[order] > 0]


def _title(article: str, titles: Titles) -> str:
    return shown(titles.get(article, ("", ""))[0], TITLE) or shown(article, 60)


def _article(article: str, titles: Titles) -> Part:
    return {"kind": "article", "id": article, "text": f"“{_title(article, titles)}”"}


def _class(article: str, titles: Titles) -> str:
    label = titles.get(article, ("", ""))[1]
    return f", {label}" if label else ""


def _user(user: str) -> Part:
    return {"kind": "user", "id": user, "text": shown(user, 60)}


def _row(number: Any, more: str = "") -> list[Part]:
    return [" (", {"kind": "row", "id": str(number), "text": f"row {number}"}, f"{more})"]


def _joined(parts: Iterable[list[Part]], between: str = ", ") -> list[Part]:
    found: list[Part] = []
    for one in parts:
        found += ([between] if found else []) + one
    return found


def _asked(run: FinishedRun, sets: list[Results], titles: Titles) -> list[Part]:
    n, members = len(run.results.scores), len(run.metadata.get("members") or [])
    by = f"{members} checkpoint{'s' * (members != 1)}" if members else "one model"
    model, architecture = (
        shown(run.metadata.get("model_type") or ""),
        (run.metadata.get("model") or {}).get("architecture"),
    )
    by = f"{architecture}, {by}" if architecture else by
    which = f"Which of {n:,} training clicks " if n > 1 else "Has the one training click "
    if not sets:
        asked = f"does the {model} model ({by}) rest on"
        return [
            (f"{which}{asked} by themselves?" if n > 1 else f"How much {asked} its one training click?").replace(
                "  ", " "
            )
        ]
    name, score = shown(sets[0].folder.name, 60), sets[0].metadata.get("score") or {}
    table = read_csv(own_file(sets[0], "targets.csv"))
    ids = (
        [] if table is None or "article_id" not in table else [a for a, _ in Counter(table["article_id"]).most_common()]
    )
    what = _joined([[_article(a, titles)] for a in ids[:NAMED]])
    rest = len(ids) - NAMED
    more: Part = f"{rest:,} more article{'s' * (rest != 1)}"
    if table is not None and "other_candidates" in table:  # else the page has no list of them
        more = {"kind": "place", "id": "asked-0", "text": more}
    count = score.get("target_count")
    many = f"{count:,} recommendation{'s' * (count != 1)} “{name}”" if count else f"the recommendations “{name}”"
    of = [f"{which}taught the {model} model ({by}) {many}".replace("  ", " ")]
    return of + ([" of ", *what, *([" and ", more] if rest > 0 else [])] if what else []) + ["?", offered(table, count)]


def offered(table: pd.DataFrame | None, count: int | None) -> str:
    """In how many of the targets the model itself would offer the article, where that is not all."""
    margins = [] if table is None or "margin" not in table else pd.to_numeric(table["margin"], errors="coerce")
    above = int(sum(margin > 0 for margin in margins))
    if not count or len(margins) != count or above == count:
        return ""
    if count == 1:
        return " The model gives the article worse than even odds against the others shown."
    which = f"{above:,}" if above else "none"
    return f" In {which} of them the model gives the article better than even odds against the others shown."


def _articles(primary: Results, order: np.ndarray, titles: Titles, told: list[str]) -> list[Part]:
    if len(order) < 2:  # what the one click is says the line of clicks
        return []
    counts = Counter(primary.rows.take(order, ["article_id"])["article_id"])
    named = counts.most_common(NAMED)
    parts = [[_article(article, titles), f" ({count:,}{_class(article, titles)})"] for article, count in named]
    rest = len(counts) - len(named)
    ending = f"; the others are on {rest:,} more article{'s' * (rest != 1)}." if rest else "."
    return [f"The {len(order):,} strongest clicks most often chose ", *_joined(parts), f"{ending} {' '.join(told)}"]


def _clicks(primary: Results, order: np.ndarray, titles: Titles) -> list[Part]:
    rows = primary.rows.take(order[:NAMED])
    parts = [
        ["user ", _user(user), " on ", _article(article, titles), *_row(row)]
        for user, article, row in zip(rows["user_id"], rows["article_id"], rows["sample_idx"], strict=True)
    ]
    if not parts:
        return ["No click has a positive influence."]
    lower = int((primary.scores < 0).sum())
    against = f" Of all clicks {lower:,} lower it instead." if lower else ""
    return [f"The {'strongest' if lower == 0 else 'ones that raise it most'}: ", *_joined(parts, "; "), f".{against}"]


def _users(primary: Results, order: np.ndarray) -> list[Part]:
    if len(order) < 2:
        return []
    counts = Counter(primary.rows.take(order, ["user_id"])["user_id"])
    named = counts.most_common(NAMED)
    many = f"{len(counts):,} user{'s' * (len(counts) != 1)} made the {len(order):,} clicks of the strongest influence"
    if named[0][1] == 1:
        return [f"{many}, none of them more than one: ", *_joined([[_user(user)] for user, _ in named]),
                *([f" and {len(counts) - NAMED:,} more."] if len(counts) > NAMED else ["."])]  # fmt: skip
    often = [[_user(user), f" ({count:,})"] for user, count in named if count > 1]
    return [f"{many}, most often ", *_joined(often), "."]


def _found(primary: Results, order: np.ndarray, titles: Titles, detection: dict[str, Any] | None) -> list[Part]:
    """Which rows look injected, and how much of the known poison the rankings find."""
    if not detection:
        return _not_looked(primary, order, titles)
    told = detection["suspicion"]
    if not (told and told["first_rows"]):
        return [" ".join([*detection["answer"][1:2], detection["plain"]])]
    rows = [
        [
            "user ",
            _user(one["user_id"]),
            *_row(one["sample_idx"], {1: ", injected", 0: ", not injected"}.get(one["poisoned"], "")),
        ]
        for one in told["first_rows"][:SUSPECTED]
    ]
    count = len(told["articles"])
    which = "this article" if count == 1 else f"these {count:,} articles"
    return [
        f"Of {told['rows']:,} {told['through']} {which}, those that look most injected: ",
        *_joined(rows), f". The order is by {detection['why']}. {detection['plain']}",
    ]  # fmt: skip


def _not_looked(primary: Results, order: np.ndarray, titles: Titles) -> list[Part]:
    """How to have clicks told apart where nobody did, for the article that most of the strongest clicks chose."""
    if len(order) < 2 or not primary.metadata.get("targets_file"):
        return []
    article = Counter(primary.rows.take(order, ["article_id"])["article_id"]).most_common(1)[0][0]
    folder = shlex.quote(str(primary.folder.parent.parent))
    flags = f"--results_dir {folder} --promoted {shlex.quote(article)}"
    return [f"Nobody has looked: `python scripts/detect.py {flags}` says which clicks on ", _article(article, titles),
            " do not read like its readers."]  # fmt: skip


def _compared(comparison: dict[str, Any] | None) -> list[Part]:
    if not comparison:
        return []
    return [
        f"{comparison['matched']:,} clicks stand in the clean and the poisoned log; between the two models a rank "
        f"changed by {comparison['moved']:.1f} percentile points on average (unrelated rankings: 33.3)."
    ]
