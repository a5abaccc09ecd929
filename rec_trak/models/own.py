"""A user's own model, which the YAML of an analysis names: found, built, and called like one of ours.

Only the YAML decides what is imported, never a checkpoint nor the settings beside it. Not here: weights, or which
gradient path the model gets.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rec_trak.config.code import imported
from rec_trak.config.model import ARCHITECTURES, OWN, ModelConfig
from rec_trak.config.reader import build, read_mapping
from rec_trak.data.batches import Batch
from rec_trak.errors import ConfigError, listed, told
from rec_trak.words import quoted

KEYS = ("class", "args")
TABLES = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules")


class OwnModel(nn.Module):
    """A user's model as something that takes a `Batch` and gives its scores (B, C).

    Its tables of parameters, buffers and layers are the user's model's own, so that all names are those of the user's
    checkpoint. Where that model has methods `encode` and `score` and no `forward` function is given, they are here
    too, and promise what those of our models do.
    """

    def __init__(self, inner: nn.Module, function: Callable[[nn.Module, Batch], Tensor] | None = None) -> None:
        super().__init__()
        object.__setattr__(self, "inner", inner)  # not a layer of this module, which would prefix every name
        self.function = function
        for table in TABLES:
            object.__setattr__(self, table, getattr(inner, table))
        self.training = inner.training
        for name in ("encode", "score"):
            method = getattr(inner, name, None)
            if function is None and callable(method) and not isinstance(method, nn.Module):
                setattr(self, name, method)

    def train(self, mode: bool = True) -> OwnModel:
        """Training or eval mode, as the user's model understands it."""
        self.inner.train(mode)
        self.training = mode
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The user's model's, with whatever it does there."""
        return self.inner.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The user's model's, with whatever it does there."""
        return self.inner.load_state_dict(*args, **kwargs)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, C) of a batch whose articles are flat.

        Raises:
            ConfigError: the user's model gives something else.
        """
        scores = self.inner(batch) if self.function is None else self.function(self.inner, batch)
        wanted, is_tensor = tuple(batch.candidates.shape), isinstance(scores, Tensor)
        if is_tensor and tuple(scores.shape) == wanted and scores.is_floating_point():
            return scores
        got = f"{scores.dtype} of shape {tuple(scores.shape)}" if is_tensor else type(scores).__name__
        raise ConfigError(
            f"`{'model' if self.function is None else 'forward'}`: what it returns are no scores. Got {got}, expected "
            f"floating-point numbers of shape {wanted}, one a row and candidate. Mend what it returns."
        )


def read_own_config(path: str | Path, model: dict[str, Any], forward: str | None) -> ModelConfig:
    """The model configuration of an own model: how articles, histories and users become integers.

    Args:
        path: our model.json or YAML; its `architecture` and `sizes` may be left out and are not read.
        model, forward: as `build_own`; they stand in `sizes`, so that they are part of what a store was made from.

    Raises:
        ConfigError: the file is missing or malformed, or any key is wrong.
    """
    unread = {"architecture": ARCHITECTURES[0], "sizes": {}}
    config = build(ModelConfig, read_mapping(path) | unread, str(path))
    return dataclasses.replace(config, architecture=OWN, sizes={"model": model, "forward": forward})


def build_own(model: dict[str, Any], forward: str | None = None, where: str = "config") -> OwnModel:
    """The model that `model` and `forward` name, with fresh weights, in training mode.

    Names are imported as `python -m` would: from the working directory first, which stays in front on `sys.path`, so
    that imports inside the module work too.

    Args:
        model: `class`: `package.module:Name`, a class or function that gives an nn.Module; `args`: its keyword
            arguments (none if left out).
        forward: `package.module:function` with (model, batch) -> scores (B, C); None calls `model(batch)`.
        where: the file, for messages.

    Raises:
        ConfigError: a key is unknown or missing, a name cannot be imported or is not there, the class does not take
            the arguments, or what it gives is not an nn.Module.
    """
    unknown = sorted(set(model) - set(KEYS))
    if unknown or "class" not in model:
        problem = listed("unknown key(s)", unknown) or "`class` is missing"
        raise ConfigError(
            f"{where}: `model`: {problem}. Got {quoted(sorted(model))}, expected `class` and perhaps `args`."
        )
    arguments = model.get("args") or {}
    if not _is_plain(arguments):
        raise ConfigError(
            f"{where}: `model.args` has the wrong type. Got {quoted(arguments)}, expected keys and values, these being "
            "text, numbers, true, false, lists, or keys and values again."
        )
    function = None if forward is None else imported(forward, "forward", where)
    try:
        inner = imported(model["class"], "model.class", where)(**arguments)
    except ConfigError:
        raise
    except Exception as error:  # whatever a user's code raises
        raise ConfigError(
            f"{where}: `model.class`: {model['class']} cannot be built. Got {told(error)} with `args` "
            f"{quoted(arguments)}, expected its keyword arguments. Mend `model.args`."
        ) from error
    if not isinstance(inner, nn.Module):
        raise ConfigError(
            f"{where}: `model.class`: {model['class']} gives no model. Got {type(inner).__name__}, expected a "
            "torch.nn.Module. Name a class that is one."
        )
    return OwnModel(inner, function)


def as_own(inner: nn.Module, model: dict[str, Any], forward: str | None = None, where: str = "config") -> OwnModel:
    """A model in memory as `build_own` gives it, called by the YAML's `forward`.

    Args:
        inner: of the class that `model` names; one that is wrapped already comes back as it is.
        model, forward, where: as `build_own`.

    Raises:
        ConfigError: it is of another class, or a name cannot be imported or is not there.
    """
    named = imported(model.get("class"), "model.class", where)
    given = inner.inner if isinstance(inner, OwnModel) else inner
    if isinstance(named, type) and not isinstance(given, named):
        raise ConfigError(
            f"{where}: the model in memory is not what `model.class` names. Got {type(given).__name__}, expected "
            f"{model['class']}. Name its class, or load the model with `load_model(..., analysis=...)`."
        )
    if isinstance(inner, OwnModel):
        return inner
    return OwnModel(inner, None if forward is None else imported(forward, "forward", where))


def _is_plain(arguments: Any) -> bool:
    """Whether these are keyword arguments that a store can record."""
    try:
        json.dumps(arguments)
    except (TypeError, ValueError):
        return False
    return isinstance(arguments, dict) and all(isinstance(key, str) for key in arguments)
