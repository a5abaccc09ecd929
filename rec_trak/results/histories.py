"""What the model read of each row, and what the articles of the rows are called, as a results folder tells them.

A click log holds a user's whole history; a model reads the first or the last so many articles of it. Not here: cutting
histories (data/batches.py), files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.data.tables import one_line
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


def histories_read(rows: pd.DataFrame, model: dict[str, Any] | None) -> list[list[str]] | None:
    """Ids of the articles that the model reads in each row; None where a run from before it was told does not say.

    Args:
        rows: N lines of rows.csv.
        model: what metadata.json says of the model; from it the histories are cut where rows.csv does not tell.
    """
    columns = [name for name in ("history_ids", HISTORY_READ) if name in rows.columns]
    lines = zip(*(rows[name] for name in columns), strict=True)
    found = [row_read(dict(zip(columns, line, strict=True)), model) for line in lines]
    return None if any(ids is None for ids in found) else found


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
    used = np.unique(np.concatenate([impressions.history.values, impressions.candidates.values]))
    used = used[used < len(articles)]
    clicks = np.bincount(impressions.clicked, minlength=len(articles))
    return pd.DataFrame({
        "article_id": [articles.ids[a] for a in used],
        "title": [one_line(articles.titles[a]) for a in used],
        "label": label_words(fake[used]),
        "category": [one_line(articles.categories[a]) for a in used],
        "clicks": clicks[used],
    })  # fmt: skip
