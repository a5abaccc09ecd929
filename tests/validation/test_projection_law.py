"""What a projection does, predicted from the spectrum alone, against projections."""

import numpy as np
import pytest
import torch

from rec_trak.validation import ladder, projection_law

N, M, P = 120, 8, 40


def gradients(seed, decay):
    """Rows, targets and Q with a spectrum that falls by `decay` from first to last."""
    rng = np.random.default_rng(seed)
    scale = np.geomspace(1, decay, P)
    phi, targets = (torch.from_numpy((rng.normal(size=(n, P)) * scale).astype(np.float32)) for n in (N, M))
    return phi, targets, rng.uniform(size=N)


def kernels(phi, targets, q, dim, ridge, members):
    """Q k (members, N, M) of random projections, by ten lines of torch."""
    project, found = ladder.gaussian(0), []
    for member in range(members):
        x, t = (project(part, dim, member).double() for part in (phi, targets))
        system = x.T @ x + ridge * torch.eye(dim, dtype=torch.float64)
        found.append((x @ torch.linalg.solve(system, t.T)).numpy() * q[:, None])
    return np.stack(found)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("decay", [1.0, 0.1])
@pytest.mark.parametrize(("dim", "ridge"), [(16, 0.0), (16, 20.0), (60, 20.0)])
def test_mean_and_variance_are_those_of_projections(seed, decay, dim, ridge):
    """The mean over 200 projections lies on the predicted one, and their spread is the predicted one."""
    phi, targets, q = gradients(seed, decay)
    mean, variance = projection_law.expected(projection_law.spectrum(phi, targets), q, dim, ridge)
    found = kernels(phi, targets, q, dim, ridge, 200)
    assert (found.mean(axis=0) * mean).sum() / np.square(mean).sum() == pytest.approx(1, abs=0.06)
    assert found.var(axis=0).sum() / variance.sum() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("members", [1, 10])
def test_predicted_correlation_is_measured(members):
    """With unprojected scores and a ridge, over rows and members."""
    phi, targets, q = gradients(0, 0.1)
    mean, variance = projection_law.expected(projection_law.spectrum(phi, targets), q, 16, 20.0)
    plain = (phi.double() @ torch.linalg.solve(phi.double().T @ phi.double(), targets.double().T)).numpy() * q[:, None]
    found = kernels(phi, targets, q, 16, 20.0, 20 * members).reshape(20, members, N, M).mean(axis=1)
    measured = np.mean([ladder.correlations(one, plain).mean() for one in found])
    predicted = projection_law.predicted_correlation(mean, variance, members, plain).mean()
    assert measured == pytest.approx(predicted, abs=0.04)


@pytest.mark.parametrize("members", [1, 4, 10])
def test_a_flat_spectrum_without_a_ridge_gives_the_flat_law(members):
    """sqrt(kappa / (kappa + (1 - kappa) / E)), exactly, where rows and targets are spread evenly."""
    phi = torch.linalg.qr(torch.randn(400, P, dtype=torch.float64))[0]
    phi = phi / phi.norm(dim=1, keepdim=True)
    eigenvalues = torch.ones(P, dtype=torch.float64)
    whole = projection_law.Spectrum(eigenvalues, phi, torch.randn(50, P, dtype=torch.float64))
    mean, variance = projection_law.expected(whole, np.ones(400), 10)
    predicted = projection_law.predicted_correlation(mean, variance, members, mean).mean()
    assert predicted == pytest.approx((0.25 / (0.25 + 0.75 / members)) ** 0.5, abs=0.01)


def test_the_implicit_ridge_solves_its_equation():
    """g (1 - d(g) / K) = ridge; none where K is beyond the rank and nothing is added."""
    eigenvalues = torch.linspace(0.1, 5, 12, dtype=torch.float64)
    for dim, ridge in ((4, 0.0), (4, 2.0), (30, 0.5)):
        g = projection_law.implicit_ridge(eigenvalues, dim, ridge)
        assert g * (1 - float((eigenvalues / (eigenvalues + g)).sum()) / dim) == pytest.approx(ridge, abs=1e-9)
        assert g > ridge
    assert projection_law.implicit_ridge(eigenvalues, 13) < 1e-9


def test_the_implicit_ridge_can_be_read_off_a_run():
    """d of the projected system, the effective dimension that a run reports, is d(g): g = ridge / (1 - d / K)."""
    phi, targets, _ = gradients(0, 0.1)
    ridge, dim = 20.0, 24
    g = projection_law.implicit_ridge(projection_law.spectrum(phi, targets).eigenvalues, dim, ridge)
    found = []
    for member in range(50):
        x = ladder.gaussian(0)(phi, dim, member).double()
        values = torch.linalg.eigvalsh(x.T @ x)
        found.append(ridge / (1 - float((values / (values + ridge)).sum()) / dim))
    assert np.mean(found) == pytest.approx(g, rel=0.05)
