"""Laws of Adressa, as published and as newsreclib prepares it: what a row, a negative and a history are."""

import gzip
import json

import pytest
from support.logs import EVENTS, write_adressa, write_prepared

from rec_trak.config.reading import Reading
from rec_trak.data.places import click_log_path, data_format
from rec_trak.data.sources import read_data
from rec_trak.data.validation import find_validation, read_validation
from rec_trak.errors import DataError


def named(articles, ragged):
    return [[articles.ids[a] for a in ragged[i]] for i in range(len(ragged))]


def test_rows_of_events(tmp_path):
    """Law: a row is an event on an article on the last day but one; the history is what its user opened before that
    day, by time; other candidates are articles that the user never opened, on no day; a second opening counts again."""
    articles, rows = read_data(write_adressa(tmp_path / "week"), None, "train_clean")
    assert rows.user_ids.tolist() == ["cx:a", "cx:a", "cx:b", "cx:c"]
    assert named(articles, rows.history) == [["h3", "h1", "h2"]] * 2 + [["h4"], []]
    shown = named(articles, rows.candidates)
    assert [row[0] for row in shown] == ["h5", "h5", "h6", "h7"]
    opened = {user: {f"h{a}" for _, _, u, a in EVENTS if u == user} for user in rows.user_ids}
    for user, row in zip(rows.user_ids, shown, strict=True):
        assert not opened[user] & set(row[1:])
    assert [len(set(row)) for row in shown] == [5] * 4
    assert set(shown[0][1:]) == {"h4", "h6", "h7", "h9"}  # all that user a never opened
    assert rows.columns["day"] == ("2017-01-03",) * 4
    assert rows.sources[0] == "20170103, line 1"
    assert (
        "4 click(s) are of the days before 2017-01-03, which are histories, and 2 of later days; neither are rows."
        in (rows.notes)
    )
    assert articles.categories[0] == "nyheter"
    assert articles.subcategories[:2] == ("krimi", "sport")


def test_draws_depend_on_the_row_alone(tmp_path):
    """Law: other candidates are drawn once by seed, user, click and occurrence: other users' events change nothing as
    long as the articles are the same, and another seed does."""
    tree = write_adressa(tmp_path / "a")
    articles, rows = read_data(tree, None, "train_clean", Reading(negatives=2))
    more = [*EVENTS, (3, 10, "cx:d", 1)]
    _, others = read_data(write_adressa(tmp_path / "b", more), None, "train_clean", Reading(negatives=2))
    assert named(articles, others.candidates)[:4] == named(articles, rows.candidates)
    seeds = {
        str(named(articles, read_data(tree, None, "train_clean", Reading(seed=s))[1].candidates)) for s in range(9)
    }
    assert len(seeds) > 3


def test_days_say_what_are_rows(tmp_path):
    """Law: clicks from `since` on and before `until` are rows, those before `since` histories; few days are none."""
    tree = write_adressa(tmp_path / "a")
    articles, rows = read_data(tree, None, "train_clean", Reading(since="2017-01-02", until="2017-01-04"))
    assert len(rows) == 5
    assert named(articles, rows.history)[0] == []
    _, rows = read_data(tree, None, "train_clean", Reading(since="2017-01-04"))
    assert len(rows) == 2
    _, rows = read_data(tree, None, "train_clean", Reading(until="2017-01-03"))
    assert rows.columns["day"] == ("2017-01-02",)
    short = write_adressa(tmp_path / "b", [event for event in EVENTS if event[0] < 3])
    with pytest.raises(DataError, match="too few days. Got 2, expected some for histories.*`since`"):
        read_data(short, None, "train_clean")


