"""What makes a model's numbers depend on the passes before, or on threads. Not here: whether gradients are right."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rec_trak.errors import ConfigError, RecTrakWarning, listed


def states(model: nn.Module) -> dict[str, tuple[int, int]]:
    """What becomes another number when a parameter or buffer is changed in place, or replaced."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: (id(tensor), tensor._version) for name, tensor in tensors}


def check_unchanged(model: nn.Module, before: dict[str, tuple[int, int]]) -> None:
    """Warn if passes changed the model's buffers since `before`, its `states` then.

    Raises:
        ConfigError: they changed a parameter.
    """
    parameters = {name for name, _ in model.named_parameters()}
    changed = [name for name, state in states(model).items() if state != before.get(name)]
    own = [name for name in changed if name in parameters]
    if own:
        raise ConfigError(
            f"gradients: a pass of the model changes its own weights. Got {listed('changed parameter(s)', own)}, "
            "expected none: rows would depend on those before them. Where it is `max_norm`, give that to "
            "`nn.Embedding` itself, whose rows are then shortened once; else mend the model."
        )
    if changed:
        warnings.warn(
            f"gradients: a pass of the model changes its buffers in eval mode. Got {listed('changed', changed)}, "
            "expected none: if scores read them, rows depend on those before them. Change them only where "
            "`self.training` is True.",
            RecTrakWarning,
            stacklevel=4,
        )


def warn_of_indexing(run: Callable[[], Any]) -> None:
    """Warn if `run`, a pass of a model, indexes a tensor that has a gradient, where that does not repeat."""
    if torch.get_num_threads() == 1:
        return
    watch = _Indexing()
    with watch:
        run()
    if watch.found:
        warnings.warn(
            "gradients: the model looks vectors up by index (`vectors[ids]`). With several threads torch adds up the "
            "gradient of that in any order, so that another run differs in its last digits. "
            "`torch.nn.functional.embedding(ids, vectors)` gives the same numbers and repeats them.",
            RecTrakWarning,
            stacklevel=4,
        )


def remembers(model: nn.Module, run: Callable[[], Any]) -> bool:
    """Whether `run`, a pass of the model, leaves something in its modules that was not there before, besides parameters
    and buffers: two such passes at once could read what the other left."""
    before = _attributes(model)
    run()
    after = _attributes(model)
    return before.keys() != after.keys() or any(
        len(own) != len(after[key]) or any(a is not b for a, b in zip(own, after[key], strict=True))
        for key, own in before.items()
    )


def _attributes(model: nn.Module) -> dict[tuple[str, str], list[Any]]:
    """What each module holds by name, and what lies in its lists and dictionaries."""
    found = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
            found[name, key] = [value, *inside]
    return found


class _Indexing(TorchFunctionMode):
    """Whether a tensor that has a gradient was indexed by a tensor of places."""

    found = False

    def __torch_function__(self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.__getitem__ and args[0].requires_grad:
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            self.found |= any(isinstance(place, Tensor) and place.dtype != torch.bool for place in places)
        return func(*args, **(kwargs or {}))
