"""The users and articles that a page names: a section each, to link to, with all that their clicks did. Not here: HTML.

Every list of a page names rows; a reader goes from there to the article, from it to its clicks, to a user and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.errors import DataError
from rec_trak.page.rows import SHORT, Titles, headline
from rec_trak.page.tables import read_csv, shown
from rec_trak.results.files import Results
from rec_trak.results.histories import row_read
from rec_trak.results.ranking import best_first
from rec_trak.runs.finished import FinishedRun

NAMED = 60  # users, and articles, that have a section
CLICKS = 12  # clicks listed in a section
READ_BY = "by_history_article.csv"


@dataclass(frozen=True)
class Names:
    """Which users and articles have a section, and which rows a card: id -> the name of its place in the page."""

    users: dict[str, str]
    articles: dict[str, str]
    rows: dict[str, str] = field(default_factory=dict)

    def place(self, kind: str, identity: str) -> str:
        """The place of a `user`, an `article` or a `row`, '' for none; a `section` or `place` is one itself."""
        if kind in ("section", "place"):
            return identity
        return {"user": self.users, "article": self.articles, "row": self.rows}[kind].get(identity, "")


def names_of(rows: Iterable[dict[str, Any]], articles: Iterable[str] = (), users: Iterable[str] = ()) -> Names:
    """Names for the first NAMED users and articles that cards mention, those given first, and all cards' rows.

    The first card of a row is given that name as its `anchor`.

    Args:
        rows: cards, as `rows.card` makes them, in the order of their weight.
        articles, users: ids that come first.
    """
    rows = list(rows)
    users = list(dict.fromkeys([*users, *(row["user_id"] for row in rows)]))[:NAMED]
    items = list(dict.fromkeys([*articles, *(row["article_id"] for row in rows)]))[:NAMED]
    places = {user: f"user-{i}" for i, user in enumerate(users)}, {a: f"article-{i}" for i, a in enumerate(items)}
    anchors: dict[str, str] = {}
    for row in rows:
        number = str(row["row"])
        row["anchor"] = "" if number in anchors else anchors.setdefault(number, f"row-{number}")
    return Names(*places, anchors)


def people(results: Results, primary: Results, names: Names, titles: Titles) -> list[dict[str, Any]]:
    """A section's content for each named user: clicks, sums, and what the model read of the longest history.

    Args:
        results: self-influence.
        primary: the scoring that rows are ordered by, the same rows' influence on a target set, or `results`.
        names, titles: see above, and `rows.known_titles`.
    """
    rows_of, ranks = _rows_of(results, "user_id"), _ranks(primary)
    told = []
    for user, place in names.users.items():
        rows = rows_of(user)
        if not len(rows):
            continue
        own = results.rows.take(rows)
        longest = max(range(len(rows)), key=lambda i: len(own["history_ids"].iloc[i]))
        read = row_read(own.iloc[longest], results.metadata.get("model"))
        headlines = [titles.get(a, ("", ""))[0] or a for a in read or []]
        told.append({
            "place": place,
            "user": shown(user, 60),
            "read": [shown(title, SHORT) for title in headlines[-CLICKS:]],
            "read_of": int(rows[longest]),
            **_group(results, primary, rows, ranks),
        })  # fmt: skip
    return told


def shelf(run: FinishedRun, primary: Results, names: Names, titles: Titles) -> list[dict[str, Any]]:
    """The same for each named article: headline, class, clicks, and in how many histories the model reads it."""
    results, path = run.results, run.file(READ_BY)
    table = None if path is None else read_csv(path)
    known = table is not None and {"article_id", "rows"} <= set(table.columns)
    try:
        readers = dict(zip(table["article_id"], table["rows"].astype(int), strict=True)) if known else {}
    except ValueError as error:
        raise DataError(f"{path}: cannot be read ({shown(error)}). Run scripts/score.py again.") from None
    rows_of, ranks = _rows_of(results, "article_id"), _ranks(primary)
    user = results.rows.codes("user_id")[0]
    told = []
    for article, place in names.articles.items():
        rows = rows_of(article)
        title, label = titles.get(article, ("", ""))
        told.append({
            "place": place,
            "article": shown(article, 60),
            "title": headline(title or article),
            "label": label,
            "readers": int(readers.get(article, 0)) if known else None,
            "people": len(np.unique(user[rows])),
            **_group(results, primary, rows, ranks),
        })  # fmt: skip
    return told


def _group(results: Results, primary: Results, rows: np.ndarray, ranks: np.ndarray) -> dict[str, Any]:
    """How many rows a group has, their sum and mean, and the CLICKS of them that come first."""
    scores = primary.scores[rows].astype(np.float64)
    first = rows[best_first(scores)][:CLICKS]
    lines = [
        {
            "row": int(row),
            "user_id": line["user_id"],
            "user": shown(line["user_id"], 60),
            "article_id": line["article_id"],
            "article": shown(line["article_id"], 60),
            "title": headline(line["title"]),
            "label": line["label"],
            "score": float(primary.scores[row]),
            "own": float(results.scores[row]),
            "rank": int(ranks[row]),
        }
        for row, (_, line) in zip(first.tolist(), results.rows.take(first).iterrows(), strict=True)
    ]
    mean = float(scores.mean()) if len(rows) else 0.0
    return {
        "clicks": len(rows),
        "sum": float(scores.sum()),
        "mean": mean,
        "rows": lines,
        "more": len(rows) - len(first),
    }


def _rows_of(results: Results, column: str) -> Callable[[str], np.ndarray]:
    """A function from a value of the column to the numbers of its rows, ascending."""
    codes, values = results.rows.codes(column)
    number = {value: i for i, value in enumerate(values)}
    return lambda value: np.flatnonzero(codes == number.get(value, -1))


def _ranks(results: Results) -> np.ndarray:
    """(N,) place of each row, from 1."""
    ranks = np.empty(len(results.scores), dtype=np.int64)
    ranks[best_first(results.scores)] = np.arange(1, len(ranks) + 1)
    return ranks


def sums_by_article(primary: Results) -> pd.DataFrame:
    """article_id, rows, sum of the scores, the largest sum first."""
    codes, articles = primary.rows.codes("article_id")
    values = pd.DataFrame({"code": codes, "score": primary.scores.astype(np.float64)})
    groups = values.groupby("code", sort=True)["score"].agg(rows="size", sum="sum").reset_index(drop=True)
    groups.insert(0, "article_id", articles)
    return groups.sort_values("sum", ascending=False, kind="stable").reset_index(drop=True)
