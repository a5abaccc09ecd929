"""How far a ranking would repeat itself, measured on planted gradients whose truth is known."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from rec_trak.errors import DataError, NumericalError
from rec_trak.trust import measures as module
from rec_trak.trust.agreement import spearman_brown
from rec_trak.trust.measures import measure, measure_rankings

N, P, K, M = 300, 400, 128, 12


def world(members=1, noise=0.0, seed=0, n=N, k=K, flat=False):
    """Projected gradients (n, k), Q (n,) and targets (M, k) of members that share a truth and add noise of their own.

    Each member has its own dense Gaussian sketch of p numbers.
    """
    truth, rng = np.random.default_rng(7), np.random.default_rng(seed)
    scale = np.ones(P) if flat else np.linspace(1, 0.05, P)
    rows, targets, q = (truth.standard_normal((count, P)) * scale for count in (n, M, 1))
    q = 1 / (1 + np.exp(truth.standard_normal(n)))
    phis, tops = [], []
    for _ in range(members):
        sketch = rng.standard_normal((P, k)) / k**0.5
        shift = noise * scale
        phis.append(((rows + shift * rng.standard_normal((n, P))) @ sketch).astype(np.float32))
        tops.append(((targets + shift * rng.standard_normal((M, P))) @ sketch).astype(np.float32))
    return phis, [q] * members, tops


def scores(phis, qs, targets, lambda_rel=1.0):
    """Q k (n, M), in ten lines of numpy."""
    kernels = []
    for phi, top in zip(phis, targets, strict=True):
        phi, top = phi.astype(float), top.astype(float)
        xtx = phi.T @ phi
        ridge = lambda_rel * np.trace(xtx) / min(xtx.shape[0], len(phi))
        kernels.append(phi @ np.linalg.solve(xtx + ridge * np.eye(len(xtx)), top.T))
    return np.mean(kernels, axis=0) * np.mean(qs, axis=0)[:, None]


def leverages(phi, lambda_rel=1.0):
    """h (n,) in numpy."""
    phi = phi.astype(float)
    xtx = phi.T @ phi
    ridge = lambda_rel * np.trace(xtx) / min(xtx.shape[0], len(phi))
    return np.einsum("ik,ik->i", phi @ np.linalg.inv(xtx + ridge * np.eye(len(xtx))), phi)


def agree(a, b):
    """Spearman over rows, mean over targets."""
    return np.mean([spearmanr(x, y).statistic for x, y in zip(a.T, b.T, strict=True)])


def numbers(found):
    """The fields that hold one."""
    return {name: value for name, value in dataclasses.asdict(found).items() if value is not None}


@pytest.mark.parametrize("flat", [False, True])
def test_halves_of_the_buckets_foretell_two_whole_sketches(flat):
    """Law: Spearman-Brown from halves of K gives the agreement of two sketches of K."""
    foretold = [measure(*world(seed=s, flat=flat), 1.0, seed=s).projection_reliability for s in range(6)]
    seen = [agree(scores(*world(seed=s, flat=flat)), scores(*world(seed=s + 100, flat=flat))) for s in range(6)]
    assert np.mean(foretold) == pytest.approx(np.mean(seen), abs=0.05)


def test_halves_of_the_members_foretell_two_whole_ensembles():
    """Law: Spearman-Brown from half of the members gives the agreement of two ensembles that share no member."""
    foretold = [measure(*world(6, 1.0, s), 1.0, seed=s).checkpoint_reliability for s in range(4)]
    seen = [agree(scores(*world(6, 1.0, s)), scores(*world(6, 1.0, s + 100))) for s in range(4)]
    assert np.mean(foretold) == pytest.approx(np.mean(seen), abs=0.05)


def test_odd_members_are_carried_to_their_own_number():
    """Law: with five members, halves are pairs, and what they foretell is for five, ranks by their own growth."""
    found = measure(*world(5, 1.0), 1.0)
    assert found.checkpoint_reliability == pytest.approx(spearman_brown(found.checkpoint_half, 2.5, found.growth))


def test_fidelity_is_the_correlation_with_scores_without_noise():
    """Law: the root of the reliability is about the agreement with the unsketched scores of noiseless members."""
    exact = world(60, 0.0, seed=3)
    truth = scores(*exact)
    found = measure(*world(1, 0.0), 1.0)
    assert found.fidelity == pytest.approx(agree(scores(*world(1, 0.0)), truth), abs=0.08)


def test_more_members_and_wider_sketches_are_more_reliable():
    """Law: reliability grows with members and with K, and members needed for more are more."""
    few, many, wide = measure(*world(2, 1.0), 1.0), measure(*world(10, 1.0), 1.0), measure(*world(2, 1.0, k=512), 1.0)
    assert few.reliability + 0.1 < many.reliability
    assert few.projection_reliability + 0.1 < wide.projection_reliability
    assert few.members_for_50 < few.members_for_70 < few.members_for_80
    assert many.members_for_50 <= few.members_for_50  # two cannot say how fast it grows
    assert many.members_for_50 == pytest.approx(measure(*world(4, 1.0), 1.0).members_for_50, rel=0.4, abs=2)


def heavy(members, seed):
    """As `world`, of rows whose gradients and noise differ by orders of magnitude, each row's in its own way."""
    truth, rng = np.random.default_rng(7), np.random.default_rng(seed)
    scale = np.linspace(1, 0.05, P)
    size, doubt = (np.exp(1.5 * truth.standard_normal((N, 1))) for _ in range(2))
    rows, targets = truth.standard_normal((N, P)) * scale, truth.standard_normal((M, P)) * scale
    phis, tops = [], []
    for _ in range(members):
        sketch = rng.standard_normal((P, K)) / K**0.5
        noisy = size * (rows + doubt * scale * rng.standard_normal((N, P)))
        phis.append((noisy @ sketch).astype(np.float32))
        tops.append((targets @ sketch).astype(np.float32))
    return phis, [np.full(N, 0.5)] * members, tops


