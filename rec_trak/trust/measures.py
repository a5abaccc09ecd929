"""What a finished store says about the rankings made from it, as plain numbers. Not here: verdicts, files, retraining.

A ranking is measured by making it again from less: from half of the sketch, from half of the members, with other
ridges. What the whole would repeat is foretold from the halves, see repeats.py. None of this sees an error that
all halves share: a linearisation that does not hold, a ridge so large that curvature is lost, members trained alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rec_trak.trust.agreement import (
    agreement,
    length_for,
    mean,
    other_agreement,
    ranks,
    top_share,
)
from rec_trak.trust.arrays import Stack, check_arrays
from rec_trak.trust.members import Member, Scores, see_member, views_of
from rec_trak.trust.prediction import CURVATURE, FOLLOWING, NOISE, foretold, kept
from rec_trak.trust.repeats import Groups, groups_of, of_members, of_sketch

ROWS, TARGETS = 1_500, 60  # looked at, at most: a seeded sample, as large as those that verdicts were judged on
SHUFFLES = 5
TOP = 0.01


@dataclass(frozen=True)
class Measures:
    """Numbers about one ranking. Every correlation is Spearman's over rows, a mean over targets where there are any.

    Attributes:
        rows, members, proj_dim, lambda_rel: I, E, K, and the ridge.
        targets: how many were looked at; None for self-influence.
        projection_half: agreement of scores from two halves of the K buckets, all members, a mean over splits.
        projection_reliability: what that foretells for two sketches of K buckets.
        projection_fidelity: its root: the correlation with the scores without any sketch.
        checkpoint_half: agreement of two groups of E // 2 members that share none; each has sketches of its own, so the
            sketches' noise is in it. None for one member.
        checkpoint_reliability: what that foretells for two ensembles of E.
        projection_sums, checkpoint_sums: as the two reliabilities, of sums of scores over random subsets of the rows,
            which is what an LDS compares: Pearson's correlation of the scores, where large scores count for more.
        members_for_50, members_for_70, members_for_80: members that give such a reliability.
        growth: how fast the odds of an agreement of ranks grow with members, see `agreement.spearman_brown`: seen from
            four members on, else what was seen elsewhere. None for one member.
        reliability: `checkpoint_reliability`, or `projection_reliability` where that is less or the only one.
        fidelity: its root.
        explained: how much of the margins a linear model explains of rows that it leaves out, see `systems.Margins`; a
            mean over members. explained_larger, explained_smaller: the best of that and of larger, or smaller, ridges.
            None for self-influence, and where gradients are weighted.
        kept_noise, kept_following, kept_curvature: what is left after each loss, see `prediction.kept`.
        predicted: all together, see `prediction.foretold`: the one number that verdicts rest on.
        effective_dimension, condition_number: means over members; the latter to a few percent.
        mean_leverage, max_leverage: of the members' mean h, over rows of the store.
        share_above_half, share_above_nine_tenths: of the rows, by that h.
        top_share: of all positive scores, carried by the first 1 % of the rows.
        smaller_ridge, larger_ridge: agreement with the ranking at a third of the ridge, and at three times.
        dot_product: agreement with the plain inner product of gradients, the limit of a large ridge.
        other_target: `projection_half` between *different* targets; near `projection_half`, the ranking says little of
            which target it is for. None for fewer than two.
        null: `projection_half` after the rows of one half were shuffled.
        law: largest |Q grad f + grad L| / |grad L| over some rows; None where it was not looked at.
    """

    rows: int
    members: int
    proj_dim: int
    lambda_rel: float
    targets: int | None
    projection_half: float | None
    projection_reliability: float | None
    projection_fidelity: float | None
    checkpoint_half: float | None
    checkpoint_reliability: float | None
    projection_sums: float | None
    checkpoint_sums: float | None
    members_for_50: int | None
    members_for_70: int | None
    members_for_80: int | None
    reliability: float | None
    fidelity: float | None
    explained: float | None
    explained_larger: float | None
    explained_smaller: float | None
    kept_noise: float | None
    kept_following: float | None
    kept_curvature: float | None
    predicted: float | None
    effective_dimension: float
    condition_number: float
    mean_leverage: float
    max_leverage: float
    share_above_half: float
    share_above_nine_tenths: float
    top_share: float | None
    smaller_ridge: float | None
    larger_ridge: float | None
    dot_product: float | None
    other_target: float | None
    null: float | None
    law: float | None = None
    growth: float | None = None


def measure(
    phis: Stack,
    qs: Stack,
    targets: Stack | None,
    lambda_rel: float,
    seed: int = 0,
    owner: np.ndarray | None = None,
    weights: Stack | None = None,
) -> Measures:
    """The numbers of one ranking.

    Args:
        phis: for each of E members, projected gradients (N, K); memory maps may stay on disk.
        qs: for each member, Q (N,).
        targets: for each member, projected gradients (M, K) of the targets, whose rankings are measured one by one;
            None for self-influence. Give the mean (1, K) for the ranking by mean influence.
        lambda_rel: the ridge that the ranking was made with.
        seed: of the splits, and of the sample where there are more than ROWS rows or TARGETS targets.
        owner: (N,) ascending, the impression of each row, where some have several.
        weights: for each member (N,), what gradients are multiplied with first. For the leverage of the loss gradient
            give Q here, and ones as `qs`.

    Raises:
        DataError: fewer than `arrays.LEAST_ROWS` impressions, no member, or arrays that do not fit each other.
        NumericalError: a number that is not finite, or a system that cannot be solved.
    """
    return measure_rankings(phis, qs, {"": targets}, lambda_rel, seed, owner, weights)[""]


def measure_rankings(
    phis: Stack,
    qs: Stack,
    rankings: Mapping[str, Stack | None],
    lambda_rel: float,
    seed: int = 0,
    owner: np.ndarray | None = None,
    weights: Stack | None = None,
    kept: Callable[[int, bool], np.ndarray | None] | None = None,
) -> dict[str, Measures]:
    """`measure` of several rankings of the same rows, which cost little more than one.

    Args:
        phis, qs, lambda_rel, seed, owner, weights: as for `measure`.
        rankings: name -> targets.
        kept: gives Phi'Phi of a member, see `members.see_member`.

    Raises:
        DataError, NumericalError: as `measure`.
    """
    phis = [np.asarray(phi) for phi in phis]
    owner = np.arange(len(phis[0])) if owner is None and len(phis) else owner
    check_arrays(phis, qs, rankings, owner)
    rng = np.random.default_rng(seed)
    rows, starts = _sampled(owner, rng)
    chosen = {name: None if t is None else _some(len(t[0]), TARGETS, rng) for name, t in rankings.items()}
    k = phis[0].shape[1]
    views = views_of(k, lambda_rel, rng)
    seen = [
        see_member(
            phi,
            rows,
            _targets(rankings, chosen, e, k),
            lambda_rel,
            views,
            None if weights is None else weights[e],
            None if weights is not None else qs[e],
            None if kept is None else partial(kept, e),
        )
        for e, phi in enumerate(phis)
    ]
    q = np.stack([np.asarray(one, dtype=np.float64).reshape(-1)[rows] for one in qs])
    groups = groups_of(len(phis), rng)
    common = _common(seen, int(owner[-1]) + 1, k, lambda_rel)
    result, first = {}, 0
    for name, targets in chosen.items():
        last = first + (0 if targets is None else len(targets))
        columns = None if targets is None else slice(first, last)
        result[name] = _measured(Scores(seen, q, starts, columns), groups, common, rng)
        first = last
    return result


def _common(seen: list[Member], impressions: int, k: int, lambda_rel: float) -> dict:
    """The fields that all rankings share."""
    h = np.mean([member.leverage["whole"] for member in seen], axis=0)
    return {
        "rows": impressions,
        "members": len(seen),
        "proj_dim": k,
        "lambda_rel": float(lambda_rel),
        "effective_dimension": float(h.mean()) * seen[0].count,
        "condition_number": float(np.mean([member.condition_number for member in seen])),
        "mean_leverage": float(h.mean()),
        "max_leverage": float(h.max()),
        "share_above_half": float((h > 0.5).mean()),
        "share_above_nine_tenths": float((h > 0.9).mean()),
    }


def _measured(scores: Scores, groups: Groups, common: dict, rng: np.random.Generator) -> Measures:
    whole = scores.of("whole")
    placed, targets = ranks(whole), None if scores.columns is None else whole.shape[1]
    sketch, halves = of_sketch(scores)
    members = of_members(scores, groups)
    shuffled = (agreement(halves[0][0], rng.permutation(halves[0][1])) for _ in range(SHUFFLES))
    reliability, sums = _least(sketch.reliability, members.reliability), _least(sketch.sums, members.sums)
    plain = agreement(placed, ranks(scores.of("dot")))
    h, explained = common["mean_leverage"], {}
    if targets is None:
        parts = kept(reliability, h)
    else:
        explained = _explained(scores.seen, common["lambda_rel"])
        parts = kept(sums, h, plain, explained)
    needed = {
        f"members_for_{100 * r:.0f}": length_for(r, members.reliability, groups.members, members.growth)
        for r in (0.5, 0.7, 0.8)
    }
    return Measures(
        **common,
        **needed,
        targets=targets,
        projection_half=sketch.half,
        projection_reliability=sketch.reliability,
        projection_fidelity=_root(sketch.reliability),
        checkpoint_half=members.half,
        checkpoint_reliability=members.reliability,
        projection_sums=sketch.sums,
        checkpoint_sums=members.sums,
        reliability=reliability,
        fidelity=_root(reliability),
        explained=explained.get("own"),
        explained_larger=explained.get("larger"),
        explained_smaller=explained.get("smaller"),
        kept_noise=parts.get(NOISE),
        kept_following=parts.get(FOLLOWING),
        kept_curvature=parts.get(CURVATURE),
        predicted=foretold(parts),
        top_share=top_share(whole, TOP),
        smaller_ridge=agreement(placed, ranks(scores.of("smaller"))),
        larger_ridge=agreement(placed, ranks(scores.of("larger"))),
        dot_product=plain,
        other_target=mean(other_agreement(a, b) for a, b in halves) if (targets or 0) > 1 else None,
        null=mean(shuffled),
        growth=members.growth if groups.halves else None,
    )


def _explained(seen: list[Member], lambda_rel: float) -> dict[str, float]:
    """What the run's ridge explains (`own`), a mean over members, and the best of that and of larger, or smaller, ones.

    Empty where there are no margins.
    """
    known = {ridge: mean(member.explained[ridge] for member in seen) for ridge in seen[0].explained}
    if known.get(lambda_rel) is None:
        return {}
    return {
        "own": known[lambda_rel],
        "larger": max(share for ridge, share in known.items() if ridge >= lambda_rel),
        "smaller": max(share for ridge, share in known.items() if ridge <= lambda_rel),
    }


def _least(*values: float | None) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _root(value: float | None) -> float | None:
    return None if value is None else value**0.5


def _some(count: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """`most` of the numbers below `count`, ascending, or all of them."""
    return np.arange(count) if count <= most else np.sort(rng.choice(count, most, replace=False))


def _sampled(owner: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The rows of at most ROWS impressions, and the place among them where each impression starts."""
    impressions = _some(int(owner[-1]) + 1, ROWS, rng)
    rows = np.flatnonzero(np.isin(owner, impressions))
    return rows, np.flatnonzero(np.r_[True, np.diff(owner[rows]) > 0])


def _targets(rankings: Mapping[str, Stack | None], chosen: dict, member: int, k: int) -> Tensor:
    """(T, K) float32: the targets looked at, of all rankings, one after the other."""
    parts = [np.asarray(t[member])[chosen[name]] for name, t in rankings.items() if t is not None]
    return torch.from_numpy(np.concatenate([np.zeros((0, k)), *parts]).astype(np.float32))
