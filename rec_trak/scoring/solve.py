"""Projected gradients -> influence: ridge solve, leverage, self-influence, targets. Not here: models, files, ranks.

Every function reads the projected gradients in blocks of rows, so N may be larger than memory. With phi_i the
projected gradient of row i (K numbers), A = Phi'Phi + ridge I and ridge = lambda_rel trace(Phi'Phi) / min(K, N):

    leverage        h_i    = phi_i' A^-1 phi_i            in [0, 1]
    kernel          k_it   = phi_i' A^-1 phi_t
    self-influence  Q_i h_i, influence on a target Q_i k_it; renormalised k_it / sqrt(h_i)

Source: Park et al. 2023, TRAK (arXiv 2303.14186), section 3; renormalising: Hammoudeh and Lowd 2022.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from trak.score_computers import AbstractScoreComputer

from rec_trak.errors import NumericalError, RecTrakWarning
from rec_trak.scoring.memory import require_systems

BLOCK, DOUBLE_BLOCK = 8192, 2048  # rows at once, in single and in double precision
PANEL = 256  # columns at once of Phi'Phi, of which only one side of the diagonal is multiplied
ROUNDING = {"float32": 1e-5, "bf16": 3e-2}  # of the rows' root mean square: a shorter gradient is rounding
SAFE_LAMBDA = 1e-3
POWER_STEPS = 20  # of the power iteration
SMALL = 64  # a side of systems whose eigenvalues are simply all computed; of larger ones that takes longest
SINGLE_CONDITION = 1e5  # up to here whitening in single precision keeps five digits of a leverage
SINGLE_RIDGE = 0.1  # from this `lambda_rel` on products in single precision keep four digits of a leverage
MOST_CONDITION = 1e12  # beyond it not even double precision keeps three


@dataclass(frozen=True)
class Diagnostics:
    """How well posed one member's system is.

    Attributes:
        ridge: what was added to the diagonal, in units of Phi'Phi.
        condition_number: largest over smallest eigenvalue of Phi'Phi + ridge I.
        effective_dimension: sum of lambda / (lambda + ridge) over the eigenvalues; equals the sum of leverages.
        mean_leverage, max_leverage: over rows, in [0, 1].
    """

    ridge: float
    condition_number: float
    effective_dimension: float
    mean_leverage: float
    max_leverage: float


@dataclass(frozen=True)
class Kernel:
    """One member's solved system.

    Attributes:
        factor: (K, K) float64 lower Cholesky factor of Phi'Phi + ridge I.
        ridge: see `Diagnostics`.
    """

    factor: Tensor
    ridge: float

    @cached_property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue of the ridged system.

        Of more than SMALL numbers a side and below SINGLE_CONDITION it is the largest (to a few percent, from below)
        over the ridge, which the smallest is where N < K and hardly exceeds with a ridge worth its name.
        """
        if len(self.factor) > SMALL and self.ridge > 0:
            v, largest = torch.from_numpy(np.random.default_rng(0).standard_normal((len(self.factor), 1))), 0.0
            for _ in range(POWER_STEPS):
                v = self.factor @ (self.factor.T @ (v / v.norm()))
                largest = float(v.norm())
            if largest / self.ridge < SINGLE_CONDITION:
                return largest / self.ridge
        eigenvalues = torch.linalg.eigvalsh(self.factor @ self.factor.T)
        return float(eigenvalues[-1] / eigenvalues[0]) if eigenvalues[0] > 0 else float("inf")

    def single_precision(self) -> bool:
        """Whether whitening in single precision keeps five digits of a leverage."""
        bound = float(self.factor.square().sum()) / self.ridge if self.ridge > 0 else float("inf")
        return bound < SINGLE_CONDITION or self.condition_number < SINGLE_CONDITION


def needs_double(lambda_rel: float) -> bool:
    """Whether gradients are multiplied in double precision where this is the ridge.

    A sum of products in single precision is off by some 1e-7 of the trace. The ridge is lambda_rel / min(K, N) of it,
    and all that is solved is off by that error over the ridge, unless every eigenvalue is far above both.
    """
    return lambda_rel < SINGLE_RIDGE


def blocks(
    phi: np.ndarray | Tensor, weights: np.ndarray | None = None, dtype: torch.dtype = torch.float32
) -> Iterator[tuple[slice, Tensor]]:
    """Consecutive row blocks of `phi` (N, K) as tensors of `dtype`, each row times its entry of `weights` (N,)."""
    step = BLOCK if dtype == torch.float32 else DOUBLE_BLOCK
    for start in range(0, len(phi), step):
        rows = slice(start, min(start + step, len(phi)))
        part = phi[rows]
        part = (part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))).to(dtype)
        if weights is not None:
            part = part * torch.as_tensor(np.asarray(weights[rows])).to(dtype)[:, None]
        yield rows, part


