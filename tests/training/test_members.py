"""Members on disk: what stands beside each other, what is left alone, and that no file is of two runs."""

import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from support.killed import killed_before
from support.training_inputs import CONFIG, make_inputs

from rec_trak.checkpoints.records import read_record
from rec_trak.checkpoints.state_dicts import read_state_dict
from rec_trak.config.model import read_model_config
from rec_trak.data.ragged import Ragged
from rec_trak.errors import CheckpointError, ConfigError, DataError, StoreError
from rec_trak.locks import LOCK, locked
from rec_trak.training import members as training
from rec_trak.training.members import train_members
from rec_trak.training.trainer import TrainSettings, half, train

QUICK = TrainSettings(epochs=3, batch_size=16, learning_rate=1e-2)


def test_members_are_files_that_say_how_they_were_made(tmp_path):
    """Law: member m is train with seed + m on its own half; weights, record, rows and model.json stand together."""
    inputs, validation = make_inputs(), make_inputs(16, 1)
    settings = replace(QUICK, loss="bpr", epochs=1)
    paths = train_members(CONFIG, inputs, validation, settings, tmp_path, "clean", seed=5, members=2, halves=True)
    assert [path.name for path in paths] == ["clean_0.pt", "clean_1.pt"]
    ends = (".json", ".pt", "_rows.npy")
    assert sorted(os.listdir(tmp_path)) == sorted(
        [f"clean_{m}{end}" for m in range(2) for end in ends] + ["model.json"]
    )
    assert read_model_config(tmp_path / "model.json") == replace(CONFIG, loss="bpr")
    for m, path in enumerate(paths):
        rows, record = np.load(tmp_path / f"clean_{m}_rows.npy"), json.loads(path.with_suffix(".json").read_text())
        assert np.array_equal(rows, half(64, 5 + m))
        trained = train(CONFIG, inputs, validation, settings, seed=5 + m, seen=rows)
        assert all(torch.equal(value, trained.model.state_dict()[n]) for n, value in read_state_dict(path).items())
        assert record["epochs"] == trained.history
        assert (record["seed"], record["rows"], record["settings"]["loss"]) == (5 + m, 32, "bpr")
        assert record["validation"] == {"impressions": 16, "candidates": 64}


def test_one_member_on_all_rows_has_the_plain_name(tmp_path):
    """Law: a single member is `<name>.pt`, with all rows as the rows it saw."""
    (path,) = train_members(CONFIG, make_inputs(20), None, replace(QUICK, epochs=1), tmp_path / "new", "clean", seed=0)
    assert path == tmp_path / "new" / "clean.pt"
    assert np.array_equal(np.load(tmp_path / "new" / "clean_rows.npy"), np.arange(20))


def test_finished_members_are_left_alone(tmp_path, monkeypatch):
    """Law: a second call trains only what is missing; nothing but the evaluation batch size may differ."""
    inputs, settings = make_inputs(20), replace(QUICK, epochs=1)

    def run(settings=settings, inputs=inputs, seed=0, **more):
        return train_members(CONFIG, inputs, None, settings, tmp_path, "clean", seed, members=2, **more)

    before = [path.read_bytes() for path in run()]
    (tmp_path / "clean_1.pt").unlink()
    trained, real = [], training.train
    monkeypatch.setattr(training, "train", lambda *args: trained.append(args[4]) or real(*args))
    assert [path.read_bytes() for path in run(replace(settings, eval_batch_size=3))] == before
    assert trained == [1]
    for changed, key in (
        ({"settings": replace(settings, epochs=2)}, "settings"),
        ({"seed": 1}, "seed"),
        ({"halves": True}, "rows"),
        ({"inputs": make_inputs(20, seed=2)}, "data"),
    ):
        with pytest.raises(ConfigError, match=f"clean_0.pt: this checkpoint was trained otherwise. Got `{key}`"):
            run(**changed)
    assert [(tmp_path / f"clean_{m}.pt").read_bytes() for m in range(2)] == before
    (tmp_path / "clean_0.json").unlink()
    with pytest.raises(
        ConfigError, match=r"clean_0.pt: this checkpoint was trained otherwise. Got `seed` 0, it has None"
    ):
        run()


