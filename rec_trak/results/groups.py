"""Influence summed by article, reader, day or any column of the click log. Not here: scores of rows, or files.

Each table has a line a group, from the largest sum to the smallest (days in their order), with the number of rows and
their mean beside the sum: popular articles have large sums by their size alone, and the mean tells them apart.

The sums by article in the history count a row once for each different article that the model read there. They are no
counterfactual: the influence of a row is that of its click and cannot be split over what stood in its history, so a sum
says how much the clicks of people who had read an article did, not what would happen without the article.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.mind import days
from rec_trak.data.ragged import Ragged, distinct
from rec_trak.data.tables import one_line
from rec_trak.errors import ConfigError, DataError
from rec_trak.results.lines import AT_ONCE
from rec_trak.results.ranking import label_words

TOPICS = {"category": "categories", "subcategory": "subcategories"}
NUMBERS = ("rows", "sum", "mean")
NOT_A_COUNTERFACTUAL = (
    "by_history_article.csv sums the influence of the rows that have an article in their history, a row once for each "
    "of its articles; it does not say what would change without the article."
)


def group_tables(
    values: np.ndarray, impressions: Impressions, history: Ragged, articles: Articles, columns: Sequence[str] = ()
) -> dict[str, pd.DataFrame]:
    """File name -> table: by_article.csv, by_history_article.csv, by_user.csv, by_day.csv where days are known, and
    one for each of `columns`.

    Args:
        values: (I,) influence of each impression.
        impressions: the I impressions.
        history: I sequences of article positions, as the model read them; positions beyond the table are padding.
        articles: the table.
        columns: further columns of the click log; `category` and `subcategory` of the clicked article too.

    Raises:
        DataError: a column that the click log does not have, or categories where no article has one.
        ConfigError: two columns whose tables would have one file name.
    """
    check_columns(impressions, columns, articles)
    if any(impressions.columns.get("day", ())) and "day" not in columns:
        columns = (*columns, "day")
    fake = articles.is_fake.copy()
    fake[impressions.clicked[::-1]] = impressions.is_fake[::-1]  # the first row's word, where the log says it too
    tables = {
        "by_article.csv": by_article(values, impressions.clicked, np.arange(len(values)), articles, fake),
        "by_history_article.csv": by_history_article(values, history, articles, fake),
        "by_user.csv": by_name(values, [str(user) for user in impressions.user_ids], "user_id"),
    }
    for column in columns:
        file = column_file(column)
        if file in tables:
            raise ConfigError(
                f"--group_by: two columns make one file. Got `{column}` for {file}, expected names that differ in "
                "letters, digits, _ and -. Group by one of them."
            )
        tables[file] = by_name(values, _column(impressions, column, articles), column)
        if column == "day":
            tables[file] = tables[file].iloc[_in_time(tables[file]["day"].tolist())].reset_index(drop=True)
    return tables


def _column(impressions: Impressions, column: str, articles: Articles) -> Sequence[str]:
    """A column of the click log, or else the clicked articles' topics."""
    if column in impressions.columns:
        return impressions.columns[column]
    topics = getattr(articles, TOPICS[column])
    return [topics[article] for article in impressions.clicked]


def check_columns(impressions: Impressions, columns: Sequence[str], articles: Articles) -> None:
    """Refuse columns that the click log does not have, and topics that no clicked article has.

    Raises:
        DataError: names the first one, and the columns that there are.
    """
    for column in columns:
        if column in impressions.columns:
            continue
        if column in TOPICS:
            if not any(_column(impressions, column, articles)):
                raise DataError(
                    f"--group_by: no clicked article has a {column}. Got none in {articles.source}, expected some. "
                    f"Give a table that says them (a news_items.csv with a column `{column}`) as `news_items_path`."
                )
            continue
        there = [name for name, topics in TOPICS.items() if any(getattr(articles, topics))]
        known = ", ".join(f"`{name}`" for name in (*impressions.columns, *there)) or "none"
        raise DataError(
            f"--group_by: the click log has no such column. Got `{column}`, expected one of its further columns: "
            f"{known}. Users and articles have tables anyway."
        )


