"""Extreme eigenvalues of a system to a few percent, by the power method. Not here: solving.

Source: von Mises and Pollaczek-Geiringer 1929.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

ITERATIONS = 16


def largest_eigenvalue(xtx: Tensor) -> float:
    """The largest eigenvalue of a positive matrix (K, K), to a few percent and never more than it is."""
    matrix = xtx.float()
    return _grown(lambda x: matrix @ x, start_of(len(matrix)))


def condition_number(inverse: Callable[[Tensor], Tensor], x: Tensor, largest: float, ridge: float) -> float:
    """Largest over smallest eigenvalue of the ridged system.

    Args:
        inverse: applies the system's inverse to a vector (K,).
        x: where to start, `start_of(K)` or, of a turned system, that vector turned.
        largest: eigenvalue, without the ridge.
        ridge: what was added.
    """
    return (largest + ridge) * _grown(inverse, x)


def start_of(size: int) -> Tensor:
    """(size,) the same random vector always."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal(size).astype(np.float32))


def _grown(apply: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """The factor by which repeated use of `apply` makes a vector grow: the largest eigenvalue, from below."""
    growth = 0.0
    for _ in range(ITERATIONS):
        x = apply(x / x.norm())
        growth = float(x.norm())
        if not growth > 0:
            break
    return growth
