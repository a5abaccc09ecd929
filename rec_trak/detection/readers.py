"""Do an article's clickers look like its readers? Five numbers an article, from the click log alone. Not here: levels.

An article's readers are the rows that have it in their history. For each article with enough clicks:

    unlike   how much less the clickers' reading is like that of its readers (other users, the article left out) than
             the readers' own is: Welch's t of the two means over users
    gone     clicks by users in none of whose histories the article stands: the log never sees them as its readers
    alone    clicks by users who have no other row

and for what is planted in histories, of the users who have it in one:

    unclicked   those none of whose rows clicks it
    lone        those who have one row in all

All but the first are counts. In shuffled logs, in which each row keeps its user and each article its popularity, they
are hypergeometric (the last two over pairs of a user and an article in their histories); the share of shuffled logs
with more of them (of those with as many, half: the mid-p value) is told as the standard normal deviate that is as rare.
A deviate of the counts themselves would take a few clicks of a rare kind for much.

Sources: Welch 1947 (two means of unequal variance); Lancaster 1961 (mid-p).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.stats import hypergeom, norm

from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import AT_ONCE, distinct
from rec_trak.detection.reading import Reading, reading_of, spans_of, users_at_once

LEAST_USERS = 10  # clicking users that an article needs to be judged
LEAST_SIDE = 5  # users of either side to compare readings of
MOST_ROWS = 3000  # of an article's clicks, and of its readers' rows, whose reading is compared; more are drawn from
TINY = 1e-12
MOST = 30.0  # beyond it a tail is nothing in double precision
CLICKED, HELD = ("unlike", "gone", "alone"), ("unclicked", "lone")  # signals of clickers, and of histories
SIGNALS = (*CLICKED, *HELD)


def readers_table(rows: Impressions, articles: int, seed: int = 0) -> pd.DataFrame:
    """A line an article with at least LEAST_USERS clicking users: article (position), clicks, users, readers, SIGNALS.

    Args:
        rows: N rows.
        articles: A, the length of their table.
        seed: of the draw where an article has very many rows.
    """
    read, clicked, n = reading_of(rows, articles), rows.clicked.astype(np.int64), len(rows)
    gone, alone = _gone(read, clicked, articles), np.bincount(read.users)[read.users] == 1
    by_click, by_place = _rows_of(clicked, np.arange(n), articles), _holders(read, articles)
    held = _held(read, clicked, articles)
    rng, lines = np.random.default_rng(seed), []
    for article in np.flatnonzero(np.bincount(clicked, minlength=articles) >= LEAST_USERS).tolist():
        clicks, holders = by_click(article), by_place(article)
        users = len(np.unique(read.users[clicks]))
        if users < LEAST_USERS:
            continue
        apart = unlike(read, article, *(_drawn(part, rng) for part in (clicks, holders)))
        readers = len(np.unique(read.users[holders]))
        lines.append((article, len(clicks), users, readers, apart, int(gone[clicks].sum()), int(alone[clicks].sum())))
    table = pd.DataFrame(lines, columns=["article", "clicks", "users", "readers", *CLICKED])
    judged = table["article"].to_numpy(dtype=np.int64)
    for name, flags in (("gone", gone), ("alone", alone)):
        table[name] = _rarity(n, int(flags.sum()), table["clicks"].to_numpy(), table[name].to_numpy())
    for name, flagged in zip(HELD, held.flagged, strict=True):
        table[name] = _rarity(int(held.pairs.sum()), int(flagged.sum()), held.pairs[judged], flagged[judged])
    return table


def unlike(read: Reading, article: int, clicks: np.ndarray, holders: np.ndarray) -> float:
    """Welch's t of how alike users are to the article's readers: readers' mean less clickers'; 0 where a side is small.

    Args:
        read: all rows.
        article: left out of every reading.
        clicks, holders: numbers of rows that click it, and that have it in their history.
    """
    sides = [_user_means(read, article, part) for part in (clicks, holders)]
    if min(len(users) for users, _ in sides) < LEAST_SIDE:
        return 0.0
    (clickers, theirs), (readers, own) = sides
    total = np.asarray(own.sum(axis=0)).ravel()
    place = np.searchsorted(readers, clickers)
    both = np.isin(clickers, readers)
    with_self = np.zeros(len(clickers))
    with_self[both] = np.asarray(theirs[both].multiply(own[place[both]]).sum(axis=1)).ravel()
    alike_clickers = (theirs @ total - with_self) / (len(readers) - both)
    alike_readers = (own @ total - np.asarray(own.multiply(own).sum(axis=1)).ravel()) / (len(readers) - 1)
    spread = sum(part.var(ddof=1) / len(part) for part in (alike_clickers, alike_readers))
    return float((alike_readers.mean() - alike_clickers.mean()) / np.sqrt(spread)) if spread > TINY else 0.0


def _user_means(read: Reading, article: int, rows: np.ndarray) -> tuple[np.ndarray, csr_array]:
    """Users, ascending, and the mean of their readings of length 1 in these rows; rows that read nothing else are left
    out."""
    own = read.weights[rows].astype(np.float64)
    own.data[own.indices == article] = 0
    owner = np.repeat(np.arange(len(rows)), np.diff(own.indptr))
    length = np.sqrt(np.bincount(owner, weights=own.data**2, minlength=len(rows)))
    own.data /= np.maximum(length, TINY)[owner]
    some = length > TINY
    users, user = np.unique(read.users[rows[some]], return_inverse=True)
    count = np.bincount(user, minlength=len(users))
    mean = csr_array((1 / count[user], (user, np.flatnonzero(some))), shape=(len(users), len(rows)))
    return users, mean @ own


def _gone(read: Reading, clicked: np.ndarray, articles: int) -> np.ndarray:
    """(N,) bool, whether no history of the row's user holds what the row clicks."""
    asked, which = np.unique(read.users * articles + clicked, return_inverse=True)
    held = np.zeros(len(asked), dtype=bool)
    for some, owner in spans_of(read.weights):
        keys = distinct(read.users[owner] * articles + read.weights.indices[some])
        held[np.searchsorted(asked, keys[np.isin(keys, asked, assume_unique=True)])] = True
    return ~held[which]


