"""The score of predictions against retrained models: planted agreement, ceilings, what is left out, refusals."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from rec_trak.errors import ConfigError, NumericalError
from rec_trak.validation.lds import lds, noise_ceiling, spearman


def planted(subsets=60, trainings=2, targets=40, noise=1.0, seed=0):
    """A signal (S, M), and outcomes (S, T, M) that are it plus noise of their own."""
    random = np.random.default_rng(seed)
    signal = random.standard_normal((subsets, targets))
    return signal, signal[:, None] + noise * random.standard_normal((subsets, trainings, targets))


def test_spearman_is_scipys_with_ties():
    """Law: column by column scipy's coefficient; nothing predicted is 0, nothing to predict is NaN."""
    random = np.random.default_rng(0)
    a, b = random.integers(0, 5, (20, 6)), random.integers(0, 5, (20, 6))
    expected = [spearmanr(a[:, i], b[:, i])[0] for i in range(6)]
    np.testing.assert_allclose(spearman(a, b), expected, rtol=1e-12)
    a[:, 0], b[:, 1] = 3, 3
    found = spearman(a, b)
    assert found[0] == 0
    assert np.isnan(found[1])


def test_the_truth_reaches_the_ceiling():
    """Law: the noise-free signal itself scores the ceiling, for one training and for their mean; noise scores 0."""
    signal, outcomes = planted(subsets=200)
    found = lds({"signal": signal, "noise": planted(200, seed=1)[0]}, outcomes, draws=50)
    own, ceiling = found["scores"]["signal"], found["ceiling"]
    assert own["lds"] == pytest.approx(ceiling["mean"], abs=0.03)
    assert own["single"] == pytest.approx(ceiling["single"], abs=0.03)
    assert own["ratio"] == pytest.approx(own["lds"] / ceiling["mean"])
    assert abs(found["scores"]["noise"]["lds"]) < 0.05
    assert found["scores"]["noise"]["over_interval"][0] > 0.5
    low, high = own["interval"]
    assert low < own["lds"] < high < low + 0.1
    assert (found["subsets"], found["trainings"], found["targets"]) == (200, 2, 40)
    assert len(found["per_target"]) == 40
    assert np.mean(found["per_target"]) == pytest.approx(own["lds"])


def test_the_ceiling_is_spearman_brown():
    """Law: with R from one pair, sqrt(R) and sqrt(2R / (1 + R)), target by target; three trainings have three pairs;
    negative agreement counts as none."""
    _, outcomes = planted(subsets=30, targets=3)
    r = np.array([spearmanr(outcomes[:, 0, i], outcomes[:, 1, i])[0] for i in range(3)])
    expected = np.sqrt(r).mean(), np.sqrt(2 * r / (1 + r)).mean(), r.mean()
    np.testing.assert_allclose(noise_ceiling(outcomes), expected, rtol=1e-12)
    _single, several, agreed = noise_ceiling(planted(subsets=300, trainings=3)[1])
    assert several == pytest.approx(np.sqrt(3 * agreed / (1 + 2 * agreed)), abs=0.01)
    assert noise_ceiling(np.stack([outcomes[:, 0], -outcomes[:, 0]], axis=1))[:2] == (0, 0)
    assert noise_ceiling(outcomes[:, :1]) is None


def test_one_training_has_no_ceiling():
    """Law: nothing tells noise from effect then, so ceiling and ratio are None and the score stands."""
    signal, outcomes = planted(trainings=1)
    found = lds({"signal": signal}, outcomes, draws=20)
    assert found["ceiling"] is None
    own = found["scores"]["signal"]
    assert own["ratio"] is None
    assert own["ratio_interval"] is None
    assert own["lds"] == pytest.approx(own["single"])


def test_what_cannot_be_ranked_is_left_out_and_counted():
    """Law: a subset with a diverged training and a constant target change nothing but the counts."""
    signal, outcomes = planted(subsets=12, targets=6)
    expected = lds({"signal": signal}, outcomes, draws=5)["scores"]["signal"]["lds"]
    more = np.concatenate([outcomes, np.full((1, 2, 6), np.nan)])
    more[-1, 0] = 1.0
    more = np.concatenate([more, np.ones((13, 2, 1))], axis=2)
    wider = np.pad(signal, ((0, 1), (0, 1)))
    found = lds({"signal": wider}, more, draws=5)
    assert found["scores"]["signal"]["lds"] == pytest.approx(expected)
    assert (found["left_out_subsets"], found["constant_targets"], found["subsets"]) == (1, 1, 12)
    assert found["target_places"] == [0, 1, 2, 3, 4, 5]


def test_the_same_seed_gives_the_same_interval():
    """Law: intervals depend on the seed alone."""
    signal, outcomes = planted(subsets=15, targets=5)
    a, b, c = (lds({"s": signal}, outcomes, 30, seed)["scores"]["s"]["interval"] for seed in (0, 0, 1))
    assert a == b != c


def test_too_little_is_refused():
    """Law: fewer subsets than a rank correlation needs, asked for or left over, and targets that never vary."""
    signal, outcomes = planted(subsets=9)
    with pytest.raises(ConfigError, match=r"fewer subsets than a rank correlation needs\. Got 9, expected at least 10"):
        lds({"signal": signal}, outcomes)
    signal, outcomes = planted(subsets=12)
    outcomes[:3, 0] = np.nan
    with pytest.raises(NumericalError, match=r"too few retrainings ended well\. Got 9 of 12"):
        lds({"signal": signal}, outcomes)
    with pytest.raises(NumericalError, match=r"no target's margin changes .* Got 40 constant"):
        lds({"signal": signal}, np.ones((12, 2, 40)))
