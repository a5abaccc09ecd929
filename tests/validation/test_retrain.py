"""Retrainings on disk: what a file holds, going on after an interruption, workers, refusals."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import strange, validated
from support.killed import killed_before
from support.training_inputs import CONFIG, make_inputs

from rec_trak.clicks import margin
from rec_trak.data.batches import unique_batch
from rec_trak.errors import ConfigError, DataError, StoreError
from rec_trak.locks import locked
from rec_trak.training.trainer import TrainSettings, half, train
from rec_trak.validation import retrain
from rec_trak.validation.experiment import Experiment
from rec_trak.validation.retrain import Retraining, evaluation_margins, help_retrain, retrain_all

QUICK = TrainSettings(epochs=1, batch_size=16, learning_rate=1e-2)
INPUTS, TARGETS = make_inputs(32), make_inputs(5, 1)
EXPERIMENT = Experiment(CONFIG, INPUTS, None, QUICK, TARGETS)
WANTED = [Retraining(seed, half(32, seed)) for seed in range(5)]


def margins(outcomes):
    return np.array([outcome.margins for outcome in outcomes])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_margins_are_those_of_the_trained_model(tmp_path):
    """Law: (S, T, M) margins are f of `training.train`'s model on each target, whatever the order of the files."""
    subsets, seeds = [half(32, 0), half(32, 1)], np.array([[7, 8], [9, 10]])
    found = evaluation_margins(CONFIG, INPUTS, make_inputs(8, 2), QUICK, TARGETS, subsets, seeds, tmp_path)
    assert found.shape == (2, 2, 5)
    model = train(CONFIG, INPUTS, make_inputs(8, 2), QUICK, 10, subsets[1]).model
    with torch.no_grad():
        batch = unique_batch(TARGETS, np.arange(5))
        expected = margin("softmax", model(batch), batch)
    np.testing.assert_array_equal(found[1, 1], expected.double().numpy())
    assert len({tuple(line) for line in found.reshape(4, 5)}) == 4


def test_an_interrupted_validation_goes_on(tmp_path, monkeypatch):
    """Law: killed after three, the second call trains only the rest, and leaves the bytes of one that ran through."""
    whole = retrain_all(EXPERIMENT, WANTED, tmp_path / "whole")
    calls = []

    def counted(*args, **keys):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(args[4])
        return train(*args, **keys)

    monkeypatch.setattr(retrain, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        retrain_all(EXPERIMENT, WANTED, tmp_path / "cut")
    assert len(contents(tmp_path / "cut")) == 1 + 3
    monkeypatch.setattr(retrain, "train", lambda *args, **keys: calls.append(args[4]) or train(*args, **keys))
    again = retrain_all(EXPERIMENT, WANTED, tmp_path / "cut")
    assert calls == [0, 1, 2, 3, 4]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    np.testing.assert_array_equal(margins(again), margins(whole))


def test_killed_at_every_moment(tmp_path):
    """Law: killed before its first act on a file, the next before its third, and so on, none fails, and the last leaves
    the bytes of one that ran through and nothing beside them."""
    retrain_all(EXPERIMENT, WANTED[:2], tmp_path / "whole")
    act = 1
    while killed_before(act, lambda: retrain_all(EXPERIMENT, WANTED[:2], tmp_path / "killed"), tmp_path / "killed"):
        act += 2
    assert act > 5
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_two_validations_of_one_set(tmp_path):
    """Law: the second is refused with who is at it, instead of training the same."""
    retrain_all(EXPERIMENT, WANTED[:1], tmp_path)
    with locked(tmp_path), pytest.raises(StoreError, match=r"in use\. Got a lock held by process .*--wait does"):
        retrain_all(EXPERIMENT, WANTED, tmp_path)
    assert len(contents(tmp_path)) == 2


@pytest.mark.long
def test_workers_change_nothing(tmp_path):
    """Law: processes leave the bytes that one process leaves, and torch's threads as they were."""
    before = torch.get_num_threads()
    retrain_all(EXPERIMENT, WANTED[:3], tmp_path / "one")
    retrain_all(EXPERIMENT, WANTED[:3], tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert torch.get_num_threads() == before


def test_what_another_worker_trains(tmp_path, monkeypatch):
    """Law: retrainings that others of a torchrun job are sent are the same files as those of a process alone."""
    retrain_all(EXPERIMENT, WANTED, tmp_path / "one")
    sent = []

    def every_other(total, item, told):
        yield from range(0, total, 2)
        sent.extend(item(number) for number in range(1, total, 2))
        monkeypatch.setattr(retrain, "taken", lambda: iter(sent))
        help_retrain(EXPERIMENT, tmp_path / "two")
        told(total)

    monkeypatch.setattr(retrain, "shared_out", every_other)
    found = retrain_all(EXPERIMENT, WANTED, tmp_path / "two")
    assert len(sent) == 2
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(found) == len(WANTED)


@pytest.mark.long
def test_workers_under_torchrun_and_one_killed(tmp_path):
    """Law: a job of three, ended by the death of one, and a job of two after it leave the bytes of one process; what
    was trained is not trained again."""
    validated.make_run(tmp_path / "world", members=1)
    validated.write_training(tmp_path / "world", epochs=3)
    command = validated.command(tmp_path / "world")
    before = {path for path in (tmp_path / "world").rglob("*") if path.is_file()}

    def made():
        """What the command left, times aside; taken away."""
        new = sorted(p for p in (tmp_path / "world").rglob("*") if p.is_file() and p not in before)
        found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in new}
        for path in new:
            path.unlink()
        return found

    validated.told_by(command)
    alone = made()
    folder = validated.killed_in_job(command, 3, 3)
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("[0-9]*.json")}
    assert 3 <= len(trained) < len([name for name in alone if "/validation/" in name]) - 1
    out = validated.told_by(command, 2)
    assert out.startswith("2 workers, 2 on this machine with ")
    assert out.count("Retrainings use seeds") == 1
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert made() == alone


