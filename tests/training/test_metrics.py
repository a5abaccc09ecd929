"""Laws of the metrics: equal to scikit-learn's, to brute force over random orders of ties, and to lists by hand."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, roc_auc_score

from rec_trak.errors import DataError, NumericalError
from rec_trak.training.metrics import auc, exposure, mrr, ndcg, ranking_quality


def slates():
    """Slates of 2 to 12 candidates, half of them with many ties."""
    rng = np.random.default_rng(0)
    for i in range(40):
        labels = np.zeros(rng.integers(2, 13), dtype=np.int32)
        labels[: rng.integers(1, len(labels))] = 1
        rng.shuffle(labels)
        scores = rng.normal(size=len(labels)).astype(np.float32)
        yield (np.round(scores) if i % 2 else scores), labels


def test_auc_and_ndcg_are_scikit_learns():
    """Law: with and without ties, AUC and nDCG@5 and @10 are scikit-learn's."""
    for scores, labels in slates():
        assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
        for k in (5, 10):
            assert ndcg(scores, labels, k) == pytest.approx(ndcg_score([labels], [scores], k=k))


def official(scores, labels):
    """AUC, MRR, nDCG@5 and nDCG@10 of one impression as MIND's own evaluation has them; it knows no ties."""
    y = labels[np.argsort(scores)[::-1]]
    wins = [a > b for a in scores[labels == 1] for b in scores[labels == 0]]
    best = np.sort(labels)[::-1]
    dcg = [[(2 ** t[:k] - 1) @ (1 / np.log2(np.arange(len(t[:k])) + 2)) for k in (5, 10)] for t in (y, best)]
    mrr = np.sum(y / (np.arange(len(y)) + 1)) / np.sum(y)
    return [np.mean(wins), mrr, *np.divide(*dcg)]


def test_means_are_those_of_minds_evaluation():
    """Law: over impressions of up to 40 candidates with up to six clicks, all four means are the official ones."""
    rng = np.random.default_rng(3)
    scores = [rng.normal(size=size) for size in rng.integers(2, 41, size=50)]
    labels = [rng.permutation(np.arange(len(s)) < rng.integers(1, min(len(s), 7))).astype(int) for s in scores]
    assert sum(label.sum() > 1 for label in labels) > 20
    quality = ranking_quality(scores, labels)
    expected = np.mean([official(s, y) for s, y in zip(scores, labels, strict=True)], axis=0)
    assert [quality[key] for key in ("auc", "mrr", "ndcg@5", "ndcg@10")] == pytest.approx(list(expected))


def test_mrr_is_its_mean_over_random_orders_of_ties():
    """Law: the mean of 1 / rank over the clicked candidates, averaged over all orders that the scores allow."""
    scores, labels = np.array([1.0, 3.0, 1.0, 1.0, 2.0]), np.array([1, 0, 0, 1, 0])
    orders = [p for p in permutations(range(5)) if all(scores[a] >= scores[b] for a, b in pairwise(p))]
    each = [np.mean([1 / (1 + order.index(c)) for c in np.flatnonzero(labels)]) for order in orders]
    assert len(orders) == 6
    assert mrr(scores, labels) == pytest.approx(np.mean(each))


def test_a_model_that_scores_everything_alike_gains_nothing():
    """Law: with all scores equal, AUC is 1/2 and the place of the clicked candidate in the row does not matter."""
    for place in range(4):
        labels = np.eye(4)[place]
        assert auc(np.zeros(4), labels) == 0.5
        assert mrr(np.zeros(4), labels) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_means_ignore_impressions_of_one_class():
    """Law: an impression without a click, or with nothing else, is left out of the means and of the count."""
    scores = [np.array([2.0, 1.0, 0.0]), np.array([1.0, 2.0]), np.array([5.0]), np.array([1.0, 2.0])]
    labels = [np.array([1, 0, 0]), np.array([1, 0]), np.array([1]), np.array([0, 0])]
    quality = ranking_quality(scores, labels)
    assert quality == pytest.approx(
        {
            "auc": 0.5,
            "mrr": 0.75,
            "ndcg@5": (1 + 1 / np.log2(3)) / 2,
            "ndcg@10": (1 + 1 / np.log2(3)) / 2,
            "impressions": 2,
        }
    )
    nothing = ranking_quality(scores[2:], labels[2:])
    assert nothing["impressions"] == 0
    assert np.isnan(nothing["auc"])


def test_exposure_counts_lists():
    """Law: the share of users with one of the articles among their first k; a tie at the border is outside."""
    scores = np.array(
        [
            [9.0, 1, 2, 3, 4],  # article 0 first
            [1.0, 9, 2, 3, 4],  # article 0 last
            [4.0, 9, 4, 3, 2],  # article 0 second or third
            [-np.inf, 1, 2, 3, -np.inf],  # not offered
        ]
    )
    assert exposure(scores, np.array([0]), top=(1, 2, 3, 5)) == {
        "exposure@1": 0.25,
        "exposure@2": 0.25,
        "exposure@3": 0.5,
        "exposure@5": 0.75,
    }
    assert exposure(scores, np.array([0, 2]), top=(2,)) == {"exposure@2": 0.75}


def test_scores_that_cannot_be_ranked():
    """Law: NaN, Inf, a length that does not fit and articles outside the lists are refused by name."""
    for bad in (np.nan, np.inf):
        with pytest.raises(NumericalError, match="impression 1 has a score that is NaN or Inf"):
            ranking_quality([np.zeros(2), np.array([0, bad])], [np.array([1, 0])] * 2)
    with pytest.raises(DataError, match=r"impression 0 does not fit. Got \(3,\) scores, expected \(2,\)"):
        ranking_quality([np.zeros(3)], [np.array([1, 0])])
    with pytest.raises(NumericalError, match="exposure: a score is NaN"):
        exposure(np.array([[0, np.nan]]), np.array([0]))
    with pytest.raises(DataError, match=r"wrong shape. Got \(2,\)"):
        exposure(np.zeros(2), np.array([0]))
    for articles in ([], [2], [-1]):
        with pytest.raises(DataError, match="each from 0 to 1"):
            exposure(np.zeros((1, 2)), np.array(articles))
