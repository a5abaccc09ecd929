"""Weights written in each container. Not here: tests."""

import collections
import json

import numpy as np
import pytest
import torch

REFUSED = "cannot be read as a checkpoint"


def weights():
    """A small state dict."""
    return collections.OrderedDict({"layer.weight": torch.randn(3, 4), "layer.bias": torch.randn(3).double()})


def write(path, state):
    """Write `state` in the format that the name asks for."""
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in state.items()})
    elif path.suffix == ".safetensors":
        pytest.importorskip("safetensors.torch").save_file(dict(state), path, {"made by": "a test"})
    else:
        torch.save(state, path, _use_new_zipfile_serialization=path.suffix != ".bin")


def write_shards(folder, state, suffix):
    """The state dict in two files of a folder, as Hugging Face's libraries write them; gives the index."""
    folder.mkdir(exist_ok=True, parents=True)
    names = list(state)
    half = (len(names) + 1) // 2
    places = {name: f"model-{1 if i < half else 2}{suffix}" for i, name in enumerate(names)}
    for file in sorted(set(places.values())):
        write(folder / file, {name: tensor for name, tensor in state.items() if places[name] == file})
    index = folder / f"model{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}), encoding="utf-8")
    return index