@pytest.mark.parametrize("members", [2, 4, 8])
def test_ranks_of_heavy_tailed_scores_are_not_promised_too_much(members):
    """Law: agreement of two ensembles that share no member is foretold where single rows have their own noise, and the
    members that it takes; Spearman and Brown's law alone promises more ranks, and half as many members."""
    found = [measure(*heavy(members, s), 1.0, seed=s) for s in range(3)]
    seen = np.mean([agree(scores(*heavy(members, s + 100)), scores(*heavy(members, s + 200))) for s in range(3)])
    foretold = np.mean([one.checkpoint_reliability for one in found])
    plain = np.mean([spearman_brown(one.checkpoint_half, 2) for one in found])
    assert foretold == pytest.approx(seen, abs=0.05)
    assert abs(foretold - seen) < plain - seen
    # Two ensembles of ten agree by .49, of twelve by .52; of two members the law alone says six.
    assert 8 <= np.median([one.members_for_50 for one in found]) <= 13
    assert {one.growth for one in found} == {0.75} if members < 4 else all(0.4 < one.growth < 1 for one in found)


def test_sums_over_subsets_are_foretold_too():
    """Law: `checkpoint_sums` is the correlation of sums over random subsets between two ensembles."""
    rng = np.random.default_rng(0)
    subsets = rng.permuted(np.arange(N)[None, :].repeat(800, axis=0) < N // 2, axis=1).astype(float)
    foretold, seen = [], []
    for s in range(3):
        foretold.append(measure(*world(6, 1.0, s), 1.0, seed=s).checkpoint_sums)
        a, b = (subsets @ scores(*world(6, 1.0, s + 100 * i)) for i in (1, 2))
        seen.append(np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]))
    assert np.mean(foretold) == pytest.approx(np.mean(seen), abs=0.05)


def test_shuffled_rows_agree_by_nothing():
    """Law: the null lies within what chance gives."""
    for targets in (True, False):
        phis, qs, tops = world(2)
        found = measure(phis, qs, tops if targets else None, 1.0)
        assert abs(found.null) < 4 / (5 * N) ** 0.5
        assert found.projection_half > 0.3


