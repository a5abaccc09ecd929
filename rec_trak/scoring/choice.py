"""A ridge chosen by what the models themselves say: their margins of rows that are left out. Not here: any retraining.

Attribution replaces a model by a linear one on projected gradients. The ridge with which that model foretells best what
the real one says of a row that it did not see is the one whose curvature can be believed: a smaller one follows single
rows, a larger one loses what sets rows apart. Leaving a row out is exact, (f - fitted) / (1 - leverage).

Source: Allen 1974, the predicted residual sum of squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rec_trak.scoring.solve import blocks, gram, leverage, solve

RIDGES = (0.1, 1.0, 10.0, 100.0)  # tried; between neighbours nothing measured changed a ranking much
ROWS = 1_500  # left out in turn, at most
CERTAIN = 1e-6  # Q or 1 - Q, at least, of which a margin is made
LEFT = 1e-6  # of 1 - leverage, at least: what is left of a row that a system repeats by heart is rounding


def margins_of(q: np.ndarray) -> np.ndarray:
    """(N,) float64 margins f that go with Q = sigmoid(-f)."""
    q = np.clip(np.asarray(q, dtype=np.float64).reshape(-1), CERTAIN, 1 - CERTAIN)
    return np.log1p(-q) - np.log(q)


def explained(phi: np.ndarray, q: np.ndarray, ridges: Sequence[float] = RIDGES, seed: int = 0) -> dict[float, float]:
    """lambda_rel -> share of a member's margins that is explained of rows left out: 1 - squared errors / squares.

    Args:
        phi: (N, K) projected gradients, read in blocks.
        q: (N,) Q.
        ridges: as `lambda_rel` of `solve`, above 0.
        seed: of the rows that are left out where there are more than ROWS.

    Returns:
        0 for every ridge where all margins are 0.

    Raises:
        NumericalError: as `solve.solve`.
    """
    f, n = margins_of(q), len(phi)
    rows = np.arange(n) if n <= ROWS else np.sort(np.random.default_rng(seed).choice(n, ROWS, replace=False))
    moment, xtx = torch.zeros(phi.shape[1], dtype=torch.float64), gram(phi, lambda_rel=min(ridges))
    for places, part in blocks(phi):
        moment += part.T.double() @ torch.from_numpy(f[places])
    some = torch.from_numpy(np.array(phi[rows], dtype=np.float32))
    total = float(np.square(f[rows]).sum())
    found = {}
    for ridge in ridges:
        kernel = solve(xtx, n, ridge)
        fitted = (some.double() @ torch.cholesky_solve(moment[:, None], kernel.factor)[:, 0]).numpy()
        errors = (f[rows] - fitted) / np.maximum(1 - leverage(some, kernel), LEFT)
        found[ridge] = 1 - float(np.square(errors).sum()) / total if total > 0 else 0.0
    return found


def best_ridge(shares: Sequence[dict[float, float]]) -> float:
    """The ridge that explains most on average over members; of equals the one nearest to the default, 1.

    Args:
        shares: one a member, as `explained` gives them, all of the same ridges.
    """
    means = mean_shares(shares)
    return max(means, key=lambda ridge: (means[ridge], -abs(np.log(ridge))))


def mean_shares(shares: Sequence[dict[float, float]]) -> dict[float, float]:
    """lambda_rel -> mean over members."""
    return {ridge: float(np.mean([one[ridge] for one in shares])) for ridge in shares[0]}
