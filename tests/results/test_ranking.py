"""Order, lists and table of a ranking. Not here: the files they are written to."""

import numpy as np
import pandas as pd
import pytest

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, DataError, NumericalError
from rec_trak.results.ranking import (
    RANKING_COLUMNS,
    ROW_COLUMNS,
    check_scores,
    percentiles,
    rank_training_samples,
    ranking_table,
    rows_table,
)

OLD_KEYS = {
    *(f"{end}_k_{what}" for end in ("top", "bottom") for what in ("indices", "scores", "labels")),
    *(f"top_{label}_{what}" for label in ("fake", "real") for what in ("indices", "scores")),
}


def plain_rows(n: int) -> pd.DataFrame:
    return pd.DataFrame({name: [f"{name} {i}" for i in range(n)] for name in ROW_COLUMNS} | {"sample_idx": range(n)})


def small_world() -> tuple[Impressions, Articles]:
    """Three rows over four articles; rows 0 and 2 are the same click."""
    titles = ("Alpha", 'Be "quoted", b', "Line\r\nbreak", "日本")
    articles = Articles(
        ("a", "b", "c", "d"), titles, ("",) * 4, ("",) * 4, ("",) * 4, np.array([0, 1, -1, 0], np.int8), "made up"
    )
    impressions = Impressions(
        user_ids=np.array(["u1", "NA", "u1"], dtype=object),
        history=Ragged.of([[3, 0], [], [3, 0]]),
        candidates=Ragged.of([[1, 3, 0], [2, 1], [1, 2, 0]]),
        labels=Ragged.of([[1, 0, 0], [1, 0], [1, 0, 0]]),
        is_fake=np.array([1, -1, 1], np.int8),
        sources=("2-4", "5-6", "7-9"),
    )
    return impressions, articles


def test_lists_hold_the_planted_order_under_the_old_keys():
    """Law: each list runs from high to low over its own rows, under exactly the keys that existing users read."""
    scores = np.array([0.1, 0.9, -0.5, 0.4, 0.2], dtype=np.float32)
    result = rank_training_samples(scores, [0, 1, 1, 0, -1], top_k=2)
    assert set(result) == OLD_KEYS
    assert result["top_k_indices"].tolist() == [1, 3]
    assert result["top_k_labels"].tolist() == [1, 0]
    assert result["bottom_k_indices"].tolist() == [0, 2]
    assert result["bottom_k_labels"].tolist() == [0, 1]
    assert result["top_fake_indices"].tolist() == [1, 2]
    assert result["top_real_indices"].tolist() == [3, 0]
    for name in ("top_k", "bottom_k", "top_fake", "top_real"):
        assert np.array_equal(result[f"{name}_scores"], scores[result[f"{name}_indices"]])


def test_ranking_prints_nothing(capsys):
    """Law: a library function leaves the terminal to its caller."""
    rank_training_samples([1.0, 2.0], [0, 1], top_k=1)
    assert capsys.readouterr() == ("", "")


def test_equal_scores_keep_the_order_of_the_rows():
    """Law: the order is stable, so that two runs of the same scores give the same lists."""
    scores = np.zeros(1000)
    scores[[3, 700]] = 1
    assert rank_training_samples(scores, np.zeros(1000), top_k=5)["top_k_indices"].tolist() == [3, 700, 0, 1, 2]
    assert ranking_table(scores, plain_rows(1000))["sample_idx"].tolist()[:5] == [3, 700, 0, 1, 2]


def test_order_agrees_with_pandas_on_random_scores():
    """Law: the order is that of pandas' own stable descending sort."""
    scores = np.random.default_rng(0).integers(-50, 50, 500).astype(np.float32)
    expected = pd.Series(scores).sort_values(ascending=False, kind="stable").index
    assert rank_training_samples(scores, np.zeros(500), top_k=500)["top_k_indices"].tolist() == expected.tolist()


def test_top_k_beyond_the_rows_is_cut_with_a_warning():
    """Law: asking for more rows than there are gives all of them, and says so."""
    with pytest.warns(UserWarning, match=r"`top_k`.*Got 9, using all 3"):
        result = rank_training_samples([1.0, 3.0, 2.0], [0, 0, 1], top_k=9)
    assert result["top_k_indices"].tolist() == result["bottom_k_indices"].tolist() == [1, 2, 0]


@pytest.mark.parametrize("top_k", [0, -3, 2.5, True, "5", None])
def test_top_k_must_be_a_length(top_k):
    """Law: what is no length of a list is refused before anything is ranked."""
    with pytest.raises(ConfigError, match=r"`top_k`: not the length of a list\. Got .*at least 1"):
        rank_training_samples([1.0, 2.0], [0, 1], top_k=top_k)
    with pytest.raises(ConfigError, match="`top_k`"):
        ranking_table([1.0, 2.0], plain_rows(2), top_k=top_k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_named(bad):
    """Law: no ranking is made of NaN or infinity; the first such row is named and the others counted."""
    with pytest.raises(NumericalError, match=r"score of row 1 and 1 more rows is not finite\. Got -?(nan|inf)"):
        rank_training_samples([0.0, bad, bad], [0, 0, 0])
    with pytest.raises(NumericalError, match="score of row 2 is not finite"):
        ranking_table([0.0, 1.0, bad], plain_rows(3))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1.0, 2.0], [0], "2 scores for labels of shape"),
        ([], [], r"one number a row\. Got float64 of shape \(0,\)"),
        ([[1.0], [2.0]], [0, 1], r"one number a row\. Got float64 of shape \(2, 1\)"),
        (["a", "b"], [0, 1], "one number a row. Got <U1"),
        ([1.0, 2.0], [0, 2], r"label of row 1\. Got 2, expected 1 \(fake\), 0 \(real\) or -1"),
        ([1.0, 2.0], [np.nan, 0], "label of row 0. Got nan"),
        ([1.0, 2.0], ["fake", "real"], "label of row 0. Got fake"),
    ],
)
def test_scores_and_labels_that_do_not_fit_are_refused(scores, labels, message):
    """Law: shapes, lengths and labels are checked before they can mislead."""
    with pytest.raises(DataError, match=message):
        check_scores(scores, labels, "here")


