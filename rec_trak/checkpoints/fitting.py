"""A file's tensors under the names of the model that they go into: prefixes, ties, shapes, numbers. Not here: files.

A wrapper's prefix may stand before all of the model's names; a weight that the model ties may stand in the file under
one of its names; tensors beside the model's may be there. All that the model needs must be, in its shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rec_trak.checkpoints.names import (
    before,
    chosen_prefix,
    common_prefix,
    equal,
    is_counter,
    refuse_adapter,
    unwrapped,
)
from rec_trak.checkpoints.ours import OUR_PARTS
from rec_trak.errors import CheckpointError, listed
from rec_trak.words import QUOTE, plain

Ties = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Fit:
    """How a file's names go with a model's.

    Attributes:
        names: the model's name -> the file's, for every entry of the model's state dict, in its order.
        rest: the file's names that no entry of the model reads.
    """

    names: dict[str, str]
    rest: tuple[str, ...]

    def state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The file's tensors under the model's names."""
        return {ours: state[theirs] for ours, theirs in self.names.items()}


def fit(model: nn.Module, state: Mapping[str, Tensor], where: str) -> Fit:
    """Which tensor of a file goes where in a model. Shapes and numbers are checked too; nothing is changed.

    Args:
        model: what build_model made, or any module.
        state: the file's name -> tensor.
        where: the file, for messages.

    Raises:
        CheckpointError: tensors are missing, unexpected or of another shape (one message lists them); several models
            stand in the file; an adapter is not merged; names that the model ties have different weights; integers
            where the model has fractions; NaN or Inf once a tensor has the model's number format.
    """
    expected = model.state_dict()
    ties = _ties(expected)
    fitting = [prefix for prefix in _prefixes(expected, state, ties) if _stands(expected, state, ties, prefix)]
    prefix = chosen_prefix(fitting, lambda one, other: _same(expected, state, ties, one, other), where)
    if prefix is None:
        refuse_adapter(state, where)
        prefix = common_prefix(state, map(unwrapped, expected))
    found = dict(zip(expected, _found(expected, state, ties, prefix), strict=True))
    read = {theirs for name in expected for theirs in _places(name, prefix, ties) if theirs in state}
    rest = tuple(name for name in state if name not in read)
    missing = [name for name, theirs in found.items() if theirs is None]
    parts = {unwrapped(name).split(".")[0] for name in expected if "." in name}
    parts |= OUR_PARTS if parts <= OUR_PARTS else set()
    unexpected = [n for n in rest if not is_counter(n) and (missing or _inside(n, prefix, parts))]
    shapes = [
        f"{theirs} {tuple(state[theirs].shape)} for {tuple(expected[ours].shape)}"
        for ours, theirs in found.items()
        if theirs is not None and state[theirs].shape != expected[ours].shape
    ]
    _refuse(missing, unexpected, shapes, state, where)
    made = Fit(found, rest)
    for name, value in expected.items():
        _check_ties(name, prefix, ties, state, where)
        _check_numbers(name, state[made.names[name]], value, where)
    return made


def _ties(expected: Mapping[str, Tensor]) -> Ties:
    """Every name -> all names of the same weight, itself first."""
    groups: dict[tuple, list[str]] = {}
    for name, tensor in expected.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype) if tensor.numel() else (name,)
        groups.setdefault(key, []).append(name)
    return {n: (n, *(other for other in group if other != n)) for group in groups.values() for n in group}


def _places(name: str, prefix: str, ties: Ties) -> list[str]:
    """Where the weight of one of the model's names may stand in the file."""
    return [f"{prefix}{unwrapped(one)}" for one in ties[name]]


def _prefixes(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], ties: Ties) -> set[str]:
    """What stands before the model's first name somewhere in the file; '' is always tried."""
    ends = [unwrapped(one) for name in list(expected)[:1] for one in ties[name]]
    return {"", *(found for end in ends for name in state if (found := before(name, end)))}


def _found(expected: Iterable[str], state: Mapping[str, Tensor], ties: Ties, prefix: str) -> list[str | None]:
    return [next((one for one in _places(name, prefix, ties) if one in state), None) for name in expected]


def _stands(expected: Iterable[str], state: Mapping[str, Tensor], ties: Ties, prefix: str) -> bool:
    """Whether all of the model's weights stand behind a prefix."""
    return all(any(one in state for one in _places(name, prefix, ties)) for name in expected)


def _same(expected: Iterable[str], state: Mapping[str, Tensor], ties: Ties, left: str, right: str) -> bool:
    pairs = zip(_found(expected, state, ties, left), _found(expected, state, ties, right), strict=True)
    return all(equal(state[one], state[other]) for one, other in pairs)


def _inside(name: str, prefix: str, parts: set[str]) -> bool:
    """Whether a name that the model lacks is in one of its own parts, so that the model is another one."""
    return name.startswith(prefix) and name.removeprefix(prefix).split(".")[0] in parts


def _refuse(
    missing: list[str], unexpected: list[str], shapes: list[str], state: Mapping[str, Tensor], where: str
) -> None:
    problems = [listed("missing", missing), listed("unexpected", unexpected), listed("of another shape", shapes)]
    if not any(problems):
        return
    empty = shapes and all(tensor.numel() == 0 for tensor in state.values() if tensor.is_floating_point())
    do = (
        "It is what DeepSpeed's ZeRO stage 3 leaves of a model on one device: make one file of its folder with the "
        "zero_to_fp32.py in it."
        if empty
        else "Give the model configuration that the checkpoint was trained with."
    )
    raise CheckpointError(f"{where}: the checkpoint does not fit the model: {'; '.join(filter(None, problems))}. {do}")


def _check_ties(name: str, prefix: str, ties: Ties, state: Mapping[str, Tensor], where: str) -> None:
    there = [one for one in _places(name, prefix, ties) if one in state]
    other = next((one for one in there[1:] if not equal(state[there[0]], state[one])), None)
    if other is not None:
        raise CheckpointError(
            f"{where}: one weight of the model has two values. Got different tensors at `{plain(there[0], QUOTE)}` and "
            f"`{plain(other, QUOTE)}`, which the model ties, expected the same. Give the file as training wrote it."
        )


def _check_numbers(name: str, given: Tensor, value: Tensor, where: str) -> None:
    """Refuse what the model's number format cannot hold."""
    if value.is_floating_point() and not given.is_floating_point():
        raise CheckpointError(
            f"{where}: tensor `{name}` holds no floating-point numbers. Got {_format(given)}, as quantised models "
            f"have, expected {_format(value)}. Save the model from before it was quantised."
        )
    if not value.is_floating_point() and given.is_floating_point() and not _whole(given):
        raise CheckpointError(
            f"{where}: tensor `{name}` may have been rounded. Got {_format(given)}, expected {_format(value)}. Convert "
            "floating-point tensors alone, as `model.to(dtype)` does, and save again."
        )
    if not torch.isfinite(given.to(value.dtype)).all():
        beyond = given.dtype != value.dtype and bool(torch.isfinite(given.double()).all())
        told = f" once it is {_format(value)}, not {_format(given)}" if beyond else ""
        raise CheckpointError(
            f"{where}: tensor `{name}` holds NaN or Inf{told}. Use a checkpoint from before the training diverged."
        )


def _whole(given: Tensor) -> bool:
    """Whether these are whole numbers of a size at which the format still has every one."""
    largest = 2 / torch.finfo(given.dtype).eps
    wide = given.double()
    return bool(((wide == wide.round()) & (wide.abs() <= largest)).all())


def _format(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
