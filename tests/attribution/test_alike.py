"""Rows whose candidates look alike to the model: their gradient is rounding, so they carry nothing, and say so."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from support import finished, tiny

from rec_trak.attribution.history import history_influence
from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.config.analysis import read_analysis_config
from rec_trak.data.targets import read_targets
from rec_trak.errors import DataError
from rec_trak.gradients.preflight import choose_gradient
from rec_trak.page.sections import own_rows
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run
from rec_trak.runs.making import explain_row, score_history, score_rows, score_targets
from rec_trak.runs.stored import gradient_cosine
from rec_trak.store.reading import read_member
from rec_trak.trust.law import law_error
from rec_trak.trust.run import _rankings

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


def targets_of(tmp_path, *users):
    """A CSV whose targets are the training impressions of some users."""
    path = tmp_path / f"{'_'.join(users)}.csv"
    log = finished.read(tmp_path / "data" / "models" / "train_clean.csv")
    finished.write(path, [line for line in log if line["user_id"] in users])
    return path


def test_targets_that_carry_nothing_have_no_part_in_a_mean(world, tmp_path):
    """The mean influence of a set is that of the set without them; no row has influence on them."""
    _, job, _, same = world
    all_of_them, others = (targets_of(tmp_path, *users) for users in (("u0", "u3", "u6", "u9"), ("u0", "u6")))
    targets, fewer = read_targets(all_of_them, job.articles), read_targets(others, job.articles)
    nothing = np.isin(np.array(targets.user_ids), ["u3", "u9"])
    matrix = tmp_path / "scores.npy"
    told, alone = target_influence(job, "all", targets, matrix=matrix), target_influence(job, "few", fewer)
    assert (told.nothing_targets == nothing).all()
    assert not alone.nothing_targets.any()
    scores = np.load(matrix)
    assert (scores[:, nothing] == 0).all()
    assert (scores[same] == 0).all()
    assert (scores[~same][:, ~nothing] != 0).all()
    scale = np.abs(alone.plain).max()
    for values, expected in ((told.plain, alone.plain), (told.plain, scores[:, ~nothing].mean(axis=1))):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(told.renormalised, alone.renormalised, rtol=1e-4)
    places = [history_influence(job, name, rows) for name, rows in (("all", targets), ("few", fewer))]
    np.testing.assert_allclose(places[0].influence, places[1].influence, rtol=0, atol=1e-5 * scale)


def test_their_count_is_told_and_trust_and_explanations_know(world, tmp_path):
    """In words, in metadata.json by number, on the page's set; a verdict on single targets is of the others."""
    run, job, _, _ = world
    path = targets_of(tmp_path, "u0", "u3", "u6", "u9")
    score_rows(run, job)
    score_targets(run, job, str(path))
    opened = open_run(run.folder)
    held = opened.target_set(path.stem)
    assert held.metadata["carry_nothing"]["targets"] == held.nothing_targets.tolist() == [1, 3]
    words = "2 of 4 target(s) carry nothing (target 1, 3)"
    assert held.metadata["targets_notes"][-1].startswith(words)
    lines, _ = score_history(run, job, str(path))
    assert lines[-1].startswith(f"note: {words}")
    lines, file = explain_row(run, job, "0", f"{path}:1")
    assert "the target carries nothing" in lines[3]
    assert pd.read_csv(file)["influence"].tolist() == [0]
    shapes = [part[0].shape[0] for _, _, part in _rankings([held], opened.stored()) if part is not None]
    assert shapes == [1, 2]


def test_a_set_of_such_targets_alone_is_refused(world, tmp_path):
    """There is no mean of nothing."""
    _, job, _, _ = world
    targets = read_targets(targets_of(tmp_path, "u3", "u9"), job.articles)
    for compute in (target_influence, history_influence):
        with pytest.raises(
            DataError, match=r"targets same: none of them carries anything\. Got 2 .* Name other targets"
        ):
            compute(job, "same", targets)


def test_ends_and_figures_go_without_such_rows(tmp_path):
    """All rows are in ranking_full.csv, theirs with score 0 and a word; neither end, nor a figure, holds them."""
    run, job = alike(tmp_path)
    featurize(job)
    score_rows(run, job)
    same = np.flatnonzero(np.isin(np.array(job.impressions.user_ids), ["u3", "u9"])).tolist()
    full, ends = (pd.read_csv(run.folder / f"ranking_{name}.csv") for name in ("full", "results"))
    theirs = full[full["category"] == "carries_nothing"]
    assert sorted(theirs["sample_idx"]) == same
    assert theirs["score"].tolist() == [0, 0]
    assert len(full) == len(job.impressions)
    assert not set(ends["sample_idx"]) & set(same)
    assert ends["category"].value_counts().to_dict() == {"top_influential": 5, "bottom_influential": 5}
    lowest = full[full["score"] > 0].tail(5)["sample_idx"].tolist()
    assert ends[ends["category"] == "bottom_influential"]["sample_idx"].tolist() == lowest
    told = own_rows(open_run(run.folder), {})
    assert sum(line["rows"] for line in told["classes"]) == len(full) - 2
    assert all(line["low"] > 0 for line in told["classes"])


@pytest.mark.parametrize("damaged", [3, {"rows": "1"}, {"rows": [99]}, {"rows": [True]}, {"rows": [-1]}])
def test_a_damaged_list_of_such_rows_is_refused(tmp_path, damaged):
    """No row is marked that the file does not name as a number of one that is there."""
    run, job = alike(tmp_path)
    featurize(job)
    score_rows(run, job)
    path = run.folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"carry_nothing": damaged}))
    with pytest.raises(
        DataError, match=r"metadata\.json: `carry_nothing` is damaged\. Got .*Run scripts/score\.py again"
    ):
        open_run(run.folder).results.nothing.any()
