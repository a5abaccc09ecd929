"""The lines of MIND's behaviors.tsv, checked. Not here: how an impression becomes rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rec_trak.data.articles import Articles
from rec_trak.data.tables import read_lines
from rec_trak.errors import DataError
from rec_trak.words import QUOTE, plain, quoted


class BehaviorLine(NamedTuple):
    """One impression: `day` is an ISO date or ''; history, clicked and other candidates are article ids."""

    impression: str
    user: str
    day: str
    history: list[str]
    clicked: list[str]
    others: list[str]


def read_behavior_lines(path: str | Path, articles: Articles) -> Iterator[BehaviorLine]:
    """The lines of a behaviors.tsv, one by one.

    Raises:
        DataError: what `read_lines` refuses; a line of other than 5 columns; an empty user id; a candidate without
            its -1 or -0; and, at the end, articles that `articles` lacks (the first three, the first line).
    """
    unknown: dict[str, int] = {}
    for number, line in enumerate(read_lines(path, newline="\n"), 1):
        fields = line.rstrip("\r\n").split("\t")
        if fields == [""]:
            continue
        where = f"{path}, line {number}"
        if len(fields) != 5:
            expected = "expected 5 (impression id, user id, time, history, candidates)"
            raise DataError(f"{where}: Got {len(fields)} columns, {expected}. Give MIND's behaviors.tsv.")
        impression, user, time, history, slate = fields
        if not user.strip():
            raise DataError(f"{where}: the user id is empty. Got {quoted(user)}, expected an id. Mend the line.")
        candidates, read = slate.split(), history.split()
        unlabelled = [plain(candidate, QUOTE) for candidate in candidates if candidate[-2:] not in ("-0", "-1")]
        if unlabelled:
            expected = f"expected `{unlabelled[0]}-1` or `{unlabelled[0]}-0`"
            raise DataError(
                f"{where}: candidates without a click label, as in an unlabelled test file. "
                f"Got `{unlabelled[0]}`, {expected}. Give a labelled behaviors.tsv."
            )
        clicked = [candidate[:-2] for candidate in candidates if candidate[-1] == "1"]
        others = [candidate[:-2] for candidate in candidates if candidate[-1] == "0"]
        for article_id in (*read, *clicked, *others):
            if article_id not in articles.position:
                unknown.setdefault(article_id, number)
        if not unknown:
            yield BehaviorLine(impression, user, _day(time.split(" ")[0]), read, clicked, others)
    if unknown:
        (_, number), *_ = unknown.items()
        named = ", ".join(f"`{plain(article_id, QUOTE)}`" for article_id in list(unknown)[:3]) + (
            ", …" if len(unknown) > 3 else ""
        )
        what = f"{len(unknown)} unknown article id(s). Got {named}, expected articles of {articles.source}"
        raise DataError(f"{path}, line {number}: {what}. Give the news.tsv of the same release.")


@cache
def _day(date: str) -> str:
    """An ISO date, '' where `date` is neither month/day/year nor ISO itself."""
    for form in ("%m/%d/%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(date, form).date().isoformat()
        except ValueError:
            continue
    return ""
