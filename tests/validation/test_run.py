"""A validation end to end: the files it leaves, what it keeps, the script, and the page that tells of it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support import tiny, validated
from support.commands import call
from support.marked import sum_again

from rec_trak.attribution.settled import explained_margins
from rec_trak.errors import ConfigError, DataError, NumericalError, StoreError
from rec_trak.page.page import write_page
from rec_trak.scoring.choice import best_ridge
from rec_trak.validation import retrain
from rec_trak.validation.estimates import CHOSEN, OVERLAPS, RUN, group_scores
from rec_trak.validation.run import validate, with_chosen_ridge, write_validation

SETTINGS = {"subsets": 10, "trainings": 2, "removal_seeds": 1, "removal_targets": 2}


@pytest.fixture(scope="module")
def made(scored, tmp_path_factory):
    """A folder with a scored run, its LDS and removal measured."""
    folder = tmp_path_factory.mktemp("made")
    run, job = validated.copy_run(scored, folder)
    case = validated.case_of(folder, run, job)
    content = validate(case, ["lds", "removal"], **SETTINGS)
    paths = write_validation(run.folder, case, content)
    return folder, run, job, case, content, paths


@pytest.fixture
def copied(made, tmp_path):
    """A copy of its own, for tests that change files."""
    shutil.copytree(made[0], tmp_path / "copy")
    tiny.write_config(tmp_path / "copy")
    return tmp_path / "copy"


def test_files(made):
    """Law: the set's folder holds json and csv, the run's a json of all sets; numbers are the same everywhere."""
    _, run, _, case, content, paths = made
    place = run.folder / "targets" / validated.TARGETS
    assert [path.relative_to(run.folder).as_posix() for path in paths] == [
        f"targets/{validated.TARGETS}/validation.json", f"targets/{validated.TARGETS}/validation.csv", "validation.json"
    ]  # fmt: skip
    told = json.loads((place / "validation.json").read_text())
    whole = json.loads((run.folder / "validation.json").read_text())
    assert told == whole["sets"][validated.TARGETS]
    assert whole["verdict"] == f"{validated.TARGETS}: {content['verdict']}"
    table = pd.read_csv(place / "validation.csv")
    line = table[(table["check"] == "LDS") & (table["of"] == RUN) & (table["measure"] == "LDS")]
    assert line["value"].item() == pytest.approx(content["lds"]["scores"][RUN]["lds"])
    assert set(OVERLAPS) < set(told["lds"]["scores"])
    assert told["lds"]["target_places"] == case.places.tolist()
    assert told["measured"] == told["count"] == len(case.places)


def test_the_second_call_trains_nothing_and_keeps_the_other_parts(made, monkeypatch):
    """Law: parts of the same scores add up, retrainings are reused; another seed starts anew."""
    folder, run, job, case, content, _ = made
    monkeypatch.setattr(retrain, "train", lambda *_: pytest.fail("trained"))
    again = validate(case, ["lds"], **SETTINGS)
    assert again == json.loads(json.dumps(again | {"removal": again["removal"]}))
    assert again["removal"] == json.loads(json.dumps(content["removal"]))
    assert again["lds"] == content["lds"]
    monkeypatch.undo()
    other = validated.case_of(folder, run, job, seed=1)
    assert "removal" not in validate(other, ["lds"], **SETTINGS)


def test_parts_that_are_not_there(made):
    """Law: an unknown check, and none, are refused."""
    with pytest.raises(ConfigError, match=r"--what: no such check\. Got \['lsd'\], expected some of lds, removal, loo"):
        validate(made[3], ["lds", "lsd"])
    with pytest.raises(ConfigError, match=r"--what: no such check\. Got none"):
        validate(made[3], [])


def test_the_chosen_ridge_is_measured_beside_the_run(made):
    """Law: what `lambda_rel: auto` would predict is measured where it is another ridge than the run's."""
    case = made[3]
    best = best_ridge([explained_margins(case.job)])
    groups = np.eye(len(case.job.impressions))[:3]
    other = replace(case, job=replace(case.job, lambda_rel=10 * best))
    same = replace(case, job=replace(case.job, lambda_rel=best))
    ((name, found),) = with_chosen_ridge(other, groups).items()
    assert name == CHOSEN.format(best)
    read = (len(case.job.members), case.member, case.member_targets, case.in_rows(groups), best)
    np.testing.assert_array_equal(found, group_scores(*read)[RUN])
    assert with_chosen_ridge(same, groups) == {}


