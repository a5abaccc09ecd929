"""Do those who meet an article look like its readers? Seven numbers an article, from the log alone. Not here: levels.

An article's readers are the rows that have it in their history. For each article with enough clicks:

    unlike    how much less the clickers' reading is like that of its readers (other users, the article left out) than
              the readers' own is: Welch's t of the two means over users
    gone      clicks by users in none of whose histories the article stands: the log never sees them as its readers
    alone     clicks by users who have no other row, against rows with as many articles in their history
    unbacked  clicking users whose histories the log does not back

for what is planted in histories, of the users who have it in one:

    unbacked_held  those whose histories the log does not back

and for what is shown so that another is clicked, of the users whom it is shown to and who click another:

    passing         those who have one row in all
    unbacked_shown  those whose histories the log does not back

What it is that the log does not back, stands in unbacked.py. All but the first are counts, told by how rare they are in
shuffled logs (rarity.py): each row (or pair of a user and an article) keeps its user, each article its popularity.

Source: Welch 1947 (two means of unequal variance).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from rec_trak.data.impressions import Impressions
from rec_trak.detection.rarity import groups_by_size, rarity, rarity_of
from rec_trak.detection.reading import Reading, reading_of
from rec_trak.detection.unbacked import UNBACKED, among, of_pairs, pairs_of, tally, unbacked_counts

LEAST_USERS = 10  # clicking users that an article needs to be judged
LEAST_SIDE = 5  # users of either side to compare readings of
MOST_ROWS = 3000  # of an article's clicks, and of its readers' rows, whose reading is compared; more are drawn from
TINY = 1e-12
CLICKED, SHOWN = ("unlike", "gone", "alone"), ("passing",)  # of those who click it, and are shown it
SIGNALS = (*CLICKED, *SHOWN, *UNBACKED)


def readers_table(rows: Impressions, articles: int, seed: int = 0) -> pd.DataFrame:
    """A line an article with at least LEAST_USERS clicking users: article (position), clicks, users, readers, SIGNALS.

    Args:
        rows: N rows.
        articles: A, the length of their table.
        seed: of the draw where an article has very many rows.
    """
    read, clicked = reading_of(rows, articles), rows.clicked.astype(np.int64)
    table = _counts(rows, read, clicked, articles)
    by_click, by_place = _rows_of(clicked, np.arange(len(rows)), articles), _holders(read, articles)
    rng, found = np.random.default_rng(seed), []
    for article in table["article"].tolist():
        sides = [_drawn(part, rng) for part in (by_click(article), by_place(article))]
        found.append(unlike(read, article, *sides))
    table["unlike"] = np.array(found, dtype=float)
    return table[["article", "clicks", "users", "readers", *SIGNALS]]


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


def _counts(rows: Impressions, read: Reading, clicked: np.ndarray, articles: int) -> pd.DataFrame:
    """The table without `unlike`."""
    pairs, one, lengths = pairs_of(rows, read, articles), np.bincount(read.users) == 1, np.diff(read.weights.indptr)
    users, readers = (tally(own, articles) for own in (pairs.clicked, pairs.held))
    judged = np.flatnonzero(users >= LEAST_USERS)
    gone = ~among(read.users * articles + clicked, pairs.held)
    counts = {
        "gone": rarity(clicked, gone, articles),
        "alone": rarity(clicked, one[read.users], articles, groups_by_size(lengths)),
        "passing": rarity_of(of_pairs(pairs.shown, one, articles), articles, 1),
    }
    counts |= unbacked_counts(pairs, articles, judged)
    counts |= {"clicks": np.bincount(clicked, minlength=articles), "users": users, "readers": readers}
    return pd.DataFrame({"article": judged} | {name: own[judged] for name, own in counts.items()})


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
