"""How much of a row's history do its user's other rows click? Not here: users and articles (unbacked.py).

A history is what its user clicked before. Of the articles in a row's history, other than its own click and those in
question, the *backed* ones are those that another row of its user clicks; how little is backed is told by where a row
stands among others of as many articles (standing.py). A history that was made up for a row is backed by nothing. In a
log whose histories all come from before it, or that is a sample, nor are genuine ones, and the signal says nothing;
bots that have clicked what they have read look genuine by it. So it counts where it is unusual, and nowhere else.
"""

from __future__ import annotations

import numpy as np

from rec_trak.data.ragged import AT_ONCE, distinct
from rec_trak.detection.reading import Reading, spans_of
from rec_trak.detection.standing import Standing, standing_of
from rec_trak.detection.unbacked import among as in_table


def unbacked_rows(read: Reading, clicked: np.ndarray, among: np.ndarray, seed: int = 0) -> Standing:
    """Where the rows in question stand by how little of their histories the log backs.

    Args:
        read: all N rows, without the articles in question.
        clicked: (N,) the article that each clicks.
        among: (N,) bool, the rows in question.
        seed: of the draw of peers.
    """
    lengths = np.zeros(len(among), dtype=np.int64)
    for some, owner in spans_of(read.weights):
        counts = (read.weights.data[some] > 0) & (read.weights.indices[some] != clicked[owner])
        first = owner[0] if len(owner) else 0
        told = np.bincount(owner[counts] - first)
        lengths[first : first + len(told)] += told
    clicks = distinct(read.users * read.weights.shape[1] + clicked)
    return standing_of(lambda rows: -backed(read, clicked, clicks, rows) / lengths[rows], lengths, among, seed)


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
