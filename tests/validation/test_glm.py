"""Convex models against autograd and naive refits."""

import numpy as np
import pytest
import torch

from rec_trak.clicks import margin, residual, row_loss
from rec_trak.data.batches import Batch
from rec_trak.errors import ConfigError, NumericalError
from rec_trak.validation import glm

P = 5


@pytest.fixture(params=glm.FAMILIES)
def rows(request):
    """30 rows of each family; softmax ones have two to five candidates."""
    return make(request.param)


def make(family, count=30, seed=0):
    rng = torch.Generator().manual_seed(seed)
    width = 5 if family == "softmax" else 1
    x = torch.randn(count, width, P, generator=rng, dtype=torch.float64)
    mask = torch.arange(width) < torch.randint(2, 6, (count, 1), generator=rng)
    response = torch.poisson(torch.full((count,), 1.5), generator=rng)
    return glm.make_rows(family, x, mask, response)


def total(rows, weights):
    return glm.losses(rows, rows.predictors(weights)).sum()


def without(rows, i):
    return glm.picked(rows, torch.tensor([j for j in range(len(rows)) if j != i]))


def test_softmax_is_the_click_loss():
    """f, Q and L are those of clicks.py, with masked candidates."""
    rows = make("softmax")
    eta = rows.predictors(torch.linspace(-1, 1, P, dtype=torch.float64))
    batch = Batch({}, None, None, None, rows.mask, None, None)
    torch.testing.assert_close(glm.margins(rows, eta), margin("softmax", eta, batch))
    torch.testing.assert_close(glm.residuals(rows, eta), residual("softmax", eta, batch))
    torch.testing.assert_close(glm.losses(rows, eta), row_loss("softmax", eta, batch))


def test_q_times_grad_f_is_minus_grad_loss(rows):
    """The law of every family, and its gradients against autograd, row by row."""
    weights = torch.linspace(-0.5, 0.5, P, dtype=torch.float64)
    eta = rows.predictors(weights)
    f = torch.func.jacrev(lambda w: glm.margins(rows, rows.predictors(w)))(weights)
    loss = torch.func.jacrev(lambda w: glm.losses(rows, rows.predictors(w)))(weights)
    torch.testing.assert_close(glm.margin_gradients(rows, eta), f)
    torch.testing.assert_close(-glm.residuals(rows, eta)[:, None] * f, loss)


def test_roots_give_the_hessian(rows):
    """Sum of root root' is autograd's Hessian of the summed losses."""
    weights = torch.linspace(-0.5, 0.5, P, dtype=torch.float64)
    root = glm.roots(rows, rows.predictors(weights)).flatten(0, 1)
    torch.testing.assert_close(root.T @ root, torch.func.hessian(lambda w: total(rows, w))(weights))


def test_softmax_curvature_has_two_terms():
    """Exact curvature = r grad f grad f' + (1 - p_0) Cov_q(x of the others)."""
    rows = make("softmax")
    eta = rows.predictors(torch.linspace(-0.5, 0.5, P, dtype=torch.float64))
    gradient, r, q = glm.margin_gradients(rows, eta), glm.margin_curvature(rows, eta), glm.residuals(rows, eta)
    for i in (0, 7):
        share = -glm.margin_slopes(rows, eta)[i, 1:]
        others = rows.features[i, 1:]
        apart = others - share @ others
        expected = r[i] * torch.outer(gradient[i], gradient[i]) + q[i] * apart.T @ (share[:, None] * apart)
        root = glm.roots(rows, eta)[i]
        torch.testing.assert_close(root.T @ root, expected)


def test_the_gradient_vanishes_at_the_optimum(rows):
    """Autograd's gradient of the objective is 0 there, and `inverse` is that of its Hessian."""
    fitted = glm.fit(rows, 0.3)
    weights = fitted.weights.clone().requires_grad_()
    objective = total(rows, weights) + 0.15 * weights @ weights
    (gradient,) = torch.autograd.grad(objective, weights)
    assert float(gradient.norm()) <= 1e-8
    assert fitted.gradient <= glm.TOLERANCE
    hessian = torch.func.hessian(lambda w: total(rows, w) + 0.15 * w @ w)(fitted.weights)
    torch.testing.assert_close(fitted.inverse @ hessian, torch.eye(P, dtype=torch.float64))


@pytest.mark.parametrize("held", [10, 4_000_000])
@pytest.mark.parametrize("kept_steps", [1, 40])
def test_left_out_is_a_fit_without_the_row(rows, monkeypatch, held, kept_steps):
    """The same optimum as of a table that never had the row; with few kept steps, by Newton steps of its own."""
    monkeypatch.setattr(glm, "HELD", held)
    monkeypatch.setattr(glm, "KEPT_STEPS", kept_steps)
    fitted, index = glm.fit(rows, 0.3), np.array([0, 4, 11, 29])
    found = glm.left_out(rows, fitted, index)
    for weights, i in zip(found, index, strict=True):
        torch.testing.assert_close(weights, glm.fit(without(rows, i), 0.3).weights, rtol=1e-6, atol=1e-8)


def test_one_step_is_newton_without_the_row(rows):
    """(H - H_i)^-1 Q_i grad f_i by a direct solve."""
    fitted, eye = glm.fit(rows, 0.3), torch.eye(P, dtype=torch.float64)
    found = glm.one_step(rows, fitted, np.arange(len(rows)))
    for i in (2, 13):
        hessian = torch.func.hessian(lambda w, i=i: total(without(rows, i), w))(fitted.weights) + 0.3 * eye
        gradient = torch.func.grad(lambda w, i=i: total(without(rows, i), w))(fitted.weights) + 0.3 * fitted.weights
        torch.testing.assert_close(found[i], torch.linalg.solve(hessian, gradient))


def test_left_out_loss_is_that_of_unseen_rows(rows):
    """Close to the mean loss of each row under the fit without it."""
    fitted = glm.fit(rows, 1.0)
    weights = glm.left_out(rows, fitted, np.arange(len(rows)))
    eta = torch.einsum("ncp,np->nc", rows.features, weights)
    assert glm.left_out_loss(rows, fitted) == pytest.approx(float(glm.losses(rows, eta).mean()), rel=0.02)


def test_an_unknown_family_is_refused():
    """Its name is told."""
    with pytest.raises(ConfigError, match="`family` is not known. Got 'probit'"):
        glm.make_rows("probit", torch.zeros(2, 1, 3))


def test_features_must_be_finite():
    """The row is named."""
    x = torch.zeros(4, 2, 3)
    x[2, 1, 0] = torch.nan
    with pytest.raises(NumericalError, match="not finite in row 2 and 0 more"):
        glm.make_rows("softmax", x)


def test_no_penalty_is_refused():
    """Without one the optimum need not exist."""
    with pytest.raises(ConfigError, match="`l2` must be positive. Got 0"):
        glm.fit(make("logistic"), 0.0)


def test_an_optimum_that_is_not_reached_is_told(monkeypatch):
    """One step is not enough."""
    monkeypatch.setattr(glm, "STEPS", 1)
    with pytest.raises(NumericalError, match="Newton's steps do not reach the optimum"):
        glm.fit(make("softmax"), 0.1)