def test_other_targets_agree_less_than_the_same():
    """Law: independent targets share no ranking but Q's; of one target there is no other."""
    phis, qs, tops = world(2)
    found = measure(phis, qs, tops, 1.0)
    assert abs(found.other_target) < 0.1 < found.projection_half
    assert measure(phis, qs, [top[:1] for top in tops], 1.0).other_target is None


@pytest.mark.parametrize("lambda_rel", [1e-4, 0.1, 3.0])
def test_the_numbers_of_the_system_are_those_of_numpy(lambda_rel):
    """Law: effective dimension, condition number, leverages and agreement with other ridges equal closed forms."""
    phis, qs, tops = world(2, 0.5)
    found = measure(phis, qs, tops, lambda_rel)
    h = np.mean([leverages(phi, lambda_rel) for phi in phis], axis=0)
    assert found.mean_leverage == pytest.approx(h.mean(), rel=1e-4)
    assert found.max_leverage == pytest.approx(h.max(), rel=1e-4)
    assert found.effective_dimension == pytest.approx(h.sum(), rel=1e-4)
    assert found.share_above_half == pytest.approx((h > 0.5).mean(), abs=1e-9)
    assert found.share_above_nine_tenths == pytest.approx((h > 0.9).mean(), abs=1e-9)
    conditions = []
    for phi in phis:
        values = np.linalg.eigvalsh(phi.astype(float).T @ phi)
        ridge = lambda_rel * values.sum() / K
        conditions.append((values[-1] + ridge) / (values[0] + ridge))
    assert found.condition_number == pytest.approx(np.mean(conditions), rel=0.1)
    whole = scores(phis, qs, tops, lambda_rel)
    assert found.smaller_ridge == pytest.approx(agree(whole, scores(phis, qs, tops, lambda_rel / 3)), abs=1e-3)
    assert found.larger_ridge == pytest.approx(agree(whole, scores(phis, qs, tops, lambda_rel * 3)), abs=1e-3)
    assert found.dot_product == pytest.approx(agree(whole, scores(phis, qs, tops, 1e9)), abs=1e-3)


@pytest.mark.parametrize("lambda_rel", [1e-4, 0.1, 3.0])
def test_what_is_explained_is_what_refits_without_a_row_explain(lambda_rel):
    """Law: `explained` is 1 - squared errors over squared margins, each row foretold by a fit without it; best over
    larger and over smaller ridges."""
    phis, qs, tops = world(2, 0.5)
    f = np.log((1 - qs[0]) / qs[0])

    def share(phi, ridge_rel):
        phi = phi.astype(float)
        ridge = ridge_rel * np.trace(phi.T @ phi) / K * np.eye(K)
        gram, sums, errors = phi.T @ phi + ridge, phi.T @ f, []
        for row, own in zip(phi, f, strict=True):
            errors.append(own - row @ np.linalg.solve(gram - np.outer(row, row), sums - row * own))
        return 1 - np.square(errors).sum() / np.square(f).sum()

    found = measure(phis, qs, tops, lambda_rel)
    tried = {lambda_rel / 3, lambda_rel, 3 * lambda_rel, 0.1, 1.0, 10.0}
    shares = {r: np.mean([share(phi, r) for phi in phis]) for r in tried}
    assert found.explained == pytest.approx(shares[lambda_rel], rel=1e-3, abs=1e-3)
    larger, smaller = (max(s for r, s in shares.items() if sign * (r - lambda_rel) >= 0) for sign in (1, -1))
    assert found.explained_larger == pytest.approx(larger, rel=1e-3, abs=1e-3)
    assert found.explained_smaller == pytest.approx(smaller, rel=1e-3, abs=1e-3)


