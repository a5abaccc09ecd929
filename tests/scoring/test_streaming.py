"""Blocks of scores are the dense product, and what is kept of them is what a full sort would keep."""

import numpy as np
import pytest
import torch
from support.small_ridges import RIDGES, closed_form, steep

from rec_trak.errors import NumericalError
from rec_trak.scoring import streaming
from rec_trak.scoring.solve import gram, needs_double, solve
from rec_trak.scoring.streaming import extremes, kept, score_blocks, solve_targets

N, M, K, E = 150, 11, 6, 4


@pytest.fixture
def sides():
    """Four members of 150 rows and 11 targets, whole numbers so that sums are exact and ties occur; and Q."""
    rng = np.random.default_rng(0)
    phis = [rng.integers(-3, 4, size=(N, K)).astype(np.float32) for _ in range(E)]
    columns = [rng.integers(-3, 4, size=(M, K)).astype(np.float32) for _ in range(E)]
    return phis, columns, rng.integers(0, 4, size=N) * E


def dense(phis, columns, q, starts):
    """(I, M) in one go."""
    rows = q[:, None] * np.mean([phi @ column.T for phi, column in zip(phis, columns, strict=True)], axis=0)
    return np.add.reduceat(rows, starts[:-1], axis=0)


def sorted_ends(scores, top_k):
    """The rows of both ends by a stable sort of each column."""
    return [np.argsort(-sign * scores, axis=0, kind="stable")[:top_k].T for sign in (1, -1)]


@pytest.fixture(params=[(2048, 1024, 64), (16, 4, 8), (7, 3, 64), (64, 1, 5), (1, 2, 1)])
def block_sizes(request, monkeypatch):
    """Blocks of many shapes."""
    for name, value in zip(("ROWS", "TARGETS", "CHUNK"), request.param, strict=True):
        monkeypatch.setattr(streaming, name, value)


@pytest.mark.parametrize("starts", [np.arange(N + 1), np.array([0, 1, 5, 30, 31, 90, N])])
def test_blocks_are_the_dense_product(block_sizes, sides, starts):
    """Over members the kernel parts are averaged, then weighed by Q and summed over the rows of an impression."""
    expected = dense(*sides, starts)
    found = np.full(expected.shape, np.nan)
    for _ in kept(score_blocks(*sides, starts), found):
        pass
    np.testing.assert_array_equal(found, expected)


def test_blocks_are_small(sides, monkeypatch):
    """No block has more than ROWS rows, TARGETS targets and BLOCK_BYTES of gradients, whatever N, M, K and E are."""
    monkeypatch.setattr(streaming, "TARGETS", 4)
    monkeypatch.setattr(streaming, "CHUNK", 2)
    for rows, budget in ((10, 1 << 30), (1000, 8 * E * K * 20)):
        monkeypatch.setattr(streaming, "ROWS", rows)
        monkeypatch.setattr(streaming, "BLOCK_BYTES", budget)
        shapes = {tuple(scores.shape) for _, _, scores in score_blocks(*sides, np.arange(N + 1))}
        assert max(shape[0] for shape in shapes) == min(rows, 20)
        assert max(shape[1] for shape in shapes) == 4


@pytest.mark.parametrize("top_k", [1, 10, N])
def test_ends_are_those_of_a_full_sort(block_sizes, sides, top_k):
    """Equal scores keep the order of the rows, also where they stand in different blocks."""
    starts = np.arange(N + 1)
    scores = dense(*sides, starts)
    found = extremes(score_blocks(*sides, starts), M, top_k)
    for best, rows in zip(found, sorted_ends(scores, top_k), strict=True):
        np.testing.assert_array_equal(best.rows, rows)
        np.testing.assert_array_equal(best.scores, scores[rows, np.arange(M)[:, None]])


@pytest.mark.parametrize("order", ["rising", "falling", "constant", "alternating"])
def test_ends_whatever_the_order_of_the_rows(block_sizes, order):
    """Rows that get better all the time, worse, or not at all."""
    up = np.arange(N, dtype=np.float32)
    column = {"rising": up, "falling": -up, "constant": 0 * up, "alternating": up * (-1) ** up}[order]
    scores = np.stack([column, 2 * column, -column], axis=1)
    parts = [slice(first, min(first + 40, N)) for first in range(0, N, 40)]
    blocks = ((part, slice(0, 3), torch.from_numpy(scores[part])) for part in parts)
    for best, rows in zip(extremes(blocks, 3, 9), sorted_ends(scores, 9), strict=True):
        np.testing.assert_array_equal(best.rows, rows)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused(bad):
    """It would hide in neither end of a ranking."""
    scores = torch.zeros(200, 3)
    scores[130, 2] = bad
    with pytest.raises(NumericalError, match=r"not finite on target 7 and 0 more.*Raise `lambda_rel`"):
        extremes([(slice(0, 200), slice(5, 8), scores)], 8, 2)


def test_solved_targets_are_those_of_the_inverse(monkeypatch):
    """c_t = (Phi'Phi + ridge)^-1 phi_t, in blocks of targets."""
    monkeypatch.setattr(streaming, "TARGETS", 4)
    rng = np.random.default_rng(1)
    phi, targets = (rng.normal(size=(n, K)).astype(np.float32) for n in (N, M))
    out = np.empty((M, K), dtype=np.float32)
    kernel = solve(gram(phi), N, 1.0)
    solve_targets(kernel, targets, out)
    wide = phi.astype(np.float64)
    system = wide.T @ wide + kernel.ridge * np.eye(K)
    np.testing.assert_allclose(out, np.linalg.solve(system, targets.T).T, rtol=1e-4, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*is small for N")
@pytest.mark.parametrize("lambda_rel", RIDGES)
@pytest.mark.parametrize("rows", [600, 30], ids=["N > 2K", "N < K"])
def test_solved_targets_keep_what_the_ridge_needs(rows, lambda_rel):
    """Scores through solved targets have four digits of what they can be at most, whatever the ridge."""
    phi, targets, q = steep(rows, 48), steep(9, 48, seed=1), np.linspace(0, 1, rows)
    columns = np.empty(targets.shape, dtype=np.float64 if needs_double(lambda_rel) else np.float32)
    solve_targets(solve(gram(phi, lambda_rel=lambda_rel), rows, lambda_rel), targets, columns)
    starts = np.r_[0, 5, np.arange(6, rows + 1)]
    found = np.full((len(starts) - 1, 9), np.nan)
    for _, _, scores in kept(score_blocks([phi], [columns], q, starts), found):
        assert scores.dtype == torch.float32
    expected = np.add.reduceat(q[:, None] * closed_form(phi, lambda_rel, targets), starts[:-1], axis=0)
    most = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(found / most, expected / most, atol=1e-4)
