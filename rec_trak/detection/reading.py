"""Who reads like whom: co-reading, which needs no model and no label. Not here: influence, or how well it finds poison.

A row's reading is the articles of its history (for attacks through histories, its click too), each once, weighted by
how rare it is: log((1 + N) / (1 + n)) where n of N rows read it. How alike two readings are is their cosine, the
article in question left out. Genuine readers of an article tend to read the same other articles; a bot that follows
somebody else's log reads like anybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from rec_trak.data.impressions import Impressions
from rec_trak.words import outline

TINY = 1e-12


@dataclass(frozen=True)
class Reading:
    """What N rows read.

    Attributes:
        weights: (N, A) float32, the weight of each article that a row reads.
        squares: (N,) the sum of a row's squared weights.
        users: (N,) int64 numbers of users.
    """

    weights: csr_array
    squares: np.ndarray
    users: np.ndarray

    __repr__ = outline


def reading_of(rows: Impressions, articles: int, clicks: bool = False, without: Iterable[int] = ()) -> Reading:
    """The reading of rows.

    Args:
        rows: N rows.
        articles: A, the length of their table.
        clicks: whether a row's click is part of its reading.
        without: articles that are no part of any reading.
    """
    n, lengths = len(rows), rows.history.lengths
    where, what = np.repeat(np.arange(n, dtype=np.int32), lengths), rows.history.values
    if clicks:
        where, what = np.concatenate([where, np.arange(n, dtype=np.int32)]), np.concatenate([what, rows.clicked])
    table = csr_array((np.ones(len(what), dtype=np.float32), (where, what)), shape=(n, articles))  # sums what is twice
    readers = np.bincount(table.indices, minlength=articles)
    weights = np.log((1 + n) / (1 + readers)).astype(np.float32)
    weights[list(without)] = 0
    table.data = weights[table.indices]
    squares = np.bincount(_rows(table), weights=np.square(table.data, dtype=np.float64), minlength=n)
    numbers: dict[str, int] = {}
    users = np.fromiter((numbers.setdefault(str(user), len(numbers)) for user in rows.user_ids), np.int64, n)
    return Reading(table, squares, users)


def co_reading(read: Reading, article: int, rows: np.ndarray) -> np.ndarray:
    """(R,) in [-1, 1]: how alike a row's reading is to everybody's, less how alike it is to the article's other rows'.

    Both are mean cosines; the first over all rows, the second over the given rows of other users. High is a stranger
    among the article's readers. A row that reads nothing else, or that no other user's row can be compared with, has 0
    in that part.

    Args:
        read: all N rows.
        article: position of the one in question, left out of every reading.
        rows: (R,) numbers of the rows that click it (or have it in their history).
    """
    own, length = _without(read, article, rows)
    everybody = _mean_direction(read, article)
    anybody = (own @ everybody) / length
    return anybody - others_alike(own, length, read.users[rows])


def others_alike(own: csr_array, length: np.ndarray, users: np.ndarray) -> np.ndarray:
    """(R,) mean cosine of each row with the rows of other users; 0 where there is none.

    Args:
        own: (R, A) weights.
        length: (R,) norms of their rows, above 0.
        users: (R,) whose rows they are.
    """
    count = len(users)
    unit = csr_array((own.data / np.repeat(length, np.diff(own.indptr)), own.indices, own.indptr), shape=own.shape)
    _, user = np.unique(users, return_inverse=True)
    sums = csr_array((np.ones(count), (user, np.arange(count)))) @ unit  # a row a user
    with_all = unit @ np.asarray(unit.sum(axis=0)).ravel()
    with_own = np.asarray(unit.multiply(sums[user]).sum(axis=1)).ravel()
    others = count - np.bincount(user)[user]
    return np.where(others > 0, (with_all - with_own) / np.maximum(others, 1), 0.0)


def co_reading_of(read: Reading, rows_of: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """(N,) `co_reading` of each row among its article's; the highest where a row is of several, 0 where of none.

    Args:
        read: all N rows.
        rows_of: (article, its rows).
    """
    found = np.full(len(read.users), -np.inf)
    for article, rows in rows_of:
        if len(rows):
            found[rows] = np.maximum(found[rows], co_reading(read, article, rows))
    return np.where(np.isfinite(found), found, 0.0)


def _without(read: Reading, article: int, rows: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """The weights (R, A) of some rows without an article, float64, and their norms, at least TINY."""
    own = read.weights[rows].astype(np.float64)
    own.data[own.indices == article] = 0
    squares = np.bincount(_rows(own), weights=own.data**2, minlength=len(rows))
    return own, np.maximum(np.sqrt(squares), TINY)


def _mean_direction(read: Reading, article: int) -> np.ndarray:
    """(A,) the mean of all rows' readings, each of length 1 without the article, whose own place is 0."""
    table, squares = read.weights, read.squares.copy()
    places = np.flatnonzero(table.indices == article)
    squares[np.searchsorted(table.indptr, places, side="right") - 1] -= np.square(table.data[places], dtype=np.float64)
    scale = 1 / np.sqrt(np.where(squares > TINY, squares, np.inf))
    mean = np.bincount(table.indices, weights=table.data * scale[_rows(table)], minlength=table.shape[1])
    mean[article] = 0
    return mean / table.shape[0]


def _rows(table: csr_array) -> np.ndarray:
    """The row of each stored number."""
    return np.repeat(np.arange(table.shape[0], dtype=np.int32), np.diff(table.indptr))
