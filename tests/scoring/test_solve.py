"""Scores against ten lines of numpy, and what a ridge must refuse."""

import warnings

import numpy as np
import pytest
import torch
from support.small_ridges import RIDGES, alike, closed_form, steep

from rec_trak.errors import NumericalError, RecTrakWarning
from rec_trak.scoring import solve as scoring


@pytest.fixture
def phi():
    """(60, 12) gradients of unequal scale, so that an eigenvalue is not like another."""
    rng = np.random.default_rng(3)
    return (rng.normal(size=(60, 12)) * np.geomspace(1, 30, 12)).astype(np.float32)


@pytest.mark.parametrize("lambda_rel", [0.0, 0.1, 1.0])
def test_leverage_and_kernel_equal_the_closed_form(phi, lambda_rel):
    """h is the diagonal and the kernel the columns of the influence matrix."""
    h, kernel = scoring.member_leverage(phi, lambda_rel)
    expected = closed_form(phi, lambda_rel)
    np.testing.assert_allclose(h, np.diag(expected), rtol=1e-5)
    columns = scoring.kernel_column(phi, kernel, torch.from_numpy(phi[:5]))
    np.testing.assert_allclose(columns, expected[:, :5], rtol=1e-4, atol=1e-6)
    one = scoring.kernel_column(phi, kernel, torch.from_numpy(phi[0]))
    assert one.shape == (60,)
    np.testing.assert_allclose(one, columns[:, 0], rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*is small for N")
@pytest.mark.parametrize("lambda_rel", RIDGES)
@pytest.mark.parametrize("rows", [900, 60], ids=["N > 2K", "N < K"])
def test_any_ridge_is_the_closed_form(rows, lambda_rel, monkeypatch):
    """Leverage, kernel and the leverage of the loss gradient have four digits where eigenvalues are far apart."""
    monkeypatch.setattr(scoring, "DOUBLE_BLOCK", 250)
    phi, q = steep(rows, 96), np.linspace(1, 0.01, rows)
    h, kernel = scoring.member_leverage(phi, lambda_rel)
    expected = closed_form(phi, lambda_rel)
    own = np.diag(expected)
    np.testing.assert_allclose(h, own, rtol=1e-4)
    columns = scoring.kernel_column(phi, kernel, torch.from_numpy(phi[-5:]))
    np.testing.assert_allclose(
        columns / np.sqrt(np.outer(own, own[-5:])), expected[:, -5:] / np.sqrt(np.outer(own, own[-5:])), atol=1e-4
    )
    weighted, _ = scoring.member_leverage(phi, lambda_rel, weights=q)
    np.testing.assert_allclose(weighted, np.diag(closed_form(phi * q[:, None], lambda_rel)), rtol=1e-4)


def test_weights_are_not_rounded_where_the_ridge_is_small():
    """Q phi in single precision would be other gradients: rows that are alike are told apart by their last digits."""
    phi, q = alike(300, 24), np.linspace(1, 0.3, 300)
    weighted, _ = scoring.member_leverage(phi, 1e-9, weights=q)
    np.testing.assert_allclose(weighted, np.diag(closed_form(phi * q[:, None], 1e-9)), rtol=1e-3)


def test_the_usual_ridges_multiply_in_single_precision(phi):
    """Double precision takes twice as long: from SINGLE_RIDGE on the Gram matrix is that of single precision."""
    single = (torch.from_numpy(phi).T @ torch.from_numpy(phi)).double()
    double = torch.from_numpy(phi).double().T @ torch.from_numpy(phi).double()
    torch.testing.assert_close(scoring.gram(phi, lambda_rel=scoring.SINGLE_RIDGE), single, rtol=0, atol=0)
    torch.testing.assert_close(scoring.gram(phi, lambda_rel=scoring.SINGLE_RIDGE / 3), double, rtol=1e-14, atol=0)
    torch.testing.assert_close(scoring.gram(phi), double, rtol=1e-14, atol=0)


@pytest.mark.parametrize("lambda_rel", [0.0, 1e-15])
def test_a_ridge_that_rounding_would_outweigh_is_refused(lambda_rel):
    """More than MOST_CONDITION is refused with the ridge that is enough, and that one is taken and right."""
    x = np.random.default_rng(0).standard_normal((300, 20)) * np.logspace(0, -7, 20)
    x = x.astype(np.float32)
    with pytest.raises(
        NumericalError, match=r"is too small, rounding would decide.*expected at most 1e\+12.*1e-10 or"
    ) as told:
        scoring.member_leverage(x, lambda_rel)
    least = float(str(told.value).split("Set `lambda_rel` to ")[1].split(" or more")[0])
    h, _ = scoring.member_leverage(x, least)
    np.testing.assert_allclose(h, np.diag(closed_form(x, least)), rtol=1e-3)


def test_weights_give_the_leverage_of_the_loss_gradient(phi):
    """Leverage with weights Q is the leverage of Q phi."""
    q = np.linspace(0.01, 1, len(phi))
    h, _ = scoring.member_leverage(phi, 1.0, weights=q)
    np.testing.assert_allclose(h, np.diag(closed_form(phi * q[:, None].astype(np.float32), 1.0)), rtol=1e-5)


def test_a_common_factor_on_all_gradients_changes_nothing(phi):
    """The ridge is relative and nothing is rescaled, so runs with other gradient scales compare."""
    h, _ = scoring.member_leverage(phi, 0.5)
    scaled, _ = scoring.member_leverage(phi * np.float32(0.01), 0.5)
    np.testing.assert_allclose(scaled, h, rtol=1e-5)


def test_leverage_lies_in_unit_interval_and_sums_to_the_effective_dimension(phi):
    """0 <= h <= 1 and sum h = d_lambda."""
    h, kernel = scoring.member_leverage(phi, 0.3)
    numbers = scoring.diagnose(kernel, h)
    assert h.min() >= 0
    assert h.max() <= 1
    assert numbers.effective_dimension == pytest.approx(h.sum(), rel=1e-6)
    x = phi.astype(np.float64)
    eigenvalues = np.linalg.eigvalsh(x.T @ x) + kernel.ridge
    assert numbers.condition_number == pytest.approx(eigenvalues[-1] / eigenvalues[0], rel=1e-6)


def test_blocks_change_nothing(phi, monkeypatch):
    """Any block of rows gives the same numbers."""
    whole, _ = scoring.member_leverage(phi, 0.3)
    monkeypatch.setattr(scoring, "BLOCK", 7)
    monkeypatch.setattr(scoring, "DOUBLE_BLOCK", 7)
    parts, _ = scoring.member_leverage(phi, 0.3)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_traker_score_computer_agrees(phi):
    """traker's three calls give the same kernel as the functions, without a division by the mean entry."""
    computer = scoring.RidgeScoreComputer(torch.float32, "cpu", lambda_reg=0.2)
    x = torch.from_numpy(phi)
    features = computer.get_x_xtx_inv(x, computer.get_xtx(x))
    accumulator = torch.zeros(60, 5)
    computer.get_scores(features, x[:5], accumulator)
    np.testing.assert_allclose(accumulator.numpy(), closed_form(phi, 0.2)[:, :5], rtol=1e-4, atol=1e-6)


def test_no_ridge_with_too_few_rows_is_refused(phi):
    """K >= N and lambda_rel 0 has no unique solution."""
    with pytest.raises(NumericalError, match="`lambda_rel` 0 with K = 12 and N = 12"):
        scoring.member_leverage(phi[:12], 0.0)


def test_small_ridge_with_few_rows_is_warned_of(phi):
    """N <= 2 K under 1e-3."""
    with pytest.warns(RecTrakWarning, match="is small for N = 20 rows and K = 12"):
        scoring.member_leverage(phi[:20], 1e-4)


def test_not_finite_names_the_row(phi):
    """One NaN names its row instead of spreading over all."""
    phi[41, 3] = np.nan
    with pytest.raises(NumericalError, match="not finite in row 41"):
        scoring.member_leverage(phi, 1.0)


def test_zero_gradients_are_refused(phi):
    """Nothing to invert."""
    with pytest.raises(NumericalError, match="all projected gradients are zero"):
        scoring.member_leverage(phi * 0, 1.0)


def test_singular_without_a_ridge_is_refused():
    """Two equal columns and no ridge."""
    column = np.random.default_rng(0).normal(size=(50, 1)).astype(np.float32)
    with pytest.raises(NumericalError, match="not positive definite"):
        scoring.member_leverage(np.hstack([column, column, -column]), 0.0)


@pytest.mark.parametrize(("rows", "lambda_rel"), [(60, 1.0), (60, 0.1), (400, 1.0), (400, 1e-7)])
def test_the_condition_number_of_a_large_system(rows, lambda_rel):
    """To 15 % where the ridge stands for the smallest eigenvalue, exactly where it is too small for that."""
    x = np.random.default_rng(0).standard_normal((rows, 100)).astype(np.float32) * np.logspace(0, -3, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecTrakWarning)
        kernel = scoring.solve(scoring.gram(x), rows, lambda_rel)
    values = np.linalg.eigvalsh(x.T @ x + kernel.ridge * np.eye(100))
    assert kernel.condition_number == pytest.approx(values[-1] / values[0], rel=0.15 if lambda_rel > 1e-3 else 1e-3)


def test_an_ill_conditioned_system_is_whitened_in_double_precision():
    """Leverages of a nearly singular system keep five digits."""
    x = np.random.default_rng(1).standard_normal((300, 80)) * np.logspace(0, -3.5, 80)
    x = x.astype(np.float32)
    with pytest.warns(RecTrakWarning, match="lambda_rel"):
        kernel = scoring.solve(scoring.gram(x[:150]), 150, 1e-9)
    assert not kernel.single_precision()
    wide = x[:150].astype(np.float64)
    system = torch.from_numpy(scoring.gram(x[:150]).numpy() + kernel.ridge * np.eye(80))
    expected = np.einsum("nk,kn->n", wide, torch.linalg.solve(system, torch.from_numpy(wide.T)).numpy())
    np.testing.assert_allclose(scoring.leverage(x[:150], kernel), expected, rtol=1e-5)