def test_a_folder_holds_one_model(tmp_path):
    """Law: clean and poisoned share model.json; another model is refused before anything is trained or written."""
    inputs, settings = make_inputs(20), replace(QUICK, epochs=1)
    train_members(CONFIG, inputs, None, settings, tmp_path, "clean", seed=0)
    train_members(CONFIG, inputs, None, settings, tmp_path, "poisoned", seed=0)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ConfigError, match=r"model.json: another model's checkpoints .* differs in `max_history`"):
        train_members(replace(CONFIG, max_history=3), inputs, None, settings, tmp_path, "other", seed=0)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_training_that_fails_writes_nothing(tmp_path):
    """Law: bad rows leave no model.json behind that would stand in the way of the next try."""
    inputs = make_inputs(4)
    single = replace(inputs.impressions, candidates=Ragged.of([[0]] * 4), labels=Ragged.of([[1]] * 4))
    with pytest.raises(DataError, match="no other candidate"):
        train_members(CONFIG, replace(inputs, impressions=single), None, QUICK, tmp_path / "new", "clean", seed=0)
    assert not (tmp_path / "new").exists()


def one(folder, seed, **more):
    return train_members(CONFIG, make_inputs(20), None, replace(QUICK, epochs=1), folder, "clean", seed=seed, **more)


def test_killed_at_every_moment(tmp_path):
    """Law: wherever trainings of two seeds in turn are killed, a checkpoint that is there has its own record and rows,
    and the next training goes on or is refused; it never fails otherwise."""
    act = 0
    while not (tmp_path / "runs" / "clean.pt").exists():
        act += 1
        killed_before(act, partial(one, tmp_path / "runs", act % 2), tmp_path / "runs")
    assert act > 10
    seed = read_record(tmp_path / "runs" / "clean.pt")["seed"]
    assert seed == act % 2
    (tmp_path / "runs" / LOCK).touch()  # as one leaves it that is killed with all done
    one(tmp_path / "runs", seed)
    with pytest.raises(ConfigError, match=f"Got `seed` {1 - seed}, it has {seed}"):
        one(tmp_path / "runs", 1 - seed)
    trained = train(CONFIG, make_inputs(20), None, replace(QUICK, epochs=1), seed=seed)
    state = read_state_dict(tmp_path / "runs" / "clean.pt")
    assert all(torch.equal(value, trained.model.state_dict()[name]) for name, value in state.items())
    assert set(os.listdir(tmp_path / "runs")) == {"clean.pt", "clean.json", "clean_rows.npy", "model.json"}


def test_a_checkpoint_with_the_record_of_another_is_refused(tmp_path):
    """Law: what was put together from two runs is not taken as finished, whatever its seed says."""
    one(tmp_path / "a", 0)
    one(tmp_path / "b", 1)
    shutil.copy(tmp_path / "b" / "clean.pt", tmp_path / "a" / "clean.pt")
    with pytest.raises(CheckpointError, match=r"clean\.json: the record of another checkpoint than clean\.pt"):
        one(tmp_path / "a", 0)
    for name in ("clean.pt", "clean.json"):
        (tmp_path / "a" / name).unlink()
    one(tmp_path / "a", 0)


def test_two_trainings_into_one_folder(tmp_path):
    """Law: the second is refused by name while the first is at it, or waits, and then finds what the first has done."""
    first = []

    def meanwhile():
        with pytest.raises(StoreError, match=rf"runs: in use\. Got a lock held by process {os.getpid()} .*output_dir"):
            one(tmp_path / "runs", 1)
        first.append(True)

    with mock.patch.object(training, "train", side_effect=lambda *args: meanwhile() or train(*args)):
        (path,) = one(tmp_path / "runs", 0)
    assert first
    assert read_record(path)["seed"] == 0
    with locked(tmp_path / "runs"):
        assert one(tmp_path / "runs", 0) == [path]  # nothing is missing: nothing to wait for


def test_what_another_trained_meanwhile_is_left_alone(tmp_path, monkeypatch):
    """Law: whoever waited looks again: a member of its own plan is taken, one of another is refused."""

    @contextmanager
    def late(folder, *_):
        with mock.patch.object(training, "locked", locked):
            one(folder, 0)
        yield

    monkeypatch.setattr(training, "locked", late)
    with pytest.raises(ConfigError, match="Got `seed` 1, it has 0"):
        one(tmp_path / "runs", 1)
    before = (tmp_path / "runs" / "clean.pt").stat()
    assert one(tmp_path / "runs", 0)[0].stat() == before


def test_a_member_that_cannot_be_written(tmp_path, monkeypatch):
    """Law: no room is one error, and none of the member's files is there."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.np, "save", full)
    with pytest.raises(CheckpointError, match=r"clean\.pt: cannot be written .*No space left"):
        one(tmp_path / "runs", 0)
    assert not (tmp_path / "runs").exists()
