"""Weights written in each container. Not here: tests."""

import collections

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
