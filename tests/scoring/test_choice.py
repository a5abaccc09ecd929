"""The ridge that left-out margins choose, against rows left out one by one."""

import numpy as np
import pytest
from support.small_ridges import closed_form

from rec_trak.scoring import choice
from rec_trak.scoring.choice import best_ridge, explained, margins_of

RIDGES = (0.1, 1.0, 10.0)


def planted(rows: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(rows, 20) gradients of fast falling scale, and Q of margins that are linear in the first three, and noise."""
    rng = np.random.default_rng(seed)
    phi = (rng.normal(size=(rows, 20)) * np.geomspace(1, 0.1, 20)).astype(np.float32)
    f = phi[:, :3] @ np.array([1.0, -1.0, 0.5]) + noise * rng.normal(size=rows)
    return phi, 1 / (1 + np.exp(f))


def test_explained_is_what_systems_without_each_row_explain():
    """Law: the share is that of N systems, each solved without its row, with the ridge of all rows."""
    phi, q = planted(40, 0.5)
    f, found = np.log((1 - q) / q), explained(phi, q, RIDGES)
    for ridge in RIDGES:
        x = phi.astype(np.float64)
        a = ridge * np.trace(x.T @ x) / 20 * np.eye(20)
        errors = []
        for i in range(40):
            rest = np.delete(np.arange(40), i)
            errors.append(f[i] - x[i] @ np.linalg.solve(x[rest].T @ x[rest] + a, x[rest].T @ f[rest]))
        assert found[ridge] == pytest.approx(1 - np.square(errors).sum() / np.square(f).sum(), abs=1e-6)


def test_a_sample_of_rows_is_left_out_of_all(monkeypatch):
    """Law: of many rows a seeded part is left out in turn, of the system of all rows."""
    monkeypatch.setattr(choice, "ROWS", 25)
    phi, q = planted(60, 0.5)
    some, f = np.sort(np.random.default_rng(3).choice(60, 25, replace=False)), np.log((1 - q) / q)
    whole = closed_form(phi, 1.0)
    errors = ((f - whole @ f) / (1 - np.diag(whole)))[some]
    expected = 1 - np.square(errors).sum() / np.square(f[some]).sum()
    assert explained(phi, q, (1.0,), seed=3)[1.0] == pytest.approx(expected, abs=1e-6)


def test_noise_asks_for_a_larger_ridge():
    """Law: margins that gradients explain exactly want the least ridge, those that are mostly noise a large one."""
    grid = (0.001, 0.1, 1.0, 10.0)
    assert best_ridge([explained(*planted(60, 0.0), grid)]) == 0.001
    assert best_ridge([explained(*planted(60, 30.0, seed), grid) for seed in range(5)]) == 10.0


def test_no_scale_changes_the_choice():
    """Law: shares do not depend on the scale of the gradients, and equals give the default."""
    phi, q = planted(50, 0.5)
    small, large = explained(phi, q, RIDGES), explained(300 * phi, q, RIDGES)
    assert small == pytest.approx(large, abs=1e-5)
    assert best_ridge([{0.1: 0.5, 1.0: 0.5, 10.0: 0.5}]) == 1.0
    assert best_ridge([explained(phi, np.full(50, 0.5), RIDGES)]) == 1.0


def test_certain_rows_have_finite_margins():
    """Law: a Q of 0 or 1 is a large margin, not an infinite one."""
    f = margins_of(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(f).all()
    assert f[0] == pytest.approx(-f[2])
    assert f[1] == 0
