"""What the model read of each row, and what the articles of the rows are called, as a results folder tells them.

A click log holds a user's whole history; a model reads the first or the last so many articles of it. Not here: cutting
histories (data/batches.py), files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.data.tables import one_line
from rec_trak.results.lines import Lines, Made
from rec_trak.results.ranking import HISTORY_READ, label_words

ARTICLES = "articles.csv"


def read_ids(history: Ragged, articles: Articles) -> list[str]:
    """`history_read` of each row: ids of the articles that the model reads, in order, with a space between.

    Args:
        history: N sequences of article positions as the model's inputs hold them; positions behind the table pad.
        articles: the table.
    """
    ids = articles.ids
    return [" ".join(ids[a] for a in history[i].tolist() if a < len(ids)) for i in range(len(history))]


def read_column(history: Ragged, articles: Articles) -> Made:
    """The same as a column whose cells are made when they are asked for."""
    return Made(len(history), lambda places: read_ids(history.subset(places), articles))


def histories_read(rows: Lines, model: dict[str, Any] | None) -> Iterator[list[str] | None]:
    """Ids of the articles that the model reads in each row, one by one; None where a run from before it was told does
    not say.

    Args:
        rows: N lines of rows.csv.
        model: what metadata.json says of the model; from it the histories are cut where rows.csv does not tell.
    """
    columns = [name for name in (HISTORY_READ, "history_ids") if name in rows][:1]
    for part in rows.parts(columns):
        yield from (row_read({columns[0]: text}, model) for text in part[columns[0]])


def row_read(row: Mapping[str, str], model: dict[str, Any] | None) -> list[str] | None:
    """The same of one row."""
    if HISTORY_READ in row:
        return row[HISTORY_READ].split()
    model = model or {}
    most, kept, ids = model.get("max_history"), model.get("history_truncation"), row["history_ids"].split()
    if type(most) is not int or kept not in ("first", "last") or model.get("history_padding") == "left_cut":
        return None
    return ids[:most] if kept == "first" else ids[max(0, len(ids) - most) :]


def articles_table(impressions: Impressions, articles: Articles) -> pd.DataFrame:
    """The content of articles.csv: a line for each article that a row shows, in its history or among its candidates.

    Args:
        impressions: the rows.
        articles: the table they were read against.

    Returns:
        article_id, title, label (fake, real or unknown, by the table, and by the log where that says it too), category,
        and `clicks`, the rows that click it; in the order of the article table.
    """
    fake = articles.is_fake.copy()
    fake[impressions.clicked[::-1]] = impressions.is_fake[::-1]  # the first row's word, where the log says it too
    shown = np.zeros(len(articles), dtype=bool)
    for values in (impressions.history.values, impressions.candidates.values):
        shown[values[values < len(articles)]] = True
    used = np.flatnonzero(shown)
    clicks = np.bincount(impressions.clicked, minlength=len(articles))
    return pd.DataFrame({
        "article_id": [articles.ids[a] for a in used],
        "title": [one_line(articles.titles[a]) for a in used],
        "label": label_words(fake[used]),
        "category": [one_line(articles.categories[a]) for a in used],
        "clicks": clicks[used],
    })  # fmt: skip