def test_files_of_events(tmp_path):
    """Law: compressed files are read too; a line that is no event, or says no time, is refused with its place."""
    tree = write_adressa(tmp_path / "a")
    _, plain = read_data(tree, None, "train_clean")
    first = tree / "20170101"
    (tree / "20170101.gz").write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    _, rows = read_data(tree, None, "train_clean")
    assert rows.candidates.values.tolist() == plain.candidates.values.tolist()
    event = json.loads((tree / "20170102").read_text().splitlines()[0])
    for line, message in [
        ("[1]", "20170102, line 1: no JSON object. Got '\\[1\\]'"),
        (json.dumps(event | {"time": "noon"}), "line 1: `time` is no time. Got 'noon'"),
        (json.dumps(event | {"userId": " "}), "line 1: `userId` is no text"),
    ]:
        (tree / "20170102").write_text(line + "\n")
        with pytest.raises(DataError, match=message):
            read_data(tree, None, "train_clean")
    (tree / "20170101.gz").write_bytes(b"\x1f\x8b" + b"0" * 40)
    with pytest.raises(DataError, match="20170101.gz: cannot be read"):
        read_data(tree, None, "train_clean")


def test_events_are_no_impressions(tmp_path):
    """Law: what was shown is not known, so nothing is validated on."""
    tree = write_adressa(tmp_path / "a")
    assert find_validation(tree, None, ("val_clean",), "adressa") is None
    with pytest.raises(DataError, match="`data_format` adressa holds rows, not whole impressions"):
        read_validation(tree, None, "val_clean")


def test_rows_that_newsreclib_prepared(tmp_path):
    """Law: a line is a row: its click and `negatives` of its 20 others, drawn once; users bear the names that its
    dictionary has; there are no days."""
    tree = write_prepared(tmp_path / "Adressa_one_week")
    assert data_format(tree, "train_clean") == "adressa_newsreclib"
    articles, rows = read_data(tree, None, "train_clean")
    assert rows.user_ids.tolist() == ["UU0", "UU0", "UU1", "UU2"]
    assert named(articles, rows.history) == [["N1", "N2"]] * 2 + [[], ["N5"]]
    for row, click in zip(named(articles, rows.candidates), ("N3", "N4", "N3", "N6"), strict=True):
        assert row[0] == click
        assert len(set(row[1:])) == 4
        assert set(row[1:]) < {f"N{i}" for i in range(11, 31)}
    assert rows.columns == {}
    assert rows.notes == ()
    assert rows.sources == ("1", "2", "3", "4")
    assert articles.categories[:2] == ("nyheter", "nyheter")
    assert len(read_data(tree, None, "train_clean", Reading(least_history=1))[1]) == 3
    _, shown, clicks = find_validation(tree / "train", None, ("val_clean",), "adressa_newsreclib")
    assert clicks.parent.name == "dev"
    assert set(shown.candidates.lengths) == {21}


def test_several_seeds_are_told_apart(tmp_path):
    """Law: where newsreclib left logs of several seeds, the path of one says which."""
    tree = write_prepared(tmp_path / "a")
    (tree / "train" / "behaviors_7.tsv").write_text("U9\tN1\tN2-1 N3-0\n", encoding="utf-8")
    with pytest.raises(DataError, match="several click logs. Got behaviors_42.tsv, behaviors_7.tsv, expected one"):
        read_data(tree, None, "train_clean")
    assert click_log_path(tree, "train/behaviors_7.tsv").name == "behaviors_7.tsv"
    _, rows = read_data(tree, None, "train/behaviors_7.tsv")
    assert rows.user_ids.tolist() == ["UU9"]


def test_bad_lines_of_newsreclib(tmp_path):
    """Law: other than three columns, no user, candidates without labels: refused with the line."""
    log = write_prepared(tmp_path / "a") / "train" / "behaviors_42.tsv"
    for line, message in [
        ("U1\tN1", "line 1: Got 2 columns, expected 3"),
        ("\tN1\tN2-1 N3-0", "line 1: the user id is empty"),
        ("U1\tN1\tN2 N3", "line 1: candidates without a click label"),
        ("U1\tN1\tN99-1 N3-0", "line 1: 1 unknown article id.*news.tsv"),
    ]:
        log.write_text(line + "\n")
        with pytest.raises(DataError, match=message):
            read_data(tmp_path / "a", None, "train_clean")
