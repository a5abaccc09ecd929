"""The lines of a log of impressions, checked, and those of MIND's behaviors.tsv. Not here: how they become rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rec_trak.data.articles import Articles
from rec_trak.data.tables import NO_VALUE, read_lines
from rec_trak.errors import DataError
from rec_trak.words import QUOTE, plain, quoted

HEADINGS = {"impression_id", "impressionid", "user_id", "userid", "user", "time", "timestamp", "date", "history"} | {
    "clicked_news", "impressions", "impression", "candidates", "news"
}  # fmt: skip
SLASHED, ISO = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})"), re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
HEADER, EMPTY = "header", "empty"


class BehaviorLine(NamedTuple):
    """One impression: its line number, `when` as the file says it (None in formats without times); history, clicked and
    other candidates by id; `source` says where it stands, where that is not its impression id."""

    number: int
    impression: str
    user: str
    when: str | None
    history: list[str]
    clicked: list[str]
    others: list[str]
    source: str = ""

    @property
    def told(self) -> str:
        """Where its rows come from, as tables say it."""
        return self.source or f"impression {self.impression}"


class Met(NamedTuple):
    """What reading met: counts of `header` lines, of histories that are a word for none (`empty`), and of whatever else
    a reader names by the rest of a sentence; of articles that the table lacks, the first line of each, and the lines
    with any."""

    counts: Counter[str]
    missing: dict[str, int]
    lines: set[int]

    def notes(self, missing_articles: str) -> list[str]:
        """What a user should know of it, a sentence each."""
        notes = {
            "header line(s) are left out.": self.counts[HEADER],
            "history(ies) that say nan, NULL or the like are read as empty.": self.counts[EMPTY],
        }
        notes |= {what: count for what, count in self.counts.items() if what not in (HEADER, EMPTY)}
        told = [f"{count} {what}" for what, count in notes.items() if count]
        if self.missing and missing_articles != "refuse":
            gone = "the impressions with them are left out" if missing_articles == "drop_row" else "they are left out"
            told.append(f"{len(self.missing)} article(s) in {len(self.lines)} impression(s) are missing; {gone}.")
        return told


def nothing_met() -> Met:
    return Met(Counter(), {}, set())


def read_behavior_lines(
    path: str | Path, articles: Articles, missing_articles: str = "refuse", met: Met | None = None
) -> Iterator[BehaviorLine]:
    """The lines of a behaviors.tsv, one by one.

    Args:
        path: the file; a header line at its head is passed over, and a history that is a word for none is empty.
        articles: the table.
        missing_articles: see `Reading`; `blank` is for tables that were grown before.
        met: is filled in while lines are read.

    Raises:
        DataError: what `read_lines` refuses; a line of other than 5 columns; an empty user id; a candidate without
            its -1 or -0; and, at the end, articles that `articles` lacks (the first three, the first line).
    """
    met = nothing_met() if met is None else met
    return known_lines(_lines(path, articles, met), path, articles, missing_articles, met)


def _lines(path: str | Path, articles: Articles, met: Met) -> Iterator[BehaviorLine]:
    for number, line in enumerate(read_lines(path, newline="\n"), 1):
        fields = line.rstrip("\r\n").split("\t")
        if fields == [""]:
            continue
        if number == 1 and _is_header(fields):
            met.counts[HEADER] += 1
            continue
        impression, user, when, history, clicked, others = _parts(fields, f"{path}, line {number}")
        if history and " ".join(history) in NO_VALUE and history[0] not in articles.position:
            met.counts[EMPTY] += 1
            history = []
        yield BehaviorLine(number, impression, user, when, history, clicked, others)


def known_lines(
    lines: Iterable[BehaviorLine], path: str | Path, articles: Articles, missing_articles: str, met: Met
) -> Iterator[BehaviorLine]:
    """The lines of any log, with what is to become of articles that the table lacks; the arguments are those of
    `read_behavior_lines`.

    Raises:
        DataError: at the end, articles that `articles` lacks (the first three, the first line).
    """
    for line in lines:
        parts = [line.history, line.clicked, line.others]
        unknown = [a for part in parts for a in part if a not in articles.position]
        if unknown:
            met.lines.add(line.number)
            for article_id in unknown:
                met.missing.setdefault(article_id, line.number)
            if missing_articles != "drop_place":
                continue
            history, clicked, others = ([a for a in part if a in articles.position] for part in parts)
            line = line._replace(history=history, clicked=clicked, others=others)
        if missing_articles != "refuse" or not met.missing:
            yield line
    if met.missing and missing_articles == "refuse":
        number, named = (
            next(iter(met.missing.values())),
            ", ".join(f"`{plain(a, QUOTE)}`" for a in list(met.missing)[:3]),
        )
        more = ", …" if len(met.missing) > 3 else ""
        raise DataError(
            f"{path}, line {number}: {len(met.missing)} unknown article id(s) in {len(met.lines)} impression(s). Got "
            f"{named}{more}, expected articles of {articles.source}. Give the {Path(articles.source).name} of the same "
            "release, or say with `missing_articles` (drop_place, drop_row or blank) how to go on without."
        )


def _is_header(fields: Sequence[str]) -> bool:
    return len(fields) == 5 and sum(field.strip().lower().replace(" ", "_") in HEADINGS for field in fields) >= 3


def _parts(fields: list[str], where: str) -> tuple[str, str, str, list[str], list[str], list[str]]:
    """Impression, user, time, history, clicked and other candidates of a line."""
    if len(fields) != 5:
        expected = "expected 5 (impression id, user id, time, history, candidates)"
        raise DataError(f"{where}: Got {len(fields)} columns, {expected}. Give MIND's behaviors.tsv.")
    impression, user, when, history, slate = fields
    if not user.strip():
        raise DataError(f"{where}: the user id is empty. Got {quoted(user)}, expected an id. Mend the line.")
    return impression, user, when, history.split(), *labelled(slate, where)


def labelled(slate: str, where: str) -> tuple[list[str], list[str]]:
    """The clicked and the other candidates of a cell of `N123-1 N456-0`.

    Raises:
        DataError: a candidate without its -1 or -0.
    """
    candidates = slate.split()
    unlabelled = [plain(candidate, QUOTE) for candidate in candidates if candidate[-2:] not in ("-0", "-1")]
    if unlabelled:
        expected = f"expected `{unlabelled[0]}-1` or `{unlabelled[0]}-0`"
        raise DataError(
            f"{where}: candidates without a click label, as in an unlabelled test file. "
            f"Got `{unlabelled[0]}`, {expected}. Give a labelled behaviors.tsv."
        )
    clicked = [candidate[:-2] for candidate in candidates if candidate[-1] == "1"]
    return clicked, [candidate[:-2] for candidate in candidates if candidate[-1] == "0"]


def days(whens: Iterable[str]) -> tuple[list[str], list[str]]:
    """ISO dates of a column of times ('' where one cannot be read), and notes.

    The column is judged as a whole: MIND writes month/day/year; where a first number passes 12 and no second one does,
    it is day/month/year throughout; where both occur, no date of that form can be read.
    """
    whens = list(whens)
    dates = {when: when.split(" ")[0].split("T")[0] for when in set(whens)}
    slashed = {when: tuple(map(int, m.groups())) for when in set(dates.values()) if (m := SLASHED.fullmatch(when))}
    day_first = any(first > 12 for first, _, _ in slashed.values())
    month_first = any(second > 12 for _, second, _ in slashed.values())
    read = {}
    for when in set(dates.values()):
        if when in slashed:
            first, second, year = slashed[when]
            month, day = (second, first) if day_first else (first, second)
            read[when] = "" if day_first and month_first else _iso(year, month, day)
        else:
            parts = ISO.fullmatch(when)
            read[when] = _iso(*map(int, parts.groups())) if parts else ""
    notes = []
    if day_first and month_first:
        notes.append("Dates are written day first in some lines and month first in others; none of them is read.")
    elif day_first:
        notes.append("Dates are read as day/month/year, since a first number passes 12.")
    return [read[dates[when]] for when in whens], notes


def _iso(year: int, month: int, day: int) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return ""
