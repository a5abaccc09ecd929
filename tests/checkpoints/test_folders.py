"""Laws of folders: weights in several files are read as one file's, strictly; any other folder says what it is."""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.checkpoint_files import write_shards
from torch.distributed import checkpoint as distributed

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.info import describe_checkpoint
from rec_trak.errors import CheckpointError


def weights():
    return {"a.w": torch.arange(6.0).reshape(2, 3), "a.b": torch.ones(2), "c": torch.zeros(1)}


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_shards_are_one_state_dict(tmp_path, suffix, prefix):
    """A folder, or its index, gives the tensors of all files under plain names."""
    state = weights()
    index = write_shards(tmp_path / "m", {prefix + name: tensor for name, tensor in state.items()}, suffix)
    for path in (tmp_path / "m", index):
        read = read_checkpoint_file(path)
        assert read.state.keys() == state.keys()
        assert all(torch.equal(read.state[name], tensor) for name, tensor in state.items())
        assert read.format.endswith(", 2 file(s)")
    assert describe_checkpoint(tmp_path / "m")["parameters"]["in_file"] == 9


def test_safetensors_go_before_pickles(tmp_path):
    """Where both are there, no pickle is opened; two sets of one kind are refused by name."""
    write_shards(tmp_path, weights(), ".bin")
    write_shards(tmp_path, weights(), ".safetensors")
    assert read_checkpoint_file(tmp_path).format.startswith("safetensors")
    os.rename(tmp_path / "model.safetensors.index.json", tmp_path / "x.bin.index.json")
    with pytest.raises(CheckpointError, match=r"2 indices of weights \(model.bin.index.json, x.bin.index.json\).*path"):
        read_checkpoint_file(tmp_path)


def test_a_tie_that_the_header_names(tmp_path):
    """A file of `save_model` has a tied weight under all of its names, in one file or in shards."""
    library = pytest.importorskip("safetensors.torch")
    library.save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors", {"b": "a", "format": "pt", "x": "nothing"})
    read = read_checkpoint_file(tmp_path / "one.safetensors")
    assert read.state["a"].data_ptr() == read.state["b"].data_ptr()
    assert (list(read.state), read.extras) == (["a", "b"], {"format": "pt", "x": "nothing"})
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))
    assert list(read_checkpoint_file(tmp_path).state) == ["a", "b"]


@pytest.mark.parametrize(
    ("places", "match"),
    [
        ({"a.w": "../out.bin"}, r"names a file outside its folder\. Got '\.\./out\.bin'"),
        ({"a.w": "/etc/passwd"}, "names a file outside its folder"),
        ({"a.w": ".."}, "names a file outside its folder"),
        ({"a.w": "sub/model.bin"}, "names a file outside its folder"),
        ({"a.w": "..\\out.bin"}, "names a file outside its folder"),
        ({"a.w": ""}, "names a file outside its folder"),
        ({"a.w": "link.bin"}, r"`link\.bin` cannot be read \(it is a link\).*`cp -rL "),
        ({"a.w": "absent.bin"}, r"`absent\.bin` cannot be read \(No such file"),
        ({"a.w": "folder.bin"}, r"`folder\.bin` cannot be read \(it is no file\)"),
        ({"a.w": "model-1.bin"}, r"`model-1\.bin` does not hold what .* 1 beyond what it names \(a\.b\), expected 1"),
        (
            {"a.w": "model-1.bin", "a.b": "model-2.bin"},
            r"`model-1\.bin` does not .*1 beyond what it names \(a\.b\)",
        ),
        ({"a.w": "model-1.bin", "a.b": "model-1.bin", "d": "model-1.bin"}, r"1 missing \(d\)"),
        ({"a.w": 3}, "it has no `weight_map`"),
        ({}, "it has no `weight_map`"),
        ([], "it has no `weight_map`"),
    ],
)
def test_an_index_is_not_believed(tmp_path, places, match):
    """No file elsewhere is opened, and every weight of the map stands once, in its file."""
    index = write_shards(tmp_path / "m", weights(), ".bin")
    torch.save({"a.w": torch.ones(1)}, tmp_path / "out.bin")
    (tmp_path / "m" / "link.bin").symlink_to(tmp_path / "out.bin")
    (tmp_path / "m" / "folder.bin").mkdir()
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(CheckpointError, match=match):
        read_checkpoint_file(tmp_path / "m")


