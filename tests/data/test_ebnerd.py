"""Laws of EB-NeRD: a row a click, negatives shown and not clicked, the user's one history, ids whatever their type."""

import numpy as np
import pytest
from support.logs import IMPRESSIONS, USERS, write_ebnerd, write_parquet

from rec_trak.config.reading import Reading
from rec_trak.data.sources import read_data
from rec_trak.data.targets import read_log_targets
from rec_trak.data.validation import find_validation, read_validation
from rec_trak.errors import DataError


def named(articles, ragged):
    return [[articles.ids[a] for a in ragged[i]] for i in range(len(ragged))]


@pytest.fixture
def tree(tmp_path):
    return write_ebnerd(tmp_path / "ebnerd_small")


def test_rows(tree):
    """Law: one row a clicked article, the click first, beside `negatives` articles that were shown and not clicked;
    several clicks of an impression are rows that are not each other's negatives; the history is the user's."""
    articles, rows = read_data(tree, None, "train_clean")
    assert rows.user_ids.tolist() == ["1", "2", "2", "4", "3"]
    assert named(articles, rows.history) == [["1", "2", "3"], ["3", "4"], ["3", "4"], [], ["5"]]
    shown = named(articles, rows.candidates)
    assert [row[0] for row in shown] == ["4", "5", "9", "2", "8"]
    assert [len(row) for row in shown] == [5, 4, 4, 3, 3]
    assert set(shown[0][1:]) < {"5", "6", "7", "8", "9"}
    assert set(shown[1][1:]) == set(shown[2][1:]) == {"6", "7", "8"}
    assert all(rows.labels[i].tolist() == [1] + [0] * (len(row) - 1) for i, row in enumerate(shown))
    assert rows.columns["day"] == ("2023-05-18",) * 5
    assert rows.sources == tuple(f"impression {18000 + i}" for i in (0, 1, 1, 2, 4))
    assert rows.origin.tolist() == [[1, 0], [2, 0], [2, 1], [3, 0], [5, 0]]
    assert rows.notes == (
        "1 impression(s) are of users whom history.parquet lacks, and have an empty history.",
        "1 impression(s) without a click are left out.",
        "4 row(s) have fewer than 4 other candidates and keep all of them.",
    )


def test_articles(tree):
    """Law: title, body, category in words, the first subcategory; null is nothing; nobody says what is fake."""
    articles, _ = read_data(tree, None, "train_clean")
    assert articles.ids[:3] == ("1", "2", "3")
    assert articles.bodies[:2] == ("", "body 2")
    assert articles.categories[:3] == ("krimi", "sport", "krimi")
    assert articles.subcategories[:3] == ("", "2", "3")
    assert set(articles.is_fake) == {-1}


def test_ids_that_nulls_made_floats(tree, tmp_path):
    """Law: 4, 4.0 and '4.0' are one id, as columns, in lists and in cells that hold a list as text."""
    _, plain = read_data(tree, None, "train_clean")
    users = [float(user) for user, *_ in IMPRESSIONS]
    floats = [[float(a) for a in shown] + [None] for _, shown, _ in IMPRESSIONS]
    clicks = [str(clicked) if clicked else None for *_, clicked in IMPRESSIONS]
    other = write_ebnerd(tmp_path / "b", user_id=users, article_ids_inview=floats, article_ids_clicked=clicks)
    write_parquet(
        other / "train" / "history.parquet",
        {"user_id": ["1.0", "2", "3"], "article_id_fixed": ["[1. 2.0 3]", "[3, 4]", "['5']"]},
    )
    _, rows = read_data(other, None, "train_clean")
    assert rows.user_ids.tolist() == plain.user_ids.tolist()
    for part in ("history", "candidates", "labels"):
        assert getattr(rows, part).values.tolist() == getattr(plain, part).values.tolist()
    assert "5 id(s) in lists are null and left out." in rows.notes


def test_floats_that_cannot_hold_ids_are_refused(tmp_path):
    """Law: beyond 2^24 a float32 stands for several whole numbers, so such ids are no ids."""
    pa = pytest.importorskip("pyarrow")
    tree = write_ebnerd(tmp_path / "a")
    write_parquet(
        tree / "train" / "history.parquet",
        {"user_id": [1.0, 16777217.0], "article_id_fixed": [[1], [2]]},
        {"user_id": pa.float32()},
    )
    with pytest.raises(
        DataError, match="`user_id` went through floats .*. Got 16777216, expected numbers below 16,777"
    ):
        read_data(tree, None, "train_clean")


def test_the_test_set_has_no_clicks(tree, tmp_path):
    """Law: a log without the column of clicks, or without any click, makes no rows and says so."""
    write_ebnerd(tmp_path / "test", article_ids_clicked=None)
    with pytest.raises(DataError, match="no column `article_ids_clicked`, as in EB-NeRD's test set"):
        read_data(tmp_path / "test", None, "train_clean")
    write_ebnerd(tmp_path / "none", article_ids_clicked=[None] * len(IMPRESSIONS))
    with pytest.raises(DataError, match="no row is left. .* Give EB-NeRD's behaviors.parquet, with clicks"):
        read_data(tmp_path / "none", None, "train_clean")


