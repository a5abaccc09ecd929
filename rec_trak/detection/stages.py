"""Two-stage rankings: the rows in question first, by a second key among themselves. Not here: the keys.

A row that clicks a promoted article stands before every row that does not, whatever its key: other rows may move the
model more, but they are not what is asked about. Keys of different units are added as standardised ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from scipy.stats import rankdata

NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})


def standard_ranks(values: np.ndarray) -> np.ndarray:
    """(n,) ranks of mean 0 and standard deviation 1, tied values alike; 0 where all are tied."""
    if not len(values):
        return np.zeros(0)
    ranks = rankdata(values)
    spread = ranks.std()
    return (ranks - ranks.mean()) / spread if spread else np.zeros(len(ranks))


def summed(
    signals: Mapping[str, np.ndarray],
    weights: Mapping[str, float],
    among: np.ndarray,
    raised: Mapping[str, np.ndarray] = NOTHING,
) -> np.ndarray:
    """(N,) weighted sum of standardised ranks within the rows `among` (N,) bool; 0 elsewhere.

    Args:
        signals: name -> (N,).
        weights: name -> what its standardised ranks count.
        raised: name of a signal -> (N,) what is added as it is where the signal counts.
    """
    total = np.zeros(len(among))
    total[among] = sum(weight * standard_ranks(signals[name][among]) for name, weight in weights.items())
    total[among] += sum(values[among] for name, values in raised.items() if name in weights)
    return total


def in_question_first(among: np.ndarray, key: np.ndarray, rest: np.ndarray | None = None) -> np.ndarray:
    """(N,) in [0, 2]: above 1 the rows `among`, by their key; at most 1 the others, by `rest`.

    Args:
        among: (N,) bool.
        key: (N,), of which those of `among` count.
        rest: (N,), of which the others count; None for 0.
    """
    scores = np.zeros(len(among))
    scores[among] = 1 + _share(key[among])
    if rest is not None:
        scores[~among] = _share(rest[~among])
    return scores


def _share(values: np.ndarray) -> np.ndarray:
    """(n,) in (0, 1], the rank as a share of n, tied values alike."""
    return rankdata(values) / max(len(values), 1)
