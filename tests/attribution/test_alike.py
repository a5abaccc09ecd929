"""Rows whose candidates look alike to the model: their gradient is rounding, so they carry nothing, and say so."""

import csv

import numpy as np
import pytest
from support import finished, tiny

from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.config.analysis import read_analysis_config
from rec_trak.data.targets import read_targets
from rec_trak.gradients.preflight import choose_gradient
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run
from rec_trak.runs.making import explain_row, score_rows, score_targets
from rec_trak.runs.stored import gradient_cosine
from rec_trak.store.manifest import read_member
from rec_trak.trust.law import law_error

SAME = "storm over the court"


def alike(folder, only=False, rows=24):
    """A tree in which the impressions of u3 and u9 (or all) have candidates with one headline under several ids."""
    tiny.write_tree(folder / "data", rows)
    with open(folder / "data" / "news_items.csv", "a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([f"d{i}", SAME, SAME] for i in range(4))
    path = folder / "data" / "models" / "train_clean.csv"
    lines, place = finished.read(path), {}
    for line in lines:
        user = line["user_id"]
        if only or user in ("u3", "u9"):
            place[user] = place.get(user, -1) + 1
            line |= {"candidate_id": f"d{place[user] % 4}", "candidate_title": SAME}
    finished.write(path, lines)
    tiny.write_models(folder / "runs", folder / "data", members=2)
    run = Run(read_analysis_config(tiny.write_config(folder)), "train_clean", "clean")
    return run, read_job(run)


@pytest.fixture
def world(tmp_path):
    """The run, featurized, its targets, and which rows are alike."""
    run, job = alike(tmp_path)
    featurize(job)
    path = tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv"
    return run, job, path, np.isin(np.array(job.impressions.user_ids), ["u3", "u9"])


def test_their_gradients_are_rounding(world):
    """The premise: shorter than the others by five digits, and not all zero."""
    _, job, _, same = world
    lengths = np.linalg.norm(read_member(job.save_dir, 0)[0], axis=1)
    assert same.sum() == 2
    assert lengths[same].max() < 1e-5 * lengths[~same].min()


def test_they_carry_nothing(world):
    """Influence on themselves, on targets and renormalised is 0, and exactly these rows are counted."""
    _, job, path, same = world
    own = self_influence(job)
    told = target_influence(job, "mixed", read_targets(path, job.articles))
    for values, nothing in ((own.scores, own.nothing), (told.plain, told.nothing), (told.renormalised, told.nothing)):
        assert (nothing == same).all()
        assert (values[same] == 0).all()
        assert (values[~same] != 0).all()


def test_results_and_explanations_say_so(world):
    """A note in metadata.json names the rows; the explanation gives no parts."""
    run, job, path, same = world
    score_rows(run, job)
    score_targets(run, job, str(path))
    rows = np.flatnonzero(same)
    words = f"2 row(s) carry nothing (sample_idx {rows[0]}, {rows[1]})"
    for folder in (run.folder, run.folder / "targets" / "benchmark_mixed"):
        assert any(note.startswith(words) for note in read_results(folder).metadata["notes"])
    lines, _ = explain_row(run, job, str(rows[0]), f"{path}:0")
    assert "no influence" in lines[2]
    assert "the row carries nothing" in lines[3]
    cosine = gradient_cosine(open_run(run.folder).stored(), "benchmark_mixed")
    assert (cosine[same] == 0).all()
    assert (cosine[~same] != 0).all()


def test_the_law_holds_on_them(world):
    """Rounding is measured by the longest gradient: trust does not blame the stored Q."""
    _, job, _, _ = world
    assert law_error(job, read_member(job.save_dir, 0)[1], rows=len(job.inputs)) < 1e-4


def test_a_log_of_such_rows_alone_passes_the_preflight(tmp_path, recwarn):
    """Where no row has a gradient but rounding, batch-mates are not blamed for it."""
    _, job = alike(tmp_path, only=True)
    for path in ("factored", "functional", "loop"):
        choice = choose_gradient(path, job.model, job.loss, job.inputs, job.grad_wrt, 7, "cpu")
        assert choice.name == path
    assert not [one for one in recwarn if "batch-mates" in str(one.message)]
