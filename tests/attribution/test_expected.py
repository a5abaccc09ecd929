"""Laws of expected scores: they are compared number by number before anything is written, and a difference is named."""

import csv

import numpy as np
import pytest
import torch
from support import tiny
from support.commands import fail, succeed

from rec_trak.attribution.expected import check_expected
from rec_trak.attribution.job import Run, read_job
from rec_trak.config.analysis import read_analysis_config
from rec_trak.data.batches import unique_batch
from rec_trak.errors import CheckpointError, ConfigError, DataError


def scores_of(job):
    """(rows, candidates) with NaN behind, each row scored alone."""
    width = job.impressions.candidates.lengths.max()
    found = np.full((len(job.inputs), width), np.nan, dtype=np.float32)
    for row in range(len(job.inputs)):
        with torch.no_grad():
            scores = job.model(unique_batch(job.inputs, [row]))[0].numpy()
        found[row, : len(scores)] = scores
    return found


@pytest.fixture
def job(tmp_path):
    return tiny.make_job(tmp_path)


@pytest.fixture
def check(tmp_path, job):
    """What the comparison with a file of this name says."""

    def checked(name):
        config = read_analysis_config(tiny.write_config(tmp_path, expected_scores=str(tmp_path / name)))
        return check_expected(config, job, "clean")

    return checked


def write_csv(path, lines):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["row", "candidate", "score"], *lines])


def test_scores_that_agree(tmp_path, job, check):
    """Law: an array of all rows or the first ones, and a table by article id or by place, agree with the model that
    gave them, and the largest difference is told."""
    scores = scores_of(job)
    count = int((~np.isnan(scores)).sum())
    np.save(tmp_path / "a.npy", scores)
    (line,) = check("a.npy")
    assert f"{count} in 24 row(s)" in line
    assert float(line.rsplit(" ", 1)[1]) < 1e-5
    np.save(tmp_path / "b.npy", scores[:3])
    assert "in 3 row(s)" in check("b.npy")[0]
    first = job.articles.ids[job.impressions.candidates[7][0]]
    write_csv(tmp_path / "c.csv", [[7, first, scores[7, 0]], [5, 1, scores[5, 1]]])
    assert "2 in 2 row(s)" in check("{model_type}.csv".replace("{model_type}", "c"))[0]


def test_scores_that_differ_are_refused(tmp_path, job, check):
    """Law: beyond a thousandth of the row's largest score the first such row and candidate are named with both
    values; a NaN where a score is due differs."""
    scores = scores_of(job)
    largest = np.nanmax(np.abs(scores[4]))
    scores[4, 1] += 0.9e-3 * largest
    np.save(tmp_path / "a.npy", scores)
    assert check("a.npy")
    scores[4, 1] += 0.5e-3 * largest
    scores[9, 0] += 1
    np.save(tmp_path / "a.npy", scores)
    article = job.articles.ids[job.impressions.candidates[4][1]]
    with pytest.raises(CheckpointError, match=rf"candidate 1 \({article}\) of row 4 .*; 2 of "):
        check("a.npy")
    write_csv(tmp_path / "c.csv", [[2, 0, "nan"]])
    with pytest.raises(CheckpointError, match="expected nan; 1 of 1 scores differ"):
        check("c.csv")


def test_files_that_do_not_fit(tmp_path, job, check):
    """Law: each way a file can be wrong is named, and nothing is compared by luck."""
    scores = scores_of(job)
    for held, message in (
        (np.vstack([scores, scores]), r"more rows than there are. Got 48, expected at most 24"),
        (np.nan_to_num(scores), r"has more candidates than the click log"),
        (scores[0], r"not scores by row and candidate. Got float32 of shape"),
        (np.array([["x"]]), r"not scores by row and candidate"),
        (np.full((2, 2), np.nan), "holds no score"),
    ):
        np.save(tmp_path / "a.npy", held)
        with pytest.raises(DataError, match=message):
            check("a.npy")
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="cannot be read as an array"):
        check("a.npy")
    for line, message in (
        ([24, 0, 1], "line 2: no such row. Got '24', expected 0 to 23"),
        (["x", 0, 1], "line 2: no such row"),
        ([0, "n99", 1], "line 2: no such candidate. Got 'n99', expected an article of row 0"),
        ([0, 99, 1], "line 2: no such candidate"),
        ([0, "9" * 5000, 1], r"line 2: no such candidate. Got '9+…9+', expected an article of row 0"),
        ([0, 0, "high"], "line 2: `score` is no number"),
    ):
        write_csv(tmp_path / "c.csv", [line])
        with pytest.raises(DataError, match=message):
            check("c.csv")
    with pytest.raises(DataError, match="`expected_scores`: no such file"):
        check("none.npy")


def test_one_file_a_member(tmp_path):
    """Law: several checkpoints need as many files, in their order; none is compared with another's."""
    job = tiny.make_job(tmp_path, members=2)
    config = read_analysis_config(tiny.write_config(tmp_path, expected_scores="a.npy"))
    with pytest.raises(ConfigError, match=r"not one file a checkpoint. Got 1 for 2 checkpoint\(s\)"):
        check_expected(config, job, "clean")


def test_featurize_refuses_before_it_writes(tmp_path):
    """Law: agreement is a line; a difference is an error, and no file is there after it."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    config = tiny.write_config(tmp_path, expected_scores=str(tmp_path / "{model_type}.npy"))
    scores = scores_of(read_job(Run(read_analysis_config(config), "train_clean", "clean")))
    np.save(tmp_path / "clean.npy", scores + 1)
    assert "does not give the scores of" in fail("featurize", "--config", config)
    assert not (tmp_path / "results").exists()
    np.save(tmp_path / "clean.npy", scores)
    assert "scores agree with" in succeed("featurize", "--config", config)