@dataclass(frozen=True)
class _Held:
    """Pairs of a user and an article that is in one of their histories: how many there are of each article (A,), and of
    these with each flag of HELD (2, A)."""

    pairs: np.ndarray
    flagged: np.ndarray


def _held(read: Reading, clicked: np.ndarray, articles: int) -> _Held:
    """Some users at a time: a log has more such pairs than rows."""
    pairs, flagged = np.zeros(articles, np.int64), np.zeros((len(HELD), articles), np.int64)
    alone = np.bincount(read.users) == 1
    for rows in users_at_once(read.users, AT_ONCE):
        own = read.weights[rows]
        keys = distinct(np.repeat(read.users[rows], np.diff(own.indptr)) * articles + own.indices)
        user, article = np.divmod(keys, articles)
        unclicked = ~np.isin(keys, read.users[rows] * articles + clicked[rows])
        pairs += np.bincount(article, minlength=articles)
        for counts, flag in zip(flagged, (unclicked, alone[user]), strict=True):
            counts += np.bincount(article[flag], minlength=articles)
    return _Held(pairs, flagged)


def _rarity(n: int, flagged: int, counts: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(m,) how rarely shuffled logs have as many with the flag, as a normal deviate, at most MOST; 0 of none.

    Args:
        n, flagged: of the log, and of these those with the flag.
        counts, found: (m,) of each article, likewise.
    """
    counts, found = np.asarray(counts, dtype=np.int64), np.asarray(found, dtype=np.int64)
    tails = hypergeom.sf(found, n, flagged, counts) + hypergeom.pmf(found, n, flagged, counts) / 2
    return np.where(counts > 0, np.clip(norm.isf(tails), -MOST, MOST), 0.0)


def _holders(read: Reading, articles: int):
    """A function that gives the rows whose history holds an article."""
    own = read.weights
    table = csr_array((np.ones(len(own.indices), dtype=np.int8), own.indices, own.indptr), shape=own.shape).tocsc()
    return lambda article: table.indices[table.indptr[article] : table.indptr[article + 1]].astype(np.int64)


def _rows_of(values: np.ndarray, owner: np.ndarray, count: int):
    """A function from a value below `count` to the owners of its places."""
    order = np.argsort(values, kind="stable")
    starts = np.searchsorted(values[order], np.arange(count + 1))
    return lambda value: owner[order[starts[value] : starts[value + 1]]]


def _drawn(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= MOST_ROWS else np.sort(rng.choice(rows, size=MOST_ROWS, replace=False))
