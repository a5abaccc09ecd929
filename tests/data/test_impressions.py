"""Laws of the rows: they are the ones that training made, know where they came from, and never depend on chance."""

import csv

import numpy as np
import pandas as pd
import pytest

from rec_trak.data.articles import read_news_items
from rec_trak.data.impressions import read_pairwise, row_identities
from rec_trak.data.pairwise import parse_list
from rec_trak.errors import ConfigError, DataError

COLUMNS = ["user_id", "history_titles", "history_ids", "candidate_id", "candidate_title", "label", "candidate_is_fake"]
TITLES = {
    f"n{i}": title for i, title in enumerate(["Zero", "One", "Two's", "Three", "Same", "Same", 'Six "6"', "Last"])
}


@pytest.fixture
def articles(tmp_path):
    path = tmp_path / "news_items.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("item_id", "title", "text"), *((i, title, "") for i, title in TITLES.items())])
    return read_news_items(path)


def group(user, history, candidates, fake=0):
    """The lines of one impression; candidates as `n1+` (clicked) or `n1`."""
    titles, ids = str([TITLES[a] for a in history]), str(list(history))
    return [[user, titles, ids, c[:2], TITLES.get(c[:2], "?"), int(c.endswith("+")), fake] for c in candidates]


@pytest.fixture
def pairwise(tmp_path):
    def write(*lines, header=COLUMNS, without=(), **more):
        path = tmp_path / "clicks.csv"
        kept = [i for i, name in enumerate(header) if name not in without]
        with path.open("w", newline="") as file:
            rows = [header, *lines]
            csv.writer(file).writerows([[row[i] for i in kept] for row in rows])
        return path

    return write


def ids(articles, ragged):
    return [[articles.ids[a] for a in ragged[i]] for i in range(len(ragged))]


def test_rows_as_the_training_code_makes_them(articles, pairwise):
    """Clicked first in file order, later clicks among the others; without a click the second candidate stands first."""
    path = pairwise(
        *group("u2", ["n0"], ["n1", "n2", "n3"]),
        *group("u1", ["n0", "n1"], ["n2", "n3+", "n4", "n5+"], fake=1),
        *group("u1", ["n0"], ["n6", "n7+"]),
    )
    rows = read_pairwise(path, articles)
    assert rows.user_ids.tolist() == ["u1", "u1", "u2"]
    assert ids(articles, rows.history) == [["n0", "n1"], ["n0"], ["n0"]]
    assert ids(articles, rows.candidates) == [["n3", "n5", "n2", "n4"], ["n7", "n6"], ["n2", "n1", "n3"]]
    assert [list(rows.labels[i]) for i in range(3)] == [[1, 1, 0, 0], [1, 0], [0, 0, 0]]
    assert [articles.ids[a] for a in rows.clicked] == ["n3", "n7", "n2"]
    assert rows.is_fake.tolist() == [1, 0, 0]
    assert rows.sources == ("5-8", "9-10", "2-4")
    assert any("1 impression(s) without a click are kept with their second candidate" in note for note in rows.notes)
    assert any("1 impression(s) have several clicks" in note for note in rows.notes)


def test_rows_per_click(articles, pairwise):
    """Each click gets a row of its own against what was not clicked; impressions without one go, and are counted."""
    path = pairwise(
        *group("u2", ["n0"], ["n1", "n2", "n3"]),
        *group("u1", ["n0", "n1"], ["n2", "n3+", "n4", "n5+"]),
        *group("u1", ["n0"], ["n6", "n7+"]),
    )
    rows = read_pairwise(path, articles, rows="per_click")
    assert ids(articles, rows.candidates) == [["n3", "n2", "n4"], ["n5", "n2", "n4"], ["n7", "n6"]]
    assert [list(rows.labels[i]) for i in range(3)] == [[1, 0, 0], [1, 0, 0], [1, 0]]
    assert rows.sources == ("5-7", "5,7-8", "9-10")
    assert rows.notes == ("1 impression(s) without a click are dropped.",)
    dropped = read_pairwise(path, articles, drop_unclicked=True)
    assert ids(articles, dropped.candidates) == [["n3", "n5", "n2", "n4"], ["n7", "n6"]]