def gram(phi: np.ndarray | Tensor, weights: np.ndarray | None = None, lambda_rel: float = 0.0) -> Tensor:
    """Phi'Phi (K, K) in float64, added up from products of row blocks.

    Args:
        phi, weights: as `blocks`.
        lambda_rel: the smallest ridge that it will be solved with, which decides the precision; see `needs_double`.

    Raises:
        NumericalError: a row of `phi` is not finite; the message names it.
        RoomError: K is so large that its systems do not fit into memory.
    """
    require_systems(phi.shape[1])
    total = torch.zeros(phi.shape[1], phi.shape[1], dtype=torch.float64)
    for rows, part in blocks(phi, weights, torch.float64 if needs_double(lambda_rel) else torch.float32):
        for start in range(0, len(total), PANEL):
            product = part[:, start : start + PANEL].T @ part[:, start:]
            _require_finite(product, part, rows)
            total[start : start + PANEL, start:] += product.double()
    for start in range(PANEL, len(total), PANEL):
        total[start : start + PANEL, :start] = total[:start, start : start + PANEL].T
    return total


def _require_finite(product: Tensor, part: Tensor, rows: slice) -> None:
    if not torch.isfinite(product).all():
        bad = torch.nonzero(~torch.isfinite(part).all(dim=1)).flatten()
        where = f"row {rows.start + int(bad[0])}" if len(bad) else f"rows {rows.start}-{rows.stop - 1}, by overflow"
        raise NumericalError(
            f"scoring: projected gradients are not finite in {where}. Got NaN or Inf, expected finite numbers. "
            "Featurize again into a new save directory."
        )


def relative_ridge(xtx: Tensor, n_rows: int, lambda_rel: float) -> float:
    """What `lambda_rel` adds to the diagonal: lambda_rel * trace / min(K, N), in units of Phi'Phi.

    Args:
        xtx, n_rows, lambda_rel: as for `solve`.

    Raises:
        NumericalError: no ridge although K >= N, or no gradient at all.
    """
    k = xtx.shape[0]
    if lambda_rel == 0 and k >= n_rows:
        raise NumericalError(
            f"scoring: without a ridge the system has no unique solution. Got `lambda_rel` 0 with K = {k} and "
            f"N = {n_rows} rows, expected K < N or a ridge. Set `lambda_rel` (default 1.0) or a smaller `proj_dim`."
        )
    if lambda_rel < SAFE_LAMBDA and n_rows <= 2 * k:
        warnings.warn(
            f"scoring: `lambda_rel` {lambda_rel:g} is small for N = {n_rows} rows and K = {k}: scores may be mostly "
            f"noise. Use at least {SAFE_LAMBDA:g}, or more rows than 2 K.",
            RecTrakWarning,
            stacklevel=3,
        )
    trace = float(xtx.diagonal().sum())
    if not trace > 0:
        raise NumericalError(
            "scoring: all projected gradients are zero. Got trace 0, expected a positive number. "
            "Check that `grad_wrt` names parameters that reach the scores."
        )
    return lambda_rel * trace / min(k, n_rows)


def solve(xtx: Tensor, n_rows: int, lambda_rel: float) -> Kernel:
    """The Cholesky factor of `xtx` plus a ridge relative to its own scale.

    Args:
        xtx: (K, K) Phi'Phi.
        n_rows: N, the rows it was summed over.
        lambda_rel: ridge = lambda_rel * trace / min(K, N), so that a common factor on all gradients changes nothing.

    Raises:
        NumericalError: no ridge although K >= N, no gradient at all, or a system that is not positive definite, or so
            nearly that rounding would decide.
    """
    ridge = relative_ridge(xtx, n_rows, lambda_rel)
    system = xtx.to(torch.float64, copy=True)
    system.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(system)
    if int(failed):
        raise NumericalError(
            f"scoring: Phi'Phi + ridge is not positive definite. Got `lambda_rel` {lambda_rel:g}, expected a larger "
            "ridge. Set `lambda_rel` to 1.0 and go on from there."
        )
    kernel, least = Kernel(factor, ridge), min(len(xtx), n_rows) / MOST_CONDITION
    if lambda_rel < least and kernel.condition_number > MOST_CONDITION:  # with `least` it cannot be more
        raise NumericalError(
            f"scoring: `lambda_rel` {lambda_rel:g} is too small, rounding would decide the scores. Got a condition "
            f"number of {kernel.condition_number:.0e}, expected at most {MOST_CONDITION:.0e}. Set `lambda_rel` to "
            f"{10.0 ** math.ceil(math.log10(least)):g} or more."
        )
    return kernel