def test_a_ridge_that_explains_less_than_a_larger_one_is_a_loss():
    """Law: margins that are linear in the gradients are explained, and a ridge too small for their noise costs
    quality; without margins mean leverage stands for that."""
    phis, _, tops = world(2, 0.0, n=160)
    f = phis[0] @ np.random.default_rng(3).standard_normal(K) * 0.1
    f += f.std() * np.random.default_rng(4).standard_normal(len(f))
    qs = [1 / (1 + np.exp(f))] * 2
    small, usual = measure(phis, qs, tops, 1e-4), measure(phis, qs, tops, 1.0)
    assert usual.explained > 0.1 > small.explained
    assert small.kept_following == pytest.approx(np.exp(small.explained - small.explained_larger))
    assert small.kept_following < 0.8 < usual.kept_following
    unknown = measure(phis, qs, tops, 1e-4, weights=qs)
    assert (unknown.explained, unknown.kept_following) == (None, 1 - unknown.mean_leverage)
    assert measure(phis, qs, None, 1.0).explained is None
    flat = measure(phis, [np.full(160, 0.5)] * 2, tops, 1.0)
    assert (flat.explained, flat.kept_following) == (None, 1 - flat.mean_leverage)


def test_self_influence_is_q_times_leverage():
    """Law: without targets the ranking is Q h, averaged apart; its top rows carry their share of it."""
    phis, qs, _ = world(3, 0.5)
    found = measure(phis, qs, None, 1.0)
    own, larger = (np.mean([leverages(p, ridge) for p in phis], axis=0) * np.mean(qs, axis=0) for ridge in (1, 3))
    assert found.larger_ridge == pytest.approx(spearmanr(own, larger).statistic, abs=1e-4)
    assert found.top_share == pytest.approx(np.sort(own)[-3:].sum() / own.sum(), rel=1e-4)
    assert found.targets is None


def test_weights_multiply_gradients_first():
    """Law: weights Q and ones as Q measure the leverage of the loss gradient."""
    phis, qs, _ = world(2, 0.5)
    ones = [np.ones(N)] * 2
    weighted = measure(phis, ones, None, 1.0, weights=qs)
    multiplied = measure(
        [(phi * q[:, None]).astype(np.float32) for phi, q in zip(phis, qs, strict=True)], ones, None, 1.0
    )
    assert numbers(weighted) == pytest.approx(numbers(multiplied), rel=1e-3, abs=1e-4)


def test_rows_of_one_impression_are_added_up():
    """Law: with owners, scores are sums over each impression's rows."""
    phis, qs, tops = world(2, 0.5)
    owner = np.sort(np.r_[np.arange(100), np.random.default_rng(1).integers(0, 100, N - 100)])
    found = measure(phis, qs, tops, 1.0, owner=owner)
    sums = [np.stack([scores(phis, qs, tops, r)[owner == i].sum(axis=0) for i in range(100)]) for r in (1.0, 3.0)]
    assert found.rows == 100
    assert found.larger_ridge == pytest.approx(agree(*sums), abs=1e-4)


def test_the_same_seed_gives_the_same_numbers_whatever_the_scale():
    """Law: same arguments, same numbers; arrays or tensors; a common factor on all gradients changes nothing."""
    phis, qs, tops = world(3, 0.5)
    first = measure(phis, qs, tops, 1.0, seed=4)
    assert first == measure(phis, qs, tops, 1.0, seed=4)
    assert first == measure([torch.from_numpy(p) for p in phis], qs, [torch.from_numpy(t) for t in tops], 1.0, seed=4)
    scaled = measure([1024 * p for p in phis], qs, [1024 * t for t in tops], 1.0, seed=4)
    assert numbers(scaled) == pytest.approx(numbers(first), rel=1e-3, abs=1e-3)
    assert first.projection_half != measure(phis, qs, tops, 1.0, seed=5).projection_half


def test_rankings_measured_together_are_as_measured_apart():
    """Law: what rankings share is shared, and nothing else."""
    phis, qs, tops = world(2, 0.5)
    both = measure_rankings(
        phis, qs, {"own": None, "mean": [t.mean(axis=0, keepdims=True) for t in tops], "t": tops}, 1.0
    )
    assert both["own"].larger_ridge == measure(phis, qs, None, 1.0).larger_ridge
    assert both["t"].checkpoint_half == pytest.approx(measure(phis, qs, tops, 1.0).checkpoint_half, abs=1e-6)
    assert both["mean"].targets == 1


