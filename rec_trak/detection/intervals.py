"""Bootstrap intervals of detection metrics. Not here: the metrics themselves (metrics.py).

The rows of each class are drawn again with replacement, so that both classes keep their sizes (stratified). AUROC,
average precision and the poison found in the first k rows depend on the order of scores alone, and genuine rows between
two poisoned ones are all alike for them: they are counted in one group, and a draw costs as much as there are poisoned
rows, whatever N is.

Rows are drawn as if they were independent. Clicks of one bot are not, so the true uncertainty is larger.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3 (percentile interval).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
BLOCK = 2_000_000  # counts held at once
Interval = tuple[float, float]


@dataclass(frozen=True)
class Drawn:
    """Percentile intervals (low, high) at LEVEL; `found` has one for each number of rows asked for."""

    auroc: Interval
    average_precision: Interval
    found: list[Interval]


def levels(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poisoned and genuine rows, both (G,) int64, in each group of the ranking, the highest group first.

    A group is the rows of one score where one of them is poisoned, or all rows between two such scores.

    Args:
        scores: (N,) finite.
        labels: (N,) 0 or 1.
    """
    if not len(scores):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    order = np.argsort(-scores, kind="stable")
    ranked, poisoned = scores[order], labels[order].astype(np.int64)
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    poisoned, rows = np.add.reduceat(poisoned, starts), np.diff(np.r_[starts, len(scores)])
    holds = poisoned > 0
    starts = np.flatnonzero(np.r_[True, holds[1:] | holds[:-1]])
    poisoned, rows = np.add.reduceat(poisoned, starts), np.add.reduceat(rows, starts)
    return poisoned, rows - poisoned


def found_in(poisoned: np.ndarray, genuine: np.ndarray, sizes: list[int]) -> list:
    """Poisoned rows among the first `sizes` rows, on average over the orders that the rows of a group can have.

    Args:
        poisoned, genuine: (G,) counts of each group, or (D, G) of D draws.
        sizes: each at most the number of rows.

    Returns:
        One float a size, or (D,) floats.
    """
    found, rows = np.cumsum(poisoned, axis=-1), np.cumsum(poisoned + genuine, axis=-1)
    results = []
    for size in sizes:
        group = (rows < size).sum(axis=-1, keepdims=True)  # the one that the cut falls into
        before = [np.take_along_axis(x, group, -1) - np.take_along_axis(y, group, -1)
                  for x, y in ((found, poisoned), (rows, poisoned + genuine))]  # fmt: skip
        share = np.take_along_axis(poisoned, group, -1) / np.take_along_axis(poisoned + genuine, group, -1)
        value = (before[0] + (size - before[1]) * share)[..., 0]
        results.append(value if value.ndim else float(value))
    return results


def auroc(poisoned: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """AUROC of groups (..., G) of both classes, (...); a tie counts one half."""
    below = genuine.sum(axis=-1, keepdims=True) - np.cumsum(genuine, axis=-1)
    pairs = poisoned.sum(axis=-1) * genuine.sum(axis=-1)
    return (poisoned * (below + genuine / 2)).sum(axis=-1) / pairs


def average_precision(poisoned: np.ndarray, genuine: np.ndarray) -> np.ndarray:
    """Average precision of groups (..., G), (...); the rows of a group enter together."""
    found, rows = np.cumsum(poisoned, axis=-1), np.cumsum(poisoned + genuine, axis=-1)
    return (poisoned * found / np.maximum(rows, 1)).sum(axis=-1) / poisoned.sum(axis=-1)


def bootstrap(groups: tuple[np.ndarray, np.ndarray], sizes: list[int], draws: int, seed: int) -> Drawn:
    """Intervals of both metrics and of the poison found in the first `sizes` rows.

    Args:
        groups: as `levels` makes them, rows of both classes among them.
        sizes: numbers of rows, each at most N.
        draws, seed: how often rows are drawn again, and from which stream.
    """
    streams = np.random.default_rng(seed).spawn(2)  # one a class, so that the block changes nothing
    block = max(1, BLOCK // len(groups[0]))
    values = []
    for start in range(0, draws, block):
        count = min(block, draws - start)
        again = [
            stream.multinomial(rows.sum(), rows / rows.sum(), size=count)
            for stream, rows in zip(streams, groups, strict=True)
        ]
        values.append(np.stack([auroc(*again), average_precision(*again), *found_in(*again, sizes)]))
    tails = np.quantile(np.concatenate(values, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    low_high = [(float(low), float(high)) for low, high in tails.T]
    return Drawn(low_high[0], low_high[1], low_high[2:])
