"""How far ranks move by the seed alone, from the members of a run. Not here: matching rows, words.

A shift between a clean and a poisoned model means something only beside what two models of one kind differ by. Two
measures of that, both by ranks among the matched rows:

- *Single members.* Mean |shift| over all pairs of members of one kind, and over all pairs across the kinds: like for
  like, one checkpoint against one checkpoint.
- *The band.* What is reported of a row is the shift between two ensembles, which another seed moves less than it moves
  a single member. So each kind is split into disjoint halves of equal size (h of E members), and the shifts between
  halves, scaled to whole ensembles, are what chance does. A row whose shift is larger than LEVEL of them lies beyond.
  The scale follows Spearman and Brown: halves whose ranks correlate by r make ensembles of E whose reliability is
  R = m r / (1 + (m - 1) r), m = E / h; the rank difference of two independent ensembles then has a variance of
  1 - sqrt(R_clean R_poisoned) where that of the halves has 1 - r. Dividing by sqrt(m) instead holds only where r is
  near 1, and marks up to three times too many rows where members agree little. Where one kind has a single member, or
  its gradients are gone, the other kind's r stands for both.

The band is one number for all rows: under the null the nominal share of all rows lies beyond it, of those at the ends
of the ranking, which seeds move less, a smaller share. It says "not by seed", not "by the poison": other candidates,
and any other difference of the two data sets, move rows too.

Source: Spearman 1910, Brown 1910 (reliability of a lengthened test).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.comparison.match import SIDES
from rec_trak.errors import RecTrakError
from rec_trak.results.ranking import percentiles
from rec_trak.runs.finished import FinishedRun
from rec_trak.runs.members import Members

LEVEL = 0.95
FEWEST = 20  # matched rows: one of them is 5 %
SPLITS = 50  # of a kind's members into halves; all there are up to five members


@dataclass(frozen=True)
class Halves:
    """One kind's members, split in halves.

    Attributes:
        size: members of a half.
        splits: how many ways of splitting were used.
        reliability: mean rank correlation of two halves, in [0, 1].
        shifts: (splits * n,) |shift| between two halves, percentile points.
    """

    size: int
    splits: int
    reliability: float
    shifts: np.ndarray


def null_band(clean: FinishedRun, poisoned: FinishedRun, matched: pd.DataFrame) -> dict[str, Any]:
    """How far the matched rows' ranks move by seed alone.

    Args:
        clean, poisoned: the runs.
        matched: their n matched rows, see `match.matched_rows`.

    Returns:
        `reason`: why there is no band, None where there is one; `notes`: what could not be read besides; and what
        `measured` gives.
    """
    counts = [len(run.metadata.get("members") or []) for run in (clean, poisoned)]
    if max(counts) < 2:
        few = "there is one checkpoint a kind" if min(counts) == 1 else "the runs do not name their checkpoints"
        return {"reason": f"{few}; two of one kind show what another seed does.", "notes": []}
    if len(matched) < FEWEST:
        return {"reason": f"only {len(matched)} rows stand in both runs; {FEWEST} are needed.", "notes": []}
    members, notes = {}, []
    for side, run in zip(SIDES, (clean, poisoned), strict=True):
        try:
            members[side] = run.members()
        except RecTrakError as error:  # the comparison stands without a band, which says why
            notes.append(str(error))
    if not any(len(one) > 1 for one in members.values()):
        return {"reason": " ".join(notes), "notes": []}
    places = {side: matched[f"{side}_sample_idx"].to_numpy() for side in members}
    return {"reason": None, "notes": notes} | measured(members, places, dict(zip(SIDES, counts, strict=True)))


def measured(members: dict[str, Members], places: dict[str, np.ndarray], sizes: dict[str, int]) -> dict[str, Any]:
    """The band, and what it was made from.

    Args:
        members: of one side or both, two at least of one of them.
        places: the impressions (n,) of the matched rows on each of these sides.
        sizes: members of either side's ensemble, whether or not their gradients are there.

    Returns:
        `level`, `band` (percentile points of |shift|), `members`, `halves` (a side's `size`, `splits` and
        `reliability`), and `member_shift`: mean |shift| between two single members, `clean`, `poisoned` and `across`,
        None where there is no such pair.
    """
    halves = {side: split_halves(one, places[side]) for side, one in members.items() if len(one) > 1}
    ranks = {side: [percentiles(one.scores([i])[places[side]]) for i in range(len(one))]
             for side, one in members.items()}  # fmt: skip
    pairs = {side: list(combinations(ranks.get(side, []), 2)) for side in SIDES}
    pairs["across"] = [(a, b) for a in ranks.get("clean", []) for b in ranks.get("poisoned", [])]
    return {
        "level": LEVEL,
        "band": band(halves, sizes),
        "members": sizes,
        "halves": {
            side: {"size": one.size, "splits": one.splits, "reliability": one.reliability}
            for side, one in halves.items()
        },
        "member_shift": {
            name: float(np.mean([np.abs(a - b).mean() for a, b in some])) if some else None
            for name, some in pairs.items()
        },
    }


def split_halves(members: Members, places: np.ndarray) -> Halves:
    """How far the ranks of the impressions at `places` (n,) move between disjoint halves of a run's members."""
    shifts, correlations = [], []
    pairs = _disjoint(len(members))
    for pair in pairs:
        a, b = (percentiles(members.scores(half)[places]) for half in pair)
        shifts.append(np.abs(a - b))
        varied = np.ptp(a) > 0 and np.ptp(b) > 0
        correlations.append(np.corrcoef(a, b)[0, 1] if varied else 0.0)
    return Halves(len(pairs[0][0]), len(pairs), float(np.clip(np.mean(correlations), 0, 1)), np.concatenate(shifts))


def band(halves: dict[str, Halves], sizes: dict[str, int]) -> float:
    """The |shift| between two ensembles that seeds alone exceed in 1 - LEVEL of the rows, percentile points.

    Args:
        halves: of one side or both; a side that is absent is taken to be as reliable as the other.
        sizes: members of either side's ensemble; 0 where the run does not tell, taken for one.
    """
    reliable = []
    for side in SIDES:
        one = halves.get(side) or next(iter(halves.values()))
        reliable.append(lengthened(one.reliability, max(1, sizes[side]) / one.size))
    spread = 1 - np.sqrt(reliable[0] * reliable[1])
    tiny = np.finfo(np.float64).tiny  # halves that agree in all have no shift to scale
    scaled = [one.shifts * np.sqrt(spread / max(1 - one.reliability, tiny)) for one in halves.values()]
    return float(np.quantile(np.concatenate(scaled), LEVEL))


def lengthened(reliability: float, times: float) -> float:
    """The reliability in [0, 1] of a mean over `times` as many members (Spearman and Brown)."""
    return times * reliability / (1 + (times - 1) * reliability)


def _disjoint(count: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Pairs of disjoint halves of `count` members: all there are, or SPLITS drawn alike every time."""
    size = count // 2
    if comb(count, size) * comb(count - size, size) // 2 <= SPLITS:
        halves = combinations(range(count), size)
        return [(a, b) for a, b in combinations(halves, 2) if not set(a) & set(b)]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(count).tolist() for _ in range(SPLITS)]
    return [(tuple(order[:size]), tuple(order[size : 2 * size])) for order in orders]