def test_what_is_wrong_is_named(tree, tmp_path):
    """Law: a user twice or none, an id that is none, a missing column, a damaged file: one message with the place."""
    behaviors, history = (tree / "train" / name for name in ("behaviors.parquet", "history.parquet"))
    held = behaviors.read_bytes()
    cases = [
        (history, {"user_id": [1, 1], "article_id_fixed": [[1], [2]]}, "row 2: a second history for one user. Got '1'"),
        (
            history,
            {"user_id": [1, 2.5], "article_id_fixed": [[1], [2]]},
            "row 2: `user_id` does not hold an id. Got 2.5",
        ),
        (
            history,
            {"user_id": [1]},
            r"missing column\(s\) `article_id_fixed`. Got 'user_id', expected EB-NeRD's history",
        ),
    ]
    write = [(path, lambda p=path, c=columns: write_parquet(p, c), message) for path, columns, message in cases]
    for path, make, message in write:
        before = path.read_bytes()
        make()
        with pytest.raises(DataError, match=message):
            read_data(tree, None, "train_clean")
        path.write_bytes(before)
    behaviors.write_bytes(held[:-30])
    with pytest.raises(DataError, match="cannot be read as Parquet .* expected EB-NeRD's behaviors.parquet. Write it"):
        read_data(tree, None, "train_clean")
    write_ebnerd(tmp_path / "b", user_id=[1, 2, None, 3, 3])
    with pytest.raises(DataError, match="behaviors.parquet, row 3: the user id is empty"):
        read_data(tmp_path / "b", None, "train_clean")
    history.unlink()
    behaviors.write_bytes(held)
    with pytest.raises(DataError, match="history.parquet: no such file"):
        read_data(tree, None, "train_clean")


def test_damaged_files_are_one_line(tree):
    """Law: whatever bytes are changed, rows come out or one error; nothing else is raised."""
    path = tree / "train" / "behaviors.parquet"
    held, rng = path.read_bytes(), np.random.default_rng(0)
    told = 0
    for _ in range(60):
        damaged = bytearray(held)
        for place in rng.integers(4, len(held) - 8, size=8):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_data(tree, None, "train_clean")
        except DataError:
            told += 1
    assert told > 30


def test_days_cut_it(tree):
    """Law: `until` keeps what the training kept, by the day of the impression."""
    with pytest.raises(DataError, match="no row is left. Got 5 row"):
        read_data(tree, None, "train_clean", Reading(until="2023-05-18"))
    assert len(read_data(tree, None, "train_clean", Reading(least_history=1))[1]) == 4


def test_articles_that_are_missing(tree):
    """Law: `missing_articles` holds for EB-NeRD as for MIND; `blank` is what ebnerd-benchmark trains with."""
    short = {"article_id": [1, 2, 3, 4, 5], "title": list("abcde")}
    write_parquet(tree / "articles.parquet", short)
    with pytest.raises(
        DataError, match=r"behaviors.parquet, line 1: 4 unknown .* Give the articles.parquet of the same"
    ):
        read_data(tree, None, "train_clean")
    articles, rows = read_data(tree, None, "train_clean", Reading(missing_articles="blank"))
    assert (len(rows), len(articles), articles.titles[5:]) == (5, 9, ("",) * 4)


def test_validation_and_targets(tree):
    """Law: the validation folder is found from the tree and from its `train`; impressions are whole; and its clicks
    are targets."""
    for root in (tree, tree / "train"):
        articles, shown, clicks = find_validation(root, None, ("val_clean",), "ebnerd")
        assert clicks == (tree / "validation" / "behaviors.parquet").resolve() or clicks.samefile(clicks)
        assert clicks.parent.name == "validation"
        assert [len(shown.candidates[i]) for i in range(len(shown))] == [6, 5, 3, 3, 3]
    articles, shown = read_validation(tree, None, "val_clean")
    assert named(articles, shown.candidates)[1] == ["5", "9", "6", "7", "8"]
    targets = read_log_targets(tree / "validation", articles)
    assert len(targets.impressions) == 5
    assert named(articles, targets.impressions.candidates)[0] == ["4", "5", "6", "7", "8", "9"]


def test_text_of_the_users_own(tree, tmp_path):
    """Law: a table that was written for the model counts for validation and targets too, not the published one."""
    table = tmp_path / "items.csv"
    table.write_text("item_id,title,text\n" + "".join(f"{i},title subtitle {i},\n" for i in range(1, 10)))
    articles, _ = read_data(tree, table, "train_clean")
    assert find_validation(tree, table, ("val_clean",), "ebnerd")[0].titles == articles.titles
    assert read_log_targets(tree / "validation", articles).articles.titles == articles.titles


def test_a_users_history_is_one(tree):
    """Law: all impressions of a user have the history of history.parquet, to its last article."""
    articles, rows = read_data(tree, None, "train_clean")
    for user, history in zip(rows.user_ids, named(articles, rows.history), strict=True):
        assert history == [str(a) for a in USERS.get(int(user), [])]
    assert np.all(rows.history.lengths <= 3)


def test_without_pyarrow(tree, monkeypatch):
    """Law: what is not installed is named with what installs it."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"Got no pyarrow, expected it. pip install 'rec-trak\[parquet\]'"):
        read_data(tree, None, "train_clean")
