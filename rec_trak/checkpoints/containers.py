"""What a file of weights holds -> the mapping of parameter names to tensors, wherever it stands. Not here: formats.

Frameworks put it at the top or under a key (`state_dict`, `model`, `module`, `net`, `ema`, ...), perhaps one within
another. Optimizers and what schedulers, loops and callbacks keep are passed over.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rec_trak.checkpoints.names import is_counter, unwrapped
from rec_trak.checkpoints.rebuild import Inert, StoredTensor
from rec_trak.checkpoints.refusals import EXPECTED, printable, unreadable
from rec_trak.errors import CheckpointError, RecTrakWarning, listed

STATE_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "state")
AVERAGES = ("ema", "averag", "shadow", "swa")  # in keys of weights that were averaged beside the trained ones
PASSED = {"loops", "callbacks", "lr_schedulers", "scheduler", "scaler", "rng_state", "averaging_state"}
DEEPEST = 3


@dataclass(frozen=True)
class CheckpointFile:
    """What a checkpoint holds.

    Attributes:
        state: parameter name -> tensor on the CPU; names that shared memory still do. The prefix of DataParallel
            (`module.`, where all names have it) and what torch.compile and FSDP put into names are taken off.
        extras: everything else in the file but optimizers; objects and tensors are `Inert` stand-ins, but for the
            single numbers in `callbacks`.
        format: `pytorch zip`, `pytorch legacy`, `safetensors`, `npz`, `hdf5` or `keras zip`; with the number of shards.
        pickled_classes: the classes and functions that the file names and that were replaced, as module and name.
    """

    state: dict[str, Tensor]
    extras: dict[str, Any]
    format: str
    pickled_classes: tuple[str, ...]


class _Found(NamedTuple):
    """A mapping of names to tensors: the keys that lead to it, itself, and what stands beside it on the way."""

    keys: tuple[str, ...]
    state: dict[str, Any]
    beside: dict[str, Any]


def find_state(path: Path, content: Any, classes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The mapping of parameter names to tensors, and what stands beside it.

    Where several groups of weights are there, trained ones go before averages of them, which a warning names.

    Args:
        path: the file, for messages.
        content: what it holds, tensors perhaps on paper.
        classes: foreign classes that it names.

    Raises:
        CheckpointError: there is no such mapping, or there are several under unknown keys.
    """
    if not isinstance(content, dict):
        whole = isinstance(content, Inert) and "_modules" in content.inert_attributes
        do = " It is a whole pickled model: where its code is, save `model.state_dict()`." if whole else ""
        raise CheckpointError(
            f"{path}: not a state_dict. Got {_kind(content)}, expected parameter names and tensors.{do}"
        )
    if _is_state(content):
        return _parted(content, {})
    found = sorted(_groups(content, (), {}, {id(content)}), key=_rank)
    if not found:
        raise _no_state(path, content, classes)
    first = found[0]
    equals = [one for one in found if _rank(one) == _rank(first)]
    if len(equals) > 1:
        keys = [".".join(one.keys) for one in equals]
        raise CheckpointError(
            f"{path}: it holds several groups of weights. Got {listed('of them', keys)}, expected one, at the top or "
            f"under {_shown(STATE_KEYS)}. Save the one that you mean alone."
        )
    _warn_of_others(path, first, found[1:])
    return _parted(first.state, first.beside)


def _parted(state: dict[str, Any], beside: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors, and what stands beside them with the counts that stood among them."""
    counts = {name: value for name, value in state.items() if not _is_tensor(value)}
    return {name: value for name, value in state.items() if name not in counts}, beside | counts


def _groups(
    content: dict, keys: tuple[str, ...], beside: dict[str, Any], seen: set[int], depth: int = DEEPEST
) -> Iterator[_Found]:
    """The groups of weights in a mapping and in those inside it; each mapping is looked at once."""
    named = {k: v for k, v in content.items() if isinstance(k, str) and not k.startswith("optim")}
    for key, inner in named.items():
        if not isinstance(inner, dict) or key in PASSED or id(inner) in seen:
            continue
        seen.add(id(inner))
        rest = beside | {k: v for k, v in named.items() if k != key}
        if _is_state(inner):
            if any(_dims(value) for value in inner.values()):  # else they are numbers, such as metrics
                yield _Found((*keys, key), inner, rest)
        elif depth > 1:
            yield from _groups(inner, (*keys, key), rest, seen, depth - 1)


def _rank(found: _Found) -> tuple[bool, int, int]:
    """Trained weights go before averages, usual keys before others in their order, outer ones before inner ones."""
    keys = [key.lower() for key in found.keys]
    place = min((STATE_KEYS.index(key) for key in keys if key in STATE_KEYS), default=len(STATE_KEYS))
    return any(part in key for key in keys for part in AVERAGES), place, len(keys)


def _warn_of_others(path: Path, first: _Found, others: list[_Found]) -> None:
    """Say that other weights of the same parameters stand in the file."""
    own = set(map(_core, first.state))
    alike = [".".join(one.keys) for one in others if own & set(map(_core, one.state))]
    if alike:
        warnings.warn(
            f"{path}: it holds several weights of the same parameters. Read are those under "
            f"`{printable('.'.join(first.keys))}`, not {listed('other(s)', alike)}. To use others, save them alone.",
            RecTrakWarning,
            stacklevel=2,
        )


def _core(name: str) -> str:
    return unwrapped(name).removeprefix("module.")


def _no_state(path: Path, content: dict, classes: tuple[str, ...]) -> CheckpointError:
    """What stands where names and tensors should, under the first usual key that is there."""
    state = next((content[key] for key in STATE_KEYS if isinstance(content.get(key), dict)), content)
    if not state:
        return CheckpointError(f"{path}: not a state_dict. Got an empty mapping, expected parameter names and tensors.")
    if classes and not any(_is_tensor(value) for value in state.values()):
        named = ", ".join(printable(name) for name in classes[:3])
        return unreadable(path, f"it holds no tensors, but names {named}", EXPECTED)
    wrong = ((n, v) for n, v in state.items() if not isinstance(n, str) or not _is_tensor(v))
    name, value = next(wrong, next(iter(state.items())))
    shown = repr(name[:200]) if isinstance(name, str) else f"of type {type(name).__name__}"
    return CheckpointError(
        f"{path}: not a state_dict. Got {_kind(value)} at key {shown}, expected parameter names and tensors, at the "
        f"top or under {_shown(STATE_KEYS)}."
    )


def _shown(keys: tuple[str, ...]) -> str:
    return ", ".join(f"`{key}`" for key in keys[:4]) + " and the like"


def _is_state(value: dict) -> bool:
    """Whether it maps names to tensors; averages may count with a plain number."""
    return any(_is_tensor(inner) for inner in value.values()) and all(
        isinstance(name, str) and (_is_tensor(inner) or (is_counter(name) and isinstance(inner, int)))
        for name, inner in value.items()
    )


def _dims(value: Any) -> int:
    return len(value.size) if isinstance(value, StoredTensor) else value.dim() if isinstance(value, Tensor) else 0


def _is_tensor(value: Any) -> bool:
    dense = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized
    return isinstance(value, StoredTensor) or (dense and value.device.type == "cpu")


def _kind(value: Any) -> str:
    if isinstance(value, Inert):
        return f"an object of {printable(value.inert_class)}"
    if isinstance(value, Tensor) and not _is_tensor(value):
        return f"a tensor that is {value.device.type}, {value.layout}, {value.dtype}"
    return "Tensor" if isinstance(value, StoredTensor | Tensor) else type(value).__name__
