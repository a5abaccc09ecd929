"""Users whose histories the log does not back, and where they gather. Not here: what else is odd of readers.

A history is what its user clicked in earlier rows, but for what was clicked before the log begins. A user's histories
are *not backed* where they hold more articles that no row of the user clicks than those of half of the users with about
as many articles in theirs. So it is with histories that were made up for a row, and not with those of accounts that
have clicked what they have read; in a log whose histories all come from before it, hardly anybody's stand out.

Such users are counted for each article among those who click it, who have it in a history, and who are shown it and
click another. Made-up users meet many articles by the way: who promotes one by clicks has others in its histories. So
the way with the strongest article comes first, and users whom its articles from EXPLAINS on account for are no longer
counted in the other ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import AT_ONCE, distinct
from rec_trak.detection.rarity import PEERS, against_others, groups_by_size, rarity_of
from rec_trak.detection.reading import Reading, spans_of
from rec_trak.words import outline

UNBACKED = ("unbacked", "unbacked_held", "unbacked_shown")
BANDS = 3  # groups of users by articles in their histories, at most: in smaller ones every second user may be a bot
PART = 2_000_000  # pairs at once
EXPLAINS = 4.0  # how far above the others an article accounts for its users


@dataclass(frozen=True)
class Pairs:
    """Pairs of a user and an article that it clicks, has in a history, or is shown in a row that clicks another: each
    once, user * A + article, ascending.

    Attributes:
        clicked, held, shown: int64.
        users: how many there are.
    """

    clicked: np.ndarray
    held: np.ndarray
    shown: np.ndarray
    users: int

    __repr__ = outline


def pairs_of(rows: Impressions, read: Reading, articles: int) -> Pairs:
    """The pairs of N rows and their reading, of A `articles`."""
    held = (read.users[owner] * articles + read.weights.indices[some] for some, owner in spans_of(read.weights))
    return Pairs(
        distinct(read.users * articles + rows.clicked),
        _once(held, len(read.weights.indices)),
        _once(_shown(rows, read, articles), len(rows.candidates.values) - len(rows)),
        int(read.users.max(initial=-1)) + 1,
    )


def _shown(rows: Impressions, read: Reading, articles: int) -> Iterator[np.ndarray]:
    """Pairs of a row's user and a candidate that it does not click, some rows at a time."""
    starts = rows.candidates.offsets
    for first in range(0, len(rows), AT_ONCE):
        ends = starts[first : first + AT_ONCE + 1]
        users = np.repeat(read.users[first : first + AT_ONCE], np.diff(ends))
        others = np.ones(len(users), dtype=bool)
        others[ends[:-1] - ends[0]] = False  # the clicked one stands first
        yield users[others] * articles + rows.candidates.values[ends[0] : ends[-1]][others]


def _once(parts: Iterable[np.ndarray], count: int) -> np.ndarray:
    """All `count` values, each once, ascending; no more than twice the memory that they need."""
    values, filled = np.empty(count, dtype=np.int64), 0
    for part in parts:
        values[filled : filled + len(part)] = part
        filled += len(part)
    values.sort()
    return values[np.diff(values, prepend=-1) > 0]


def of_pairs(pairs: np.ndarray, marked: np.ndarray, articles: int, bands: np.ndarray | None = None):
    """Pairs in parts for `rarity_of`: articles, marks of the users, and their bands."""
    bands = np.zeros(len(marked), dtype=np.int8) if bands is None else bands
    for items, users in _split(pairs, articles):
        yield items, marked[users], bands[users]


def tally(pairs: np.ndarray, articles: int) -> np.ndarray:
    """(A,) how many users each article has."""
    counts = (np.bincount(items, minlength=articles) for items, _ in _split(pairs, articles))
    return sum(counts, np.zeros(articles, dtype=np.int64))


def _split(pairs: np.ndarray, articles: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Articles and users of PART pairs at a time."""
    for start in range(0, len(pairs), PART):
        users, items = np.divmod(pairs[start : start + PART], articles)
        yield items, users


def unbacked_counts(pairs: Pairs, articles: int, judged: np.ndarray) -> dict[str, np.ndarray]:
    """UNBACKED -> (A,) deviates of how many of an article's users have histories that the log does not back.

    Args:
        pairs: of all rows.
        articles: A.
        judged: positions of the articles that are set against one another.
    """
    held, unclicked = np.zeros((2, pairs.users), dtype=np.int64)
    for start in range(0, len(pairs.held), PART):
        some = pairs.held[start : start + PART]
        held += np.bincount(some // articles, minlength=pairs.users)
        unclicked += np.bincount(some[~among(some, pairs.clicked)] // articles, minlength=pairs.users)
    odd, bands = unbacked(held, unclicked)
    ways, found = dict(zip(UNBACKED, (pairs.clicked, pairs.held, pairs.shown), strict=True)), {}
    while ways:
        now = {name: rarity_of(of_pairs(own, odd, articles, bands), articles, BANDS) for name, own in ways.items()}
        apart = {name: against_others(own[judged]) for name, own in now.items()}
        first = max(apart, key=lambda name: apart[name].max(initial=0))
        explains = np.zeros(articles, dtype=bool)
        explains[judged[apart[first] >= EXPLAINS]] = True
        if not explains.any():
            return found | now
        own = ways.pop(first)
        found[first] = now[first]
        for items, users in _split(own, articles):
            odd[users[explains[items]]] = False
    return found


def unbacked(held: np.ndarray, unclicked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(U,) bool, whether a user's histories are not backed, and (U,) the band of users that each is set against.

    Args:
        held: (U,) articles in each user's histories.
        unclicked: (U,) those of them that none of its rows clicks.
    """
    bands = groups_by_size(held, max(PEERS, len(held) // BANDS))
    usual = np.array([np.median(unclicked[bands == band]) for band in range(bands.max(initial=-1) + 1)])
    return unclicked > usual[bands], bands


def among(keys: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """(n,) bool, which of the keys, at least 0, are in a table without repeats."""
    return np.append(ascending, -1)[np.searchsorted(ascending, keys)] == keys