def leverage(phi: np.ndarray | Tensor, kernel: Kernel, weights: np.ndarray | None = None) -> np.ndarray:
    """h (N,) float64 in [0, 1]: phi_i' (Phi'Phi + ridge I)^-1 phi_i for each row."""
    h = np.empty(len(phi))
    identity = torch.eye(len(kernel.factor), dtype=torch.float64)
    whitening = torch.linalg.solve_triangular(kernel.factor, identity, upper=False).T
    if kernel.single_precision():
        whitening = whitening.float()
    for rows, part in blocks(phi, weights, whitening.dtype):
        h[rows] = (part @ whitening).square_().sum(dim=1).numpy()
    return h


def kernel_column(phi: np.ndarray | Tensor, kernel: Kernel, target: Tensor) -> np.ndarray:
    """phi_i' (Phi'Phi + ridge I)^-1 target for each row; (N, M) float32 for `target` (M, K), (N,) for (K,)."""
    single = target.ndim == 1
    columns = torch.cholesky_solve(torch.atleast_2d(target).double().T, kernel.factor)
    columns = columns.float() if kernel.single_precision() else columns
    out = np.empty((len(phi), columns.shape[1]), dtype=np.float32)
    for rows, part in blocks(phi, dtype=columns.dtype):
        out[rows] = (part @ columns).numpy()
    return out[:, 0] if single else out


def diagnose(kernel: Kernel, h: np.ndarray) -> Diagnostics:
    """How well posed the system is that gave the leverages `h` (N,)."""
    return Diagnostics(kernel.ridge, kernel.condition_number, float(h.sum()), float(h.mean()), float(h.max()))


def member_leverage(phi: np.ndarray, lambda_rel: float, weights: np.ndarray | None = None) -> tuple[np.ndarray, Kernel]:
    """Leverage (N,) of one member's projected gradients (N, K), and its solved system.

    With `weights` = Q the gradients are those of the loss (up to sign) instead of the margin.
    """
    kernel = solve(gram(phi, weights, lambda_rel), len(phi), lambda_rel)
    return leverage(phi, kernel, weights), kernel


def shortest(kernel: Kernel, n_rows: int, precision: str = "float32") -> float:
    """The length of a row's projected gradient below which it is rounding: ROUNDING of the rows' root mean square."""
    squares = float(kernel.factor.square().sum()) - len(kernel.factor) * kernel.ridge  # trace of Phi'Phi
    return ROUNDING[precision] * (max(squares, 0.0) / n_rows) ** 0.5


def negligible(phi: np.ndarray, h: np.ndarray, kernel: Kernel, precision: str = "float32") -> np.ndarray:
    """(N,) bool: rows whose gradient cancels, so that what is stored of it is rounding and says nothing.

    Candidates that look alike to the model do that: their gradients are equal, and the margin's is their difference.

    Args:
        phi, h, kernel: projected gradients (N, K) of a member, their leverages (N,) and solved system.
        precision: in which the gradients were taken, `float32` or `bf16`.
    """
    floor = shortest(kernel, len(phi), precision) ** 2
    found = h * kernel.ridge <= floor  # since h <= |phi|^2 / ridge, all others are longer
    places = np.flatnonzero(found)
    for start in range(0, len(places), BLOCK):
        some = places[start : start + BLOCK]
        for _, part in blocks(phi[some]):
            found[some] = part.double().square().sum(dim=1).numpy() <= floor
    return found


class RidgeScoreComputer(AbstractScoreComputer):
    """traker's extension point: the same solve as above, without traker's division by the mean entry.

    `lambda_reg` of `TRAKer` is read as `lambda_rel`, relative to the scale of Phi'Phi. Everything runs on the CPU.
    """

    def __init__(self, dtype: torch.dtype, device: str, logging_level: int = 0, lambda_reg: float = 1.0) -> None:
        super().__init__(dtype, device)
        self.lambda_rel = lambda_reg

    def get_xtx(self, grads: Tensor) -> Tensor:
        """Phi'Phi (K, K) float64."""
        return gram(grads.cpu(), lambda_rel=self.lambda_rel)

    def get_x_xtx_inv(self, grads: Tensor, xtx: Tensor) -> Tensor:
        """Phi (Phi'Phi + ridge I)^-1, (N, K) float32."""
        kernel = solve(xtx, len(grads), self.lambda_rel)
        inverse = torch.cholesky_inverse(kernel.factor)
        return torch.cat([(part.double() @ inverse).float() for _, part in blocks(grads.cpu())])

    def get_scores(self, features: Tensor, target_grads: Tensor, accumulator: Tensor) -> None:
        """Add features @ target_grads' (N, M) to `accumulator`."""
        targets = target_grads.float().cpu().T
        for rows, part in blocks(features.cpu()):
            accumulator[rows] += part @ targets
