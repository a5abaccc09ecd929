"""How well a ranking finds poison: against brute force, planted answers, and every refusal."""

import numpy as np
import pytest

from rec_trak.detection.metrics import CURVE_POINTS, curves, detect
from rec_trak.errors import ConfigError, DataError, NumericalError


def brute_auroc(scores, poisoned):
    """Counted pair by pair: 1 where the poisoned row is higher, one half for a tie."""
    wins, pairs = 0.0, 0
    for bad, label in zip(scores, poisoned, strict=True):
        for good, other in zip(scores, poisoned, strict=True):
            if label == 1 and other == 0:
                wins += 1.0 if bad > good else 0.5 if bad == good else 0.0
                pairs += 1
    return wins / pairs


def brute_average_precision(scores, poisoned):
    """The mean, over the poisoned rows, of the precision among all rows at least as high."""
    precision = []
    for score, label in zip(scores, poisoned, strict=True):
        if label == 1:
            above = [other for s, other in zip(scores, poisoned, strict=True) if s >= score]
            precision.append(sum(above) / len(above))
    return sum(precision) / len(precision)


def world(seed, n=60, ties=False):
    """Scores, labels, clicked articles; articles 0 and 1 are promoted and all poisoned rows click them."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, n).astype(float) if ties else rng.normal(size=n)
    clicked = rng.integers(0, 6, n)
    poisoned = ((clicked < 2) & (rng.random(n) < 0.6)).astype(int)
    return scores, poisoned, clicked


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_a_count_of_pairs(seed, ties):
    """AUROC and average precision, of all rows and of some, equal their definitions, ties included."""
    scores, poisoned, clicked = world(seed, ties=ties)
    for among in (np.ones(60, dtype=bool), clicked < 2):
        found = detect(scores, poisoned, 10, among)
        assert found.auroc == pytest.approx(brute_auroc(scores[among], poisoned[among]), abs=1e-12)
        assert found.average_precision == pytest.approx(
            brute_average_precision(scores[among], poisoned[among]), abs=1e-12
        )
        assert (found.n, found.n_poisoned) == (among.sum(), poisoned[among].sum())
        assert found.missing == ""


@pytest.mark.parametrize("transform", [np.exp, lambda s: 1e-9 * s - 4, lambda s: s**3, lambda s: s.astype(np.float32)])
def test_only_the_order_of_scores_counts(transform):
    """A monotone transform of the scores changes nothing."""
    scores, poisoned, clicked = world(0)
    assert detect(transform(scores), poisoned, 10, clicked < 2) == detect(scores, poisoned, 10, clicked < 2)


def test_the_order_of_rows_does_not_count():
    """Rows in another order have the same metrics and the same poison in each cut, ties included."""
    scores, poisoned, _ = world(5, ties=True)
    order = np.random.default_rng(0).permutation(60)
    assert detect(scores[order], poisoned[order], 7) == detect(scores, poisoned, 7)


def test_scores_turned_round_give_the_complement():
    """Minus the scores has one minus the AUROC."""
    scores, poisoned, _ = world(1, ties=True)
    assert detect(scores, poisoned, 5).auroc + detect(-scores, poisoned, 5).auroc == pytest.approx(1)


def test_planted_answer():
    """Poison at ranks 1, 2 and 4 of 6: 2 in the top 3, AUROC 8/9, average precision (1 + 1 + 3/4) / 3."""
    found = detect([6, 5, 4, 3, 2, 1], [1, 1, 0, 1, 0, 0], 3)
    assert (found.n, found.n_poisoned) == (6, 3)
    assert found.auroc == pytest.approx(8 / 9)
    assert found.average_precision == pytest.approx(11 / 12)
    assert (found.cut("k").found, found.cut("k").precision, found.cut("k").recall) == (2, 2 / 3, 2 / 3)
    assert (found.auroc_interval, found.cut("k").recall_interval) == (None, None)
    assert found.missing == ""


def test_budgets_are_whole_rows_within_the_share_and_at_least_one():
    """1, 5 and 10 per cent of 290 rows are 2, 14 and 29 rows; of 6 rows they are one."""
    labels = np.arange(290) < 20
    found = detect(-np.arange(290), labels, 5)
    assert [(cut.name, cut.rows, cut.found) for cut in found.cuts] == [
        ("k", 5, 5.0), ("1%", 2, 2.0), ("5%", 14, 14.0), ("10%", 29, 20.0)]  # fmt: skip
    assert found.cut("10%").recall == 1
    assert [cut.rows for cut in detect(np.arange(6), [0, 1] * 3, 5).cuts] == [5, 1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_a_cut_through_tied_rows_holds_their_average(seed):
    """Found in the first k equals the mean over random orders of tied rows."""
    scores, poisoned, _ = world(seed, ties=True)
    rng = np.random.default_rng(seed)
    orders = [np.lexsort((rng.random(60), -scores)) for _ in range(4000)]
    for k in (1, 9, 30):
        mean = np.mean([poisoned[order[:k]].sum() for order in orders])
        assert detect(scores, poisoned, k).cut("k").found == pytest.approx(mean, abs=0.15)


@pytest.mark.parametrize("labels", [np.array([True, False, True]), ["1", "0", "1"], [1.0, 0.0, 1.0]])
def test_labels_may_be_written_in_any_type(labels):
    """Booleans, floats and the strings of a table's column mean the same labels."""
    assert detect([3, 2, 1], labels, 1) == detect([3, 2, 1], [1, 0, 1], 1)


