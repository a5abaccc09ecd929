"""The click log of a finished run read again: the same rows, or a refusal that says what changed."""

import json
import shutil
from dataclasses import replace

import pytest
from support import finished, tiny

from rec_trak.data.places import click_log_path
from rec_trak.errors import DataError
from rec_trak.results.files import read_results
from rec_trak.results.lines import Lines
from rec_trak.runs.click_log import check_same_rows, history_as_read, line_numbers
from rec_trak.runs.finished import open_run


@pytest.fixture
def folder(tmp_path):
    """A finished run."""
    return finished.finished_run(tmp_path)


def test_the_rows_of_a_run_come_back(tmp_path, folder):
    """Path, format and all rows; the sample of a run by its places in the file."""
    log = open_run(folder).click_log()
    assert (log.path, log.form) == (tmp_path / "data" / "models" / "train_clean.csv", "pairwise")
    assert log.places.tolist() == list(range(24))
    assert log.rows is log.everything
    shutil.rmtree(folder)
    log = open_run(finished.score(tmp_path, sample_size=10, seed=3)).click_log()
    assert (len(log.rows), len(log.everything), len(set(log.places.tolist()))) == (10, 24, 10)
    assert log.rows.sources == tuple(log.everything.sources[i] for i in log.places)
    assert list(log.places) == sorted(log.places)


def test_histories_that_were_read_whole_are_not_held_twice(folder):
    """The log's own where the model read all of each, else what it read; by what rows.csv says."""
    run = open_run(folder)
    log = run.click_log()
    assert history_as_read(run.results, log) is log.rows.history
    run.metadata["model"] |= {"max_history": 2, "history_truncation": "last", "history_padding": "none"}
    rows = Lines.of(run.results.rows.whole().drop(columns="history_read", errors="ignore"))
    read = history_as_read(replace(run.results, rows=rows), log)
    assert [one.tolist() for one in read] == [one[-2:].tolist() for one in log.rows.history]


def test_data_that_moved_are_read_where_they_are(tmp_path, folder):
    """The old place is refused by name; the new one, given, is read."""
    (tmp_path / "data").rename(tmp_path / "moved")
    results = read_results(folder)
    with pytest.raises(DataError, match="data: no such file"):
        open_run(results.folder).click_log()
    log = open_run(results.folder).click_log(tmp_path / "moved", tmp_path / "moved" / "news_items.csv")
    assert log.path == tmp_path / "moved" / "models" / "train_clean.csv"


def test_a_log_that_changed_is_refused(tmp_path, folder):
    """A line more, another click, another candidate, another order: the message names the first thing that differs."""
    path, results = tmp_path / "data" / "models" / "train_clean.csv", read_results(folder)
    lines = finished.read(path)

    def refused(changed, words):
        finished.write(path, changed)
        with pytest.raises(DataError, match=words):
            open_run(results.folder).click_log()

    refused([line for line in lines if line["user_id"] != "u3"], "it changed since. Got 23 rows, expected 24")
    refused([*lines[-2:], *lines[:-2]], "Got `source_lines`")
    flipped = [dict(line) for line in lines]
    first, last = (next(i for i, line in enumerate(lines) if line["label"] == flag) for flag in "01")
    flipped[first]["label"], flipped[last]["label"] = "1", "0"
    refused(flipped, r"Got `article_id` .* in row \d+ \(1 such rows\), expected")
    other = [dict(line) for line in lines]
    other[first]["candidate_id"] = "n11" if other[first]["candidate_id"] != "n11" else "n10"
    other[first]["candidate_title"] = ""
    refused(other, "Got `other_candidates`")
    finished.write(path, [line | {"note": "new"} for line in lines])
    assert len(open_run(results.folder).click_log().rows) == 24  # a further column changes no row


def test_a_run_that_does_not_say_its_data_is_refused(folder):
    """Results written from Python lack what is needed to find the file."""
    path = folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset_type": None}))
    with pytest.raises(DataError, match="does not say which click log was scored"):
        open_run(folder).click_log()


def test_target_sets_of_other_rows_are_refused(tmp_path, folder):
    """Targets scored for a sample are not those of all rows."""
    other = finished.score(tmp_path, sample_size=10, output_dir=str(tmp_path / "other"))
    check_same_rows(read_results(folder), read_results(folder / "targets" / "benchmark_mixed"))
    with pytest.raises(DataError, match="Got 10 rows, expected 24"):
        check_same_rows(read_results(folder), read_results(other / "targets" / "benchmark_mixed"))


def test_line_numbers_of_a_source():
    """Spans and single lines, as the readers write them."""
    assert line_numbers("2-4,9") == [2, 3, 4, 9]
    assert line_numbers("17") == [17]


def test_the_file_of_a_data_set(tmp_path):
    """Pairwise below models/ or beside it, MIND in its folder, or a line that names both places."""
    tiny.write_tree(tmp_path / "data")
    assert click_log_path(tmp_path / "data", "train_clean").name == "train_clean.csv"
    (tmp_path / "mind").mkdir()
    (tmp_path / "mind" / "behaviors.tsv").write_text("")
    assert click_log_path(tmp_path / "mind", "train_clean") == tmp_path / "mind" / "behaviors.tsv"
    with pytest.raises(DataError, match="no click log. Got neither models/val_clean.csv or val_clean.csv"):
        click_log_path(tmp_path / "data", "val_clean")
