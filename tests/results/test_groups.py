"""Sums over groups add up to what was summed, and counts and means stand beside them."""

import numpy as np
import pandas as pd
import pytest

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, DataError
from rec_trak.results import groups
from rec_trak.results.groups import check_columns, column_file, group_tables

A, N = 9, 60


@pytest.fixture
def articles():
    titles = [f"title {i}" for i in range(A - 1)] + ["two\nlines"]
    empty = ("",) * A
    return Articles(tuple(f"n{i}" for i in range(A)), tuple(titles), empty, empty, empty, np.full(A, -1, np.int8), "x")


@pytest.fixture
def rows(articles):
    """60 impressions of 7 users on three days; article 8 is never clicked; histories repeat articles."""
    rng = np.random.default_rng(0)
    clicked = rng.integers(0, A - 1, size=N)
    return Impressions(
        user_ids=np.array([f"u{u}" for u in rng.integers(0, 7, size=N)], dtype=object),
        history=Ragged.of([rng.integers(0, A, size=rng.integers(0, 6)) for _ in range(N)]),
        candidates=Ragged.of([[c, (c + 1) % A] for c in clicked]),
        labels=Ragged.of([[1, 0]] * N),
        is_fake=(clicked % 2).astype(np.int8),
        sources=tuple(map(str, range(N))),
        columns={
            "day": tuple(f"2020-01-0{d}" for d in rng.integers(1, 4, size=N)),
            "poisoned": tuple(str(p) for p in rng.integers(0, 2, size=N)),
        },
    )


@pytest.fixture
def values():
    return np.random.default_rng(1).normal(size=N)


@pytest.mark.parametrize("at_once", [1, 7])
def test_no_sum_depends_on_what_is_looked_at_together(rows, articles, values, monkeypatch, at_once):
    """The same to the last digit, some rows at a time or all of them."""
    whole = group_tables(values, rows, rows.history, articles)["by_history_article.csv"]
    monkeypatch.setattr(groups, "AT_ONCE", at_once)
    pd.testing.assert_frame_equal(
        group_tables(values, rows, rows.history, articles)["by_history_article.csv"], whole, check_exact=True
    )


def test_groups_of_rows_add_up_to_the_whole(rows, articles, values):
    """Each row is in one article's, one user's and one day's group; sum = rows x mean; sorted by sum, days by day."""
    tables = group_tables(values, rows, rows.history, articles)
    assert list(tables) == ["by_article.csv", "by_history_article.csv", "by_user.csv", "by_day.csv"]
    for name in ("by_article.csv", "by_user.csv", "by_day.csv"):
        table = tables[name]
        assert table["rows"].sum() == N
        np.testing.assert_allclose(table["sum"].sum(), values.sum())
        np.testing.assert_allclose(table["sum"], table["rows"] * table["mean"])
        assert table["day" if name == "by_day.csv" else "sum"].is_monotonic_increasing == (name == "by_day.csv")
        assert name == "by_day.csv" or table["sum"].is_monotonic_decreasing


@pytest.mark.parametrize(
    "names",
    [
        ["", "2019-11-09", "2019-11-10", "2020-01-01"],
        ["11/9/2019", "11/10/2019", "11/30/2019", "2/1/2020"],
        ["30/1/2019", "2/11/2019", "1/12/2019"],
        ["1", "2", "10"],
        ["day 2", "day 10"],
    ],
)
def test_days_stand_in_their_order(articles, names):
    """Law: by date, whatever the way to write it, the largest sum or not; what is no date by its numbers."""
    n = len(names)
    rows = Impressions(
        np.array(["u"] * n, dtype=object), Ragged.of([[0]] * n), Ragged.of([[0, 1]] * n), Ragged.of([[1, 0]] * n),
        np.zeros(n, np.int8), ("1",) * n, {"day": tuple(names[::-1])})  # fmt: skip
    assert group_tables(np.ones(n), rows, rows.history, articles)["by_day.csv"]["day"].tolist() == names


