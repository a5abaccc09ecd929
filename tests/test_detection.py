"""How well a ranking finds poison: against brute force, planted answers, and every refusal."""

import numpy as np
import pandas as pd
import pytest

from rec_trak.detection import Detection, baselines, detect, detection_table, format_table
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
    """AUROC, that on the same articles, and average precision equal their definitions, ties included."""
    scores, poisoned, clicked = world(seed, ties=ties)
    found = detect(scores, poisoned, 10, clicked, [0, 1])
    assert found.auroc == pytest.approx(brute_auroc(scores, poisoned), abs=1e-12)
    assert found.average_precision == pytest.approx(brute_average_precision(scores, poisoned), abs=1e-12)
    same = clicked < 2
    assert found.auroc_same_article == pytest.approx(brute_auroc(scores[same], poisoned[same]), abs=1e-12)
    assert found.missing == ""


@pytest.mark.parametrize("transform", [np.exp, lambda s: 1e-9 * s - 4, lambda s: s**3, lambda s: s.astype(np.float32)])
def test_only_the_order_of_scores_counts(transform):
    """A monotone transform of the scores changes nothing."""
    scores, poisoned, clicked = world(0)
    assert detect(transform(scores), poisoned, 10, clicked, [0, 1]) == detect(scores, poisoned, 10, clicked, [0, 1])


def test_scores_turned_round_give_the_complement():
    """Minus the scores has one minus the AUROC."""
    scores, poisoned, clicked = world(1, ties=True)
    one, other = detect(scores, poisoned, 5, clicked, [0, 1]), detect(-scores, poisoned, 5, clicked, [0, 1])
    assert one.auroc + other.auroc == pytest.approx(1)
    assert one.auroc_same_article + other.auroc_same_article == pytest.approx(1)


def test_planted_answer():
    """Poison at ranks 1, 2 and 4 of 6: 2 in the top 3, AUROC 8/9, average precision (1 + 1 + 3/4) / 3."""
    found = detect([6, 5, 4, 3, 2, 1], [1, 1, 0, 1, 0, 0], 3, clicked=[7, 7, 7, 7, 8, 8], promoted=[7])
    assert found == Detection(
        auroc=pytest.approx(8 / 9),
        average_precision=pytest.approx(11 / 12),
        found=2,
        top_k=3,
        n=6,
        n_poisoned=3,
        auroc_same_article=pytest.approx(2 / 3),
        missing="",
    )


@pytest.mark.parametrize(("poisoned", "found"), [([1, 1, 0, 0], 2), ([0, 0, 1, 1], 0), ([0, 1, 0, 1], 1)])
def test_tied_rows_keep_their_order_in_the_top_k(poisoned, found):
    """Equal scores enter the top k in row order; for the AUROC they count one half whatever their order."""
    detection = detect(np.zeros(4), poisoned, 2)
    assert (detection.found, detection.auroc) == (found, 0.5)


@pytest.mark.parametrize("labels", [np.array([True, False, True]), ["1", "0", "1"], [1.0, 0.0, 1.0]])
def test_labels_may_be_written_in_any_type(labels):
    """Booleans, floats and the strings of a table's column mean the same labels."""
    assert detect([3, 2, 1], labels, 1) == detect([3, 2, 1], [1, 0, 1], 1)


@pytest.mark.parametrize(("label", "words"), [(0, "none of the 4 rows is poisoned"), (1, "all 4 rows are poisoned")])
def test_one_class_has_no_metric_and_says_so(label, words):
    """Without both kinds of rows the count still stands, the metrics are None, and a sentence says why."""
    found = detect([4, 3, 2, 1], [label] * 4, 2)
    assert (found.auroc, found.average_precision, found.found) == (None, None, 2 * label)
    assert found.missing == f"AUROC and average precision cannot be given: {words}."


@pytest.mark.parametrize(
    ("promoted", "words"),
    [
        ([7], "of the 2 rows that click a promoted article, all are poisoned"),
        ([8], "of the 2 rows that click a promoted article, none are poisoned"),
        ([9], "of the 0 rows that click a promoted article, none are poisoned"),
    ],
)
def test_no_genuine_click_on_the_same_articles_is_said(promoted, words):
    """The AUROC among clicks on promoted articles needs both kinds there; the other metrics stay."""
    found = detect([4, 3, 2, 1], [1, 0, 1, 0], 2, [7, 8, 7, 8], promoted)
    assert found.auroc_same_article is None
    assert found.auroc == 0.75
    assert found.missing == f"AUROC on the same articles cannot be given: {words}."


def test_what_was_not_asked_for_is_not_missing():
    """Without clicked articles there is no such AUROC, and nothing to excuse."""
    found = detect([2, 1], [1, 0], 1)
    assert (found.auroc_same_article, found.missing) == (None, "")


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
        (([1, 2], [0, 1], 0), ConfigError, "`top_k` is out of range. Got 0, expected 1 to 2"),
        (([1, 2], [0, 1], 3), ConfigError, "`top_k` is out of range. Got 3, expected 1 to 2"),
        (
            ([1, 2], [0, 1], 1, [5, 5, 5], [5]),
            DataError,
            r"one clicked article a row. Got shape \(3,\), expected \(2,\)",
        ),
        (([1, 2], [0, 1], 1, [5, 5]), ConfigError, "go together. Got no `promoted`"),
        (([1, 2], [0, 1], 1, None, [5]), ConfigError, "go together. Got no `clicked`"),
    ],
)
def test_input_that_cannot_be_measured_is_refused(arguments, error, message):
    """Each is refused by name, with what came and what was expected."""
    with pytest.raises(error, match=message):
        detect(*arguments)