def test_a_retraining_that_diverges_is_recorded(tmp_path):
    """Law: it is one NaN line with the trainer's words; the others stand, and it is not tried again."""
    wild = replace(EXPERIMENT, settings=replace(QUICK, learning_rate=1e30, epochs=2))
    outcomes = retrain_all(wild, WANTED[:2], tmp_path)
    assert np.isnan(margins(outcomes)).all()
    assert outcomes[0].exposure == {}
    assert "diverged" in outcomes[0].diverged
    record = json.loads((tmp_path / WANTED[0].name).read_text())
    assert record["seed"] == 0
    assert record["margins"] is None
    assert "learning_rate" in record["diverged"]
    assert retrain_all(wild, WANTED[:2], tmp_path)[1].diverged == outcomes[1].diverged


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"settings": replace(QUICK, epochs=2)}, r"`settings\.epochs` differs\. Got 2, the folder holds 1"),
        ({"inputs": make_inputs(32, 3)}, r"`data` differs"),
        ({"inputs": make_inputs(33)}, r"`rows` differs\. Got 33, the folder holds 32"),
        ({"targets": make_inputs(5, 4)}, r"`targets` differs"),
        ({"validation": make_inputs(8)}, r"`validation rows` differs"),
        ({"model_config": replace(CONFIG, max_history=9)}, r"`model` differs"),
        ({"word_vectors": np.ones((10, 8), np.float32)}, r"`word vectors` differs"),
    ],
)
def test_another_plan_is_refused_by_name(tmp_path, changed, key):
    """Law: retrainings of other data, settings or targets never mix; a batch size of evaluation changes nothing."""
    retrain_all(EXPERIMENT, WANTED[:1], tmp_path)
    retrain_all(replace(EXPERIMENT, settings=replace(QUICK, eval_batch_size=3)), WANTED[:1], tmp_path)
    with pytest.raises(StoreError, match=rf"retrainings of another plan, {key}"):
        retrain_all(replace(EXPERIMENT, **changed), WANTED[:1], tmp_path)


def test_damaged_files_are_named(tmp_path):
    """Law: a retraining or a plan that cannot be read is an error that says which file."""
    retrain_all(EXPERIMENT, WANTED[:1], tmp_path)
    path = tmp_path / WANTED[0].name
    wrong = (b'{"margins": [1.0], "diverged": null, "exposure": {}}', b"{}", b"[]")
    far = json.dumps(json.loads(path.read_text()) | {"margins": [math.nan] * len(EXPERIMENT.targets)}).encode()
    for content in (*wrong, far, *strange.JSON.values()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"0_.*json: cannot be read .*trained again"):
            retrain_all(EXPERIMENT, WANTED[:1], tmp_path)
    for content in (b"{", b"[]", *strange.JSON.values()):
        (tmp_path / "plan.json").write_bytes(content)
        with pytest.raises(DataError, match=r"plan\.json: damaged"):
            retrain_all(EXPERIMENT, WANTED[:1], tmp_path)


def test_bad_arguments_are_refused(tmp_path):
    """Law: no worker, a folder that cannot be made, and seeds that are not a line a subset."""
    with pytest.raises(ConfigError, match=r"--workers: too few\. Got 0"):
        retrain_all(EXPERIMENT, WANTED, tmp_path, workers=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"plan\.json: cannot be written"):
        retrain_all(EXPERIMENT, WANTED, tmp_path / "file" / "x")
    with pytest.raises(ConfigError, match=r"not one line of seeds a subset\. Got shape \(2,\)"):
        evaluation_margins(CONFIG, INPUTS, None, QUICK, TARGETS, [half(32, 0)] * 2, np.arange(2), tmp_path)
