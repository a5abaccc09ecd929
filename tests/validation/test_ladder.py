"""What held for every seed of benchmarks/theory.py, on smaller models: large errors, kept ranks, where it breaks."""

import functools

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from rec_trak.validation import glm, ladder

N, M, P, L2 = 150, 15, 20, 0.1
SEEDS = (0, 1, 2)
CLICKS = ("logistic", "softmax")


@functools.lru_cache
def model(family, seed, p=P):
    """A simulated model: rows, its fit, targets."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N + M, 5 if family == "softmax" else 1, p, generator=generator, dtype=torch.float64) / p**0.5
    spread = 1 if family == "poisson" else 2
    eta = x @ (spread * torch.randn(p, generator=generator, dtype=torch.float64))
    response = torch.zeros(N + M)
    if family == "softmax":
        clicked = torch.multinomial(torch.softmax(eta, dim=1), 1, generator=generator)[:, 0]
        everyone, first = torch.arange(N + M), x[:, 0].clone()
        x[:, 0] = x[everyone, clicked]
        x[everyone, clicked] = first
    elif family == "logistic":
        x *= torch.where(torch.rand(N + M, generator=generator) < torch.sigmoid(eta[:, 0]), 1.0, -1.0)[:, None, None]
    else:
        response = torch.poisson(torch.exp(eta[:, 0]), generator=generator)
    everything = glm.make_rows(family, x, response=response)
    rows, targets = (glm.picked(everything, part) for part in torch.arange(N + M).split([N, M]))
    return rows, glm.fit(rows, L2), targets


@functools.lru_cache
def truth(family, seed, p=P):
    rows, fitted, targets = model(family, seed, p)
    return ladder.exact(rows, fitted, targets, np.arange(N))


def measured(family, seed, ridges, p=P):
    """Name -> agreement of every rung without a projection (one ridge)."""
    whole = ladder.system(*model(family, seed, p))
    found = ladder.rungs(whole, np.arange(N), ridges, seed)
    return {rung.name: ladder.agreement(rung, truth(family, seed, p)) for rung in found}


def projected(family, seed, dim, ridge=0.0, p=P, project=ladder.gaussian):
    """Members -> the rung projected to `dim`."""
    whole = ladder.system(*model(family, seed, p))
    found = ladder.projections(whole, np.arange(N), [dim], (1, 10), [ridge], project(seed))
    return {rung.members: rung for rung in found}


@pytest.mark.parametrize("family", glm.FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_ranks_are_kept(family, seed):
    """From one Newton step down to TRAK with the matched ridge, ranks stay near those of exact leave-one-out."""
    found = measured(family, seed, [None])
    assert found["one Newton step"]["spearman"] > 0.99
    assert found["without denominator"]["spearman"] > 0.98
    assert found["TRAK, matched ridge"]["spearman"] > 0.8
    assert found["TRAK, matched ridge"]["own"] > 0.9
    assert abs(found["random order"]["spearman"]) < 0.15


@pytest.mark.parametrize("family", CLICKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_errors_are_large(family, seed):
    """Each rung down has a larger error, TRAK's is beyond a half: for click losses, not for poisson."""
    found = measured(family, seed, [None])
    step, plain, trak = (found[n] for n in ("one Newton step", "without denominator", "TRAK, matched ridge"))
    assert step["error"] < 0.1
    assert step["error"] < plain["error"] < trak["error"]
    assert trak["error"] > 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_exact_softmax_curvature_beats_its_first_term(seed):
    """The other candidates' covariance is worth keeping."""
    found = measured("softmax", seed, [None])
    assert found["without denominator"]["spearman"] > found["margin curvature"]["spearman"]


