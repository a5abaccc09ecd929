"""Does the log know a row's user, from before or after? Not here: users and articles (unbacked.py).

A history is what its user clicked before. Of the articles in a row's history, other than its own click, those in
question and those that every row reads, the *backed* ones are those that another row of its user clicks. A row is
*followed* where another row of its user, one that clicks nothing in question, has its click in its history: as good as
a history that is backed whole, since users whom a log meets at its beginning have clicked before it. How little is
backed is told by where a row stands among others of as many articles (standing.py). A history that was made up for a
row is backed by nothing, and nothing follows it. Where all histories come from before the log, none is backed, and the
signal says nothing; bots that have clicked what they have read look genuine by it. So it counts where the rows in
question stand unusually high by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rec_trak.data.ragged import AT_ONCE, distinct
from rec_trak.detection.reading import Reading, spans_of
from rec_trak.detection.standing import Standing, standing_of
from rec_trak.detection.unbacked import among as in_table


def unbacked_rows(
    read: Reading, clicked: np.ndarray, among: np.ndarray, promoted: Sequence[int], seed: int = 0
) -> Standing:
    """Where the rows in question stand by how little of their histories the log backs.

    Args:
        read: all N rows, without the articles in question.
        clicked: (N,) the article that each clicks.
        among: (N,) bool, the rows in question.
        promoted: positions of the articles in question.
        seed: of the draw of peers.
    """
    lengths = np.zeros(len(among), dtype=np.int64)
    for some, owner in spans_of(read.weights):
        counts = (read.weights.data[some] > 0) & (read.weights.indices[some] != clicked[owner])
        first = owner[0] if len(owner) else 0
        told = np.bincount(owner[counts] - first)
        lengths[first : first + len(told)] += told
    clicks, others = distinct(read.users * read.weights.shape[1] + clicked), ~np.isin(clicked, promoted)

    def values_of(rows: np.ndarray) -> np.ndarray:
        share = backed(read, clicked, clicks, rows) / lengths[rows]
        return -np.where(followed(read, clicked, others, rows), 1.0, share)

    return standing_of(values_of, lengths, among, seed)


def backed(read: Reading, clicked: np.ndarray, clicks: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n,) how many articles that a row reads another row of its user clicks.

    Args:
        read, clicked: all N rows.
        clicks: user * A + article of every click, each once, ascending.
        rows: (n,) numbers of rows.
    """
    found = np.zeros(len(rows))
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        own = read.weights[some]
        owner = np.repeat(np.arange(len(some)), np.diff(own.indptr))
        counts = (own.data > 0) & (own.indices != clicked[some][owner])
        counts &= in_table(read.users[some][owner] * read.weights.shape[1] + own.indices, clicks)
        found[start : start + AT_ONCE] = np.bincount(owner[counts], minlength=len(some))
    return found


def followed(read: Reading, clicked: np.ndarray, others: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(n,) bool, whether another row of its user, one of `others`, reads what a row clicks.

    Args:
        read, clicked: all N rows; articles in question count.
        others: (N,) bool.
        rows: (n,) numbers of rows.
    """
    articles = read.weights.shape[1]
    asked, place = np.unique(read.users[rows] * articles + clicked[rows], return_inverse=True)
    readers = np.zeros(len(asked), dtype=np.int64)
    own = np.zeros(len(read.users), dtype=np.int64)
    for some, owner in spans_of(read.weights):
        counts = others[owner]
        owner, articles_read = owner[counts], read.weights.indices[some][counts]
        keys = read.users[owner] * articles + articles_read
        at = np.minimum(np.searchsorted(asked, keys), len(asked) - 1)
        readers += np.bincount(at[asked[at] == keys], minlength=len(asked))
        own[owner[articles_read == clicked[owner]]] += 1
    return readers[place] > own[rows]