def test_diverged_retrainings_are_named_and_counted(scored, tmp_path, monkeypatch):
    """Law: their subsets are left out and the verdict says how many; where most diverge there is no number."""
    run, job = validated.copy_run(scored, tmp_path)
    case = validated.case_of(tmp_path, run, job)
    whole = retrain.train
    lost = {1_000_000_000, 1_000_000_101}

    def shaky(*args, **keys):
        if args[4] in lost:
            raise NumericalError("training: epoch 1, step 1: the loss diverged.")
        return whole(*args, **keys)

    monkeypatch.setattr(retrain, "train", shaky)
    content = validate(case, ["lds"], subsets=12, trainings=2)
    assert content["lds"]["diverged"] == ["seed 1000000000", "seed 1000000101"]
    assert content["lds"]["left_out_subsets"] == 2
    assert "2 retrainings diverged and are left out." in content["verdict"]
    with pytest.raises(NumericalError, match=r"too few retrainings ended well\. Got 8 of 10"):
        validate(case, ["lds"], subsets=10, trainings=2)


def script(folder, *flags):
    """The script on the run in `folder`."""
    parts = ("--config", folder / "trak.yaml", "--training", validated.write_training(folder))
    return call("validate", *parts, "--targets", validated.benchmark(folder), "--workers", 1, *flags)


def test_the_script_says_what_it_found(copied):
    """Law: verdict, files and notes on the terminal; the ridge search leaves its figure; leave-one-out its rungs."""
    shutil.rmtree(copied / "results" / "clean_train_clean" / "targets" / validated.TARGETS / "validation")
    tiny.write_config(copied)
    done = script(copied, "--subsets", 20, "--trainings", 1, "--what", "lds", "ridge", "loo", "--max_targets", 4)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{validated.TARGETS}: ")
    assert "validation_ridge.png" in done.stdout
    assert "note: 4 of " in done.stdout
    told = json.loads((copied / "results" / "clean_train_clean" / "validation.json").read_text())
    assert {"lds", "ridge", "loo"} <= told["sets"][validated.TARGETS].keys()
    assert told["sets"][validated.TARGETS]["lds"]["ceiling"] is None


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--subsets", 9), "--subsets: a rank correlation over them would say nothing. Got 9"),
        (("--workers", 0), "--workers: too few. Got 0"),
        (("--what", "lsd"), "--what: no such check."),
        (("--trainings", 0), "--trainings: out of range."),
        (("--targets", "nowhere"), "--targets: no such file or name. Got nowhere"),
        (("--training", "nowhere.yaml"), "nowhere.yaml: no such file."),
    ],
)
def test_the_script_ends_with_one_line_on_bad_input(made, flags, words):
    """Law: exit 2 and one line that says what is wrong."""
    done = script(made[0], *flags)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert words in done.stderr


def test_changed_settings_are_refused_by_name(copied):
    """Law: retrainings of other settings are never mixed."""
    run, job = validated.copy_run(copied, copied)
    with pytest.raises(StoreError, match=r"retrainings of another plan, `settings\.epochs` differs\. Got 2"):
        validate(validated.case_of(copied, run, job, {"epochs": 2}), ["lds"], **SETTINGS)


def test_a_damaged_earlier_file_is_named(copied):
    """Law: what cannot be read is not overwritten in silence."""
    place = copied / "results" / "clean_train_clean" / "targets" / validated.TARGETS
    (place / "validation.json").write_text("{")
    done = script(copied, "--subsets", 10)
    assert done.returncode == 2
    assert "validation.json: cannot be read" in done.stderr


def test_the_page_tells_it(copied):
    """Law: the banner goes, verdict and tables come; numbers of an earlier ranking say so; damage is an error."""
    results = copied / "results" / "clean_train_clean"
    page = write_page(results)
    text = page.path.read_text()
    assert 'id="not-validated"' not in text
    verdict = json.loads((results / "targets" / "benchmark_mixed" / "validation.json").read_text())["verdict"]
    (retrained,) = [fact for fact in page.facts if fact.startswith("Retrained: ")]
    assert verdict[:40] in retrained
    for name in ("validation0-lds", "validation0-single", "validation0-set"):
        assert f'data-table="{name}"' in text
    assert "noise ceiling" in text
    assert "of an earlier ranking" not in text
    scores = results / "targets" / validated.TARGETS / "trak_scores.npy"
    np.save(scores, np.load(scores) + 1)
    sum_again(scores.parent, scores.name)
    assert "of an earlier ranking" in write_page(results).path.read_text()
    path = results / "validation.json"
    told = json.loads(path.read_text())
    del told["sets"][validated.TARGETS]["lds"]["scores"][RUN]["lds"]
    path.write_text(json.dumps(told))
    sum_again(results, path.name)
    with pytest.raises(DataError, match=r"validation\.json: its parts do not go together\. Got KeyError 'lds'"):
        write_page(results)
