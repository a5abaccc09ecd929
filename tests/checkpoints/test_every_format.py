"""Law: a checkpoint that can be read is also run. Whatever its kind, number format, container and wrapper, it is told
apart, featurized and scored, and the scores are those of a plain float32 file with the same numbers.

Of all combinations so many are run that each two values meet in one of them.
"""

import itertools
import json

import numpy as np
import pytest
import torch
from support import tiny
from support.checkpoint_files import write, write_shards
from support.every_format import KINDS
from support.keras_files import grouped, nested, nrms_config, write_hdf5, write_zip

from rec_trak.attribution.influence import self_influence
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.checkpoints.info import describe_checkpoint
from rec_trak.config.analysis import read_analysis_config

DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CONTAINERS = ("zip", "legacy", "safetensors", "shards", "npz")
EVERY_DTYPE = ("h5", "weights.h5 3", "keras 3")
KERAS = ("npz", "h5", "h5 whole 2", "h5 whole 3", "weights.h5 2", "weights.h5 3", "keras 2", "keras 3")
WRAPPERS = ("none", "module", "compiled", "averaged", "lightning")


def exists(row) -> bool:
    """numpy and HDF5 have no bfloat16; Keras writes its own containers, without wrappers. Their layouts differ in names
    alone, so that other number formats than float32 are tried in some of them."""
    kind, dtype, container, wrapper = row
    if kind == "keras":
        dtypes = ("float64", "float32", "float16") if container in EVERY_DTYPE else ("float32",)
        return container in KERAS and wrapper == "none" and dtype in dtypes
    return container in CONTAINERS and (dtype, container) != ("bfloat16", "npz")


def combinations() -> list[tuple[str, str, str, str]]:
    return [row for row in itertools.product(KINDS, DTYPES, dict.fromkeys(CONTAINERS + KERAS), WRAPPERS) if exists(row)]


def covering() -> list[tuple[str, str, str, str]]:
    """Combinations of a kind, a number format, a container and a wrapper in which all pairs that exist occur."""
    every = combinations()
    left, chosen = {pair for row in every for pair in pairs(row)}, []
    while left:
        chosen.append(max(every, key=lambda row: len(left & pairs(row))))
        left -= pairs(chosen[-1])
    return chosen


def pairs(row) -> set:
    return set(itertools.combinations(enumerate(row), 2))


def wrapped(state, wrapper: str, alone: bool):
    """The state dict as a framework writes it; `alone`: the container holds tensors and nothing else."""
    if wrapper == "averaged":
        return {"n_averaged": torch.tensor(7)} | {f"module.{name}": tensor for name, tensor in state.items()}
    prefix = {"none": "", "module": "module.", "compiled": "_orig_mod.", "lightning": "model."}[wrapper]
    state = {prefix + name: tensor for name, tensor in state.items()}
    if wrapper != "lightning":
        return state
    state["criterion.weight"] = torch.ones(2)
    beside = {"epoch": 3, "optimizer_states": [{"w": torch.ones(5)}], "callbacks": {"x": {"w": torch.ones(2)}}}
    return state if alone else beside | {"state_dict": state}


def written_by_keras(folder, state, container: str):
    """The path of what Keras 2 or 3 would write."""
    held, version = {name: tensor.numpy() for name, tensor in state.items()}, container[-1:]
    shape = {"2": "batch_input_shape", "3": "batch_shape"}.get(version)
    config = nrms_config(shape=shape, package="recommenders") if shape else None
    if container.startswith("keras"):
        version = {"2": "2.15.0", "3": "3.15.1"}[version]
        return write_zip(folder / "a.keras", nested(held, "nrms"), config, version=version)
    if container.startswith("weights"):
        third = {"layers/functional": {"name": "user_encoder"}} if version == "3" else {}
        return write_hdf5(folder / "a.weights.h5", nested(held, "nrms"), groups=third)
    if container == "h5":
        return write_hdf5(folder / "a.h5", grouped(held, "nrms"))
    said = {"keras_version": {"2": "2.15.0", "3": "3.15.1"}[version], "model_config": json.dumps(config)}
    return write_hdf5(folder / "a.h5", grouped(held, "nrms", "model_weights/"), said)


