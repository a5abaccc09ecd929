"""A ridge of `auto` becomes the number that the store chooses, once, and everything then goes by that number."""

import dataclasses
import json

import numpy as np
import pytest
from support import finished, tiny

from rec_trak.attribution import settled as place
from rec_trak.attribution.explain import explain
from rec_trak.attribution.history import history_influence
from rec_trak.attribution.influence import self_influence
from rec_trak.attribution.session import featurize
from rec_trak.attribution.settled import explained_margins, ridge_line, settled
from rec_trak.errors import ConfigError, StoreError
from rec_trak.runs.finished import open_run
from rec_trak.scoring.choice import best_ridge, explained
from rec_trak.store.reading import read_member


@pytest.fixture(scope="module")
def auto(tmp_path_factory):
    """The results folder of a run with two members whose ridge is `auto`."""
    return finished.finished_run(tmp_path_factory.mktemp("auto"), members=2, lambda_rel="auto")


def test_all_is_that_of_a_run_with_the_number(auto, tmp_path):
    """Law: scores, of rows and of targets, are those of the same run with the chosen number, which the files state."""
    run = open_run(auto)
    number = run.metadata["score"]["lambda_rel"]
    plain = finished.finished_run(tmp_path, members=2, lambda_rel=number)
    np.testing.assert_array_equal(run.results.scores, open_run(plain).results.scores)
    mine, other = (open_run(folder).target_set("benchmark_mixed") for folder in (auto, plain))
    np.testing.assert_array_equal(mine.scores, other.scores)
    assert mine.metadata["score"] == other.metadata["score"]
    assert any(note.startswith(f"ridge: `lambda_rel` {number:g} explains") for note in run.metadata["notes"])
    assert not any(note.startswith("ridge:") for note in open_run(plain).metadata["notes"])
    assert run.job().lambda_rel == number
    assert run.stored().lambda_rel == number


def test_places_and_parts_go_by_the_number(auto):
    """Law: influence of a history's places, and a row's taken apart, are those of the chosen number."""
    job = open_run(auto).job()
    targets = job.impressions.subset(np.arange(3))
    unsettled = dataclasses.replace(job, lambda_rel="auto")
    places = [history_influence(one, "some", targets).influence for one in (job, unsettled)]
    np.testing.assert_array_equal(*places)
    parts = [explain(one, "some", targets, 1, 2).influence for one in (job, unsettled)]
    assert parts[0] == parts[1]


def test_the_choice_is_the_mean_over_members_and_made_once(tmp_path, monkeypatch):
    """Law: shares are means over members; a second call reads them, unless what is kept is damaged or of other rows."""
    job = tiny.make_job(tmp_path, members=2, lambda_rel="auto")
    with pytest.raises(StoreError, match="not all rows are featurized"):
        settled(job)
    featurize(job)
    shares = [explained(*read_member(job.save_dir, m)) for m in range(2)]
    found = explained_margins(job)
    assert found == pytest.approx({ridge: (shares[0][ridge] + shares[1][ridge]) / 2 for ridge in shares[0]})
    assert settled(job).lambda_rel == best_ridge(shares)
    kept = job.save_dir / place.FILE
    monkeypatch.setattr(place, "explained", lambda *_: pytest.fail("chosen twice"))
    assert explained_margins(job) == found
    assert f"`lambda_rel` {settled(job).lambda_rel:g} explains most" in ridge_line(job)
    monkeypatch.undo()
    content = json.loads(kept.read_text())
    for damaged in ("{", "[]", json.dumps(content | {"of": "another"}), json.dumps({"of": content["of"]})):
        kept.write_text(damaged)
        assert explained_margins(job) == found
        assert json.loads(kept.read_text()) == content
    one = dataclasses.replace(job, members=job.members[:1])
    assert explained_margins(one) == shares[0]


def test_a_job_with_a_number_is_left_as_it_is(tmp_path):
    """Law: a number is taken as it is, and nothing is written."""
    job = tiny.make_job(tmp_path, lambda_rel=3.0)
    assert settled(job) is job
    featurize(job)
    self_influence(job)
    assert not (job.save_dir / place.FILE).exists()


def test_another_word_is_refused(tmp_path):
    """Law: `lambda_rel` is a number or `auto`."""
    with pytest.raises(ConfigError, match="`lambda_rel` has the wrong type. Got 'best', expected a number or auto"):
        tiny.make_job(tmp_path, lambda_rel="best")
