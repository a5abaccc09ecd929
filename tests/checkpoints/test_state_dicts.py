"""Laws of checkpoints: what was written is read, nothing else is, and a misfit changes nothing."""

import os

import pytest
import torch
from torch import nn

from rec_trak.checkpoints.state_dicts import (
    check_model_config,
    load_into,
    read_state_dict,
    write_model_config,
    write_state_dict,
)
from rec_trak.config.model import ModelConfig, TextConfig, read_model_config
from rec_trak.errors import CheckpointError, ConfigError

CONFIG = ModelConfig("nrms", sizes={"heads": 2}, text=TextConfig(words=("a",)))


class RunsCode:
    """An object whose unpickling would make a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


def test_what_is_written_is_read(tmp_path):
    """Law: write, read, load gives the same tensors, plain or under `state_dict`, and leaves no other file."""
    model, other = small(0), small(1)
    write_state_dict(tmp_path / "a.pt", model)
    assert os.listdir(tmp_path) == ["a.pt"]
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "b.pth")
    for name in ("a.pt", "b.pth"):
        load_into(other, read_state_dict(tmp_path / name), name)
        assert all(torch.equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_equal_weights_are_equal_bytes(tmp_path):
    """Whatever the file is called, and was called before it took its place."""
    for name in ("a.pt", "another name.pt"):
        write_state_dict(tmp_path / name, small(0))
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another name.pt").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """Law: a checkpoint is replaced whole or not at all."""
    path = tmp_path / "a.pt"
    write_state_dict(path, small(0))
    before = path.read_bytes()

    def fill_the_disk(_, target):
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(CheckpointError, match=r"a.pt: cannot be written .*No space left"):
        write_state_dict(path, small(1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.pt"]


def test_files_that_are_not_checkpoints(tmp_path):
    """Law: a missing, foreign or shortened file is refused by name, and code in it does not run."""
    write_state_dict(tmp_path / "whole.pt", small())
    whole = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "short.pt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pt").write_text("epoch,loss\n1,2\n")
    (tmp_path / "nothing.pt").write_bytes(b"")
    torch.save({"weights": RunsCode(tmp_path / "harm")}, tmp_path / "code.pt")
    for name in ("short.pt", "text.pt", "nothing.pt", "code.pt"):
        with pytest.raises(CheckpointError, match=f"{name}: cannot be read as a checkpoint"):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "harm").exists()
    with pytest.raises(CheckpointError, match=r"absent.pt: no such file"):
        read_state_dict(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match=r": is a folder"):
        read_state_dict(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (torch.zeros(3), "not a state_dict. Got Tensor"),
        ({}, "not a state_dict. Got an empty mapping"),
        ({"w": torch.zeros(1), "epoch": 3}, "Got int at key 'epoch'"),
        ({"weights": {"w": 1}}, "Got int at key 'w'"),
    ],
)
def test_files_that_hold_something_else(tmp_path, content, match):
    """Law: only a mapping of names to tensors counts."""
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=match):
        read_state_dict(tmp_path / "a.pt")


def test_a_checkpoint_of_another_architecture():
    """Law: one message lists missing, unexpected and mis-shaped keys with their counts; the model stays as it was."""
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrong = {"0.weight": torch.zeros(2, 3), "1.weight": torch.zeros(1, 5), "1.bias": torch.zeros(1)}
    wrong |= {f"lm.{i}": torch.zeros(1) for i in range(7)}
    with pytest.raises(CheckpointError) as caught:
        load_into(model, wrong, "clean.pt")
    message = str(caught.value)
    assert message.startswith("clean.pt: the checkpoint does not fit the model: 1 missing (0.bias); 7 unexpected (lm.0")
    assert "lm.4, ...); 1 of another shape (1.weight (1, 5) for (1, 2))" in message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite(bad):
    """Law: a tensor that is NaN, Inf, or beyond float32 is refused by name; the model stays as it was."""
    model = small()
    before = model[1].weight.clone()
    state = {name: value.double() for name, value in small(1).state_dict().items()}
    state["0.bias"][1] = bad
    with pytest.raises(CheckpointError, match=r"poisoned.pt: tensor `0.bias` holds NaN or Inf"):
        load_into(model, state, "poisoned.pt")
    assert torch.equal(model[1].weight, before)


def test_one_folder_one_model(tmp_path):
    """Law: model.json is written once, and another model is refused with the names of what differs."""
    path = tmp_path / "model.json"
    check_model_config(path, CONFIG)
    assert not path.exists()
    write_model_config(path, CONFIG)
    write_model_config(path, CONFIG)
    assert os.listdir(tmp_path) == ["model.json"]
    assert read_model_config(path) == CONFIG
    with pytest.raises(ConfigError, match=r"another model's checkpoints .* differs in `text`, `max_history`"):
        write_model_config(path, ModelConfig("nrms", sizes={"heads": 2}, max_history=3))