def test_a_strange_index(tmp_path):
    """One that is no JSON, gives one weight twice, is a link or is too long is one line."""
    index = write_shards(tmp_path, weights(), ".bin")
    for text, match in (("{", "not valid json"), ('{"weight_map": {"a": "x", "a": "y"}}', "not valid json: .*twice")):
        index.write_text(text)
        with pytest.raises(CheckpointError, match=match):
            read_checkpoint_file(tmp_path)
    os.truncate(index, 2**26 + 1)
    with pytest.raises(CheckpointError, match="its index has 67,108,865 bytes"):
        read_checkpoint_file(tmp_path)
    index.rename(tmp_path / "elsewhere")
    index.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="it is a link"):
        read_checkpoint_file(tmp_path)


def test_what_fsdp_writes_and_the_command_that_makes_one_file(tmp_path, monkeypatch):
    """The command in the message is real: its file holds the weights."""
    with pytest.warns(UserWarning, match="single process"):
        distributed.save({"model": weights()}, checkpoint_id=tmp_path / "last.ckpt", no_dist=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: is a folder, a distributed checkpoint as FSDP") as caught:
        read_checkpoint_file("last.ckpt")
    command = str(caught.value).split("`")[1]
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, capture_output=True)
    read = read_checkpoint_file("weights.pt")
    assert all(torch.equal(read.state[name], tensor) for name, tensor in weights().items())


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ((), "is a folder, which is empty"),
        (("notes.txt",), r"is a folder, 1 file\(s\) in it, none of them weights \(notes.txt\)"),
        (
            ("latest", "zero_to_fp32.py", "global_step1/x"),
            "a DeepSpeed checkpoint.*to_fp32.py .*last.ckpt merged`",
        ),
        (
            ("zero_pp_rank_0_mp_rank_00_optim_states.pt", "x.pt"),
            r"-m deepspeed\.utils\.zero_to_fp32 .* merged`",
        ),
        (("adapter_config.json", "adapter_model.safetensors"), "a peft adapter.*PeftModel.from_pretrained"),
        (("model.index", "model.data-00000-of-00001", "checkpoint"), "a TensorFlow checkpoint.*model.save_weights"),
        (("saved_model.pb", "variables/x"), "a TensorFlow checkpoint.*model.save_weights"),
        (("data.pkl", "data/0", "version"), "a file of PyTorch that was unpacked"),
        (
            ("model.safetensors", "config.json"),
            r"with one file of weights in it.*Give .*ckpt/model\.safetensors\.",
        ),
        (
            ("a.pt", "b.pt"),
            r"with 2 files of weights in it \(a\.pt, b\.pt\).*such as .*/b\.pt, or .*: .*/\*\.pt",
        ),
        (("hparams.yaml", "checkpoints/epoch=1.ckpt"), r"Give .*/checkpoints/epoch=1\.ckpt\."),
        (("checkpoint-5/x", "checkpoint-9/x"), r"2 checkpoints in it .*such as .*/checkpoint-9\."),
    ],
)
def test_folders_say_what_they_are(tmp_path, files, match):
    """One line: what the folder is, and what to give instead."""
    folder = tmp_path / "last.ckpt"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint_file(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ckpt.index", b"\0" * 60),
        ("renamed", b"\0" * 60 + bytes.fromhex("57fb808b247547db")),
        ("ckpt.data-00000-of-00001", np.ones(9, dtype=np.float32).tobytes()),
    ],
)
def test_parts_of_tensorflow_checkpoints(tmp_path, name, content):
    """By name or by how an index ends: the message says how to make a file that is read."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a part of a TensorFlow checkpoint\. Load it there with `model\.load_w"):
        read_checkpoint_file(tmp_path / name)
