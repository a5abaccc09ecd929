"""A model from a `ModelConfig`, with fresh weights. Not here: the architectures themselves, or weights on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from rec_trak.config.model import HABITS_OF, OWN, VIEWS, Habits, ModelConfig
from rec_trak.config.reader import build
from rec_trak.data.batches import TEXTS
from rec_trak.data.own_tokens import is_own
from rec_trak.errors import ConfigError
from rec_trak.models import lstur, naml, nrms
from rec_trak.models.own import build_own
from rec_trak.room import require_memory

SMALL, NO_TENSOR = 2**26, 2**62  # parameters that need no look at the memory, and more than any has
ARCHITECTURES = {
    "nrms": (nrms.Nrms, nrms.NrmsSizes, nrms.VIEWS),
    "naml": (naml.Naml, naml.NamlSizes, naml.VIEWS),
    "lstur": (lstur.Lstur, lstur.LsturSizes, lstur.VIEWS),
}


def build_model(config: ModelConfig, word_vectors: np.ndarray | None = None) -> nn.Module:
    """The model that `config` describes, with fresh weights from torch's global generator, in training mode.

    Args:
        config: the architecture, its sizes, its vocabulary and its users.
        word_vectors: (V + 2, word_dim) float32 to start the word embedding from, row i + 2 for word i; None for
            random ones.

    Returns:
        A module in which every parameter reaches the scores; those that match a pattern of `config.frozen` have
        `requires_grad` False.

    Raises:
        ConfigError: an unknown architecture, view or size, a view without a vocabulary, LSTUR without users,
            word vectors of another shape or not finite, or a frozen pattern that matches nothing; of an own model,
            as `build_own`.
        RoomError: its parameters do not fit into memory.
    """
    if config.architecture == OWN:
        _check_inputs(config, VIEWS)
        model = build_own(**config.sizes)
        _freeze(model, config)
        return model
    if config.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ConfigError(f"model: `architecture` is not known. Got {config.architecture!r}, expected one of {known}.")
    module, _, views = ARCHITECTURES[config.architecture]
    sizes, config = read_sizes(config)
    for name in ("dropout", "user_dropout"):
        if not getattr(sizes, name, 0.0) < 1:
            got = getattr(sizes, name)
            raise ConfigError(f"model {config.architecture}: `{name}` is too large. Got {got}, expected less than 1.")
    _check_inputs(config, views)
    _require_room(config, partial(module, sizes, config))
    model = module(sizes, config)
    if word_vectors is not None:
        _set_word_vectors(model, word_vectors, config.architecture)
    _freeze(model, config)
    return model


def _require_room(config: ModelConfig, make: Callable[[], nn.Module]) -> None:
    """Refuse sizes whose parameters do not fit into memory, before any of them takes some."""
    what = f"model {config.architecture}: parameters of the sizes that `sizes` and the vocabulary say"
    try:
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in make().parameters())
    except (RuntimeError, TypeError, OverflowError):  # a number that no tensor can have; all else is building's to tell
        count = NO_TENSOR if any(type(one) is int and one > 2**30 for one in config.sizes.values()) else 0
    if count > SMALL:
        require_memory(4 * count, what, "Lower them, or give the model.json that the checkpoint was trained with.")


def read_sizes(config: ModelConfig) -> tuple[Any, ModelConfig]:
    """The architecture's sizes, and the configuration with the habits that stood among them.

    Raises:
        ConfigError: an unknown or mistyped key.
    """
    where, sizes_class = f"model {config.architecture}: `sizes`", ARCHITECTURES[config.architecture][1]
    own = HABITS_OF[config.architecture]
    habits = {key: value for key, value in config.sizes.items() if key in own}
    sizes = build(sizes_class, {key: value for key, value in config.sizes.items() if key not in own}, where)
    return sizes, replace(config, habits=build(Habits, asdict(config.habits) | habits, where))


def _check_inputs(config: ModelConfig, views: tuple[str, ...]) -> None:
    """Refuse views that the architecture cannot read, and embeddings that would have no row to learn."""
    where, got = f"model {config.architecture}", config.views
    if (not got and config.architecture != OWN) or len(set(got)) < len(got) or not set(got) <= set(views):
        raise ConfigError(
            f"{where}: `views` cannot be used. Got {list(got)}, expected one or several of {list(views)}."
        )
    if config.architecture not in ("naml", OWN) and "title" not in got:
        raise ConfigError(f"{where}: `views` lacks the title, which it always reads. Got {list(got)}. Add `title`.")
    words = "pretrained" if config.text.tokeniser == "pretrained" else "words"
    needs = {"title": words, "body": words, "category": "categories", "subcategory": "subcategories"}
    for view in got:
        if not getattr(config.text, needs[view]) and not (view in TEXTS and is_own(config.text.tokeniser)):
            raise ConfigError(
                f"{where}: view `{view}` has nothing to look up. Got no `text.{needs[view]}`, expected at least one. "
                f"Leave the view out or give the vocabulary."
            )
    if config.architecture == "lstur" and not config.users and config.habits.user != "mean":
        raise ConfigError(f"{where}: there is no user to embed. Got no `users`, expected the training users' ids.")


def _set_word_vectors(model: nn.Module, word_vectors: np.ndarray, architecture: str) -> None:
    where = f"model {architecture}: word vectors"
    if not isinstance(getattr(model, "word_embedding", None), nn.Embedding):
        raise ConfigError(f"{where} were given, but no view has words. Leave them out or add `title` or `body`.")
    weight, given = model.word_embedding.weight, np.asarray(word_vectors, dtype=np.float32)
    if given.shape != tuple(weight.shape):
        raise ConfigError(
            f"{where} have another shape. Got {given.shape}, expected {tuple(weight.shape)} (words + 2, word_dim)."
        )
    if not np.isfinite(given).all():
        row = int(np.flatnonzero(~np.isfinite(given).all(axis=1))[0])
        raise ConfigError(f"{where} hold NaN or Inf in row {row}. Use another file of word vectors.")
    with torch.no_grad():
        weight.copy_(torch.from_numpy(given))


def _freeze(model: nn.Module, config: ModelConfig) -> None:
    names = dict(model.named_parameters())
    for pattern in config.frozen:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise ConfigError(
                f"model {config.architecture}: `frozen` pattern `{pattern}` matches no parameter. "
                f"Expected a pattern for some of {', '.join(names)}."
            )
        for name in matched:
            names[name].requires_grad_(False)