def test_table_has_all_rows_best_first_with_their_own_words():
    """Law: every row stands once, its rank is its place, and all it says is its own row's."""
    rows = plain_rows(4).assign(leverage=[0.1, 0.2, 0.3, 0.4])
    table = ranking_table([1.0, 4.0, 2.0, 3.0], rows, top_k=1)
    assert list(table.columns) == [*RANKING_COLUMNS, "leverage"]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["sample_idx"].tolist() == [1, 3, 2, 0]
    assert table["score"].tolist() == [4, 3, 2, 1]
    assert table["leverage"].tolist() == [0.2, 0.4, 0.3, 0.1]
    assert table["title"].tolist() == ["title 1", "title 3", "title 2", "title 0"]
    assert table["category"].tolist() == ["top_influential", "", "", "bottom_influential"]


@pytest.mark.parametrize(
    ("n", "top_k", "tops", "bottoms"), [(10, 3, 3, 3), (10, 5, 5, 5), (10, 7, 7, 3), (3, 3, 3, 0), (1, 1, 1, 0)]
)
def test_no_row_is_in_both_lists(n, top_k, tops, bottoms):
    """Law: the bottom list takes the last rows that the top list has left."""
    category = ranking_table(np.arange(n), plain_rows(n), top_k)["category"].tolist()
    assert category == ["top_influential"] * tops + [""] * (n - tops - bottoms) + ["bottom_influential"] * bottoms


def test_percentiles_run_from_1_to_100_and_ties_share():
    """Law: 1 is the highest score and 100 the lowest; equal scores share the mean place; one row is at 1."""
    assert percentiles(np.array([5.0, 1.0, 3.0])).tolist() == [1, 100, 50.5]
    assert percentiles(np.array([2.0, 2.0])).tolist() == [50.5, 50.5]
    assert percentiles(np.array([7.0])).tolist() == [1]


def test_rows_table_says_what_each_row_is():
    """Law: identity, other candidates (sorted, without the first), label, headline and source are the row's own."""
    table = rows_table(*small_world(), extra={"q": np.array([0.5, 0.25, 0.125]), "note": ("x\ny", "", "z")})
    assert list(table.columns) == [*ROW_COLUMNS, "q", "note"]
    assert table["sample_idx"].tolist() == [0, 1, 2]
    assert table["user_id"].tolist() == ["u1", "NA", "u1"]
    assert table["history_ids"].tolist() == ["d a", "", "d a"]
    assert table["article_id"].tolist() == ["b", "c", "b"]
    assert table["occurrence"].tolist() == [0, 0, 1]
    assert table["other_candidates"].tolist() == ["a d", "b", "a c"]
    assert table["label"].tolist() == ["fake", "unknown", "fake"]
    assert table["title"].tolist() == ['Be "quoted", b', "Line break", 'Be "quoted", b']
    assert table["source_lines"].tolist() == ["2-4", "5-6", "7-9"]
    assert table["note"].tolist() == ["x y", "", "z"]


def test_extra_columns_must_fit():
    """Law: an extra column has one value a row and a name of its own."""
    impressions, articles = small_world()
    with pytest.raises(DataError, match=r"extra column `q`: wrong length\. Got 2 values, expected 3"):
        rows_table(impressions, articles, {"q": [1.0, 2.0]})
    with pytest.raises(DataError, match="extra column `score`: the ranking table has a column of that name"):
        rows_table(impressions, articles, {"score": [1.0, 2.0, 3.0]})


def test_table_of_other_rows_is_refused():
    """Law: scores and rows of different lengths never meet."""
    with pytest.raises(DataError, match=r"ranking_table: scores and labels do not go together\. Got 3 scores"):
        ranking_table([1.0, 2.0, 3.0], plain_rows(2))


def test_rows_that_carry_nothing_stand_in_no_list():
    """Law: lists are those of the other rows alone; the table keeps all rows, in order, and says which these are."""
    scores, nothing = np.array([3.0, 0.0, -1.0, 2.0, 0.0, -2.0]), np.array([0, 1, 0, 0, 1, 0], dtype=bool)
    told = rank_training_samples(scores, [1, 1, 0, 1, 0, 0], top_k=3, nothing=nothing)
    assert told["top_k_indices"].tolist() == [0, 3, 2]
    assert told["bottom_k_indices"].tolist() == [3, 2, 5]
    assert told["top_fake_indices"].tolist() == [0, 3]
    assert told["top_real_indices"].tolist() == [2, 5]
    table = ranking_table(scores, plain_rows(6), 1, nothing)
    assert table["sample_idx"].tolist() == [0, 3, 1, 4, 2, 5]
    words = ["top_influential", "", "carries_nothing", "carries_nothing", "", "bottom_influential"]
    assert table["category"].tolist() == words


@pytest.mark.parametrize("nothing", [[True, True], [1, 0], [True], "no"])
def test_a_mask_that_is_none_is_refused(nothing):
    """One word a row, and not all rows."""
    with pytest.raises(DataError, match=r"rank_training_samples: `nothing` does not say .* expected \(2,\) of true"):
        rank_training_samples([1.0, 2.0], [0, 1], top_k=1, nothing=nothing)
