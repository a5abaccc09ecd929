"""How far a ranking repeats itself when it is made from half of the sketch, or of the members. Not here: verdicts.

What the halves agree by is carried to the whole. How fast agreement grows is seen on smaller parts: quarters of the
sketch, single members. Where there are too few members for that, it is what was seen elsewhere (docs/trust.md).

Source: Spearman 1910 and Brown 1910 (split halves).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rec_trak.trust.agreement import agreement, centred, growth_of, mean, member_splits, ranks, spearman_brown
from rec_trak.trust.members import BUCKET_SPLITS, Scores

SPLITS = 10  # of the members
GROWTH = 0.75  # of ranks of single targets, where the store cannot say: NRMS has .81, NAML .70 (docs/trust.md)

Pairs = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Groups:
    """Pairs of equal groups of members that share none: as large as there are, and of one member each."""

    members: int
    halves: Pairs
    singles: Pairs


@dataclass(frozen=True)
class Repeats:
    """What two halves agree by, and what that foretells for the whole.

    Attributes:
        half: of ranks. reliability: what it foretells. sums: the same of sums of scores over random subsets.
        growth: of ranks, see `agreement.spearman_brown`; sums grow by 1.
    """

    half: float | None
    reliability: float | None
    sums: float | None
    growth: float


def groups_of(members: int, rng: np.random.Generator) -> Groups:
    """Up to SPLITS pairs of each kind."""
    halves = member_splits(members, SPLITS, rng)
    return Groups(members, halves, member_splits(members, SPLITS, rng, 1) if members > 3 else [])


def of_sketch(scores: Scores) -> tuple[Repeats, Pairs]:
    """From halves of the buckets to all; and the ranks of the pairs of halves."""
    halves, quarters = (
        [tuple(scores.of(f"{part}{split}{side}") for side in (0, 1)) for split in range(BUCKET_SPLITS)]
        for part in ("half", "quarter")
    )
    ranked = [(ranks(a), ranks(b)) for a, b in halves]
    half, quarter = _mean(ranked), _mean([(ranks(a), ranks(b)) for a, b in quarters])
    growth = growth_of(quarter, half, 2, _usual(scores))
    sums = spearman_brown(_mean([(centred(a), centred(b)) for a, b in halves]), 2)
    return Repeats(half, spearman_brown(half, 2, growth), sums, growth), ranked


def of_members(scores: Scores, groups: Groups) -> Repeats:
    """From the largest groups of members to all; None for one member."""
    size = groups.members // 2
    factor = groups.members / size if groups.halves else 1.0
    distinct = {tuple(group): scores.of("whole", group) for pair in groups.halves for group in pair}
    ranked = {group: ranks(one) for group, one in distinct.items()}
    ranked |= {
        (group,): ranks(scores.of("whole", (group,)))
        for group in sorted({int(m) for pair in groups.singles for (m,) in pair})
    }
    half, single = (
        _mean([(ranked[tuple(a)], ranked[tuple(b)]) for a, b in pairs]) for pairs in (groups.halves, groups.singles)
    )
    growth = growth_of(single, half, size, _usual(scores))
    moved = {group: centred(one) for group, one in distinct.items()}
    sums = spearman_brown(_mean([(moved[tuple(a)], moved[tuple(b)]) for a, b in groups.halves]), factor)
    return Repeats(half, spearman_brown(half, factor, growth), sums, growth)


def _mean(pairs: Pairs) -> float | None:
    return mean(agreement(a, b) for a, b in pairs)


def _usual(scores: Scores) -> float:
    """Ranks by self-influence grow as Spearman and Brown say."""
    return 1.0 if scores.columns is None else GROWTH