def test_table_stands_by_average_precision():
    """One line a ranking with the numbers of `detect`, the best average precision first."""
    scores, poisoned, clicked = world(2)
    rankings = {"noise": scores, "oracle": poisoned.astype(float), "worst": -scores - 9 * poisoned}
    table = detection_table(rankings, poisoned, 10, clicked, iter([0, 1]))
    columns = ["ranking", "found", "top_k", "auroc", "average_precision", "auroc_same_article"]
    assert list(table.columns) == columns
    assert list(table.ranking) == ["oracle", "noise", "worst"]
    for _, line in table.iterrows():
        found = detect(rankings[line.ranking], poisoned, 10, clicked, [0, 1])
        assert [line[column] for column in columns[1:]] == [getattr(found, column) for column in columns[1:]]
    assert list(table.iloc[0, 1:]) == [10, 10, 1.0, 1.0, 1.0]


def test_table_without_metrics_keeps_its_lines():
    """With one class, metrics are NaN, lines keep the order given, and the table carries the reason."""
    table = detection_table({"b": [1, 2], "a": [2, 1]}, [0, 0], 1)
    assert list(table.ranking) == ["b", "a"]
    assert table[["auroc", "average_precision", "auroc_same_article"]].isna().all(axis=None)
    assert "none of the 2 rows is poisoned" in table.attrs["missing"]


def test_table_names_the_ranking_at_fault():
    """An error among several rankings says which; no ranking at all is one too."""
    with pytest.raises(NumericalError, match="^broken: the score of row 0"):
        detection_table({"good": [1, 2], "broken": [np.nan, 2]}, [0, 1], 1)
    with pytest.raises(ConfigError, match="there is no ranking"):
        detection_table({}, [0, 1], 1)


def test_baselines_are_what_their_names_say():
    """The indicator, the number of clicks on the same article, and noise that a seed repeats."""
    clicked = np.array([4, 9, 4, 2, 4, 9])
    found = baselines(clicked, [9, 2], seed=5)
    assert all(values.shape == (6,) and values.dtype == np.float64 for values in found.values())
    assert found["clicks promoted article"].tolist() == [0, 1, 0, 1, 0, 1]
    assert found["popularity of the clicked article"].tolist() == [3, 2, 3, 1, 3, 2]
    assert (found["random"] == baselines(clicked, [9, 2], seed=5)["random"]).all()
    assert (found["random"] != baselines(clicked, [9, 2], seed=6)["random"]).any()
    assert len(set(found["random"])) == 6


def test_the_indicator_cannot_tell_clicks_on_one_article_apart():
    """It has AUROC one half among promoted clicks, and finds all poison against the rest."""
    _, poisoned, clicked = world(3, n=300)
    found = detect(baselines(clicked, [0, 1])["clicks promoted article"], poisoned, 50, clicked, [0, 1])
    assert found.auroc_same_article == 0.5
    assert found.auroc > 0.8
    assert found.average_precision == pytest.approx(poisoned.sum() / (clicked < 2).sum())


def test_baselines_refuse_what_is_no_list_of_clicks():
    """One clicked article a row, or an error."""
    with pytest.raises(DataError, match="not one clicked article a row"):
        baselines(np.zeros((3, 2)), [0])


def test_formatted_table_is_aligned_and_says_what_it_cannot():
    """Words stand left, numbers right, three decimals, `-` where a metric is missing."""
    table = pd.DataFrame({"ranking": ["noise", "k"], "found": [3, 12], "auroc": [0.51249, np.nan]})
    assert format_table(table).splitlines() == [
        "ranking  found  auroc",
        "noise        3  0.512",
        "k           12      -",
    ]


def test_a_wide_table_gets_stacked_headings_before_anything_is_cut():
    """Headings give way first: word over word, the last one next to the numbers."""
    table = pd.DataFrame({"ranking": ["noise"], "average_precision": [0.5], "top_k": [7]})
    expected = ["           average  top", "ranking  precision    k", "noise        0.500    7"]
    assert format_table(table, width=25).splitlines() == expected
    assert len(format_table(table, width=40).splitlines()) == 2


def test_formatted_table_fits_the_terminal():
    """No line is wider than 100, however long the names: words are cut first, then lines."""
    _, poisoned, clicked = world(4)
    rankings = {"a very long name " * 10: np.arange(60.0), "short": np.ones(60)}
    lines = format_table(detection_table(rankings, poisoned, 5, clicked, [0, 1])).splitlines()
    assert all(len(line) == 100 for line in lines)
    assert "..." in "\n".join(lines)
    wide = pd.DataFrame({f"column number {i}": [i] for i in range(20)})
    assert [len(line) for line in format_table(wide).splitlines()] == [100, 100]
