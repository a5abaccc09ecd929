"""Whose history is nearly another user's? Near copies among rows of the same length. Not here: who reads like whom.

How alike two readings are is here the weight of what they have in common over the weight of what either reads
(weighted Jaccard, the weights of reading.py); a row's value is the mean over the TOP rows of other users that are most
alike. Short histories repeat each other by chance, and what much is read repeats more: so the signal is where a row
stands among others of as many articles (standing.py). Bots that follow somebody's log stand high; readers of the
article have a reading of their own.

Source: Broder 1997 (resemblance of documents).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from rec_trak.detection.reading import Reading, spans_of, sums_of_rows
from rec_trak.detection.standing import Standing, standing_of

TOP = 2
PAIRS = 1_000_000_000  # (row, row, common article) triples that are looked at, at most: else the most read ones go
BLOCK = 500_000  # of them at once
OTHERS = 200_000  # rows that are compared with at once: by article they take as much memory again


def near_copies(read: Reading, among: np.ndarray, seed: int = 0) -> Standing:
    """Where the rows in question stand by how nearly they are copies.

    Args:
        read: all N rows, without the articles in question.
        among: (N,) bool, the rows in question.
        seed: of the draw of peers.
    """
    lengths = sums_of_rows(read.weights, read.weights.data > 0).astype(np.int64)
    return standing_of(lambda rows: most_alike(read, rows), lengths, among, seed)


def most_alike(read: Reading, rows: np.ndarray) -> np.ndarray:
    """(R,) in [0, 1], the mean weighted Jaccard of each row with the TOP rows of other users that are most alike."""
    weights, users, count = read.weights, read.users.astype(np.int32), len(read.users)
    reached = _within_reach(weights, rows)
    sums = np.concatenate([
        sums_of_rows(part, part.data)
        for part in (_kept(weights[start : start + OTHERS], reached) for start in range(0, count, OTHERS))
    ])  # fmt: skip
    asked, found = _kept(weights[rows], reached), np.zeros((len(rows), TOP))
    for start in range(0, count, OTHERS):
        others = _kept(weights[start : start + OTHERS], reached)
        readers = csr_array((np.ones(others.nnz), others.indices, others.indptr), shape=others.shape).T.tocsr()
        work = np.cumsum(sums_of_rows(asked, np.diff(readers.indptr)[asked.indices]))
        for places in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(work // BLOCK)) + 1):
            shared = (asked[places].astype(np.float64) @ readers).tocsr()
            alike = _alike(shared, sums[rows[places]], sums[start : start + OTHERS])
            mine = np.repeat(users[rows[places]], np.diff(shared.indptr))
            alike[mine == users[start : start + OTHERS][shared.indices]] = 0
            largest = [_largest_out(alike, shared.indptr) for _ in range(TOP)]
            found[places] = np.sort(np.column_stack([found[places], *largest]), axis=1)[:, -TOP:]
    return (sum(found.T) / TOP).round(9)  # equal readings are equal, whatever the order of a sum


def _alike(shared: csr_array, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n,) weighted Jaccard of each stored pair, from what a pair has in common and what either reads (R,), (O,)."""
    alike = np.repeat(own, np.diff(shared.indptr))
    alike += other[shared.indices]
    alike -= shared.data
    return np.divide(shared.data, alike, out=alike)


def _largest_out(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(n,) the largest value of each run of `values`, which begin at `starts`; one place that has it becomes 0."""
    lengths = np.diff(starts)
    some, largest = np.flatnonzero(lengths), np.zeros(len(lengths))
    if len(some):
        largest[some] = np.maximum.reduceat(values, starts[:-1][some])
        hits = np.flatnonzero(values == np.repeat(largest, lengths))
        run = np.searchsorted(starts, hits, side="right")
        values[hits[np.flatnonzero(np.diff(run, prepend=0))]] = 0
    return largest


def _within_reach(weights: csr_array, rows: np.ndarray) -> np.ndarray:
    """(A,) bool, the articles that are looked at: all or, where that would take too long, not the most read ones."""
    count = weights.shape[1]
    readers, asked = np.zeros((2, count))
    for some, _ in spans_of(weights):
        readers += np.bincount(weights.indices[some], minlength=count)
    for start in range(0, len(rows), OTHERS):
        asked += np.bincount(weights[rows[start : start + OTHERS]].indices, minlength=count)
    order = np.argsort(readers, kind="stable")
    reached = np.zeros(count, dtype=bool)
    reached[order[np.cumsum((readers * asked)[order]) <= PAIRS]] = True
    return reached


def _kept(weights: csr_array, reached: np.ndarray) -> csr_array:
    """The weights that are not 0, of the articles that are looked at."""
    held = reached[weights.indices] & (weights.data != 0)
    ends = np.concatenate([[0], np.cumsum(sums_of_rows(weights, held))]).astype(weights.indptr.dtype)
    return csr_array((weights.data[held], weights.indices[held], ends), shape=weights.shape)