def column_file(column: str) -> str:
    """The file name of a column's table; never one of those of articles and users."""
    plain = "".join(c if c.isalnum() or c in "_-" else "_" for c in column)
    return f"by_{'column_' if plain in ('article', 'history_article', 'user') else ''}{plain}.csv"


def by_article(
    values: np.ndarray, positions: np.ndarray, rows: np.ndarray, articles: Articles, fake: np.ndarray
) -> pd.DataFrame:
    """A line an article: article_id, title, label, rows, sum, mean.

    Args:
        values: (I,).
        positions, rows: (n,) pairs of an article and an impression that counts for it.
        articles: the table.
        fake: (A,) 1, 0 or -1.
    """
    counts = np.bincount(positions, minlength=len(articles))
    sums = np.bincount(positions, weights=np.asarray(values, dtype=np.float64)[rows], minlength=len(articles))
    return _of_articles(counts, sums, articles, fake)


def by_history_article(values: np.ndarray, history: Ragged, articles: Articles, fake: np.ndarray) -> pd.DataFrame:
    """The same by the articles of each impression's history, each once; `history` as for `group_tables`.

    Sums are added up in the order of the impressions, whatever is looked at together.
    """
    values, count = np.asarray(values, dtype=np.float64), len(articles)
    counts, sums = np.zeros(count, dtype=np.int64), np.zeros(count)
    for start in range(0, len(history), AT_ONCE):
        ends = history.offsets[start : start + AT_ONCE + 1]
        entries, rows = history.values[ends[0] : ends[-1]], np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        real = entries < count  # those behind the table pad
        rows, positions = np.divmod(distinct(rows[real] * count + entries[real]), count)
        counts += np.bincount(positions, minlength=count)
        np.add.at(sums, positions, values[start + rows])
    return _of_articles(counts, sums, articles, fake)


def _of_articles(counts: np.ndarray, sums: np.ndarray, articles: Articles, fake: np.ndarray) -> pd.DataFrame:
    """A line for each article with rows, by their counts and sums (A,)."""
    some = np.flatnonzero(counts)
    names = {
        "article_id": [articles.ids[a] for a in some],
        "title": [one_line(articles.titles[a]) for a in some],
        "label": label_words(fake[some]),
    }
    return _summed(names, counts[some], sums[some])


def by_name(values: np.ndarray, names: Sequence[str], column: str) -> pd.DataFrame:
    """A line for each different of the I names: the name, rows, sum, mean."""
    places = {name: i for i, name in enumerate(dict.fromkeys(names))}
    codes = np.fromiter((places[name] for name in names), dtype=np.int64, count=len(names))
    heading = f"{column}_value" if column in NUMBERS else column
    shown = [one_line(name) for name in places]
    weights = np.asarray(values, dtype=np.float64)
    return _summed(
        {heading: shown},
        np.bincount(codes, minlength=len(shown)),
        np.bincount(codes, weights=weights, minlength=len(shown)),
    )


def _summed(names: dict[str, Sequence[str]], rows: np.ndarray, sums: np.ndarray) -> pd.DataFrame:
    order = np.argsort(-sums, kind="stable")
    return pd.DataFrame(names | {"rows": rows, "sum": sums, "mean": sums / rows}).iloc[order].reset_index(drop=True)


def _in_time(names: Sequence[str]) -> list[int]:
    """The order of days: of their dates, those that are no dates first, by the numbers in them."""
    dates, _ = days(names)
    parts = [[(part.zfill(20) if i % 2 else part) for i, part in enumerate(re.split(r"(\d+)", name))] for name in names]
    return sorted(range(len(names)), key=lambda place: (dates[place], parts[place]))
