"""Files that Keras 2 and 3 write, as the weights' names and what the model's configuration says. Not here: HDF5 itself.

Three layouts, by what stands in the file (tried with Keras 2.12, 2.15 and 2.21, and 3.15):

- `save_weights("x.h5")`: a group for each layer at the top, the names of its weights inside (`.../att_layer2/W:0`); a
  layer that two of them hold stands there twice. `save("x.h5")`: the same under `model_weights`, with `model_config`.
- `save_weights("x.weights.h5")` of both: `layers/<kind>_<n>/vars/<i>`, nested like the model, a layer that is shared at
  one of its places. Keras' own names are not in it: they are made again from where a layer stands.
- `x.keras`: a zip archive of config.json, metadata.json and such a model.weights.h5.

No layer is made, and nothing that a configuration names is looked up: it is JSON, of which sizes are read.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rec_trak.checkpoints.hdf5 import SAVE_AGAIN, Hdf5, read_hdf5
from rec_trak.config.documents import DocumentError, load_json
from rec_trak.errors import CheckpointError, listed
from rec_trak.words import quoted

MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
VARIABLES = {  # kind of layer -> its weights in the order in which it makes them
    "embedding": ("embeddings",),
    "conv1d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "self_attention": ("WQ", "WK", "WV"),
    "att_layer2": ("W", "b", "q"),
    "gru": ("kernel", "recurrent_kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
STRUCTURE = {"layers", "layer", "_layer_checkpoint_dependencies", "cell"}
NUMBERED = re.compile(r"(.+?)(?:_(\d+))?")
PACKAGES = {"recommenders": "recommenders", "ebrec": "ebnerd-benchmark"}  # where a layer's class stood
LOSSES = {"categorical_crossentropy": "cross_entropy_loss", "binary_crossentropy": "log_loss"}

Read = tuple[dict[str, Any], tuple[str, ...], None]


def read_h5(path: Path) -> Read:
    """State dict and settings of an HDF5 file that Keras wrote.

    Raises:
        CheckpointError: as `read_hdf5`; no weights in it; one weight twice, with different numbers; several layers of
            one kind with unlike settings.
    """
    found = read_hdf5(path)
    said = found.texts.get("", {}) | found.texts.get("model_weights", {})
    configs = [_json(said[key], f"{path}: `{key}`") for key in ("model_config", "training_config") if key in said]
    third = "3" if any("name" in held for held in found.texts.values()) else None  # Keras 2 writes no names there
    return _content(found, configs, said.get("keras_version", third), str(path))


def read_keras_zip(path: Path) -> Read:
    """State dict and settings of a `.keras` archive, whose check sums and members' sizes were compared.

    Raises:
        CheckpointError: as `read_h5`; a member that Keras does not write there.
    """
    with zipfile.ZipFile(path) as archive:
        names = [member.filename for member in archive.infolist()]
        known = [name for name in names if name in MEMBERS]
        if strange := [n for n in names if n not in MEMBERS and not n.startswith("assets/")] or known[len(MEMBERS) :]:
            raise CheckpointError(
                f"{path}: not what Keras saves. Got {listed('member(s)', strange)}, expected one each of "
                f"{', '.join(sorted(MEMBERS))}. {SAVE_AGAIN}"
            )
        config = archive.read("config.json")
        version = _json(archive.read("metadata.json"), f"{path}: metadata.json").get("keras_version")
    return _content(read_hdf5(path, "model.weights.h5"), [_json(config, f"{path}: config.json")], version, str(path))


def is_keras_zip(names: list[str]) -> bool:
    """Whether an archive's members are those of a `.keras` file."""
    return set(names) >= MEMBERS


def _content(found: Hdf5, configs: list[Any], version: Any, where: str) -> Read:
    arrays = found.arrays
    nested = any("/vars/" in f"/{path}" for path in arrays)
    state = _nested_names(arrays) if nested else _grouped_names(arrays, where)
    if not state:
        raise CheckpointError(
            f"{where}: no weights in it. Got {len(arrays)} other arrays, expected those of layers. {SAVE_AGAIN}"
        )
    extras = {"keras_version": version} if isinstance(version, str) else {}
    settings = _settings(configs, where)
    return {**extras, **({"config": settings} if settings else {}), "state_dict": state}, (), None


def _json(document: bytes | str, where: str) -> dict[str, Any]:
    try:
        content = load_json(document)
    except DocumentError as error:
        raise CheckpointError(
            f"{where} is no JSON ({error}). Got other text, expected a mapping. {SAVE_AGAIN}"
        ) from None
    return content if isinstance(content, dict) else {}


