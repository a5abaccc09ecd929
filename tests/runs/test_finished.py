"""A finished run opened: what belongs to one scoring is taken, what does not is named."""

import json
import os

import pytest
from support import finished, tiny
from support.marked import sum_again

from rec_trak.attribution.job import Run, read_job
from rec_trak.config.analysis import read_analysis_config
from rec_trak.detection.cleaning import Choice, clean_log
from rec_trak.detection.places import LEVERAGE
from rec_trak.detection.run import detect_run, write_detection
from rec_trak.errors import ConfigError, DataError
from rec_trak.page.page import write_page
from rec_trak.results.belongs import RECORD, read_record
from rec_trak.runs.finished import check_made_by, open_run, scored_set
from rec_trak.runs.making import score_history, score_rows, score_targets

SET = "benchmark_mixed"


def again(folder, **keys):
    """The run and job in `folder` with other settings of scoring."""
    run = Run(read_analysis_config(tiny.write_config(folder, **keys)), "train_clean", "clean")
    return run, read_job(run)


@pytest.fixture
def scored(tmp_path):
    """A finished run with detection, a page and history.csv, all of one scoring."""
    folder = finished.finished_run(tmp_path)
    mixed = str(tmp_path / "data" / "benchmarks" / f"{SET}.csv")
    score_history(*again(tmp_path), mixed, [finished.PROMOTED])
    write_detection(folder, detect_run(folder, promoted=[finished.PROMOTED], top_k=3, draws=5))
    return tmp_path, folder, mixed


def tells_of_poison(page) -> bool:
    """Whether the first screen says how much of the known poison was found."""
    return any(fact.startswith("Injected: ") and "Nobody has looked" not in fact for fact in page.facts)


def test_all_of_one_scoring_is_taken(scored):
    """Nothing is left aside, and every file that another command made is found."""
    _, folder, _ = scored
    run = open_run(folder)
    assert (run.sets, run.left_aside) == ((SET,), ())
    told = run.target_set()
    for name, of in (("detection.json", None), ("by_user.csv", None), ("history.csv", told), ("by_day.csv", None)):
        assert (run.file(name, of) is not None) == (name != "by_day.csv")
    assert scored_set(folder, SET).scores.tolist() == told.scores.tolist()


def test_what_was_found_of_an_earlier_scoring_is_left_aside_by_name(scored):
    """After another ridge, neither detection nor history nor the targets pass for news of the new scores."""
    root, folder, mixed = scored
    assert tells_of_poison(write_page(folder))
    score_rows(*again(root, lambda_rel=5.0))
    run = open_run(folder)
    assert run.sets == ()
    assert run.file("detection.json") is None
    aside = " ".join(run.left_aside)
    assert (
        "detection.csv, detection.json left aside: of an earlier scoring. scripts/detect.py makes them again." in aside
    )
    assert f"targets/{SET} left aside: scored with another `lambda_rel`" in aside
    page = write_page(folder)
    assert not tells_of_poison(page)
    assert "left aside" in page.path.read_text(encoding="utf-8")
    with pytest.raises(DataError, match=f"{SET}: is not of this scoring. targets/{SET} left aside"):
        run.target_set(SET)
    score_targets(*again(root, lambda_rel=5.0), mixed)
    run = open_run(folder)
    assert run.sets == (SET,)
    assert run.file("history.csv", run.target_set()) is None
    found = detect_run(folder, promoted=[finished.PROMOTED], top_k=3, draws=5)
    assert LEVERAGE not in found["kinds"]
    assert any(f"targets/{SET}/history.csv left aside" in note for note in found["notes"])
    score_history(*again(root, lambda_rel=5.0), mixed, [finished.PROMOTED])
    assert LEVERAGE in detect_run(folder, promoted=[finished.PROMOTED], top_k=3, draws=5)["kinds"]


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("checkpoints", lambda told: told | {"members": [told["members"][0] | {"digest": "other"}]}),
        ("row_count", lambda told: told | {"rows": told["rows"] | {"row_count": 7}}),
        ("proj_dim", lambda told: told | {"features": told["features"] | {"proj_dim": 8}}),
        ("lambda_rel", lambda told: told | {"score": told["score"] | {"lambda_rel": 7.0}}),
    ],
)
def test_a_target_set_of_another_scoring_says_by_what(scored, part, change):
    """Checkpoints, sample, K and ridge."""
    _, folder, _ = scored
    path = folder / "targets" / SET / "metadata.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert f"scored with another `{part}` than the run" in open_run(folder).left_aside[0]


