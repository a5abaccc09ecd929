"""Gradients that a small ridge does not forgive, and influence in plain numpy. Not here: tests."""

import numpy as np

RIDGES = (1.0, 1e-2, 1e-4, 1e-6, 1e-8)


def alike(rows: int, k: int, share: float = 1e5) -> np.ndarray:
    """(rows, k) float32: every row is nearly the same direction, so that rounding it drowns what tells rows apart."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((rows, k)) + share * rng.standard_normal(k)).astype(np.float32)


def steep(rows: int, k: int, seed: int = 0) -> np.ndarray:
    """(rows, k) float32: a few rows are ten thousand times as long as the others, and all share a direction.

    Eigenvalues are then farther apart than sums of single precision resolve.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, k)) + 3 * np.random.default_rng(7).standard_normal(k)
    x[: min(rows, k) // 3] *= 1e4
    return x.astype(np.float32)


def closed_form(phi: np.ndarray, lambda_rel: float, targets: np.ndarray | None = None) -> np.ndarray:
    """phi (phi'phi + ridge)^-1 targets' in float64, (N, M); (N, N) without targets."""
    x = np.asarray(phi, dtype=np.float64)
    y = x if targets is None else np.asarray(targets, dtype=np.float64)
    gram = x.T @ x
    ridge = lambda_rel * np.trace(gram) / min(x.shape)
    return x @ np.linalg.solve(gram + ridge * np.eye(x.shape[1]), y.T)
