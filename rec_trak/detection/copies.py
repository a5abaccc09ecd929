"""Whose history is nearly another user's? Near copies among rows of the same length. Not here: who reads like whom.

How alike two readings are is here the weight of what they have in common over the weight of what either reads
(weighted Jaccard, the weights of reading.py); a row's value is the mean over the TOP rows of other users that are most
alike. Short histories repeat each other by chance, and what much is read repeats more: so the signal is the share of
the log's rows not in question, of as many articles, that have a smaller value (of those with the same, half). Bots that
follow somebody's log stand high; readers of the article have a reading of their own.

Where the rows in question stand higher than chance allows, copies are unusual in this log, and tell more: `excess` on
average, `crowding` at the upper end, where the bots are when they are few.

Source: Broder 1997 (resemblance of documents).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from rec_trak.data.ragged import distinct
from rec_trak.detection.reading import Reading, spans_of, sums_of_rows

TOP = 2
PEERS, MOST_PEERS = 100, 20_000  # rows of the nearest lengths to be set against, at least; and of all lengths, at most
PAIRS = 1_000_000_000  # (row, row, common article) triples that are looked at, at most: else the most read ones go
BLOCK = 500_000  # of them at once
OTHERS = 200_000  # rows that are compared with at once: by article they take as much memory again
EVEN = 0.5  # the value of a row that says nothing
SPREAD = 12**-0.5  # the standard deviation of shares spread evenly between 0 and 1
CERTAIN = 3.0  # standard errors that a crowd at the upper end must be beyond chance


def near_copies(read: Reading, among: np.ndarray, seed: int = 0) -> np.ndarray:
    """(N,) in [0, 1], of the rows in question the share of their peers that are less of a copy; EVEN elsewhere.

    EVEN, too, where a row reads nothing else, or there is no row to set it against.

    Args:
        read: all N rows, without the articles in question.
        among: (N,) bool, the rows in question.
        seed: of the draw of peers.
    """
    lengths = sums_of_rows(read.weights, read.weights.data > 0).astype(np.int64)
    asked, rest = (np.flatnonzero(part & (lengths > 0)) for part in (among, ~among))
    found = np.full(len(among), EVEN)
    if not (len(asked) and len(rest)):
        return found
    peers = _peers(lengths[rest], np.unique(lengths[asked]), np.random.default_rng(seed))
    rows = distinct(np.concatenate([asked, *(rest[own] for own in peers.values())]))
    values = np.zeros(len(among))
    values[rows] = most_alike(read, rows)
    for length, own in peers.items():
        of = asked[lengths[asked] == length]
        theirs = np.sort(values[rest[own]])
        below, up_to = (np.searchsorted(theirs, values[of], side) for side in ("left", "right"))
        found[of] = (below + up_to) / 2 / len(theirs)
    return found


def excess(shares: np.ndarray, users: np.ndarray) -> float:
    """By how many standard deviations the mean of `near_copies` is above chance, less two standard errors; at least 0.

    Args:
        shares: (R,) of the rows in question.
        users: (R,) theirs; a user's rows count as one for the standard error.
    """
    if not len(shares):
        return 0.0
    return max(0.0, float((shares.mean() - EVEN) / SPREAD - 2 / np.sqrt(len(np.unique(users)))))


def crowding(shares: np.ndarray, users: np.ndarray) -> np.ndarray:
    """(R,) at least 0, the log of how many times as many of the rows as chance gives stand up there, with certainty.

    Of all shares s up to a row's own: the rows at s or above it, less CERTAIN standard errors, over the R (1 - s) + 1
    that shares spread evenly would have there; the largest of these, 1 where none is larger.

    Args:
        shares: (R,) `near_copies` of the rows in question.
        users: (R,) theirs; a user's rows count as one for the standard error.
    """
    if not len(shares):
        return np.zeros(0)
    order = np.argsort(-shares, kind="stable")
    descending, first = shares[order], np.unique(users[order], return_index=True)[1]
    rows, own = np.arange(1, len(order) + 1), np.cumsum(np.isin(np.arange(len(order)), first))
    times = rows * (1 - CERTAIN / np.sqrt(own)) / (len(order) * (1 - descending) + 1)
    times[:-1][descending[1:] == descending[:-1]] = 0  # equal shares stand together, counted at the last
    found = np.empty(len(order))
    found[order] = np.log(np.maximum(np.maximum.accumulate(times[::-1])[::-1], 1))
    return found


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


def _peers(lengths: np.ndarray, asked: np.ndarray, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Places of the rows to set those of each asked length against: the nearest PEERS, with all that are as near as the
    last of them; where all are more than MOST_PEERS, of each as many are drawn."""
    most = max(PEERS, MOST_PEERS // len(asked)) if len(lengths) > MOST_PEERS else len(lengths)
    found = {}
    for length in asked.tolist():
        apart = np.abs(lengths - length)
        near = np.flatnonzero(apart <= np.partition(apart, min(PEERS, len(apart)) - 1)[min(PEERS, len(apart)) - 1])
        found[length] = near if len(near) <= most else np.sort(rng.choice(near, size=most, replace=False))
    return found
