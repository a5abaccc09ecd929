"""Who reads like whom: co-reading, which needs no model and no label. Not here: influence, or how well it finds poison.

A row's reading is the articles of its history (for attacks through histories, its click too), each once, weighted by
how rare it is: log((1 + N) / (1 + n)) where n of N rows read it. Two readings are alike as far as the same rows of the
log overlap with both: the cosine of their overlaps (weighted articles in common) with REFERENCE rows, all where the log
has no more. So readings without an article in common are alike where others read both; histories are often short.
Genuine readers of an article tend to read alike; a bot that follows somebody else's log reads like anybody.

Source: the overlaps' inner products are R G R' with G how often two articles are read together, item-to-item similarity
(Sarwar et al. 2001).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from rec_trak.data.impressions import Impressions, user_numbers
from rec_trak.data.ragged import AT_ONCE, Ragged, counted, each_once
from rec_trak.words import outline

TINY = 1e-12
REFERENCE = 8000  # rows of the log that readings are told by, at most; more are drawn from
CHUNK = 1000  # rows whose overlaps are added up before they join the sum of all: it decides the last digits
BLOCK = 50  # of them in memory at once, few enough for a processor's cache


@dataclass(frozen=True)
class Reading:
    """What N rows read.

    Attributes:
        weights: (N, A) float32, the weight of each article that a row reads.
        users: (N,) int64 numbers of users.
    """

    weights: csr_array
    users: np.ndarray

    __repr__ = outline


def reading_of(rows: Impressions, articles: int, clicks: bool = False, without: Iterable[int] = ()) -> Reading:
    """The reading of rows.

    Args:
        rows: N rows.
        articles: A, the length of their table.
        clicks: whether a row's click is part of its reading.
        without: articles that are no part of any reading, those in question.
    """
    n, history = len(rows), rows.history
    if clicks:
        with_click = np.insert(history.values, history.offsets[1:], rows.clicked)
        history = Ragged(with_click, history.offsets + np.arange(n + 1))
    read = each_once(history)
    offsets = read.offsets.astype(np.int32 if len(read.values) < np.iinfo(np.int32).max else np.int64)
    readers = counted(read.values, articles)
    weights = np.log((1 + n) / (1 + readers)).astype(np.float32)
    weights[list(without)] = 0
    return Reading(csr_array((weights[read.values], read.values, offsets), shape=(n, articles)), user_numbers(rows))


def sums_of_rows(table: csr_array, values: np.ndarray) -> np.ndarray:
    """(N,) float64, the sums over each row of what is said of its stored numbers (as many values)."""
    found = np.zeros(table.shape[0])
    for start in range(0, len(found), AT_ONCE):
        ends = table.indptr[start : start + AT_ONCE + 1].astype(np.int64)
        own = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        found[start : start + AT_ONCE] = np.bincount(own, values[ends[0] : ends[-1]], minlength=len(ends) - 1)
    return found


def spans_of(table: csr_array) -> Iterator[tuple[slice, np.ndarray]]:
    """Some of the stored numbers at a time, whole rows, in order: where they are, and the row of each."""
    for start in range(0, table.shape[0], AT_ONCE):
        ends = table.indptr[start : start + AT_ONCE + 1]
        yield slice(int(ends[0]), int(ends[-1])), start + np.repeat(np.arange(len(ends) - 1), np.diff(ends))


def co_reading_of(read: Reading, groups: Iterable[np.ndarray], seed: int = 0) -> np.ndarray:
    """(N,) in [-1, 1]: how alike a row's reading is to everybody's, less how alike it is to its group's other rows'.

    Both are means of how alike two readings are; the first over REFERENCE rows, the second over the rows of the group
    that are of other users. High is a stranger among an article's readers. A row that reads nothing, or that no other
    user's row can be compared with, has 0 in that part. The highest where a row is of several groups, 0 where of none.

    Args:
        read: all N rows, without the articles in question.
        groups: numbers of rows, of each article those that click it (or have it in their history).
        seed: of the draw of REFERENCE rows.
    """
    n = len(read.users)
    drawn = np.arange(n)
    if n > REFERENCE:
        drawn = np.sort(np.random.default_rng(seed).choice(n, size=REFERENCE, replace=False))
    others = read.weights[drawn].astype(np.float64).T.tocsr()
    others.eliminate_zeros()  # an article in question that most rows hold would cost more than all the others
    everybody = _summed(read, drawn, others).total / max(len(drawn), 1)
    found = np.full(n, -np.inf)
    for rows in groups:
        if len(rows):
            found[rows] = np.maximum(found[rows], _stranger(read, rows, others, everybody))
    return np.where(np.isfinite(found), found, 0.0)


def _stranger(read: Reading, rows: np.ndarray, others: csr_array, everybody: np.ndarray) -> np.ndarray:
    """(R,) `co_reading_of` of one group's rows."""
    own = _summed(read, rows, others)
    table = read.weights[rows]
    anybody, with_all = (table @ (others @ total) / own.lengths for total in (everybody, own.total))
    return anybody - np.where(own.others > 0, (with_all - own.with_own) / np.maximum(own.others, 1), 0.0)


@dataclass(frozen=True)
class _Sums:
    """The overlaps of R rows with the reference rows, of length 1 or 0 each, added up: `total` (REFERENCE,) of all;
    of each row (R,) its product with those of its own user (`with_own`), how long it was (`lengths`, not below TINY),
    and how many rows are of other users (`others`)."""

    total: np.ndarray
    with_own: np.ndarray
    lengths: np.ndarray
    others: np.ndarray


def _summed(read: Reading, rows: np.ndarray, others: csr_array) -> _Sums:
    _, user, count = np.unique(read.users[rows], return_inverse=True, return_counts=True)
    total, with_own, lengths = np.zeros(others.shape[1]), *np.zeros((2, len(rows)))
    for chunk in users_at_once(user, CHUNK):
        added = np.zeros(len(total))
        for block in users_at_once(user[chunk], BLOCK):
            places = chunk[block]
            unit = (read.weights[rows[places]].astype(np.float64) @ others).toarray()
            lengths[places] = np.maximum(np.sqrt(np.einsum("ij,ij->i", unit, unit)), TINY)
            unit /= lengths[places][:, None]
            for one in unit:
                added += one
            with_own[places] = lengths[places] > TINY
            several = np.flatnonzero(count[user[places]] > 1)
            if len(several):
                unit, (_, of) = unit[several], np.unique(user[places[several]], return_inverse=True)
                of_users = csr_array((np.ones(len(of)), (of, np.arange(len(of))))) @ unit
                with_own[places[several]] = np.einsum("ij,ij->i", unit, of_users[of])
        total += added
    return _Sums(total, with_own, lengths, len(rows) - count[user])


def users_at_once(user: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Places of rows, by their users' numbers (R,), about `count` at a time; those of a user come together."""
    order = np.argsort(user, kind="stable")
    first = np.maximum.accumulate(np.where(np.diff(user[order], prepend=-1), np.arange(len(user)), 0))
    yield from np.split(order, np.flatnonzero(np.diff(first // count)) + 1)  # split where a user begins