def written(folder, state, container: str):
    """The path of what was written."""
    if container in KERAS[1:]:
        return written_by_keras(folder, state, container)
    if container == "shards":
        write_shards(folder / "shards", state, ".safetensors")
        return folder / "shards"
    path = folder / {"zip": "a.pt", "legacy": "a.bin", "safetensors": "a.safetensors", "npz": "a.npz"}[container]
    write(path, state)
    return path


@pytest.fixture(scope="module")
def worlds(tmp_path_factory, request):
    """Kind -> its folder, its state dict and the keys of its YAML, made when it is first asked for."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            torch.manual_seed(0)
            made[kind] = (folder, *KINDS[kind](folder, request))
        return made[kind]

    return get


@pytest.fixture(scope="module")
def plain_scores(worlds, tmp_path_factory):
    """The scores of a plain float32 file whose numbers were rounded to a format before."""
    made = {}

    def get(kind, dtype):
        if (kind, dtype) not in made:
            folder, state, keys = worlds(kind)
            path = tmp_path_factory.mktemp("plain") / "plain.pt"
            torch.save({name: t.to(DTYPES[dtype]).float() for name, t in state.items()}, path)
            made[kind, dtype] = scores(folder, path, keys)
        return made[kind, dtype]

    return get


def scores(folder, checkpoint, keys):
    """The self-influence of eight rows."""
    keys = {"sample_size": 8, "save_dir": str(checkpoint.parent / "store")} | keys
    config = read_analysis_config(tiny.write_config(folder, checkpoints=str(checkpoint), **keys))
    job = read_job(Run(config, "train_clean", "clean"))
    assert featurize(job).rows == 8
    return self_influence(job, "self_influence").scores


def test_all_pairs_occur():
    """The table lacks no two values that can meet, and is a small part of all combinations."""
    rows = covering()
    assert {pair for row in rows for pair in pairs(row)} == {pair for row in combinations() for pair in pairs(row)}
    assert {row[2] for row in rows if row[0] == "keras"} == set(KERAS)
    assert len(rows) < 60


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
@pytest.mark.parametrize(("kind", "dtype", "container", "wrapper"), covering())
def test_every_format_goes_through_the_whole_job(worlds, plain_scores, tmp_path, kind, dtype, container, wrapper):
    """checkpoint_info knows it; its scores are those of the plain file to the last bit."""
    folder, state, keys = worlds(kind)
    alone = container not in ("zip", "legacy")
    state = wrapped({name: tensor.to(DTYPES[dtype]) for name, tensor in state.items()}, wrapper, alone)
    path = written(tmp_path, state, container)
    told = describe_checkpoint(path)
    assert told["code_base"] == kind.split("-")[0]
    assert told["problem"] is None
    assert dtype in told["numbers"]
    assert told["beside_the_model"] == (["criterion.weight"] if wrapper == "lightning" else [])
    json.dumps(told)
    np.testing.assert_array_equal(scores(folder, path, keys), plain_scores(kind, dtype))


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_rounding_is_all_that_a_format_changes(plain_scores, kind):
    """float64 gives the float32 file's scores; float16 and bfloat16 are off by a moderate multiple of their step."""
    exact = plain_scores(kind, "float32")
    np.testing.assert_array_equal(plain_scores(kind, "float64"), exact)
    for dtype in ("float16", "bfloat16")[: 1 if kind == "keras" else 2]:
        off = np.abs(plain_scores(kind, dtype) - exact).max() / np.abs(exact).max()
        assert 0 < off < 30 * torch.finfo(DTYPES[dtype]).eps
