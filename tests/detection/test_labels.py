"""Which rows are poisoned: the click's own line decides; everything else is noted or refused."""

import dataclasses

import numpy as np
import pytest
from support import finished, tiny

from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.reading import Reading
from rec_trak.data.sources import read_data
from rec_trak.detection.labels import labels_from_column, labels_from_file, read_row_numbers
from rec_trak.errors import DataError
from rec_trak.runs.click_log import ClickLog


def log_of(folder, rows="as_trained"):
    """The click log of a tree, as of a run over all of it."""
    articles, impressions = read_data(folder / "data", None, "train_clean", Reading(rows=rows))
    config = read_analysis_config(tiny.write_config(folder))
    path = folder / "data" / "models" / "train_clean.csv"
    return ClickLog(
        path, "pairwise", config, Reading(rows=rows), articles, impressions, np.arange(len(impressions)), impressions
    )


@pytest.fixture
def path(tmp_path):
    """A click log with a column `poisoned`."""
    tiny.write_tree(tmp_path / "data")
    path = tmp_path / "data" / "models" / "train_clean.csv"
    finished.mark(path, lambda line: finished.poisons(line["user_id"], line["candidate_id"]))
    return path


def test_a_row_is_poisoned_if_its_click_is(tmp_path, path):
    """Labels follow the click, whether all lines of the impression are marked or the click's alone."""
    log = log_of(tmp_path)
    clicked = [log.articles.ids[a] for a in log.rows.clicked]
    expected = [int(finished.poisons(u, a)) for u, a in zip(log.rows.user_ids, clicked, strict=True)]
    assert 0 < sum(expected) < 24
    labels, notes = labels_from_column(log, "poisoned")
    assert (labels.tolist(), notes) == (expected, [])
    lines = finished.read(path)
    finished.write(path, [line | {"poisoned": str(int(line["poisoned"]) * int(line["label"]))} for line in lines])
    labels, notes = labels_from_column(log_of(tmp_path), "poisoned")
    assert (labels.tolist(), notes) == (expected, [])


def test_marked_lines_of_other_candidates_are_noted(tmp_path, path):
    """They do not make the row poisoned, and their number is said."""
    lines = finished.read(path)
    other = next(line for line in lines if line["label"] == "0" and line["poisoned"] == "0")
    other["poisoned"] = "1"
    before = labels_from_column(log_of(tmp_path), "poisoned")[0]
    finished.write(path, lines)
    labels, notes = labels_from_column(log_of(tmp_path), "poisoned")
    assert (labels == before).all()
    assert len(notes) == 1
    assert notes[0].startswith("1 row(s) have `poisoned` 1 in the line of another candidate")


def test_each_click_of_an_impression_has_its_own_label(tmp_path, path):
    """With a row a click, one impression can hold a poisoned and a genuine one."""
    lines = finished.read(path)
    first = next(u for u in (line["user_id"] for line in lines) if sum(line["user_id"] == u for line in lines) > 2)
    own = [line for line in lines if line["user_id"] == first]
    for i, line in enumerate(own[:-1]):
        line |= {"label": "0", "poisoned": "0"} if i else {"label": "1", "poisoned": "1"}
    own[-1] |= {"label": "1", "poisoned": "0"}
    finished.write(path, lines)
    log = log_of(tmp_path, "per_click")
    labels = labels_from_column(log, "poisoned")[0][log.rows.user_ids == first]
    assert sorted(labels.tolist()) == [0, 1]


def test_clicks_on_fake_articles_may_be_asked_for(tmp_path, path):
    """`candidate_is_fake` is the clicked article's, and refused where nobody says."""
    log = log_of(tmp_path)
    labels, _ = labels_from_column(log, "candidate_is_fake")
    assert labels.tolist() == [int(int(log.articles.ids[a][1:]) % 4 == 0) for a in log.rows.clicked]
    unknown = dataclasses.replace(log, rows=dataclasses.replace(log.rows, is_fake=np.full(24, -1, dtype=np.int8)))
    with pytest.raises(DataError, match="nobody says whether the article that row 0 clicks is fake"):
        labels_from_column(unknown, "candidate_is_fake")


def test_columns_that_say_nothing_are_refused(tmp_path, path):
    """A missing column lists those that there are; another value than 0 and 1 has its line."""
    with pytest.raises(DataError, match="Got `poisoned`, `candidate_is_fake`, expected `bot`"):
        labels_from_column(log_of(tmp_path), "bot")
    lines = finished.read(path)
    for line in lines:
        line["poisoned"] = "maybe" if line["user_id"] == "u3" else line["poisoned"]
    finished.write(path, lines)
    with pytest.raises(DataError, match=r"line\(s\) .*: `poisoned` is wrong in the click of 1 row.*'maybe'"):
        labels_from_column(log_of(tmp_path), "poisoned")


def test_labels_of_a_file(tmp_path):
    """A label for every row in any order, or the poisoned rows alone."""
    path = tmp_path / "labels.csv"
    path.write_text("sample_idx,poisoned\n2,1\n0,0\n1,False\n")
    assert labels_from_file(path, 3).tolist() == [0, 0, 1]
    assert labels_from_file(path, 5, "bot").tolist() == [1, 1, 1, 0, 0]
    path.write_text("rank,sample_idx\n1,4\n2,0\n")
    assert labels_from_file(path, 5).tolist() == [1, 0, 0, 0, 1]
    assert read_row_numbers(path, 5).tolist() == [4, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("row\n1\n", "missing column.*`sample_idx`"),
        ("sample_idx,poisoned\n0,1\n1,2\n2,0\n", "line 3: `poisoned` is wrong in 1 line.*Got '2', expected 0 or 1"),
        ("sample_idx,poisoned\n0,1\n2,0\n", r"rows without a label. Got 1 rows missing \(1\)"),
        ("sample_idx\n3\n", r"line 2: not the number of a row \(1 such line\(s\)\). Got '3', expected 0 to 2"),
        ("sample_idx\n-1\n", "Got '-1', expected 0 to 2"),
        ("sample_idx\n1\n0\n1\n", r"1 row\(s\) stand twice \(1\)"),
    ],
)
def test_files_that_label_nothing_are_refused(tmp_path, text, words):
    """Each with its line and what was expected."""
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        labels_from_file(path, 3)