@pytest.mark.parametrize(("label", "words"), [(0, "none of the 4 rows is poisoned"), (1, "all 4 rows are poisoned")])
def test_one_class_has_no_metric_and_says_so(label, words):
    """Without both kinds of rows the count still stands, the metrics are None, and a sentence says why."""
    found = detect([4, 3, 2, 1], [label] * 4, 2, draws=10)
    assert (found.auroc, found.average_precision, found.auroc_interval) == (None, None, None)
    assert (found.cut("k").found, found.cut("k").precision) == (2 * label, label)
    assert found.cut("k").recall == (0.5 if label else None)
    assert found.missing.startswith(f"AUROC and average precision cannot be given: {words}.")
    assert ("Recall cannot be given" in found.missing) == (label == 0)


def test_fewer_rows_than_k_leave_that_cut_out():
    """Among two rows there is no top 3; the budgets stay, and so do the metrics."""
    found = detect([4, 3, 2, 1], [1, 0, 1, 0], 3, np.array([True, True, False, False]))
    assert found.cut("k") is None
    assert (found.cut("5%").rows, found.auroc) == (1, 1.0)
    assert found.missing == "Precision at 3 cannot be given: there are 2 rows."
    nothing = detect([2, 1], [1, 0], 1, np.zeros(2, dtype=bool))
    assert (nothing.n, nothing.cuts, nothing.auroc) == (0, (), None)


def test_intervals_hold_the_estimate_and_repeat():
    """Each interval lies around its own number, in [0, 1], and a seed repeats it."""
    scores, poisoned, _ = world(2, n=400)
    found = detect(scores, poisoned, 40, draws=200, seed=3)
    pairs = [(found.auroc, found.auroc_interval), (found.average_precision, found.average_precision_interval)]
    pairs += [(cut.precision, cut.precision_interval) for cut in found.cuts]
    pairs += [(cut.recall, cut.recall_interval) for cut in found.cuts]
    assert all(0 <= low <= value <= high <= 1 for value, (low, high) in pairs)
    assert found == detect(scores, poisoned, 40, draws=200, seed=3)
    assert found != detect(scores, poisoned, 40, draws=200, seed=4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 2], [0, 2], 1), DataError, "row 1 is neither poisoned nor genuine. Got 2, expected 0 or 1"),
        (([1, 2], [0, np.nan], 1), DataError, "row 1 is neither poisoned nor genuine. Got nan"),
        (([1, 2], ["0", "yes"], 1), DataError, "row 1 is neither poisoned nor genuine. Got 'yes'"),
        (([1, np.nan], [0, 1], 1), NumericalError, "score of row 1 is not finite. Got nan"),
        (([-np.inf, 2], [0, 1], 1), NumericalError, "score of row 0 is not finite. Got -inf"),
        (([1, 2, 3], [0, 1], 1), DataError, r"scores of shape \(3,\) and labels of shape \(2,\), expected \(N,\)"),
        (([[1, 2]], [[0, 1]], 1), DataError, "not one score and one label a row"),
        (([], [], 1), DataError, "N at least 1"),
        (([1, 2], [0, 1], 0), ConfigError, r"`top_k` \(--top_k\) is out of range. Got 0, expected 1 to 2"),
        (([1, 2], [0, 1], 3), ConfigError, r"`top_k` \(--top_k\) is out of range. Got 3, expected 1 to 2"),
        (([1, 2], [0, 1], 1, np.array([True])), DataError, r"`among` must be one bool a row. Got bool of shape \(1,\)"),
        (([1, 2], [0, 1], 1, np.array([0, 1])), DataError, "`among` must be one bool a row"),
    ],
)
def test_input_that_cannot_be_measured_is_refused(arguments, error, message):
    """Each is refused by name, with what came and what was expected."""
    with pytest.raises(error, match=message):
        detect(*arguments)


def test_curves_enclose_the_metrics():
    """The area under the ROC curve is the AUROC, and the steps of the other add up to the average precision."""
    scores, poisoned, clicked = world(6, n=300)
    for among in (None, clicked < 2):
        found, drawn = detect(scores, poisoned, 5, among), curves(scores, poisoned, among)
        wrong, right = drawn["roc"]["false_positive_rate"], drawn["roc"]["true_positive_rate"]
        assert np.trapezoid(right, wrong) == pytest.approx(found.auroc)
        recall, precision = drawn["precision_recall"]["recall"], drawn["precision_recall"]["precision"]
        assert (np.diff(recall) @ precision[1:]) == pytest.approx(found.average_precision)
        assert (wrong[0], right[0], recall[0], wrong[-1], right[-1], recall[-1]) == (0, 0, 0, 1, 1, 1)


def test_long_curves_are_thinned_and_keep_their_ends():
    """A curve of many points keeps CURVE_POINTS of them, the first and the last among these, as plain numbers."""
    rng = np.random.default_rng(0)
    drawn = curves(rng.normal(size=5000), rng.random(5000) < 0.3)
    for curve in drawn.values():
        for points in curve.values():
            assert len(points) == CURVE_POINTS
            assert all(type(value) is float for value in points)
    assert drawn["precision_recall"]["recall"][-1] == 1


def test_one_class_has_no_curve():
    """There is nothing to draw, of all rows or of those looked at."""
    assert curves([1, 2], [0, 0]) is None
    assert curves([1, 2, 3], [0, 1, 1], np.array([False, True, True])) is None
