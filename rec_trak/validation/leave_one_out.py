"""Influence against exact leave-one-out on a convex head of a run's model. Not here: the head, the rungs, files.

The head's weights are fitted to their optimum with all rows, and again without each row. What TRAK says of the same
head, computed by the code that a run's scores come from, is compared with that: see `ladder` for the rungs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from rec_trak.attribution.job import Job
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import expand
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import build_inputs
from rec_trak.errors import ConfigError
from rec_trak.validation import glm, ladder, projection_law
from rec_trak.validation.head import head_rows

L2_GRID = (0.001, 0.01, 0.1, 1.0, 10.0)
FEWEST = 10  # rows left out, for a rank correlation


def leave_one_out(
    job: Job,
    targets: Impressions,
    rows: int | None = None,
    seed: int = 0,
    *,
    articles: Articles | None = None,
    l2_rel: float | None = None,
    dims: Sequence[int] | None = None,
    members: Sequence[int] = (1, 10),
    lambda_rel: Sequence[float | None] | None = None,
) -> dict[str, Any]:
    """How well each rung from exact leave-one-out down to TRAK ranks the job's rows, on the head of member 0.

    The head has a softmax loss over an impression's candidates, whatever the run's loss is.

    Args:
        job: for its impressions, its first member, its K, `lambda_rel` and seed; nothing is read from its store.
        targets: M targets, the article to explain first.
        rows: leave so many seeded rows out, None for all; the head is fitted to all rows either way.
        seed: of the sample.
        articles: the table of the targets where it is more than the job's.
        l2_rel: the penalty l2, relative to the mean eigenvalue of the summed losses' Hessian at w = 0; None for that
            of L2_GRID under which left-out rows have the smallest loss, which looks at no influence.
        dims: K of the projected rungs; None for D and the run's K.
        members: E of the projected rungs, projections of one model with the engine's sketch.
        lambda_rel: ridges; None for 0, the matched one (None in a list), 0.1, 1 and the run's own.

    Returns:
        Plain data: `rows` N, `left_out` n, `targets` M, `weights` D, `l2`, `l2_rel`, `left_out_loss` of each penalty
        tried, `gradient` (relative, at the optimum), `loss` and `loss_at_zero` (mean a row), `rungs`, a list of what
        `ladder.agreement` gives, projected ones with the Pearson correlation `predicted` by `projection_law`; two of
        these: `headline` (the run's K and `lambda_rel`, one member) and `matched` (with the ridge that matches l2).

    Raises:
        ConfigError: too few rows, no target, or a model that has no such head.
        DataError: an impression or a target without another candidate.
        NumericalError: an optimum is not reached.
    """
    index = _left_out_rows(len(job.impressions), rows, seed)
    own, aims = _heads(job, targets, articles)
    fitted, tried = _fitted(own, L2_GRID if l2_rel is None else (l2_rel,))
    ridges = (0.0, None, 0.1, 1.0, job.lambda_rel) if lambda_rel is None else lambda_rel
    dims = (own.features.shape[-1], job.proj_dim) if dims is None else dims
    told = _compared(job, own, aims, fitted, index, dict.fromkeys(dims), members, dict.fromkeys(ridges), seed)
    lines = {
        "headline": _line(told, rung="projected", K=job.proj_dim, members=1, lambda_rel=job.lambda_rel),
        "matched": _line(told, rung="projected, matched ridge", K=job.proj_dim, members=1),
    }
    return _told(own, fitted, tried) | {"left_out": len(index), "targets": len(aims)} | lines | {"rungs": told}


def _told(own: glm.Rows, fitted: glm.Fit, tried: dict[float, float]) -> dict[str, Any]:
    """The head in numbers."""
    eta = own.predictors(fitted.weights)
    return {
        "rows": len(own),
        "weights": own.features.shape[-1],
        "l2": fitted.l2,
        "l2_rel": min(tried, key=tried.get),
        "left_out_loss": {str(rel): loss for rel, loss in tried.items()},
        "gradient": fitted.gradient,
        "loss": float(glm.losses(own, eta).mean()),
        "loss_at_zero": float(glm.losses(own, torch.zeros_like(eta)).mean()),
    }


def _heads(job: Job, targets: Impressions, articles: Articles | None) -> tuple[glm.Rows, glm.Rows]:
    """The head's rows and targets, with the weights of the job's first member."""
    if not len(targets):
        raise ConfigError("leave-one-out: there is no target. Got 0, expected at least one. Give a target set.")
    load_into(job.model, job.members[0].state_dict(), job.members[0].name)
    tables = ((job.impressions, job.articles), (targets, job.articles if articles is None else articles))
    own, aims = (
        head_rows(job.model, build_inputs(expand(rows, "softmax")[0], table, job.model_config), job.device)
        for rows, table in tables
    )
    return own, aims


def _compared(
    job: Job,
    own: glm.Rows,
    aims: glm.Rows,
    fitted: glm.Fit,
    index: np.ndarray,
    dims: Iterable[int],
    members: Sequence[int],
    ridges: Iterable[float | None],
    seed: int,
) -> list[dict[str, Any]]:
    """What every rung gives, against exact leave-one-out of the rows `index` (n,)."""
    whole, truth = ladder.system(own, fitted, aims), ladder.exact(own, fitted, aims, index)
    found = chain(
        ladder.rungs(whole, index, ridges, seed),
        ladder.projections(whole, index, dims, members, ridges, ladder.sketched(job.seed)),
    )
    spectrum = projection_law.spectrum(whole.phi, whole.targets)
    return [ladder.agreement(rung, truth, seed) | _predicted(whole, spectrum, rung, truth, index) for rung in found]


def _predicted(
    whole: ladder.System, spectrum: projection_law.Spectrum, rung: ladder.Rung, truth: ladder.Rung, index: np.ndarray
) -> dict[str, float | None]:
    """The Pearson correlation that the law of the spectrum gives a projected rung."""
    if not rung.dim or rung.effect is None:
        return {}
    ridge = rung.lambda_rel * float(spectrum.eigenvalues.sum()) / min(rung.dim, len(whole.q))
    mean, variance = (part[index] for part in projection_law.expected(spectrum, whole.q, rung.dim, ridge))
    correlation = projection_law.predicted_correlation(mean, variance, rung.members, truth.effect)
    correlation = correlation[np.isfinite(correlation)]
    return {"predicted": float(correlation.mean()) if len(correlation) else None}


def _line(told: list[dict[str, Any]], **setting: Any) -> dict[str, Any] | None:
    """The line with this setting."""
    return next((line for line in told if setting.items() <= line.items()), None)


def _fitted(rows: glm.Rows, grid: Sequence[float]) -> tuple[glm.Fit, dict[float, float]]:
    """The fit under the relative penalty of `grid` with the smallest loss of left-out rows, and the loss of each."""
    scale, best, tried = mean_eigenvalue(rows), None, {}
    for l2_rel in grid:
        fitted = glm.fit(rows, l2_rel * scale)
        tried[l2_rel] = glm.left_out_loss(rows, fitted)
        best = fitted if tried[l2_rel] == min(tried.values()) else best
    return best, tried


def mean_eigenvalue(rows: glm.Rows) -> float:
    """The mean eigenvalue of the summed losses' Hessian at w = 0: a scale for the penalty that no fit changes."""
    roots = glm.roots(rows, torch.zeros(rows.mask.shape, dtype=torch.float64))
    return float(roots.square().sum()) / rows.features.shape[-1]


def _left_out_rows(count: int, wanted: int | None, seed: int) -> np.ndarray:
    """The rows to leave out, (n,) sorted."""
    wanted = count if wanted is None else wanted
    if not FEWEST <= wanted <= count:
        raise ConfigError(
            f"leave-one-out: not so many rows can be left out. Got {wanted} of {count}, expected {FEWEST} to {count}: "
            f"a rank correlation of fewer than {FEWEST} says nothing. Give another number of rows."
        )
    if wanted == count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size=wanted, replace=False))
