"""Convex models whose leave-one-out is exact: their optimum, and the optimum without each row. Not here: TRAK.

A row has linear predictors eta = X w, one a candidate, and a loss of them; all rows together minimise
sum_i L_i(X_i w) + l2 / 2 |w|^2 over the weights w. With the margin f and the residual Q of a row, Q grad f = - grad L:

    softmax   f = eta_0 - logsumexp(eta_others)   Q = 1 - p_0
    logistic  f = eta (signed by the label)       Q = sigmoid(-eta)
    poisson   f = eta                             Q = y - exp(eta), of either sign

The optimum without a row is found by Newton steps that keep the Hessian of the optimum with all rows, less the row's
own part, until the gradient vanishes: the first such step is the approximate leave-one-out (ALO).

Source: Rad and Maleki 2020, A scalable estimate of the out-of-sample prediction error (JRSS B), for ALO.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.errors import ConfigError, NumericalError

FAMILIES = ("softmax", "logistic", "poisson")
TOLERANCE = 1e-9  # gradient norm at an optimum, over the root of the summed squares of the rows' gradients
STEPS = 100  # of a fit
KEPT_STEPS = 40  # with one Hessian, before a left-out row gets Newton steps of its own
HELD = 4_000_000  # predictors at once while rows are left out


@dataclass(frozen=True)
class Rows:
    """N rows of a convex model with p weights.

    Attributes:
        family: one of FAMILIES.
        features: (N, C, p) float64, the clicked candidate first; C is 1 but for softmax. The features of a logistic row
            carry its label's sign.
        mask: (N, C) bool, which candidates are there.
        response: (N,) float64, the counts of poisson; not read elsewhere.
    """

    family: str
    features: Tensor
    mask: Tensor
    response: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def predictors(self, weights: Tensor) -> Tensor:
        """eta (N, C) of weights (p,), or (b, N, C) of (b, p); what is masked out is 0."""
        eta = weights @ self.features.flatten(0, 1).T
        return eta.view(*weights.shape[:-1], *self.mask.shape)


@dataclass(frozen=True)
class Fit:
    """The optimum over all rows.

    Attributes:
        weights: (p,).
        l2: the penalty.
        inverse: (p, p) of the Hessian there, the penalty included.
        gradient: norm of the gradient there, relative as TOLERANCE says.
        scale: what it is relative to.
    """

    weights: Tensor
    l2: float
    inverse: Tensor
    gradient: float
    scale: float


def make_rows(family: str, features: Tensor, mask: Tensor | None = None, response: Tensor | None = None) -> Rows:
    """The rows of a family, in float64; see `Rows`.

    Raises:
        ConfigError: an unknown family.
        NumericalError: a feature is not finite.
    """
    if family not in FAMILIES:
        raise ConfigError(f"glm: `family` is not known. Got {family!r}, expected one of {', '.join(FAMILIES)}.")
    bad = torch.nonzero(~torch.isfinite(features).flatten(1).all(dim=1)).flatten()
    if len(bad):
        raise NumericalError(
            f"glm: features are not finite in row {int(bad[0])} and {len(bad) - 1} more. Got NaN or Inf, expected "
            "finite numbers. Check the checkpoint."
        )
    mask = torch.ones(features.shape[:2], dtype=torch.bool) if mask is None else mask
    response = torch.zeros(len(features)) if response is None else response
    return Rows(family, features.double() * mask.unsqueeze(-1), mask, response.double())


def margins(rows: Rows, eta: Tensor) -> Tensor:
    """f (..., N) of predictors (..., N, C)."""
    if rows.family != "softmax":
        return eta[..., 0]
    others = eta[..., 1:].masked_fill(~rows.mask[:, 1:], -torch.inf)
    return eta[..., 0] - torch.logsumexp(others, dim=-1)


def margin_slopes(rows: Rows, eta: Tensor) -> Tensor:
    """df / d eta, (..., N, C)."""
    if rows.family != "softmax":
        return torch.ones_like(eta)
    others = torch.softmax(eta[..., 1:].masked_fill(~rows.mask[:, 1:], -torch.inf), dim=-1)
    return torch.cat([torch.ones_like(eta[..., :1]), -others], dim=-1)


def residuals(rows: Rows, eta: Tensor) -> Tensor:
    """Q (..., N)."""
    if rows.family == "poisson":
        return rows.response - torch.exp(eta[..., 0])
    return torch.sigmoid(-margins(rows, eta))


def losses(rows: Rows, eta: Tensor) -> Tensor:
    """L (..., N), up to what does not depend on the weights."""
    if rows.family == "poisson":
        return torch.exp(eta[..., 0]) - rows.response * eta[..., 0]
    return -F.logsigmoid(margins(rows, eta))


def margin_curvature(rows: Rows, eta: Tensor) -> Tensor:
    """r (..., N): the second derivative of L along f, p (1 - p), or the mean of poisson."""
    if rows.family == "poisson":
        return torch.exp(eta[..., 0])
    q = residuals(rows, eta)
    return q * (1 - q)


def margin_gradients(rows: Rows, eta: Tensor) -> Tensor:
    """grad f (N, p) with respect to the weights, at predictors (N, C)."""
    return torch.einsum("nc,ncp->np", margin_slopes(rows, eta), rows.features)


def roots(rows: Rows, eta: Tensor) -> Tensor:
    """(N, C, p) with the sum over candidates of root root' = the Hessian of L_i: its exact curvature.

    For softmax these are sqrt(p_c) (x_c - mean of x under p), whose products add up to r grad f grad f' + (1 - p_0)
    Cov_q(x_others); in the other families sqrt(r) x.
    """
    if rows.family != "softmax":
        return margin_curvature(rows, eta).sqrt()[:, None, None] * rows.features
    p = torch.softmax(eta.masked_fill(~rows.mask, -torch.inf), dim=-1).unsqueeze(-1)
    return p.sqrt() * (rows.features - (p * rows.features).sum(dim=1, keepdim=True))


def fit(rows: Rows, l2: float, without: int | None = None, start: Tensor | None = None) -> Fit:
    """The optimum, by Newton steps that are halved until they descend.

    Args:
        rows: N rows.
        l2: > 0.
        without: a row to leave out.
        start: (p,) weights to start from; None for zeros.

    Raises:
        ConfigError: no penalty.
        NumericalError: the gradient does not vanish within STEPS steps.
    """
    if not l2 > 0:
        raise ConfigError(
            f"glm: `l2` must be positive. Got {l2:g}, expected a penalty, which makes the optimum unique."
        )
    kept = torch.ones(len(rows), dtype=torch.float64)
    if without is not None:
        kept[without] = 0
    weights = torch.zeros(rows.features.shape[-1], dtype=torch.float64) if start is None else start.clone()
    for _ in range(STEPS):
        eta = rows.predictors(weights)
        own = -residuals(rows, eta)[:, None] * margin_gradients(rows, eta) * kept[:, None]
        gradient, scale = own.sum(dim=0) + l2 * weights, float(own.norm()) + torch.finfo(torch.float64).tiny
        root = (roots(rows, eta) * kept[:, None, None]).flatten(0, 1)
        hessian = root.T @ root + l2 * torch.eye(len(weights), dtype=torch.float64)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        if float(gradient.norm()) <= TOLERANCE * scale:
            return Fit(weights, l2, inverse, float(gradient.norm()) / scale, scale)
        weights = _descended(rows, l2, kept, weights, inverse @ gradient)
    raise NumericalError(
        f"glm: Newton's steps do not reach the optimum. Got a gradient of {float(gradient.norm()) / scale:.1e} after "
        f"{STEPS} steps, expected {TOLERANCE:g} or less. Raise the penalty."
    )


def _descended(rows: Rows, l2: float, kept: Tensor, weights: Tensor, step: Tensor) -> Tensor:
    """`weights` less the step, which is halved while the objective would rise by more than rounding."""
    value = _objective(rows, l2, kept, weights)
    for halving in range(40):
        candidate = weights - step * 0.5**halving
        found = _objective(rows, l2, kept, candidate)
        if found <= value + 1e-12 * abs(value):
            return candidate
    return candidate


def _objective(rows: Rows, l2: float, kept: Tensor, weights: Tensor) -> float:
    return float((losses(rows, rows.predictors(weights)) * kept).sum() + l2 / 2 * weights @ weights)


def blocks(rows: Rows, index: np.ndarray) -> Iterator[Tensor]:
    """The left-out rows in blocks whose predictors fit in memory."""
    size = max(1, HELD // rows.mask.numel())
    for start in range(0, len(index), size):
        yield torch.as_tensor(index[start : start + size])


def newton_steps(rows: Rows, fitted: Fit, index: Tensor, gradients: Tensor) -> Tensor:
    """(H - H_i)^-1 g_i (b, p), for the Hessian H of the optimum, the part H_i of each row, and gradients g (b, p).

    H_i has rank C at most: the Woodbury identity.
    """
    root = roots(picked(rows, index), rows.predictors(fitted.weights)[index])
    reached = root @ fitted.inverse
    inner = torch.eye(root.shape[1], dtype=torch.float64) - reached @ root.transpose(1, 2)
    plain = gradients @ fitted.inverse
    along = torch.linalg.solve(inner, (reached @ gradients.unsqueeze(-1)))
    return plain + (reached.transpose(1, 2) @ along).squeeze(-1)


def one_step(rows: Rows, fitted: Fit, index: np.ndarray) -> Tensor:
    """w - w_/i (n, p) by one Newton step (ALO) for each row of `index` (n,)."""
    eta = rows.predictors(fitted.weights)
    own = residuals(rows, eta)[:, None] * margin_gradients(rows, eta)
    return torch.cat([newton_steps(rows, fitted, part, own[part]) for part in blocks(rows, index)])


def left_out_loss(rows: Rows, fitted: Fit) -> float:
    """Mean loss of each row under the optimum without it, by one Newton step: what a penalty is chosen by."""
    weights = fitted.weights - one_step(rows, fitted, np.arange(len(rows)))
    return float(losses(rows, torch.einsum("ncp,np->nc", rows.features, weights)).mean())


def left_out(rows: Rows, fitted: Fit, index: np.ndarray) -> Tensor:
    """The optimum without each row of `index` (n,), (n, p).

    Raises:
        NumericalError: an optimum is not reached.
    """
    return torch.cat([_without(rows, fitted, part) for part in blocks(rows, index)])


def _without(rows: Rows, fitted: Fit, index: Tensor) -> Tensor:
    flat = rows.features.flatten(0, 1)
    weights = fitted.weights.repeat(len(index), 1)
    open_ = torch.arange(len(index))
    for _ in range(KEPT_STEPS):
        eta = rows.predictors(weights[open_])
        slopes = -residuals(rows, eta).unsqueeze(-1) * margin_slopes(rows, eta)
        slopes[torch.arange(len(open_)), index[open_]] = 0
        gradient = slopes.flatten(1) @ flat + fitted.l2 * weights[open_]
        far = ~(gradient.norm(dim=1) <= TOLERANCE * fitted.scale)
        open_, gradient = open_[far], gradient[far]
        if not len(open_):
            return weights
        weights[open_] -= newton_steps(rows, fitted, index[open_], gradient)
    for place in open_.tolist():
        weights[place] = fit(rows, fitted.l2, int(index[place]), fitted.weights).weights
    return weights


def picked(rows: Rows, index: Tensor) -> Rows:
    """The rows at these positions."""
    return Rows(rows.family, rows.features[index], rows.mask[index], rows.response[index])