def test_both_readings_agree_where_every_impression_has_one_click(articles, pairwise):
    """With one click an impression the two readings are the same table."""
    path = pairwise(*group("u1", ["n0"], ["n1", "n2+", "n3"]), *group("u0", ["n4"], ["n6+", "n7"]))
    one, other = read_pairwise(path, articles), read_pairwise(path, articles, rows="per_click")
    assert ids(articles, one.candidates) == ids(articles, other.candidates)
    assert one.sources == other.sources


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),
        (["u10", "u9", "u2"], ["u10", "u2", "u9"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1.5", "10", "9"], ["1.5", "9", "10"]),
        (["-1", "10", "9"], ["-1", "9", "10"]),
    ],
)
def test_order_is_that_of_pandas_groupby(articles, pairwise, users, expected):
    """Users go by number where pandas reads numbers, else by spelling; within a user the history's spelling counts."""
    path = pairwise(
        *[line for u in users for h in (["n3"], ["n0", "n1"], ["n0"]) for line in group(u, h, ["n1+", "n2"])]
    )
    rows = read_pairwise(path, articles)
    keys = [key for key, _ in pd.read_csv(path).groupby(["user_id", "history_titles"])]
    assert rows.user_ids.tolist() == [user for user in expected for _ in range(3)]
    assert all(type(key)(user) == key for user, (key, _) in zip(rows.user_ids, keys, strict=True))
    titles = [[articles.titles[a] for a in rows.history[i]] for i in range(len(rows))]
    assert titles == [parse_list(history) for _, history in keys]


def test_lines_of_an_impression_need_not_be_adjacent(articles, pairwise):
    """An impression is found wherever its lines stand; sources keep the true lines, newlines in quotes included."""
    first, second = group("u1", ["n0"], ["n1", "n2+", "n3"]), group("u1", ["n1"], ["n6+", "n7"])
    lines = [[*line, "a mark"] for line in (first[0], *second, first[1], first[2])]
    lines[1][-1] = "a mark\nof two lines"
    rows = read_pairwise(pairwise(*lines, header=[*COLUMNS, "mark"]), articles)
    assert rows.sources == ("3-5", "2,6-7")
    assert ids(articles, rows.candidates) == [["n6", "n7"], ["n2", "n1", "n3"]]


def test_further_columns_come_from_the_targets_line(articles, pairwise):
    """A column that no reader knows is kept, with the value of the row's first candidate."""
    lines = [[*line, str(i)] for i, line in enumerate(group("u1", ["n0"], ["n1", "n2+", "n3+"]))]
    path = pairwise(*lines, header=[*COLUMNS, "poisoned"])
    assert read_pairwise(path, articles).columns == {"poisoned": ("1",)}
    assert read_pairwise(path, articles, rows="per_click").columns == {"poisoned": ("1", "2")}


def test_truth_values_as_pandas_writes_them(articles, pairwise):
    """1, 1.0 and True are the same label."""
    lines = group("u1", ["n0"], ["n1", "n2", "n3", "n6"])
    for line, label, fake in zip(lines, ["True", "0.0", "False", "0"], ["1.0", "0", "0", "0"], strict=True):
        line[5], line[6] = label, fake
    rows = read_pairwise(pairwise(*lines), articles)
    assert list(rows.labels[0]) == [1, 0, 0, 0]
    assert rows.is_fake.tolist() == [1]


def test_histories_without_ids_take_the_first_article_of_a_title(articles, pairwise):
    """A title stands for the first article that bears it; titles that several bear are counted."""
    path = pairwise(*group("u1", ["n5", "n2", "n6"], ["n1", "n3+"]), without=("history_ids",))
    rows = read_pairwise(path, articles)
    assert ids(articles, rows.history) == [["n4", "n2", "n6"]]
    assert rows.notes == ("1 title(s) in histories belong to several articles; the first of each is taken.",)


