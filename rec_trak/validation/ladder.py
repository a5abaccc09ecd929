"""From exact leave-one-out down to TRAK, one approximation at a time, on a convex model. Not here: the model, files.

The effect of a row on a target is f_t with all rows less f_t without the row. Each rung estimates it:

    one Newton step       grad f_t' (H - H_i)^-1 Q_i grad f_i     approximate leave-one-out (ALO)
    without denominator   grad f_t' H^-1 Q_i grad f_i             H = exact curvature of the losses + l2
    margin curvature      H replaced by sum r grad f grad f' + l2 differs for softmax alone
    TRAK, matched ridge   r replaced by its mean: sum grad f grad f' + l2 / mean r
    TRAK, lambda_rel      the relative ridge of a run
    projected             gradients projected to K numbers, kernels averaged over E projections

All from the second down are computed by scoring.py, the code that a run's scores come from.

Source: Park et al. 2023, TRAK (arXiv 2303.14186), section 3; Tong et al. 2026 (arXiv 2602.01312) for the question.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from rec_trak.errors import NumericalError, RecTrakWarning
from rec_trak.scoring.solve import gram, kernel_column, leverage, solve
from rec_trak.sketch.projection import SketchProjector
from rec_trak.validation import glm

Project = Callable[[Tensor, int, int], Tensor]  # (n, p), K, member -> (n, K)
DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class System:
    """A fitted convex model as the rungs read it.

    Attributes:
        rows, fitted: the model.
        phi: (N, p) float32, grad f.
        q, r: (N,) float64, residual and curvature of the loss along f.
        targets: (M, p) float32, grad f of the targets.
    """

    rows: glm.Rows
    fitted: glm.Fit
    phi: Tensor
    q: np.ndarray
    r: np.ndarray
    targets: Tensor

    @property
    def matched_ridge(self) -> float:
        """l2 over the mean of r, weighted by |grad f|^2: the ridge that keeps the balance once r is dropped."""
        size = self.phi.double().square().sum(dim=1).numpy()
        return self.fitted.l2 * size.sum() / max((self.r * size).sum(), np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Rung:
    """One estimate of n rows' effects.

    Attributes:
        name: see the module.
        dim, members: K and E of `projected`, else 0 and 1.
        lambda_rel: the relative ridge where there is one.
        effect: (n, M) on the targets, or None where the system cannot be solved.
        own: (n,) on the row's own margin.
    """

    name: str
    effect: np.ndarray | None
    own: np.ndarray | None
    lambda_rel: float | None = None
    dim: int = 0
    members: int = 1


def system(rows: glm.Rows, fitted: glm.Fit, targets: glm.Rows) -> System:
    """What the rungs read of a fitted model and of the targets' rows."""
    eta = rows.predictors(fitted.weights)
    aims = glm.margin_gradients(targets, targets.predictors(fitted.weights))
    q, r = glm.residuals(rows, eta).numpy(), glm.margin_curvature(rows, eta).numpy()
    return System(rows, fitted, glm.margin_gradients(rows, eta).float(), q, r, aims.float())


