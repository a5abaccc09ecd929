"""Laws of files of weights: every format gives the same tensors, damage is one line, and no file is believed."""

import os
import pathlib
import sys
import zipfile

import numpy as np
import pytest
import torch
from support.checkpoint_files import REFUSED, weights, write
from torch import nn

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.rebuild import Inert
from rec_trak.errors import CheckpointError


class Reduces:
    """Pickles as whatever call is given."""

    def __init__(self, *recipe):
        self.recipe = recipe

    def __reduce__(self):
        return self.recipe


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pt", "pytorch zip"), ("a.ckpt", "pytorch zip"), ("a.bin", "pytorch legacy"), ("a.npz", "npz"),
        ("a.safetensors", "safetensors"),
    ],
)  # fmt: skip
def test_every_format(tmp_path, name, kind):
    """Law: what was written is read, whatever the file is called."""
    state, path = weights(), tmp_path / name
    write(path, state)
    path.rename(tmp_path / "renamed")
    read = read_checkpoint_file(tmp_path / "renamed")
    assert (read.format, read.pickled_classes, read.state.keys()) == (kind, (), state.keys())
    for key, tensor in state.items():
        assert torch.equal(read.state[key], tensor)
        assert read.state[key].dtype == tensor.dtype
    assert read.extras == ({"made by": "a test"} if kind == "safetensors" else {})


def test_arrays_of_any_layout(tmp_path):
    """Law: byte order, memory order and compression of an .npz change nothing; text stands beside the weights."""
    values = np.arange(6.0).reshape(2, 3)
    arrays = {"a": values.astype(">f4"), "b": np.asfortranarray(values), "c": np.array(2), "d": values > 2}
    np.savez_compressed(tmp_path / "a.npz", made_with=np.array(["keras", "3"]), **arrays)
    read = read_checkpoint_file(tmp_path / "a.npz")
    for name, array in arrays.items():
        np.testing.assert_array_equal(read.state[name].numpy(), array)
        assert read.state[name].is_contiguous()
    assert read.extras == {"made_with": ["keras", "3"]}


def test_arrays_of_objects(tmp_path):
    """Law: pickles inside an .npz are refused, not loaded."""
    np.savez(tmp_path / "a.npz", a=np.array([Reduces(os.mkdir, (str(tmp_path / "harm"),))], dtype=object))
    with pytest.raises(CheckpointError, match=f"a.npz: {REFUSED}.*allow_pickle=False"):
        read_checkpoint_file(tmp_path / "a.npz")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize("new", [True, False])
def test_where_the_weights_stand(tmp_path, key, foreign, new):
    """Law: at the top or under a usual key; what stands beside them is kept but for optimizers, and holds no tensor."""
    state = weights()
    content = {
        "epoch": 3, "optimizer_states": [{"w": torch.ones(5)}], "optimizer": {"w": torch.ones(5)},
        "best": torch.ones(2), key: state,
    }  # fmt: skip
    if foreign:
        content["folder"] = pathlib.PurePosixPath("a/b")
    path = tmp_path / "a.ckpt"
    torch.save(content if key else state, path, _use_new_zipfile_serialization=new)
    read = read_checkpoint_file(path)
    assert all(torch.equal(read.state[name], tensor) for name, tensor in state.items())
    if not key:
        assert read.extras == {}
        return
    assert read.extras["epoch"] == 3
    assert read.extras["best"].inert_args == ((2,), "torch.float32")
    assert set(read.extras) == {"epoch", "best"} | ({"folder"} if foreign else set())
    assert read.pickled_classes == (("pathlib.PurePosixPath",) if foreign else ())
    assert not foreign or read.extras["folder"].inert_args == ("a", "b")


def test_parameters_are_plain_tensors_that_still_share_memory(tmp_path):
    """Law: a tied weight stays one weight; nothing asks for gradients."""
    tied = nn.Parameter(torch.randn(2))
    for extra in ({}, {"path": pathlib.PurePosixPath("a")}):
        torch.save({"state_dict": {"a": tied, "b": tied}, **extra}, tmp_path / "a.pt")
        state = read_checkpoint_file(tmp_path / "a.pt").state
        assert state["a"].data_ptr() == state["b"].data_ptr()
        assert all(type(t) is torch.Tensor and not t.requires_grad for t in state.values())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("module.a.w", "module.b"), ("a.w", "b")),
        (("_orig_mod.a.w", "_orig_mod.b"), ("a.w", "b")),
        (("_orig_mod.module.a", "_orig_mod.module.b"), ("a", "b")),
        (("module._orig_mod.a", "module._orig_mod.b"), ("a", "b")),
        (("model._orig_mod.a", "model.b"), ("model.a", "model.b")),
        (("module.a", "b"), ("module.a", "b")),
        (("model.a", "model.b"), ("model.a", "model.b")),
    ],
)
def test_names_that_wrappers_add(tmp_path, names, expected):
    """Law: DataParallel's and torch.compile's prefixes go, `model.` stays, and so does `module.` on some names only."""
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "a.pt")
    assert tuple(read_checkpoint_file(tmp_path / "a.pt").state) == expected