def test_samples_of_rows_and_targets_stand_for_all(monkeypatch):
    """Law: with fewer rows and targets looked at, the numbers stay near; the system is still that of all rows."""
    phis, qs, tops = world(4, 0.5, n=900)
    whole = measure(phis, qs, tops, 1.0)
    monkeypatch.setattr(module, "ROWS", 300)
    monkeypatch.setattr(module, "TARGETS", 6)
    part = measure(phis, qs, tops, 1.0)
    assert (part.targets, part.rows) == (6, 900)
    assert part.effective_dimension == pytest.approx(whole.effective_dimension, rel=0.05)
    assert part.projection_half == pytest.approx(whole.projection_half, abs=0.07)


def test_what_one_member_or_nothing_cannot_tell_is_none():
    """Law: one member has no agreement of members; targets without a gradient have no ranking at all."""
    phis, qs, tops = world(1)
    found = measure(phis, qs, tops, 1.0)
    assert (found.checkpoint_half, found.checkpoint_reliability, found.members_for_50) == (None, None, None)
    assert found.reliability == found.projection_reliability
    nothing = measure(phis, qs, [np.zeros_like(top) for top in tops], 1.0)
    assert (nothing.fidelity, nothing.projection_half, nothing.null, nothing.top_share) == (None, None, None, None)


def test_memorised_rows_are_seen():
    """Law: with K >= N and a tiny ridge every leverage is near 1, and said to be."""
    found = measure(*world(1, n=60), 1e-6)
    assert found.mean_leverage > 0.95
    assert found.share_above_nine_tenths > 0.9


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda w: ([], [], []), DataError, "arrays of every member are needed. Got gradients of 0"),
        (lambda w: (w[0], w[1][:1], w[2]), DataError, "arrays of every member are needed. Got gradients of 2"),
        (lambda w: (w[0], w[1], w[2][:1]), DataError, "arrays of every member are needed"),
        (lambda w: ([w[0][0], w[0][1][:, :9]], *w[1:]), DataError, "arrays do not fit each other. Got gradients"),
        (lambda w: (w[0], [w[1][0], w[1][1][:5]], w[2]), DataError, "arrays do not fit each other"),
        (lambda w: (w[0], w[1], [t[:, :9] for t in w[2]]), DataError, "arrays do not fit each other"),
        (
            lambda w: ([p[:9] for p in w[0]], [q[:9] for q in w[1]], w[2]),
            DataError,
            "too little to compare. Got 9 rows",
        ),
        (lambda w: ([p[:, :1] for p in w[0]], w[1], [t[:, :1] for t in w[2]]), DataError, "and K = 1, expected"),
        (lambda w: (w[0], [w[1][0], w[1][1] * np.nan], w[2]), NumericalError, "Q of checkpoint 1 is not finite"),
        (lambda w: (w[0], w[1], [w[2][0] * np.inf, w[2][1]]), NumericalError, "targets of checkpoint 0 is not finite"),
        (lambda w: ([w[0][0], w[0][1] * np.nan], *w[1:]), NumericalError, "gradients are not finite in row 0"),
        (lambda w: ([0 * p for p in w[0]], *w[1:]), NumericalError, "all projected gradients are zero"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, error, words):
    """Each in one line that names it."""
    with np.errstate(invalid="ignore"), pytest.raises(error, match=words):
        measure(*change(world(2)), 1.0)


def test_a_system_without_a_solution_is_refused():
    """No ridge: with K >= N at once, with rows that repeat each other when it cannot be factored."""
    with pytest.raises(NumericalError, match="without a ridge the system has no unique solution"):
        measure(*world(1, n=60), 0.0)
    phis, qs, tops = world(1)
    phis[0][:, 5:] = 0
    with pytest.raises(NumericalError, match="trust: Phi'Phi \\+ ridge is not positive definite"):
        measure(phis, qs, tops, 0.0)
