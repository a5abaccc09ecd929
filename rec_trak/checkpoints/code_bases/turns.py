"""What the name maps share: turning a tensor of theirs into ours, checking settings. Not here: any
code base's names.

A turn raises IndexError or RuntimeError for a shape that it cannot turn; `apply_rules` lists those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rec_trak.checkpoints.code_bases.tables import Rule
from rec_trak.errors import CheckpointError, ConfigError, listed

PREFIX = "model."


def plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the prefix `model.`."""
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}


def dims(count: int) -> Callable[[Tensor], Tensor]:
    """The tensor as it is, if it has so many dimensions."""

    def turn(tensor: Tensor) -> Tensor:
        if tensor.dim() != count:
            raise IndexError(tensor.dim())
        return tensor

    return turn


def word_rows(tensor: Tensor) -> Tensor:
    """An embedding with 0 for padding and words from 1, with a row 1 of zeros that no word has: words are from 2."""
    tensor = dims(2)(tensor)
    return torch.cat([tensor[:1], torch.zeros_like(tensor[:1]), tensor[1:]])


def as_row(tensor: Tensor) -> Tensor:
    """(q,) as (1, q)."""
    return dims(1)(tensor).unsqueeze(0)


def transposed(tensor: Tensor) -> Tensor:
    """(m, n) as (n, m)."""
    return dims(2)(tensor).T


def as_conv1d(tensor: Tensor) -> Tensor:
    """A Conv2d's (filters, 1, window, width) over (window, width) patches as a Conv1d's (filters, width, window)."""
    return dims(3)(tensor.squeeze(1)).transpose(1, 2)


def third(number: int) -> Callable[[Tensor], Tensor]:
    """One of the three blocks, queries, keys and values, that stand in one tensor."""
    return lambda tensor: tensor.unflatten(0, (3, -1))[number]


def linear(ours: str, theirs: str) -> list[Rule]:
    """The rules of a linear layer that is torch's own on both sides."""
    return [Rule(f"{ours}.weight", f"{theirs}.weight", dims(2)), Rule(f"{ours}.bias", f"{theirs}.bias", dims(1))]


def gru(ours: str, theirs: str) -> list[Rule]:
    """The rules of a GRU that is torch's own on both sides."""
    kinds = (("weight_ih_l0", 2), ("weight_hh_l0", 2), ("bias_ih_l0", 1), ("bias_hh_l0", 1))
    return [Rule(f"{ours}.{name}", f"{theirs}.{name}", dims(count)) for name, count in kinds]


def joined(state: Mapping[str, Tensor], prefix: str, where: str, suffix: str = "") -> dict[str, Tensor]:
    """The state dict with one name, `*` in place of a part, for what the encoders behind `prefix` share.

    Args:
        prefix: ends before the part that is the encoder's own name.
        suffix: only names with this end are joined.

    Raises:
        CheckpointError: two encoders' tensors differ.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith(prefix) and name.endswith(suffix):
            name = f"{prefix}*.{name.removeprefix(prefix).partition('.')[2]}"
        if name in out and not torch.equal(out[name], tensor):
            raise CheckpointError(
                f"{where}: encoders that share `{name}` do not agree on it. Got different tensors, expected the same. "
                "Give the file as that code wrote it."
            )
        out[name] = tensor
    return out


def check_zero_row(state: Mapping[str, Tensor], names: Iterable[str], where: str) -> None:
    """Refuse embeddings whose row 0, which that code never trains, is not zero: ours reads zeros there.

    Raises:
        CheckpointError: one is not.
    """
    for name in names:
        if name in state and state[name].dim() == 2 and state[name][:1].any():
            raise CheckpointError(
                f"{where}: row 0 of `{name}` is not zero, though that code gives it no gradient. Got numbers, expected "
                "zeros. Give the file as that code wrote it."
            )


def check_settings(given: Mapping[str, Any], held: Mapping[str, Any], where: str) -> None:
    """Refuse settings that contradict the tensors.

    Args:
        given: key -> value, None where the settings say nothing.
        held: key -> what the tensors say.

    Raises:
        ConfigError: any key of `held` has another value in `given`; one message names them.
    """
    wrong = [
        f"`{key}` {given[key]}, expected {value}"
        for key, value in held.items()
        if given.get(key) is not None and given[key] != value
    ]
    if wrong:
        raise ConfigError(
            f"{where}: the settings do not fit the checkpoint. Got {'; '.join(wrong)}. Give the settings that it was "
            "trained with."
        )


def check_needed(given: Mapping[str, Any], needed: Iterable[str], where: str) -> None:
    """Refuse settings that lack a key.

    Raises:
        ConfigError: any of `needed` is None or absent; one message names them.
    """
    missing = [f"`{key}`" for key in needed if given.get(key) is None]
    if missing:
        raise ConfigError(
            f"{where}: {listed('missing key(s)', missing)}. The checkpoint does not tell them. Give the values that it "
            "was trained with."
        )


def head_dim(width: int, heads: int, key: str, where: str) -> int:
    """The width of a head.

    Raises:
        ConfigError: the number of heads, from the settings' `key`, does not divide the tensors' width.
    """
    if width % heads:
        raise ConfigError(
            f"{where}: `{key}` does not fit the checkpoint. Got {heads}, expected a divisor of its width {width}. Give "
            "the settings that it was trained with."
        )
    return width // heads


def odd(window: int, where: str) -> int:
    """The width of a convolution that pads half of it on both sides.

    Raises:
        ConfigError: it is even, so that such padding loses a place of the text.
    """
    if window % 2 == 0:
        raise ConfigError(
            f"{where}: a convolution of even width is not supported, because that code loses the last place. Got "
            f"{window}, expected an odd number. Use another checkpoint."
        )
    return window


def above(path: str, where: str) -> Path:
    """Where a path leads: from the working directory, else from a folder above the settings file; else the path itself,
    which may be a name on the hub."""
    places = [Path(path), *(folder / path for folder in Path(where).resolve().parents)]
    return next((place for place in places if place.exists()), Path(path))


def found(path: str, where: str) -> Path:
    """Where a path in a settings file leads: from the working directory, else from that file's folder."""
    beside = Path(where).parent / path
    return beside if beside.exists() and not Path(path).exists() else Path(path)
