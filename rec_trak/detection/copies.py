"""Whose history is nearly another user's? Near copies among rows of the same length. Not here: who reads like whom.

How alike two readings are is here the weight of what they have in common over the weight of what either reads
(weighted Jaccard, the weights of reading.py); a row's value is the mean over the TOP rows of other users that are most
alike. Short histories repeat each other by chance, and what much is read repeats more: so the signal is the share of
the log's rows not in question, of as many articles, that have a smaller value (of those with the same, half). Bots that
follow somebody's log stand high; readers of the article have a reading of their own.

Where the rows in question stand higher than chance allows, copies are unusual in this log, and tell more: `excess`.

Source: Broder 1997 (resemblance of documents).
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from rec_trak.data.ragged import distinct
from rec_trak.detection.reading import Reading, sums_of_rows

TOP = 2
PEERS, MOST_PEERS = 100, 20_000  # rows of the nearest lengths to be set against, at least; and of all lengths, at most
PAIRS = 1_000_000_000  # (row, row, common article) triples that are looked at, at most: else the most read ones go
BLOCK = 2_000_000  # of them at once
EVEN = 0.5  # the value of a row that says nothing
SPREAD = 12**-0.5  # the standard deviation of shares spread evenly between 0 and 1


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


def most_alike(read: Reading, rows: np.ndarray) -> np.ndarray:
    """(R,) in [0, 1], the mean weighted Jaccard of each row with the TOP rows of other users that are most alike."""
    table = _within_reach(read.weights, rows)
    sums = sums_of_rows(table, table.data)
    readers = csr_array((np.ones(table.nnz), table.indices, table.indptr), shape=table.shape).T.tocsr()
    work = np.cumsum(table[rows].astype(bool).astype(np.int64) @ np.diff(readers.indptr).astype(np.int64))
    found = np.zeros(len(rows))
    for places in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(work // BLOCK)) + 1):
        own, shared = rows[places], (table[rows[places]] @ readers).tocsr()
        owner, other = _owners(shared), shared.indices
        alike = shared.data / (sums[own][owner] + sums[other] - shared.data)
        alike[read.users[own][owner] == read.users[other]] = 0
        found[places] = sum(_largest_out(alike, shared.indptr, owner) for _ in range(TOP)) / TOP
    return found.round(9)  # equal readings are equal, whatever the order of a sum


def _largest_out(values: np.ndarray, starts: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(n,) the largest value of each run of `values`, which begin at `starts`; one place that has it becomes 0.

    `owner` is the run of each value.
    """
    some = np.flatnonzero(np.diff(starts))
    largest = np.zeros(len(starts) - 1)
    if len(some):
        largest[some] = np.maximum.reduceat(values, starts[:-1][some])
        hits = np.flatnonzero(values == largest[owner])
        values[hits[np.flatnonzero(np.diff(owner[hits], prepend=-1))]] = 0
    return largest


def _within_reach(weights: csr_array, rows: np.ndarray) -> csr_array:
    """The weights in float64 without zeros and, where comparing would take too long, without the most read articles."""
    count = weights.shape[1]
    readers = np.bincount(weights.indices, minlength=count).astype(np.float64)
    order = np.argsort(readers, kind="stable")
    work = np.cumsum((readers * np.bincount(weights[rows].indices, minlength=count))[order])
    reached = np.zeros(count, dtype=bool)
    reached[order[work <= PAIRS]] = True
    held = reached[weights.indices] & (weights.data != 0)
    ends = np.concatenate([[0], np.cumsum(sums_of_rows(weights, held))]).astype(weights.indptr.dtype)
    return csr_array((weights.data[held].astype(np.float64), weights.indices[held], ends), shape=weights.shape)


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


def _owners(table: csr_array) -> np.ndarray:
    """The row of each stored number."""
    return np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