def test_histories_may_be_empty_and_ids_may_be_numbers(tmp_path, pairwise):
    """An empty list is an empty history; [1, 2] names the articles "1" and "2"."""
    items = tmp_path / "numbers.csv"
    items.write_text("item_id,title,text\n1,A,\n2,B,\n3,C,\n")
    lines = [["7", "['A', 'B']", "[1, 2]", c, "", int(c == "3"), 0] for c in "23"]
    lines += [["7", "[]", "[]", c, "", int(c == "3"), 0] for c in "23"]
    articles = read_news_items(items)
    assert ids(articles, read_pairwise(pairwise(*lines), articles).history) == [["1", "2"], []]


def test_what_is_kept_is_said(articles, pairwise):
    """Repeated candidates are kept and impressions with differing ids keep the first; both are counted in notes."""
    lines = group("u1", ["n4"], ["n1+", "n2", "n2", "n1"])
    lines[2][2] = "['n5']"
    rows = read_pairwise(pairwise(*lines), articles)
    assert ids(articles, rows.candidates) == [["n1", "n2", "n2", "n1"]]
    assert ids(articles, rows.history) == [["n4"]]
    assert rows.notes[0].startswith("2 line(s) repeat a candidate")
    assert rows.notes[1].startswith("1 impression(s) have lines with different `history_ids`")


def change(column, value, line=1):
    """A fault: in line `line` of the impression (from 0), `column` holds `value`."""

    def apply(lines):
        lines[line][COLUMNS.index(column)] = value
        return lines

    return apply


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (change("label", "2"), r"clicks\.csv, line 3: `label` is wrong in 1 line\(s\). Got '2', expected 0 or 1"),
        (change("label", ""), "`label` is wrong in 1 line.* Got ''"),
        (
            change("candidate_is_fake", "-1"),
            "line 3: `candidate_is_fake` is wrong in 1 line.* Got '-1', expected 0 or 1",
        ),
        (change("user_id", " "), "line 3: `user_id` is wrong in 1 line"),
        (change("user_id", "None"), "line 3: `user_id` is wrong in 1 line.* Got 'None', expected an id that pandas"),
        (
            change("history_titles", "Zero"),
            "line 3: `history_titles` is wrong in 1 line.* Got 'Zero', expected a Python",
        ),
        (change("history_ids", "n0, n1"), "line 3: `history_ids` is wrong in 1 line"),
        (change("history_ids", "['n0', 'n1']"), "differ in length in 1 line.* Got 1 and 2 entries, expected equally"),
        (
            change("history_ids", "['x9']"),
            r"line 3: 1 unknown article\(s\) in `history_ids`, in 1 line\(s\) of 1 row.* Got `x9`",
        ),
        (change("candidate_id", "x1"), r"line 3: 1 unknown article\(s\) in `candidate_id`.* Got `x1`.*news_items\.csv"),
    ],
)
def test_values_that_cannot_be_meant(articles, pairwise, fault, message):
    """Each kind of wrong value is refused with line, value and what was expected."""
    with pytest.raises(DataError, match=message):
        read_pairwise(pairwise(*fault(group("u1", ["n0"], ["n1+", "n2", "n3"]))), articles)


def test_mistakes_are_told_together(articles, pairwise):
    """One message has every kind of mistake, the earliest first, with counts, and at most three unknown ids."""
    lines = group("u1", ["n0"], ["n1+", "x1", "x2", "x3", "x4", "x1"])
    lines[5][5] = lines[4][5] = "9"
    message = r"line 3: 4 unknown article\(s\) .* in 5 line.* Got `x1`, `x2`, `x3`, …, .*; line 6: `label` .* 2 line"
    with pytest.raises(DataError, match=message):
        read_pairwise(pairwise(*lines), articles)


def test_unknown_titles_without_ids(articles, pairwise):
    """Without ids a title that no article bears is refused."""
    lines = [["u1", "['Nowhere']", "", "n1", "", 1, 0], ["u1", "['Nowhere']", "", "n2", "", 0, 0]]
    with pytest.raises(
        DataError, match=r"line 2: 1 unknown article\(s\) in `history_titles`, in 2 line.* Got `Nowhere`"
    ):
        read_pairwise(pairwise(*lines, without=("history_ids",)), articles)