def _grouped_names(arrays: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Names as Keras gave them, without the group of the layer at the top."""
    state: dict[str, Tensor] = {}
    for path, tensor in arrays.items():
        name = path.removeprefix("model_weights/").partition("/")[2]
        if not name:
            continue
        if name in state and not torch.equal(state[name], tensor):
            raise CheckpointError(
                f"{where}: layers that share {quoted(name)} do not agree on it. Got different numbers, expected the "
                f"same. {SAVE_AGAIN}"
            )
        state[name] = tensor
    return state


def _nested_names(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as Keras would give them to layers in the order in which these models make them."""
    places = {path: _place(path) for path in arrays}
    layers = {place[:2] for place in places.values() if place[1]}
    inside: dict[tuple, set[str]] = {}
    for container, (kind, _) in layers:
        inside.setdefault(container, set()).add(kind)
    order = {container: (_stage(container, inside), container) for container in inside}
    numbers: dict[tuple, int] = {}
    counts: dict[str, int] = {}
    for container, layer in sorted(layers, key=lambda one: (order[one[0]], one[1])):
        numbers[container, layer] = counts.setdefault(layer[0], 0)
        counts[layer[0]] += 1
    state = {}
    for path, (container, layer, weight) in places.items():
        if not layer:
            continue
        kind, names, number = layer[0], VARIABLES.get(layer[0], ()), numbers[container, layer]
        known = weight in map(str, range(len(names)))
        name = f"{kind}_{number}" if number else kind
        state[f"{name}/{names[int(weight)] if known else weight}"] = arrays[path]
    return state


def _place(path: str) -> tuple[tuple, tuple | None, str]:
    """The models around a weight's layer, from outside in, the layer, each as (kind, number), and the weight."""
    before, _, weight = f"/{path}".partition("/vars/")
    parts = [part for part in before.split("/") if part and part not in STRUCTURE]
    names = [(m[1], int(m[2] or 0)) for part in parts if (m := NUMBERED.fullmatch(part))]
    if not names or names[-1][0] == "seed_generator":
        return (), None, weight
    return tuple(names[:-1]), names[-1], weight


def _stage(container: tuple, inside: Mapping[tuple, set[str]]) -> int:
    """When its model is made: encoders of texts, of topics, what joins them, and the user's last."""
    kinds = inside[container]
    if "gru" in kinds:
        return 3
    if "conv1d" in kinds or {"embedding", "self_attention"} <= kinds:
        return 0
    if "embedding" in kinds:
        return 1
    joins = any(other[:-1] == container and "conv1d" in held for other, held in inside.items())
    return 2 if joins else 3


def _settings(configs: list[Any], where: str) -> dict[str, Any]:
    """What configurations say, under the keys of recommenders' YAML."""
    said: dict[str, set] = {}
    for config in configs:
        for key, value in _said(config, ""):
            if type(value) in (int, float, str):
                said.setdefault(key, set()).add(value)
    for key, values in said.items():
        if len(values) > 1:
            raise CheckpointError(
                f"{where}: its layers differ in `{key}`. Got {quoted(sorted(values))}, expected one value for all. "
                "Bring the model's own class."
            )
    held = {key: next(iter(values)) for key, values in said.items()}
    title = held.pop("whole_size", None)
    return held if title is None or "title_size" in held else held | {"title_size": title}


def _said(value: Any, model: str) -> Iterator[tuple[str, Any]]:
    """Key and value of all that layers say, wherever they stand; `model` is the name of the model around."""
    if isinstance(value, list):
        for one in value:
            yield from _said(one, model)
    if not isinstance(value, dict):
        return
    config, kind, module = (value.get(key) for key in ("config", "class_name", "module"))
    if isinstance(config, dict) and isinstance(kind, str):
        if kind == "SelfAttention" and isinstance(module, str):
            yield "layers", PACKAGES.get(module.split(".")[0])
        yield from _of_layer(kind, config, model)
        model = config["name"] if kind in ("Functional", "Model") and isinstance(config.get("name"), str) else model
    loss = value.get("loss")
    if isinstance(loss, str) and loss in LOSSES:
        yield "loss", LOSSES[loss]
    for one in value.values():
        yield from _said(one, model)


def _of_layer(kind: str, config: Mapping[str, Any], model: str) -> Iterator[tuple[str, Any]]:
    if kind == "InputLayer":
        shape = config.get("batch_input_shape", config.get("batch_shape"))
        shape = shape[1:] if isinstance(shape, list) else []
        keys = {"title_encoder": "title_size", "body_encoder": "body_size", "news_encoder": "whole_size"}
        if len(shape) == 2 and model == "user_encoder":
            yield "his_size", shape[0]
        elif len(shape) == 1 and model in keys:
            yield keys[model], shape[0]
    topic = model in ("vert_encoder", "subvert_encoder")
    keys = {
        "SelfAttention": (("multiheads", "head_num"), ("head_dim", "head_dim")),
        "AttLayer2": (("dim", "attention_hidden_dim"),),
        "Conv1D": (("activation", "cnn_activation"),),
        "Dense": (("activation", "dense_activation"),) if topic else (),
        "Dropout": (("rate", "dropout"),),
    }
    yield from ((ours, config.get(theirs)) for theirs, ours in keys.get(kind, ()))