def test_a_process_that_ends_between_leaves_files_of_no_scoring(scored, monkeypatch):
    """Killed while files take their places, none of them is taken for the new scoring, nor for the old."""
    _, folder, _ = scored
    content = json.loads((folder / "detection.json").read_text())
    moved = []

    def killed(source, place):
        if moved:
            raise KeyboardInterrupt
        moved.append(os.rename(source, place))

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_detection(folder, content)
    run = open_run(folder)
    assert run.file("detection.json") is run.file("detection.csv") is None
    assert run.file("by_user.csv") is not None


def test_results_from_before_scorings_were_named_are_one(scored):
    """Without `scoring` in metadata.json all that lies there is taken, as it was."""
    _, folder, _ = scored
    for path in (folder, folder / "targets" / SET):
        told = json.loads((path / "metadata.json").read_text())
        del told["scoring"]
        (path / "metadata.json").write_text(json.dumps(told))
        (path / RECORD).unlink()
    run = open_run(folder)
    assert run.left_aside == ()
    assert run.file("detection.json") is not None
    assert tells_of_poison(write_page(folder))


def test_a_damaged_record_says_nothing(scored):
    """Files are then of no known scoring; a command that writes makes a new record."""
    _, folder, _ = scored
    (folder / RECORD).write_text("{")
    assert read_record(folder) == {}
    assert open_run(folder).file("detection.json") is None
    write_detection(folder, detect_run(folder, promoted=[finished.PROMOTED], top_k=3, draws=5))
    assert open_run(folder).file("detection.json") is not None


def test_scores_that_a_job_would_not_give_are_refused(scored):
    """The first part that differs is named with both values."""
    root, folder, _ = scored
    told, (_, job) = open_run(folder).target_set(), again(root, lambda_rel=5.0)
    with pytest.raises(DataError, match="the scores are of another run, `lambda_rel` differs. Got 5.0 now"):
        check_made_by(told, job, 8)


def test_sets_that_cannot_be_meant(scored):
    """A name that is none of the run's, and settings that are not there."""
    _, folder, _ = scored
    with pytest.raises(ConfigError, match=f"targets not scored. Got 'other', expected one of {SET}"):
        open_run(folder).target_set("other")
    told = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps(told | {"config": None}))
    with pytest.raises(DataError, match="does not say which click log was scored"):
        open_run(folder).settings()


def test_a_set_opened_alone_says_that_its_run_is_another(scored):
    """clean.py by a target set's ranking, after self-influence was scored with another ridge."""
    root, folder, _ = scored
    score_rows(*again(root, lambda_rel=5.0))
    (aside,) = open_run(folder / "targets" / SET).left_aside
    assert aside.startswith("clean_train_clean left aside: self-influence was scored with another `lambda_rel`")
    done = clean_log(folder / "targets" / SET, None, Choice(top=2))
    assert done.left_aside == (aside,)


def test_detection_of_other_targets_under_one_name_is_not_shown(scored):
    """Its record names the scoring of the set too."""
    _, folder, _ = scored
    told = json.loads((folder / "detection.json").read_text())
    assert tells_of_poison(write_page(folder))
    (folder / "detection.json").write_text(json.dumps(told | {"of": [told["of"][0], "0123"]}))
    sum_again(folder, "detection.json")
    assert not tells_of_poison(write_page(folder))