def test_missing_columns_are_all_named(articles, pairwise):
    """One message lists every column that is not there."""
    path = pairwise(*group("u1", ["n0"], ["n1+", "n2"]), without=("user_id", "label"))
    with pytest.raises(DataError, match=r"missing column\(s\) `user_id`, `label`"):
        read_pairwise(path, articles)


@pytest.mark.parametrize(
    ("rows", "candidates", "message"),
    [
        ("as_trained", ["n1+"], r"line\(s\) 4: no other candidate .* \(1 such row"),
        ("as_trained", ["n1"], r"line\(s\) 4: no other candidate"),
        ("per_click", ["n1+", "n2+"], r"line\(s\) 4: no other candidate .* \(2 such row"),
    ],
)
def test_a_row_needs_another_candidate(articles, pairwise, rows, candidates, message):
    """A softmax over one candidate teaches nothing: the lines of such a row are named."""
    path = pairwise(*group("u1", ["n0"], ["n1+", "n2"]), *group("u2", ["n0"], candidates))
    with pytest.raises(DataError, match=message):
        read_pairwise(path, articles, rows=rows)


def test_no_click_at_all_and_no_such_reading(articles, pairwise):
    """Per click, a file without a click holds no row; another word for `rows` is refused."""
    path = pairwise(*group("u1", ["n0"], ["n1", "n2"]))
    assert len(read_pairwise(path, articles)) == 1
    with pytest.raises(DataError, match=r"no row is left\. Got no line with label 1"):
        read_pairwise(path, articles, rows="per_click")
    with pytest.raises(ConfigError, match="Got 'each', expected as_trained or per_click"):
        read_pairwise(path, articles, rows="each")


def test_identity_counts_equal_rows_and_ignores_other_candidates(articles, pairwise):
    """Rows with the same user, history and click differ in their occurrence only; other candidates do not matter."""
    path = pairwise(*group("u1", ["n0", "n2"], ["n1+", "n2", "n1+", "n3+"]), *group("u0", ["n0"], ["n1+", "n7"]))
    rows = read_pairwise(path, articles, rows="per_click")
    history = ("n0", "n2")
    assert row_identities(rows, articles) == [
        ("u0", ("n0",), "n1", 0),
        ("u1", history, "n1", 0),
        ("u1", history, "n1", 1),
        ("u1", history, "n3", 0),
    ]


def test_subset_keeps_every_part_together(articles, pairwise):
    """Whatever belongs to a row goes with it."""
    lines = [[*line, line[3]] for u in "abc" for line in group(u, ["n0"], [f"n{'abc'.index(u)}+", "n7"])]
    rows = read_pairwise(pairwise(*lines, header=[*COLUMNS, "mark"]), articles)
    subset = rows.subset(np.array([2, 0]))
    assert subset.user_ids.tolist() == ["c", "a"]
    assert ids(articles, subset.candidates) == [["n2", "n7"], ["n0", "n7"]]
    assert (subset.sources, subset.columns["mark"]) == (("6-7", "2-3"), ("n2", "n0"))


def test_real_clean_rows_are_all_among_the_poisoned(shared):
    """3,211 poisoned rows hold all 683 clean ones by identity, none with the same other candidates."""
    folder = shared / "data/upfd_politifact"
    articles = read_news_items(folder / "news_items.csv")
    clean, poisoned = (read_pairwise(folder / f"models/train_{kind}.csv", articles) for kind in ("clean", "poisoned"))
    place = {identity: i for i, identity in enumerate(row_identities(poisoned, articles))}
    assert (len(clean), len(poisoned), len(place)) == (683, 3211, 3211)
    matched = [place[identity] for identity in row_identities(clean, articles)]
    assert len(set(matched)) == 683
    same = [set(clean.candidates[i]) == set(poisoned.candidates[j]) for i, j in enumerate(matched)]
    assert not any(same)
