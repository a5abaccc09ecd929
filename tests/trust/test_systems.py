"""A member's systems under ridges and parts of the buckets, against numpy; halves of a sketch against theory."""

import numpy as np
import pytest
import torch
from support.small_ridges import alike, closed_form, steep

from rec_trak.scoring.solve import gram
from rec_trak.sketch.projection import SketchProjector
from rec_trak.trust import blocks, systems
from rec_trak.trust.members import see_member, views_of
from rec_trak.trust.spectrum import largest_eigenvalue
from rec_trak.trust.systems import System, View, solve_view

N, K = 120, 32


def arrays():
    """Gradients (N, K) and targets (4, K) with a spectrum."""
    rng = np.random.default_rng(0)
    scale = np.linspace(2, 0.1, K)
    return [(rng.standard_normal((n, K)) * scale).astype(np.float32) for n in (N, 4)]


@pytest.mark.parametrize("lambda_rel", [1.0, 1e-2, 1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("weights", [None, np.linspace(1, 0.01, 3 * N)], ids=["", "weighted"])
def test_all_views_of_a_member_are_the_closed_form(lambda_rel, weights, monkeypatch):
    """Law: the run's ridge, a third and three times of it, and the usual ones, where eigenvalues are far apart."""
    monkeypatch.setattr(systems, "CHUNK", 50)
    phi, targets = steep(3 * N, K), steep(4, K, seed=1)
    views = {
        name: view for name, view in views_of(K, lambda_rel, np.random.default_rng(0)).items() if view.buckets is None
    }
    found = see_member(phi, np.arange(1, 3 * N), torch.from_numpy(targets), lambda_rel, views, weights)
    own = phi if weights is None else phi * weights[:, None]
    for name, view in views.items():
        h = np.diag(closed_form(own, view.of(lambda_rel)))[1:]
        np.testing.assert_allclose(found.leverage[name], h, rtol=1e-3)
        if view.fixed is None:
            expected = closed_form(own, view.of(lambda_rel), targets)[1:]
            most = np.abs(expected).max(axis=0)
            np.testing.assert_allclose(found.kernel[name] / most, expected / most, atol=1e-3)


def test_weights_are_not_rounded_where_the_ridge_is_small():
    """Law: rows that are alike are told apart by their last digits, which Q phi in single precision loses."""
    phi, q = alike(300, 24), np.linspace(1, 0.3, 300)
    found = see_member(phi, np.arange(300), torch.zeros(0, 24), 1e-9, {"whole": View()}, q)
    np.testing.assert_allclose(found.leverage["whole"], np.diag(closed_form(phi * q[:, None], 1e-9)), rtol=1e-3)


@pytest.mark.parametrize("lambda_rel", [1.0, 1e-3, 1e-7])
@pytest.mark.parametrize("buckets", [None, np.arange(0, K, 2)])
def test_a_view_is_the_closed_form(lambda_rel, buckets, monkeypatch):
    """Law: leverage and kernel of the chosen buckets with a ridge relative to their own trace, in either precision."""
    phi, targets = arrays()
    monkeypatch.setattr(systems, "CHUNK", 50)
    monkeypatch.setattr(blocks, "WIDTH", 12)
    xtx = gram(phi)
    view = View(3.0, buckets)
    system = System(xtx, largest_eigenvalue(xtx), N, lambda_rel, torch.from_numpy(phi), torch.from_numpy(targets))
    found = solve_view(view, system)
    part, tops = (x.astype(float)[:, buckets if buckets is not None else slice(None)] for x in (phi, targets))
    ridged = part.T @ part
    ridged += 3 * lambda_rel * np.trace(ridged) / len(ridged) * np.eye(len(ridged))
    np.testing.assert_allclose(found.leverage, np.einsum("ik,ki->i", part, np.linalg.solve(ridged, part.T)), rtol=1e-3)
    np.testing.assert_allclose(found.kernel, part @ np.linalg.solve(ridged, tops.T), rtol=1e-3, atol=1e-5)
    values = np.linalg.eigvalsh(ridged)
    assert found.condition_number > 0.8 * values[-1] / values[0]
    whole = solve_view(
        View(), System(xtx, largest_eigenvalue(xtx), N, 3 * lambda_rel, torch.from_numpy(phi), torch.zeros(0, K))
    )
    if buckets is None:
        assert whole.condition_number == pytest.approx(values[-1] / values[0], rel=0.15)


def test_halves_of_the_buckets_are_sketches():
    """Law: inner products over a random half, doubled, are right on average, and err as a sketch of half the size."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((40, 25)).astype(np.float32) for _ in range(2))
    exact, k, errors, halves = float((a * b).sum()), 64, [], []
    for seed in range(400):
        grads = {"w": torch.from_numpy(np.stack([a, b]))}
        whole = SketchProjector(1000, k, seed).project(grads, 0).numpy()
        order = rng.permutation(k)
        halves += [2 * float(whole[0, part] @ whole[1, part]) - exact for part in (order[: k // 2], order[k // 2 :])]
        small = SketchProjector(1000, k // 2, seed + 10_000).project(grads, 0).numpy()
        errors.append(float(small[0] @ small[1]) - exact)
    first, second = np.array(halves[::2]), np.array(halves[1::2])
    assert abs(np.mean(halves)) < 4 * np.std(halves) / len(errors) ** 0.5
    assert np.std(halves) == pytest.approx(np.std(errors), rel=0.15)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
