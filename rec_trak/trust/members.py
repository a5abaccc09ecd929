"""Every member of an ensemble seen in every way, and the scores of a ranking from any of them. Not here: agreement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rec_trak.scoring.memory import require_systems
from rec_trak.scoring.solve import blocks, gram, needs_double
from rec_trak.trust.spectrum import largest_eigenvalue
from rec_trak.trust.systems import Margins, System, View, solve_views

BUCKET_SPLITS = 3
SMALLER, LARGER = 1 / 3, 3.0  # times the ridge
RIDGES = (0.1, 1.0, 10.0)  # tried for what they explain, where they are farther from the run's than those
SAME = 1e-6
CERTAIN = 1e-6  # Q or 1 - Q, at least, of which a margin is made


@dataclass(frozen=True)
class Member:
    """One member: view -> leverage (n,) and kernel (n, T), and `lambda_rel` -> what it explains of margins, if known.

    The view `dot` is the inner product over the trace.
    """

    leverage: dict[str, np.ndarray]
    kernel: dict[str, np.ndarray]
    explained: dict[float, float]
    condition_number: float
    count: int


@dataclass(frozen=True)
class Scores:
    """Scores of one ranking from any members in any view.

    Attributes:
        seen: the members. q: (E, n). starts: first row of each impression.
        columns: which kernel columns; None for self-influence.
    """

    seen: list[Member]
    q: np.ndarray
    starts: np.ndarray
    columns: slice | None

    def of(self, view: str, members: Sequence[int] | None = None) -> np.ndarray:
        """(I, M): kernel parts and Q averaged over members apart, multiplied, added up by impression."""
        members = range(len(self.seen)) if members is None else members
        if self.columns is None:
            parts = (self.seen[m].leverage[view][:, None] for m in members)
        else:
            parts = (self.seen[m].kernel[view][:, self.columns] for m in members)
        kernel = sum(part.astype(np.float64) for part in parts) / len(members)
        scores = kernel * self.q[list(members)].mean(axis=0)[:, None]
        return scores if len(self.starts) == len(scores) else np.add.reduceat(scores, self.starts, axis=0)


def see_member(
    phi: np.ndarray | Tensor,
    rows: np.ndarray,
    targets: Tensor,
    lambda_rel: float,
    views: dict[str, View],
    weights: np.ndarray | None = None,
    q: np.ndarray | None = None,
    kept: Callable[[bool], np.ndarray | None] | None = None,
) -> Member:
    """One member in all views.

    Args:
        phi: (N, K), all rows.
        rows: (n,) those to look at.
        targets: (T, K) float32.
        lambda_rel, views: the ridge, and what to look at.
        weights: (N,) by which rows are multiplied first.
        q: (N,) Q, whose margins are to be explained; None to leave that out.
        kept: gives Phi'Phi of the rows as they are, in double precision or not, where somebody has made it before.

    Raises:
        NumericalError: a gradient that is not finite, or a system that cannot be solved.
        RoomError: K is so large that its systems do not fit into memory.
    """
    smallest = min(view.of(lambda_rel) for view in views.values())
    require_systems(phi.shape[1])
    xtx = None if kept is None or weights is not None else kept(needs_double(smallest))
    xtx = gram(phi, weights, smallest) if xtx is None else torch.from_numpy(xtx)
    largest = largest_eigenvalue(xtx)
    dtype = np.float64 if weights is not None and needs_double(smallest) else np.float32
    part = torch.from_numpy(np.array(phi if len(rows) == len(phi) else phi[rows], dtype=dtype))
    if weights is not None:
        part *= torch.as_tensor(np.asarray(weights, dtype=dtype)[rows])[:, None]
    margins = None if q is None else _margins(phi, q, rows, torch.float64 if needs_double(smallest) else torch.float32)
    solved = solve_views(views, System(xtx, largest, len(phi), lambda_rel, part, targets, margins))
    trace = float(xtx.diagonal().sum())
    leverage = {name: one.leverage for name, one in solved.items()}
    kernel = {name: one.kernel for name, one in solved.items()}
    leverage["dot"] = part.square().sum(dim=1).double().numpy() / trace
    kernel["dot"] = (part.float() @ targets.T).numpy() / trace
    explained = {views[name].of(lambda_rel): one.explained for name, one in solved.items() if one.explained is not None}
    return Member(leverage, kernel, explained, solved["whole"].condition_number, len(phi))


def _margins(phi: np.ndarray | Tensor, q: np.ndarray, rows: np.ndarray, dtype: torch.dtype) -> Margins:
    """The margins that go with Q = sigmoid(-f); products of a block of rows are in `dtype`, as those of Phi'Phi."""
    q = np.clip(np.asarray(q, dtype=np.float64).reshape(-1), CERTAIN, 1 - CERTAIN)
    f = np.log1p(-q) - np.log(q)
    moment = torch.zeros(phi.shape[1], dtype=torch.float64)
    for part, gradients in blocks(phi):
        moment += gradients.T.to(dtype) @ torch.from_numpy(f[part]).to(dtype)
    return Margins(f[rows], moment)


def near(ridge: float, lambda_rel: float) -> bool:
    """Whether the views beside the run's reach as far as this ridge."""
    return SMALLER * lambda_rel * (1 - SAME) <= ridge <= LARGER * lambda_rel * (1 + SAME)


def views_of(k: int, lambda_rel: float, rng: np.random.Generator) -> dict[str, View]:
    """The whole, two other ridges, the usual ridges, and pairs of halves and of quarters of the buckets."""
    views = {"whole": View(), "smaller": View(ridge=SMALLER), "larger": View(ridge=LARGER)}
    views |= {f"fixed{ridge:g}": View(fixed=ridge) for ridge in RIDGES if not near(ridge, lambda_rel)}
    for split in range(BUCKET_SPLITS):
        order = rng.permutation(k)
        for side, buckets in enumerate((order[: k // 2], order[k // 2 : k // 2 * 2])):
            views[f"half{split}{side}"] = View(buckets=np.sort(buckets))
            views[f"quarter{split}{side}"] = View(buckets=np.sort(buckets[: max(1, k // 4)]))
    return views
