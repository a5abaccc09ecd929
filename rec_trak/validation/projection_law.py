"""What projecting to K numbers does to scores, without projecting: a ridge, and noise. Not here: projections, models.

With G = sum phi phi', projected scores are on average the unprojected ones with a larger ridge g,

    g (1 - d(g) / K) = ridge,  d(g) = sum lambda / (lambda + g),  R = (G + g)^-1,  E[k_it] = phi_i' R phi_t,

and vary about it from one projection to another by

    Var[k_it] = g^3 (phi_i' R^2 phi_i) (phi_t' R^2 phi_t) / (K ridge + g^2 tr(G R^2)),

which E members divide by E. For a flat spectrum without a ridge the correlation with unprojected scores that follows is
sqrt(kappa / (kappa + (1 - kappa) / E)) with kappa = K / rank.

Source: LeJeune et al. 2022, Asymptotics of the sketched pseudoinverse (arXiv 2211.03751): its first-order equivalence
is the mean, and its second-order one, put to phi_i and phi_t, the variance; Derezinski et al. 2020 (arXiv 2006.10653)
for the mean without a ridge. Both are for dense random projections, as K grows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """Unprojected gradients in the axes of G.

    Attributes:
        eigenvalues: (p,) float64 of G, ascending, no value below 0.
        rows, targets: (N, p) and (M, p) float64.
    """

    eigenvalues: Tensor
    rows: Tensor
    targets: Tensor


def implicit_ridge(eigenvalues: Tensor, dim: int, ridge: float = 0.0) -> float:
    """The ridge g under which unprojected scores are what projected ones are on average.

    Args:
        eigenvalues: of G.
        dim: K.
        ridge: of the projected system, in the units of G.
    """
    low, high = 0.0, ridge + float(eigenvalues.sum()) / dim
    for _ in range(100):
        g = (low + high) / 2
        dimension = float((eigenvalues / (eigenvalues + g)).sum())
        low, high = (g, high) if g * (1 - dimension / dim) < ridge else (low, g)
    return high


def spectrum(phi: Tensor, targets: Tensor) -> Spectrum:
    """The spectrum of G = phi'phi, and rows (N, p) and targets (M, p) in its axes."""
    phi, targets = phi.double(), targets.double()
    eigenvalues, vectors = torch.linalg.eigh(phi.T @ phi)
    return Spectrum(eigenvalues.clamp_min(0), phi @ vectors, targets @ vectors)


def expected(whole: Spectrum, q: np.ndarray, dim: int, ridge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (N, M) of Q k under one random projection.

    Args:
        whole: of the unprojected gradients.
        q: (N,) Q.
        dim: K.
        ridge: of the projected system, in the units of G; positive where K is beyond the rank.
    """
    g = implicit_ridge(whole.eigenvalues, dim, ridge)
    shrunk = whole.eigenvalues + g
    rows, aims = whole.rows / shrunk, whole.targets / shrunk
    spread = g**3 / (dim * ridge + g**2 * float((whole.eigenvalues / shrunk**2).sum()))
    variance = spread * torch.outer(rows.square().sum(dim=1), aims.square().sum(dim=1))
    return q[:, None] * (rows @ whole.targets.T).numpy(), q[:, None] ** 2 * variance.numpy()


def predicted_correlation(mean: np.ndarray, variance: np.ndarray, members: int, truth: np.ndarray) -> np.ndarray:
    """Pearson's correlation (M,), over rows, that the mean of so many members' scores should have with `truth`.

    Args:
        mean, variance: (N, M) of one member's scores.
        members: E.
        truth: (N, M) whatever it is compared with.
    """
    signal, wanted = mean - mean.mean(axis=0), truth - truth.mean(axis=0)
    size = np.square(signal).sum(axis=0) + variance.sum(axis=0) / members
    return (signal * wanted).sum(axis=0) / np.sqrt(size * np.square(wanted).sum(axis=0))