def test_groups_equal_a_pandas_groupby(rows, articles, values):
    """By clicked article, user and column, against another way of counting."""
    tables = group_tables(values, rows, rows.history, articles, ["poisoned"])
    keys = {
        "by_article.csv": ("article_id", [articles.ids[a] for a in rows.clicked]),
        "by_user.csv": ("user_id", rows.user_ids),
        "by_poisoned.csv": ("poisoned", rows.columns["poisoned"]),
    }
    for name, (column, key) in keys.items():
        expected = pd.DataFrame({column: key, "value": values}).groupby(column)["value"].agg(["size", "sum", "mean"])
        found = tables[name].set_index(column).loc[expected.index, ["rows", "sum", "mean"]]
        np.testing.assert_allclose(found.to_numpy(), expected.to_numpy())


def test_a_row_counts_once_for_each_article_of_its_history(rows, articles, values):
    """Repeated articles count once, padding not at all; an article never clicked can stand there."""
    history = Ragged.of([[*rows.history[i], A, A] for i in range(N)])
    table = group_tables(values, rows, history, articles)["by_history_article.csv"].set_index("article_id")
    for a in range(A):
        holding = np.array([a in rows.history[i] for i in range(N)])
        assert table.loc[f"n{a}", "rows"] == holding.sum()
        np.testing.assert_allclose(table.loc[f"n{a}", "sum"], values[holding].sum())
        np.testing.assert_allclose(table.loc[f"n{a}", "mean"], values[holding].mean())


def test_no_history_at_all(rows, articles, values):
    """An empty table, with its columns."""
    table = group_tables(values, rows, Ragged.of([[]] * N), articles)["by_history_article.csv"]
    assert list(table.columns) == ["article_id", "title", "label", "rows", "sum", "mean"]
    assert len(table) == 0


def test_articles_have_titles_on_one_line_and_labels(rows, articles, values):
    """The class is the article table's, or the click log's where it says one."""
    tables = group_tables(values, rows, rows.history, articles)
    history = tables["by_history_article.csv"].set_index("article_id")
    assert history.loc["n8", "title"] == "two lines"
    assert history.loc["n8", "label"] == "unknown"
    article = tables["by_article.csv"].set_index("article_id")
    assert article.loc["n3", "label"] == history.loc["n3", "label"] == "fake"
    assert article.loc["n2", "label"] == "real"


def test_days_only_where_they_are_known(rows, articles, values):
    """A column of empty days makes no table of its own accord."""
    rows.columns["day"] = ("",) * N
    assert "by_day.csv" not in group_tables(values, rows, rows.history, articles)


def test_a_column_that_is_not_there(rows, articles):
    """The columns that are there are named."""
    with pytest.raises(DataError, match="no such column. Got `city`, expected one of.*`day`, `poisoned`"):
        check_columns(rows, ["day", "city"], articles)
    rows.columns.clear()
    with pytest.raises(DataError, match="further columns: none"):
        check_columns(rows, ["day"], articles)


def test_columns_cannot_take_each_others_file(rows, articles, values):
    """Names are made file names; those of articles and users stay theirs, and clashes are refused."""
    rows.columns.update({"user": rows.columns["day"], "a/b": rows.columns["day"], "a b": rows.columns["day"]})
    assert column_file("user") == "by_column_user.csv"
    tables = group_tables(values, rows, rows.history, articles, ["user", "a/b"])
    assert tables["by_user.csv"].columns[0] == "user_id"
    assert tables["by_a_b.csv"].columns[0] == "a/b"
    with pytest.raises(ConfigError, match="two columns make one file. Got `a b` for by_a_b.csv"):
        group_tables(values, rows, rows.history, articles, ["a/b", "a b"])


def test_a_column_named_like_a_number(rows, articles, values):
    """Its heading gives way to the numbers'."""
    rows.columns["sum"] = rows.columns["poisoned"]
    table = group_tables(values, rows, rows.history, articles, ["sum"])["by_sum.csv"]
    assert list(table.columns) == ["sum_value", "rows", "sum", "mean"]