@pytest.mark.parametrize("family", CLICKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_projection_law(family, seed):
    """Correlation with unprojected scores is sqrt(kappa / (kappa + (1 - kappa) / E)) within .1, so members help."""
    plain = next(r for r in ladder.rungs(ladder.system(*model(family, seed)), np.arange(N), [0.0]) if r.name == "TRAK")
    found, kappa = projected(family, seed, P // 2), 0.5
    for members, rung in found.items():
        predicted = (kappa / (kappa + (1 - kappa) / members)) ** 0.5
        assert ladder.correlations(rung.effect, plain.effect).mean() == pytest.approx(predicted, abs=0.1)
    scores = [ladder.agreement(rung, truth(family, seed))["spearman"] for rung in found.values()]
    assert scores[1] > scores[0] + 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_projection_above_the_rank_needs_a_ridge(seed):
    """K above the rank has no solution without a ridge, and ranks as unprojected with one."""
    assert projected("logistic", seed, 2 * P)[1].effect is None
    rung = projected("logistic", seed, 8 * P, None)[10]
    assert ladder.agreement(rung, truth("logistic", seed))["spearman"] > 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_as_many_weights_as_rows_need_a_ridge(seed):
    """K = N without a ridge has no solution; the matched ridge ranks on."""
    whole = ladder.system(*model("logistic", seed, N))
    found = {rung.lambda_rel: rung for rung in ladder.rungs(whole, np.arange(N), [0.0, None]) if "TRAK" in rung.name}
    assert found.pop(0.0).effect is None
    (matched,) = found.values()
    assert ladder.agreement(matched, truth("logistic", seed, N))["spearman"] > 0.9


@pytest.mark.parametrize("project", [ladder.gaussian, ladder.sketched])
def test_projections_keep_inner_products(project):
    """Unbiased: over many members the mean inner product is the true one; one map for rows and targets."""
    vectors = torch.randn(4, 30)
    many = torch.stack([(both := project(0)(vectors, 16, member)) @ both.T for member in range(400)])
    apart = (many.mean(dim=0) - vectors @ vectors.T).abs() / many.std(dim=0).clamp_min(1e-6) * 20
    assert float(apart.max()) < 5
    assert torch.equal(project(1)(vectors, 8, 2)[:2], project(1)(vectors[:2], 8, 2))


def test_rungs_equal_the_closed_form():
    """TRAK and the weighted rungs in numpy: Q_i phi_i' (sum phi phi' + ridge)^-1 phi_t."""
    rows, fitted, targets = model("logistic", 0)
    whole = ladder.system(rows, fitted, targets)
    x, q, r = (np.asarray(part, dtype=np.float64) for part in (whole.phi, whole.q, whole.r))
    aims, eye = whole.targets.double().numpy(), np.eye(P)
    found = {rung.name: rung for rung in ladder.rungs(whole, np.arange(N), [None])}
    matched = L2 * (x**2).sum() / (r @ (x**2).sum(axis=1))
    for name, hessian in (
        ("without denominator", x.T @ (r[:, None] * x) + L2 * eye),
        ("TRAK, matched ridge", x.T @ x + matched * eye),
    ):
        inverse = np.linalg.inv(hessian)
        effect = q[:, None] * (x @ inverse @ aims.T)
        np.testing.assert_allclose(found[name].effect, effect, rtol=1e-3, atol=1e-4 * abs(effect).max())
        own = q * np.einsum("np,pk,nk->n", x, inverse, x)
        np.testing.assert_allclose(found[name].own, own, rtol=1e-4)


def test_exact_effects_are_differences_of_margins():
    """Effects on targets and on the row itself against a fit without the row."""
    rows, fitted, targets = model("softmax", 0)
    found = ladder.exact(rows, fitted, targets, np.array([7, 90]))
    for place, i in enumerate((7, 90)):
        weights = glm.fit(rows, L2, without=i).weights
        for table, effect in ((targets, found.effect[place]), (rows, found.own[place])):
            apart = glm.margins(table, table.predictors(fitted.weights)) - glm.margins(table, table.predictors(weights))
            expected = apart if table is targets else apart[i]
            np.testing.assert_allclose(effect, expected.numpy(), rtol=1e-4, atol=1e-7)


def test_agreement_is_the_textbooks():
    """Spearman against scipy's with ties; a constant target is left out; no solution gives no number."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (40, 3)).astype(float), rng.normal(size=(40, 3))
    told = ladder.agreement(ladder.Rung("a", a, a[:, 0]), ladder.Rung("b", b, b[:, 0]))
    each = [spearmanr(a[:, t], b[:, t]).statistic for t in range(3)]
    assert told["spearman"] == pytest.approx(np.mean(each))
    assert told["own"] == pytest.approx(each[0])
    assert told["low"] <= told["spearman"] <= told["high"]
    assert told["error"] == pytest.approx((np.linalg.norm(a - b, axis=0) / np.linalg.norm(b, axis=0)).mean())
    b[:, 1] = 0
    left = ladder.agreement(ladder.Rung("a", a, a[:, 0]), ladder.Rung("b", b, b[:, 0]))
    assert left["spearman"] == pytest.approx(np.mean([each[0], each[2]]))
    refused = ladder.agreement(ladder.Rung("a", None, None), ladder.Rung("b", b, b[:, 0]))
    assert refused["spearman"] is refused["error"] is None
