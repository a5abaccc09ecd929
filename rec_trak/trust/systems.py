"""One member's gradients -> leverages and kernel columns under several ridges and parts of the K buckets.

All parts share one Phi'Phi: that of some buckets is a submatrix of it. Any part of the buckets, drawn at random, is a
sketch by itself: an entry of the gradient falls into it with the same chance as any other, and within it entries still
meet at random with random signs, so that inner products are right on average up to a factor, which the ridge, relative
to its own trace, takes along. Two halves share no entry of the gradient. Not here: agreement, verdicts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rec_trak.errors import NumericalError, RecTrakWarning
from rec_trak.scoring.solve import relative_ridge
from rec_trak.trust.bands import BandFactor, band_factor, banded
from rec_trak.trust.blocks import BlockFactor, block_factor
from rec_trak.trust.spectrum import condition_number, start_of

SINGLE = 1e4  # condition up to which a factor in single precision changes no rank
LEAST_BANDED = 256  # K up to which a band saves nothing
CHUNK = 2048  # rows whitened at once
LEFT = 1e-6  # of 1 - leverage, at least: what is left of a row that a system repeats by heart is rounding


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


@dataclass(frozen=True)
class System:
    """A member's rows, and what they are solved with.

    Attributes:
        xtx: (K, K) Phi'Phi over all rows, float64 but in `single`.
        largest: its largest eigenvalue.
        count: N, the rows it was summed over.
        lambda_rel: the run's ridge.
        phi: (n, K), the rows to look at.
        targets: (T, K) float32; T may be 0.
        margins: to be explained, or None.
    """

    xtx: Tensor
    largest: float
    count: int
    lambda_rel: float
    phi: Tensor
    targets: Tensor
    margins: Margins | None = None

    @cached_property
    def single(self) -> System:
        """The same in single precision, of which parts are taken sooner."""
        return replace(self, xtx=self.xtx.float())

    def seen(self, view: View) -> System:
        """The part that a view looks at."""
        if view.buckets is None:
            return self
        part = torch.from_numpy(view.buckets)
        return replace(
            self,
            xtx=self.xtx.index_select(0, part).index_select(1, part),
            phi=self.phi.index_select(1, part),
            targets=self.targets[:, part],
            margins=None,
        )

    def ridge(self, view: View) -> tuple[float, float]:
        """What the view adds to the diagonal, and a bound on the condition number then."""
        with warnings.catch_warnings():  # the run was warned already
            warnings.simplefilter("ignore", RecTrakWarning)
            ridge = relative_ridge(self.xtx, self.count, view.of(self.lambda_rel))
        return ridge, (self.largest + ridge) / ridge if ridge > 0 else np.inf

    def beside(self, dtype: torch.dtype) -> Tensor:
        """(T, K) or (T + 1, K): what solved rows are multiplied with, targets first and then the moment, if any."""
        moment = [] if self.margins is None else [self.margins.moment.to(dtype)[None]]
        return torch.cat([self.targets.to(dtype), *moment])

    def needed(self, view: View) -> slice:
        """Which of `beside` a view multiplies with."""
        return slice(0 if view.fixed is None else len(self.targets), None)


def solve_views(views: dict[str, View], system: System) -> dict[str, Solved]:
    """Leverages and kernel columns of some rows, each view in single precision where its system allows it.

    Views of all buckets differ in their ridge alone: two or more of one precision are solved with one band.

    Raises:
        NumericalError: no ridge although K >= N, no gradient at all, or a system that is not positive definite.
    """
    solved = {}
    for dtype in (torch.float32, torch.float64):
        whole = {
            name: view
            for name, view in views.items()
            if view.buckets is None and _precision(system.ridge(view)[1]) == dtype
        }
        if len(whole) > 1 and len(system.xtx) > LEAST_BANDED:
            band = banded((system.single if dtype == torch.float32 else system).xtx)
            solved |= _looked_at(whole, system, dtype, band.turned, lambda ridge, band=band: band_factor(band, ridge))
    return {name: solved[name] if name in solved else solve_view(view, system) for name, view in views.items()}


def solve_view(view: View, system: System) -> Solved:
    """Leverages and kernel columns of some rows in one view.

    Raises:
        NumericalError: as `solve_views`.
    """
    seen = system.single.seen(view)
    dtype = _precision(seen.ridge(view)[1])
    if dtype == torch.float64:
        seen = system.seen(view)

    def factor(ridge: float) -> BlockFactor | None:
        ridged = seen.xtx.to(dtype, copy=True)
        ridged.diagonal().add_(ridge)
        return block_factor(ridged)

    return _looked_at({"": view}, seen, dtype, lambda rows: rows, factor)[""]


def _precision(bound: float) -> torch.dtype:
    return torch.float32 if bound < SINGLE else torch.float64


def _looked_at(
    views: dict[str, View],
    system: System,
    dtype: torch.dtype,
    turned: Callable[[Tensor], Tensor],
    factor_of: Callable[[float], BandFactor | BlockFactor | None],
) -> dict[str, Solved]:
    """Views of one system: rows are turned once, then whitened by each view's factor, whose squares are leverages.

    Args:
        views: of the same buckets, those of `system`.
        system, dtype: what is looked at, and in which precision.
        turned: rows (n, K) as the factors want them.
        factor_of: a ridge's factor.
    """
    ridges = {name: system.ridge(view) for name, view in views.items()}
    factors = {name: _positive(factor_of(ridges[name][0]), view, system) for name, view in views.items()}
    aims = turned(system.beside(dtype))
    beside = {name: factors[name].whitened(aims[system.needed(view)]).T.contiguous() for name, view in views.items()}
    h = {name: np.empty(len(system.phi)) for name in views}
    products = {name: np.empty((len(system.phi), side.shape[1])) for name, side in beside.items()}
    for start in range(0, len(system.phi), CHUNK):
        rows = slice(start, start + CHUNK)
        part = turned(system.phi[rows].to(dtype))
        for name in views:
            white = factors[name].whitened(part)
            products[name][rows] = white @ beside[name]
            h[name][rows] = white.square_().sum(dim=1)
    solved = {}
    for name, view in views.items():
        ridge, condition = ridges[name]
        if _is_run(view):
            first = turned(start_of(len(system.xtx)).to(dtype)[None])[0].float()
            condition = condition_number(_inverse(factors[name], dtype), first, system.largest, ridge)
        solved[name] = _solved(h[name], products[name], system, condition)
    return solved


def _inverse(factor: BandFactor | BlockFactor, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda x: factor.solved(x.to(dtype)[None])[0].float()


def _solved(h: np.ndarray, products: np.ndarray, system: System, condition: float) -> Solved:
    """From products of rows with solved targets and, where there are margins, the solved moment."""
    if system.margins is None:
        return Solved(h, products.astype(np.float32), condition, None)
    return Solved(h, products[:, :-1].astype(np.float32), condition, _explained(products[:, -1], h, system.margins))


def _positive(factor, view: View, system: System):
    """The factor, where there is one."""
    if factor is None:
        raise NumericalError(
            f"trust: Phi'Phi + ridge is not positive definite. Got `lambda_rel` {view.of(system.lambda_rel):g}, "
            "expected a larger ridge. Set `lambda_rel` to 1.0 and go on from there."
        )
    return factor


def _is_run(view: View) -> bool:
    return view.buckets is None and view.fixed is None and view.ridge == 1


def _explained(fitted: np.ndarray, h: np.ndarray, margins: Margins) -> float | None:
    """See `Margins`; None where all margins are 0."""
    errors = (margins.f - fitted) / np.maximum(1 - h, LEFT)
    total = np.square(margins.f).sum()
    return float(1 - np.square(errors).sum() / total) if total > 0 else None
