"""How far two rankings of the same rows agree, and what that says of longer ones. Not here: where scores come from."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pandas as pd

ALL = 5000  # splits listed one by one; of more members they are drawn
LEAST_GROWTH = 0.4  # slower than seen on any store: what rounding and few splits may not go below


def ranks(scores: np.ndarray) -> np.ndarray:
    """(n, M) ranks of each column, centred and of length 1, ties shared; NaN in a column whose scores are all alike."""
    return centred(pd.DataFrame(scores).rank().to_numpy())


def centred(scores: np.ndarray) -> np.ndarray:
    """(n, M) scores of each column, centred and of length 1; NaN in a column whose scores are all alike."""
    moved = scores - scores.mean(axis=0)
    length = np.sqrt(np.square(moved).sum(axis=0))
    alike = length <= 1e-12 * np.abs(scores).max(axis=0, initial=0.0)
    return moved / np.where(alike, np.nan, length)


def agreement(a: np.ndarray, b: np.ndarray) -> float | None:
    """Mean over columns of the correlation of a (n, M) and b (n, M): Spearman's of `ranks`, Pearson's of `centred`.

    None where no column has one. Sums of scores over random subsets of the rows correlate as Pearson's says.
    """
    return mean((a * b).sum(axis=0))


def other_agreement(a: np.ndarray, b: np.ndarray) -> float | None:
    """The same of a column with each *other* column; None for one column."""
    own = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    crossed = a[:, own].T @ b[:, own]
    return mean(crossed[~np.eye(len(crossed), dtype=bool)])


def mean(values) -> float | None:
    """The mean of the values that are numbers, None where none is."""
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    return math.fsum(known) / len(known) if known else None


def spearman_brown(r: float | None, factor: float, growth: float = 1.0) -> float | None:
    """The agreement of two measurements `factor` times as long as those that agree by `r`, in [0, 1].

    The odds r / (1 - r) grow as the length does, to the power `growth`. With 1 that is Spearman and Brown's law, which
    holds for Pearson's correlation of whatever is averaged. Ranks of scores with heavy tails grow slower: most rows
    matter little, and what each of them adds is nearly all noise.

    Source: Spearman 1910, Brown 1910: f r / (1 + (f - 1) r). An r of 0 or less foretells 0.
    """
    if r is None:
        return None
    r, factor = min(max(r, 0.0), 1.0), factor**growth
    return factor * r / (1 + (factor - 1) * r)


def growth_of(small: float | None, large: float | None, factor: float, usual: float) -> float:
    """The `growth` with which `small` foretells `large`, the agreement of what is `factor` times as long.

    It is kept within [LEAST_GROWTH, 1]. Where there is nothing to see (one of them missing, or not within (0, 1), or
    of equal length), it is `usual`.
    """
    if small is None or large is None or factor <= 1 or not (0 < small < 1 and 0 < large < 1):
        return usual
    seen = (math.log(large / (1 - large)) - math.log(small / (1 - small))) / math.log(factor)
    return min(max(seen, LEAST_GROWTH), 1.0)


def length_for(wanted: float, r: float | None, length: float, growth: float = 1.0) -> int | None:
    """How many members give the agreement `wanted`, where `length` of them give `r`; None where no number does."""
    if r is None or r <= 0:
        return None
    if r >= 1:
        return 1
    odds = wanted * (1 - r) / (r * (1 - wanted))
    return max(1, math.ceil(length * odds ** (1 / growth) - 1e-9))


def member_splits(
    members: int, wanted: int, rng: np.random.Generator, size: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Up to `wanted` different ways to take two equal groups of members that share none; none for one member.

    Groups have `size` members, or half of them; of an odd number one stays out then.
    """
    half = members // 2 if size is None else size
    if not half:
        return []
    if math.comb(members, half) * math.comb(members - half, half) // 2 <= ALL:
        ways = [
            (first, second)
            for first in combinations(range(members), half)
            for second in combinations([m for m in range(members) if m not in first], half)
            if first < second
        ]
        chosen = rng.permutation(len(ways))[:wanted]
        return [(np.array(ways[i][0]), np.array(ways[i][1])) for i in chosen]
    drawn = (rng.permutation(members) for _ in range(wanted))
    return [(order[:half], order[half : 2 * half]) for order in drawn]


def top_share(scores: np.ndarray, share: float) -> float | None:
    """Share of all positive scores that the highest `share` of the rows carries, its mean over the columns (n, M)."""
    positive = -np.sort(-np.clip(scores, 0, None), axis=0)
    first = max(1, round(share * len(positive)))
    total = positive.sum(axis=0)
    return mean(positive[:first].sum(axis=0) / np.where(total > 0, total, np.nan))
