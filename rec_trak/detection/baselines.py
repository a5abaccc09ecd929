"""Rankings of rows that need no attribution, most need no model either. Not here: how well they find poison.

A ranking by influence is worth its price only where it beats these.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions, user_numbers
from rec_trak.data.ragged import Ragged, each_once, holding, same
from rec_trak.errors import DataError

COMMON = 3  # articles that two histories have in common before one counts as a repetition of the other
PAIRS = 1_000_000_000  # (row, row, common article) triples that are looked at, at most
BLOCK = 20_000_000  # of them at once


def baselines(clicked: np.ndarray, promoted: Iterable[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Rankings that need the clicks alone, name -> (N,) float64 scores.

    `random`; `clicks promoted article`: 1 where the row clicks one, else 0; `popularity of the clicked article`: how
    many of the rows click the same.

    Args:
        clicked: (N,) article each row clicks.
        promoted: the articles that the attack promotes.
        seed: of `random`.

    Raises:
        DataError: `clicked` is not one article a row.
    """
    clicked = np.asarray(clicked)
    if clicked.ndim != 1:
        raise DataError(
            f"baselines: not one clicked article a row. Got shape {clicked.shape}, expected (N,). Give one for each."
        )
    _, article, clicks = np.unique(clicked, return_inverse=True, return_counts=True)
    return {
        "random": np.random.default_rng(seed).random(len(clicked)),
        "clicks promoted article": np.isin(clicked, list(promoted)).astype(float),
        "popularity of the clicked article": clicks[article].astype(float),
    }


def data_baselines(
    rows: Impressions, articles: Articles, promoted: Iterable[int], seed: int = 0, read: Ragged | None = None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """All rankings that need no model, name -> (N,) float64, and notes on those that cannot be given.

    Beside those of `baselines`: `promoted article in history` and `promoted article clicked or in history`, 1 or
    0; `title similarity to a promoted article`, see `title_similarity`; `fake article in history`, 1 or 0; `history
    repeats another user's`, see `repeated_histories`.

    Args:
        rows: N rows.
        articles: the table they refer to.
        promoted: positions of the articles that the attack promotes.
        seed: of `random`.
        read: N sequences of positions, what the model reads of each history, since an article that it never saw taught
            it nothing; None for all. Repeated histories are looked for in all of it.
    """
    read = rows.history if read is None else read
    promoted, clicked = list(promoted), rows.clicked
    rankings, notes = baselines(clicked, promoted, seed), []
    shown = holds(read, promoted)
    rankings["promoted article in history"] = shown.astype(float)
    rankings["promoted article clicked or in history"] = (shown | np.isin(clicked, promoted)).astype(float)
    similar = title_similarity(articles, promoted)
    if similar is None:
        notes.append("`title similarity` is left out: the titles hold no words.")
    else:
        rankings["title similarity to a promoted article"] = similar[clicked]
    fake = np.union1d(np.flatnonzero(articles.is_fake == 1), clicked[rows.is_fake == 1])
    if len(fake):
        rankings["fake article in history"] = holds(read, fake).astype(float)
    else:
        notes.append("`fake article in history` is left out: nobody says which articles are fake.")
    repeated = repeated_histories(rows)
    if repeated is None:
        notes.append("`history repeats another user's` is left out: too many pairs of rows share an article.")
    else:
        rankings["history repeats another user's"] = repeated
    return rankings, notes


def holds(history: Ragged, articles: Iterable[int]) -> np.ndarray:
    """(N,) bool, whether a history holds one of the articles."""
    return holding(history, articles)


def title_similarity(articles: Articles, promoted: Iterable[int]) -> np.ndarray | None:
    """(A,) in [0, 1], the cosine of each article's title with the nearest promoted one; None without any words.

    Titles are TF-IDF vectors over the words of all titles.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        vectors = TfidfVectorizer().fit_transform(articles.titles)  # of norm 1, or 0
    except ValueError:  # its way to say that there is no word
        return None
    return (vectors @ vectors[list(promoted)].T).max(axis=1).toarray().ravel()


def repeated_histories(rows: Impressions, common: int = COMMON) -> np.ndarray | None:
    """(N,) the most articles that a row's history has in common with one row of another user; 0 below `common`.

    Equal histories and parts of another history count alike, by the number of different articles; rows of one user
    are never compared, since a user's own history grows from row to row. None where that takes too long.
    """
    from scipy.sparse import csr_array

    read, users = each_once(rows.history), user_numbers(rows)
    _, first, known = np.unique(users * len(rows) + same(read), return_index=True, return_inverse=True)
    histories, owner = read.subset(first), users[first]
    readers = np.bincount(histories.values, minlength=1).astype(np.int64)
    if (readers**2).sum() > PAIRS:
        return None
    shape = (len(histories), len(readers))
    table = csr_array((np.ones(len(histories.values), dtype=np.int32), histories.values, histories.offsets), shape)
    most = np.zeros(len(histories), dtype=np.int64)
    step = max(1, BLOCK // len(histories))
    for start in range(0, len(histories), step):
        shared = (table[start : start + step] @ table.T).tocoo()
        other = owner[start + shared.row] != owner[shared.col]
        np.maximum.at(most, start + shared.row[other], shared.data[other])
    most = np.where(most < common, 0, most)
    return most[known].astype(float)