def test_names_that_fall_together(tmp_path):
    """Law: a parameter is never lost with its prefix."""
    torch.save({"a": torch.zeros(1), "_orig_mod.a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a.pt: parameters fall together .* Got 2 names"):
        read_checkpoint_file(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it is empty"),
        (b"epoch,loss\n1,2\n", r"another format \(its first bytes are b'epoch,loss"),
        (b"\n <!DOCTYPE html><html>", "it is a web page"),
        (b"<?xml version='1.0'?><Error>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a git-lfs pointer.*git lfs pull"),
        (b"\x1f\x8b\x08", "it is compressed"),
        (b"\x80\x04N.", "another format"),
        (b"PK\x03\x04", "cut short or damaged"),
        (b"\xff" * 8 + b"{}", "cut short or damaged"),
    ],
)
def test_files_that_are_something_else(tmp_path, content, match):
    """Law: one line says what the file is, where that can be told."""
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"a.pt: {REFUSED}; .*{match}") as caught:
        read_checkpoint_file(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_zip_archives_of_something_else(tmp_path):
    """Law: a TorchScript archive, which holds code, and any other archive are refused by name."""
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/model.py"):
            archive.writestr(f"script/{name}", "")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=f"script.pt: {REFUSED}; it is a TorchScript archive"):
        read_checkpoint_file(tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match=f"other.pt: {REFUSED}; it is a zip archive of something else"):
        read_checkpoint_file(tmp_path / "other.pt")


def test_files_that_cannot_be_opened(tmp_path, monkeypatch):
    """Law: no file, a folder, and a file without permission are told apart."""
    with pytest.raises(CheckpointError, match="absent.pt: no such file"):
        read_checkpoint_file(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint_file(tmp_path)
    write(tmp_path / "a.pt", weights())

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(CheckpointError, match=r"a.pt: cannot be opened \(Permission denied\). Check its permissions"):
        read_checkpoint_file(tmp_path / "a.pt")


def without_weights():
    """Contents that hold no state dict, and what is said of them."""
    module = nn.Linear(1, 1)
    return [
        (torch.zeros(3), "not a state_dict. Got Tensor"),
        (None, "not a state_dict. Got NoneType"),
        ({}, "not a state_dict. Got an empty mapping"),
        ({"state_dict": {}}, "not a state_dict. Got an empty mapping"),
        ({"w": torch.zeros(1), "epoch": 3}, "Got int at key 'epoch'"),
        ({"w": torch.zeros(1), 3: torch.zeros(1)}, "Got Tensor at key of type int"),
        ({"w": torch.zeros(1), "x\x1b[31m\n": 1}, r"Got int at key 'x\\x1b\[31m\\n'"),
        ({"state_dict": {"a": [1]}}, "Got list at key 'a'"),
        ({"state_dict": {"a": torch.eye(2).to_sparse()}}, "Got a tensor that is cpu, torch.sparse_coo"),
        ({"state_dict": {"a": torch.zeros(2, device="meta")}}, "Got a tensor that is meta"),
        ({"a": torch.zeros(1), "b": pathlib.PurePosixPath("x")}, "Got an object of pathlib.PurePosixPath at key 'b'"),
        (pathlib.PurePosixPath("x"), "Got an object of pathlib.PurePosixPath"),
        ({"a": pathlib.PurePosixPath("x")}, f"{REFUSED}; it holds no tensors, but names pathlib.PurePosixPath"),
        (module, "Got an object of torch.nn.modules.linear.Linear.*a whole pickled model.*save `model.state_dict"),
    ]


@pytest.mark.parametrize(("content", "match"), without_weights())
def test_files_without_weights(tmp_path, content, match):
    """Law: only a mapping of names to dense tensors counts, and the message says what stands there instead."""
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint_file(tmp_path / "a.pt")
    assert str(caught.value).isprintable()


def test_safetensors_without_its_library(tmp_path, monkeypatch):
    """Law: the message says what to install."""
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "a.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(CheckpointError, match=r"a.safetensors: .*pip install 'rec-trak\[bert\]'"):
        read_checkpoint_file(tmp_path / "a.safetensors")


def test_genuine_lightning_checkpoints(shared):
    """Law: files whose configuration class exists nowhere here are read, and the class' attributes can be seen."""
    folder = shared / "fixtures" / "outputs" / "politifact" / "nrms_model" / "glove_100_frozen" / "checkpoints"
    for path in folder.glob("*.ckpt"):
        read = read_checkpoint_file(path)
        assert read.pickled_classes == ("configs.models.nrms_config.NRMSConfig", "pathlib.PosixPath")
        config = read.extras["hyper_parameters"]["config"]
        assert isinstance(config, Inert)
        assert (config.num_attention_heads, config.num_user_attention_heads, config.learning_rate) == (10, 5, 0.001)
        assert config.base_dir.inert_args == ("outputs", "politifact")
        assert (read.extras["epoch"], "optimizer_states" in read.extras) == (1, False)
        assert sum(t.numel() for t in read.state.values()) == 84_064
        assert all(name.startswith("model.") for name in read.state)


@pytest.mark.parametrize("place", ["NRMS/ckpt-40", "NAML/ckpt-20", "LSTUR/ckpt-20"])
def test_genuine_files_with_numpy_numbers(shared, place):
    """Law: a numpy scalar, which torch.load(weights_only=True) refuses, is a plain number."""
    read = read_checkpoint_file(shared / "fixtures" / "yusanshi" / "checkpoint" / f"{place}.pth")
    assert read.extras["step"] == int(place.split("-")[1])
    assert type(read.extras["early_stop_value"]) is float
    assert read.pickled_classes == ()


def test_genuine_safetensors(shared):
    """Law: a language model's file gives the tensors that the safetensors library gives."""
    library = pytest.importorskip("safetensors.torch")
    path = shared / "fixtures" / "lm_models" / "bert_tiny" / "model.safetensors"
    read, expected = read_checkpoint_file(path), library.load_file(path)
    assert read.extras == {"format": "pt"}
    assert all(torch.equal(read.state[name], tensor) for name, tensor in expected.items())