def exact(rows: glm.Rows, fitted: glm.Fit, targets: glm.Rows, index: np.ndarray) -> Rung:
    """The truth: each row of `index` (n,) left out, the model fitted again, margins compared."""
    weights = glm.left_out(rows, fitted, index)
    everything = glm.margins(targets, targets.predictors(fitted.weights))
    effect = np.concatenate([
        (everything - glm.margins(targets, targets.predictors(part))).numpy()
        for part in weights.split(max(1, glm.HELD // targets.mask.numel()))
    ])  # fmt: skip
    picked = glm.picked(rows, torch.as_tensor(index))
    before = glm.margins(picked, picked.predictors(fitted.weights))
    without = torch.einsum("ncp,np->nc", picked.features, weights)
    return Rung("exact", effect, (before - glm.margins(picked, without)).numpy())


def rungs(whole: System, index: np.ndarray, ridges: Iterable[float | None], seed: int = 0) -> Iterator[Rung]:
    """The estimates of every rung without a projection for the rows `index` (n,), and a random order last.

    Args:
        whole: the model.
        index: n positions among the N rows.
        ridges: lambda_rel of TRAK; None for the matched ridge.
        seed: of the random order.
    """
    step = glm.one_step(whole.rows, whole.fitted, index).float()
    yield Rung("one Newton step", (step @ whole.targets.T).numpy(), (step * whole.phi[index]).sum(dim=1).numpy())
    root = glm.roots(whole.rows, whole.rows.predictors(whole.fitted.weights)).flatten(0, 1)
    weighted = {"without denominator": gram(root)}
    if whole.rows.family == "softmax":
        weighted["margin curvature"] = gram(whole.phi, np.sqrt(whole.r))
    for name, xtx in weighted.items():
        yield _rung(name, whole, index, xtx, relative(whole.fitted.l2, xtx, len(whole.phi)))
    xtx = gram(whole.phi)
    for ridge in ridges:
        name = "TRAK, matched ridge" if ridge is None else "TRAK"
        lambda_rel = relative(whole.matched_ridge, xtx, len(whole.phi)) if ridge is None else ridge
        yield _rung(name, whole, index, xtx, lambda_rel)
    noise = np.random.default_rng(seed)
    yield Rung("random order", noise.normal(size=(len(index), len(whole.targets))), noise.normal(size=len(index)))


def projections(
    whole: System,
    index: np.ndarray,
    dims: Iterable[int],
    members: Sequence[int],
    ridges: Iterable[float | None],
    project: Project,
) -> Iterator[Rung]:
    """The estimates of the projected rungs for the rows `index` (n,).

    Args:
        whole, index, ridges: as `rungs`.
        dims: K.
        members: E; the kernels of the first so many projections are averaged.
        project: (gradients, K, member) -> projected gradients; see `gaussian` and `sketched`.
    """
    for dim in dims:
        for ridge in ridges:
            yield from _projected(whole, index, dim, members, ridge, project)


def relative(ridge: float, xtx: Tensor, n_rows: int) -> float:
    """The `lambda_rel` of `scoring.solve` that adds `ridge` to the diagonal of `xtx`."""
    return float(ridge) * min(len(xtx), n_rows) / float(xtx.diagonal().sum())


def _solved(phi: Tensor, targets: Tensor, xtx: Tensor, lambda_rel: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Kernel (N, M) and leverage (N,); None where the system has no solution."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecTrakWarning)  # the ladder goes where a run is warned
            kernel = solve(xtx, len(phi), lambda_rel)
    except NumericalError:
        return None
    return kernel_column(phi, kernel, targets), leverage(phi, kernel)


def _rung(name: str, whole: System, index: np.ndarray, xtx: Tensor, lambda_rel: float) -> Rung:
    found = _solved(whole.phi, whole.targets, xtx, lambda_rel)
    if found is None:
        return Rung(name, None, None, lambda_rel)
    kernel, h = found
    return Rung(name, (kernel * whole.q[:, None])[index], (h * whole.q)[index], lambda_rel)


def _projected(
    whole: System, index: np.ndarray, dim: int, members: Sequence[int], ridge: float | None, project: Project
) -> Iterator[Rung]:
    """The rungs of one K and one ridge, one for each number of members."""
    name = "projected" if ridge is not None else "projected, matched ridge"
    kernels = hs = 0.0
    for member in range(max(members)):
        both = project(torch.cat([whole.phi, whole.targets]), dim, member)
        phi, targets = both[: len(whole.phi)], both[len(whole.phi) :]
        xtx = gram(phi)
        lambda_rel = relative(whole.matched_ridge, xtx, len(phi)) if ridge is None else ridge
        found = _solved(phi, targets, xtx, lambda_rel)
        if found is None:
            yield from (Rung(name, None, None, ridge, dim, count) for count in members if count > member)
            return
        kernels, hs = kernels + found[0], hs + found[1]
        if member + 1 in members:
            effect, own = kernels / (member + 1) * whole.q[:, None], hs / (member + 1) * whole.q
            yield Rung(name, effect[index], own[index], lambda_rel, dim, member + 1)


def gaussian(seed: int) -> Project:
    """Dense Gaussian projections with entries N(0, 1 / K), as the projection law assumes: for a small p."""

    def project(gradients: Tensor, dim: int, member: int) -> Tensor:
        noise = np.random.default_rng([seed, dim, member]).standard_normal((gradients.shape[1], dim), dtype=np.float32)
        return gradients @ torch.from_numpy(noise / np.float32(dim**0.5))

    return project


def sketched(seed: int) -> Project:
    """The engine's own sketch."""

    def project(gradients: Tensor, dim: int, member: int) -> Tensor:
        return SketchProjector(gradients.shape[1], dim, seed).project({"weights": gradients}, member)

    return project


def agreement(rung: Rung, truth: Rung, seed: int = 0) -> dict[str, Any]:
    """How well a rung agrees with the truth, over rows, as plain numbers; None where there is nothing to compare.

    `spearman` and `pearson` are means over targets, `low` and `high` the bootstrap interval of `spearman` over
    targets; `error` the mean over targets of |estimate - truth| / |truth|; `own` the Spearman of the effects on the
    rows' own margins (self-influence).
    """
    told = {"rung": rung.name, "K": rung.dim, "members": rung.members, "lambda_rel": rung.lambda_rel}
    if rung.effect is None:
        return told | dict.fromkeys(("spearman", "low", "high", "pearson", "error", "own"))
    each = correlations(rankdata(rung.effect, axis=0), rankdata(truth.effect, axis=0))
    low, high = interval(each, seed)
    size = np.linalg.norm(truth.effect, axis=0)
    error = np.linalg.norm(rung.effect - truth.effect, axis=0)[size > 0] / size[size > 0]
    own = correlations(rankdata(rung.own)[:, None], rankdata(truth.own)[:, None])[0]
    return told | {
        "spearman": _number(np.nanmean(each)) if np.isfinite(each).any() else None,
        "low": _number(low),
        "high": _number(high),
        "pearson": _number(correlations(rung.effect, truth.effect).mean()),
        "error": _number(error.mean()) if len(error) else None,
        "own": _number(own),
    }


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation (M,) of the columns of a and b (n, M); NaN where one is constant."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=0) / np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The percentile interval, at LEVEL, of the mean of values (M,) drawn again with replacement; NaN left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    again = values[np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
