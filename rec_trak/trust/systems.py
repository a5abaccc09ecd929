"""One member's gradients -> leverages and kernel columns under several ridges and parts of the K buckets.

All parts share one Phi'Phi: that of some buckets is a submatrix of it. Any part of the buckets, drawn at random, is a
sketch by itself: an entry of the gradient falls into it with the same chance as any other, and within it entries still
meet at random with random signs, so that inner products are right on average up to a factor, which the ridge, relative
to its own trace, takes along. Two halves share no entry of the gradient. Not here: agreement, verdicts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rec_trak.errors import NumericalError, RecTrakWarning
from rec_trak.scoring.solve import relative_ridge

SINGLE = 1e4  # condition up to which a factor in single precision changes no rank
BLOCK = 256  # columns of a factor at once
CHUNK = 2048  # rows whitened at once in double precision
LEFT = 1e-6  # of 1 - leverage, at least: what is left of a row that a system repeats by heart is rounding
ITERATIONS = 16  # of the power method: an extreme eigenvalue to a few percent


@dataclass(frozen=True)
class View:
    """A way to solve the same member.

    Attributes:
        ridge: how many times the run's.
        buckets: (K',) int64, the part of the K buckets that is looked at; None for all.
        fixed: a `lambda_rel` instead, whatever the run's; its kernel is not made.
    """

    ridge: float = 1.0
    buckets: np.ndarray | None = None
    fixed: float | None = None

    def of(self, lambda_rel: float) -> float:
        """The `lambda_rel` of the view, where the run's is this."""
        return lambda_rel * self.ridge if self.fixed is None else self.fixed


@dataclass(frozen=True)
class Solved:
    """A member seen in one way.

    Attributes:
        leverage: (n,) float64.
        kernel: (n, T) float32, phi_i' (Phi'Phi + ridge I)^-1 phi_t.
        condition_number: of the ridged system with the run's ridge, to a few percent; of any other view an upper bound.
        explained: see `Margins`; None where no margins were given, or for a part of the buckets.
    """

    leverage: np.ndarray
    kernel: np.ndarray
    condition_number: float
    explained: float | None


@dataclass(frozen=True)
class Margins:
    """What a linear model on the projected gradients, with the same ridge, is to explain: the model's own margins.

    Each row is left out in turn (exactly: (f - fitted) / (1 - leverage)); `Solved.explained` is 1 - the sum of squared
    errors over that of f. Attribution replaces the model by that linear one, so a ridge that explains left-out rows
    worse than a larger one follows single rows, and one that explains them worse than a smaller one loses curvature.

    Attributes:
        f: (n,) float64, of the rows looked at.
        moment: (K,) float64, sum of f phi over all rows.
    """

    f: np.ndarray
    moment: Tensor


def solve_view(
    view: View,
    xtx: Tensor,
    largest: float,
    count: int,
    lambda_rel: float,
    phi: Tensor,
    targets: Tensor,
    margins: Margins | None = None,
) -> Solved:
    """Leverages and kernel columns of some rows, in single precision where the system allows it.

    Args:
        view: which ridge, which buckets.
        xtx: (K, K) float64 Phi'Phi over all rows.
        largest: its largest eigenvalue.
        count: N, the rows it was summed over.
        lambda_rel: the run's ridge.
        phi: (n, K), the rows to look at.
        targets: (T, K) float32; T may be 0.
        margins: to be explained, or None.

    Raises:
        NumericalError: no ridge although K >= N, no gradient at all, or a system that is not positive definite.
    """
    lambda_rel = view.of(lambda_rel)
    if view.buckets is not None:
        part = torch.from_numpy(view.buckets)
        xtx, phi, targets, margins = xtx[part][:, part], phi[:, part], targets[:, part], None
    if view.fixed is not None:
        targets = targets[:0]
    with warnings.catch_warnings():  # the run was warned already
        warnings.simplefilter("ignore", RecTrakWarning)
        ridge = relative_ridge(xtx, count, lambda_rel)
    bound = (largest + ridge) / ridge if ridge > 0 else np.inf
    dtype = torch.float32 if bound < SINGLE else torch.float64
    system = xtx.to(dtype, copy=True)
    system.diagonal().add_(ridge)
    factor = _factor(system)
    if factor is None:
        raise NumericalError(
            f"trust: Phi'Phi + ridge is not positive definite. Got `lambda_rel` {lambda_rel:g}, expected "
            "a larger ridge. Set `lambda_rel` to 1.0 and go on from there."
        )
    columns = torch.cholesky_solve(targets.to(dtype).T, factor)
    condition = _condition(factor, largest, ridge) if _is_run(view) else bound
    h = _leverage(factor, phi)
    explained = None if margins is None else _explained(factor, phi, h, margins)
    return Solved(h, _kernel(phi, columns), condition, explained)


def _factor(system: Tensor) -> Tensor | None:
    """The lower Cholesky factor, written over the system, by blocks: products, which are fast, do most of the work.

    None for a system that is not positive definite.
    """
    for start in range(0, len(system), BLOCK):
        end = start + BLOCK
        corner, failed = torch.linalg.cholesky_ex(system[start:end, start:end])
        if int(failed):
            return None
        system[start:end, start:end] = corner
        if end < len(system):
            below = torch.linalg.solve_triangular(corner, system[end:, start:end].T, upper=False).T
            system[end:, start:end] = below
            system[end:, end:].addmm_(below, below.T, alpha=-1)
    return system.tril_()


def _is_run(view: View) -> bool:
    return view.buckets is None and view.fixed is None and view.ridge == 1


def _leverage(factor: Tensor, phi: Tensor) -> np.ndarray:
    h = np.empty(len(phi))
    step = len(phi) if factor.dtype == torch.float32 else CHUNK
    for start in range(0, len(phi), step):
        part = phi[start : start + step].to(factor.dtype)
        h[start : start + step] = torch.linalg.solve_triangular(factor, part.T, upper=False).square_().sum(dim=0)
    return h


def _kernel(phi: Tensor, columns: Tensor) -> np.ndarray:
    """(n, T) float32 products of rows and solved targets (K, T), in the precision of the targets."""
    kernel = np.empty((len(phi), columns.shape[1]), dtype=np.float32)
    step = max(1, len(phi)) if columns.dtype == torch.float32 else CHUNK
    for start in range(0, len(phi), step):
        kernel[start : start + step] = phi[start : start + step].to(columns.dtype) @ columns
    return kernel


def _explained(factor: Tensor, phi: Tensor, h: np.ndarray, margins: Margins) -> float | None:
    """See `Margins`; None where all margins are 0."""
    weights = torch.cholesky_solve(margins.moment.to(factor.dtype)[:, None], factor)[:, 0]
    fitted = [(phi[start : start + CHUNK].to(factor.dtype) @ weights).double() for start in range(0, len(phi), CHUNK)]
    errors = (margins.f - torch.cat(fitted).numpy()) / np.maximum(1 - h, LEFT)
    total = np.square(margins.f).sum()
    return float(1 - np.square(errors).sum() / total) if total > 0 else None


def largest_eigenvalue(xtx: Tensor) -> float:
    """The largest eigenvalue of a positive matrix (K, K), to a few percent and never more than it is."""
    matrix = xtx.float()
    return _grown(lambda x: matrix @ x, len(matrix))


def _condition(factor: Tensor, largest: float, ridge: float) -> float:
    """Largest over smallest eigenvalue of the system with this factor."""
    inverse = _grown(lambda x: torch.cholesky_solve(x.to(factor.dtype)[:, None], factor)[:, 0].float(), len(factor))
    return (largest + ridge) * inverse


def _grown(apply, size: int) -> float:
    """The factor by which repeated use of `apply` makes a vector grow: the largest eigenvalue, from below."""
    x, growth = torch.from_numpy(np.random.default_rng(0).standard_normal(size).astype(np.float32)), 0.0
    for _ in range(ITERATIONS):
        x = apply(x / x.norm())
        growth = float(x.norm())
        if not growth > 0:
            break
    return growth
