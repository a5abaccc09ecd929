"""The bootstrap against drawing rows one by one, and its groups against the rows themselves."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from rec_trak.detection.intervals import LEVEL, auroc, average_precision, bootstrap, found_in, levels


def rows(seed, n=200, ties=False):
    """Scores that know something of the labels, and the labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.2).astype(int)
    scores = rng.normal(size=n) + labels
    return (scores.round() if ties else scores), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_groups_hold_all_that_the_metrics_need(seed, ties):
    """Both metrics of the groups equal scikit-learn's of the rows, and no more groups than poisoned rows ask for."""
    scores, labels = rows(seed, ties=ties)
    groups = levels(scores, labels)
    assert (groups[0].sum(), groups[1].sum()) == (labels.sum(), (1 - labels).sum())
    assert len(groups[0]) <= 2 * labels.sum() + 1
    assert auroc(*groups) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(*groups) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_planted_groups():
    """Scores 5 5 4 3 3 2 with poison at a 5 and a 3: one group for each, one for what stands between or below."""
    poisoned, genuine = levels(np.array([5, 5, 4, 3, 3, 2]), np.array([1, 0, 0, 1, 0, 0]))
    assert (poisoned.tolist(), genuine.tolist()) == ([1, 0, 1, 0], [1, 1, 1, 1])
    assert found_in(poisoned, genuine, [1, 2, 3, 4, 6]) == [0.5, 1, 1, 1.5, 2]
    assert [len(part) for part in levels(np.zeros(0), np.zeros(0))] == [0, 0]


def test_found_in_is_the_same_for_many_draws_at_once():
    """A table of draws gives each draw's own numbers, groups that a draw left empty among them."""
    rng = np.random.default_rng(0)
    poisoned, genuine = rng.integers(0, 3, (50, 9)), rng.integers(0, 4, (50, 9))
    poisoned[:, 0] += 3
    for many, one in zip(
        found_in(poisoned, genuine, [1, 3]),
        zip(*(found_in(p, g, [1, 3]) for p, g in zip(poisoned, genuine, strict=True)), strict=True),
        strict=True,
    ):
        np.testing.assert_allclose(many, one)


@pytest.mark.parametrize("ties", [pytest.param(False, marks=pytest.mark.long), True])
def test_intervals_equal_those_of_rows_drawn_one_by_one(ties):
    """Ends of the intervals agree with a bootstrap of the rows themselves, each class apart."""
    scores, labels = rows(4, ties=ties)
    drawn = bootstrap(levels(scores, labels), [20], 4000, 0)
    rng, values = np.random.default_rng(1), []
    bad, good = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    for _ in range(1000):
        again = np.r_[rng.choice(bad, len(bad)), rng.choice(good, len(good))]
        order = np.lexsort((rng.random(len(again)), -scores[again]))
        top = labels[again][order[:20]].sum()
        pair = labels[again], scores[again]
        values.append((roc_auc_score(*pair), average_precision_score(*pair), top))
    tails = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).T
    np.testing.assert_allclose(drawn.auroc, tails[0], atol=0.015)
    np.testing.assert_allclose(drawn.average_precision, tails[1], atol=0.025)
    np.testing.assert_allclose(drawn.found[0], tails[2], atol=1.01)


def test_intervals_do_not_depend_on_the_block(monkeypatch):
    """Draws are the same however many are held at once; a seed repeats them."""
    groups = levels(*rows(5))
    whole = bootstrap(groups, [10], 50, 7)
    assert whole != bootstrap(groups, [10], 50, 8)
    monkeypatch.setattr("rec_trak.detection.intervals.BLOCK", 7 * len(groups[0]))
    assert whole == bootstrap(groups, [10], 50, 7)


def test_intervals_cover_the_truth():
    """Of 200 samples from two normal classes, about 95 % of the intervals hold the AUROC of the classes."""
    rng, truth, hits = np.random.default_rng(0), 0.7602, 0  # Phi(1 / sqrt 2)
    for seed in range(200):
        labels = np.r_[np.ones(60), np.zeros(140)].astype(int)
        drawn = bootstrap(levels(rng.normal(size=200) + labels, labels), [5], 200, seed)
        hits += drawn.auroc[0] <= truth <= drawn.auroc[1]
    assert 180 <= hits <= 199
