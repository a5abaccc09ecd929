"""Where rows in question stand among the log's other rows with as long a history. Not here: by what value.

A value of a history (how nearly it is a copy, how little of it the log backs) goes with its length, so that it is told
as a share: of the log's rows not in question, of as many articles, those that have a smaller one. Of those with the
same half count for the order, and none where it is asked whether rows crowd above what chance allows. Where the rows
in question stand higher than that, the value is unusual in this log, and tells more: `excess` on average, `crowding` at
the upper end, where the bots are when they are few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rec_trak.data.ragged import distinct
from rec_trak.words import outline

PEERS, MOST_PEERS = 100, 20_000  # rows of the nearest lengths to be set against, at least; and of all lengths, at most
EVEN = 0.5  # the share of a row that says nothing
SPREAD = 12**-0.5  # the standard deviation of shares spread evenly between 0 and 1
CERTAIN = 3.0  # standard errors that a crowd at the upper end must be beyond chance


@dataclass(frozen=True)
class Standing:
    """Where rows in question stand among their peers.

    Attributes:
        shares: (N,) in [0, 1], the share of the peers that have a smaller value, half of those with the same; EVEN of
            other rows, of rows that read nothing else, and where there is no row to set one against.
        least: (N,) the share that has a smaller value indeed; by chance no higher than evenly spread shares.
    """

    shares: np.ndarray
    least: np.ndarray

    __repr__ = outline


def standing_of(
    values_of: Callable[[np.ndarray], np.ndarray], lengths: np.ndarray, among: np.ndarray, seed: int = 0
) -> Standing:
    """Where the rows in question stand.

    Args:
        values_of: gives the values (n,) of rows by their numbers (n,), ascending.
        lengths: (N,) int64, how many articles a row reads.
        among: (N,) bool, the rows in question.
        seed: of the draw of peers.
    """
    asked, rest = (np.flatnonzero(part & (lengths > 0)) for part in (among, ~among))
    found = Standing(np.full(len(among), EVEN), np.zeros(len(among)))
    if not (len(asked) and len(rest)):
        return found
    peers = _peers(lengths[rest], np.unique(lengths[asked]), np.random.default_rng(seed))
    rows = distinct(np.concatenate([asked, *(rest[own] for own in peers.values())]))
    values = np.zeros(len(among))
    values[rows] = values_of(rows)
    for length, own in peers.items():
        of = asked[lengths[asked] == length]
        theirs = np.sort(values[rest[own]])
        below, up_to = (np.searchsorted(theirs, values[of], side) for side in ("left", "right"))
        found.shares[of], found.least[of] = (below + up_to) / 2 / len(theirs), below / len(theirs)
    return found


def excess(shares: np.ndarray, users: np.ndarray) -> float:
    """By how many standard deviations the mean of shares is above chance, less two standard errors; at least 0.

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
        shares: (R,) `Standing.least` of the rows in question.
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
