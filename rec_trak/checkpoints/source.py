"""Where a run's model comes from: a settings file and a checkpoint, of rec-trak or of another code base, as one thing
that gives our configuration and our tensors. Not here: any code base's names, reading files, building models.

A checkpoint may say itself what it was trained with. What a settings file says must then agree, and what it leaves out
is taken from the checkpoint; without a settings file all of it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rec_trak.checkpoints.carried import MODEL_JSON, check_agreement, check_kind, check_ours
from rec_trak.checkpoints.code_bases.known import CODE_BASES, recognise_checkpoint, without_wrappers
from rec_trak.checkpoints.files import CheckpointFile, read_checkpoint_file
from rec_trak.checkpoints.names import refuse_adapter, warn_of_rest
from rec_trak.checkpoints.state_dicts import read_state_dict
from rec_trak.config.model import ModelConfig
from rec_trak.config.python_settings import INSTEAD, read_python
from rec_trak.config.reader import build, read_mapping
from rec_trak.data.articles import Articles
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning, listed
from rec_trak.models.own import read_own_config

OURS = "rec_trak"
OUR_KEYS = {"text", "sizes"}  # no model of ours can do without the first, no other code base's file has them


@dataclass(frozen=True)
class ModelSource:
    """Where models come from that share one settings file.

    Attributes:
        code_base: `rec_trak`, or the `NAME` of a module in `CODE_BASES`.
        architecture: nrms, naml or lstur.
        config: what our model is built from.
        fixed: tensors under our names that the checkpoints lack (word vectors that were never trained).
        unreached: the checkpoint's names of what never reaches a score; a slice where only a part does not.
        where: the settings file, or the checkpoint that said it all.
        settings: of another code base, what it was described by.
        first: of another code base, the checkpoint that it was read with, which agrees.
    """

    code_base: str
    architecture: str
    config: ModelConfig
    fixed: dict[str, Tensor]
    unreached: tuple[str, ...]
    where: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    first: str = ""

    def state_dict(self, path: str | Path) -> dict[str, Tensor]:
        """The tensors of a checkpoint under our names, with those that it lacks; of ours, as the file has them.

        Raises:
            CheckpointError: the file cannot be read, or does not fit the code base's names.
        """
        return self._translated(read_state_dict(path), path)

    def checked_state_dict(self, path: str | Path, kind: str | None = None) -> dict[str, Tensor]:
        """As `state_dict`, of a checkpoint whose own word is that it has these settings and is of this kind.

        Args:
            path: the file.
            kind: `clean` or `poisoned`; None asks for neither.

        Raises:
            ConfigError: it was trained with other settings.
            CheckpointError: as `state_dict`, or it is of the other kind.
        """
        file = read_checkpoint_file(path)
        module = None if self.code_base == OURS else _module(self.code_base)
        held = _carried(module, file)
        if module is None:
            check_ours(self.config, self.where, path)
        elif held and str(path) != self.first and _architecture(module, file, path) == self.architecture:
            keys, files = module.decisive(self.architecture, self.settings)
            do = "Name checkpoints of one model in one run."
            check_agreement(self.settings, held, keys, files, self.where, str(path), do)
        if kind is not None:
            check_kind(path, held, kind)
        return self._translated(file.state, path)

    def _translated(self, state: dict[str, Tensor], path: str | Path) -> dict[str, Tensor]:
        if self.code_base == OURS:
            return state
        state, _ = without_wrappers(state, str(path))
        return _module(self.code_base).translate(self.architecture, state, str(path)).state | self.fixed


def read_settings(
    path: str | Path | None,
    model: dict[str, Any] | None = None,
    forward: str | None = None,
    checkpoint: str | Path | None = None,
) -> ModelConfig | dict[str, Any] | None:
    """What a settings file says: our model configuration, or the content of another code base's file.

    Args:
        path: the file; None takes the model.json beside the checkpoint for a class of the user's own, and leaves
            everything else to `read_source` (the result is then None).
        model, forward: as in the analysis; a class of the user's own is described by our model.json.
        checkpoint: one of those that the settings are of; needed where `path` is None.

    Raises:
        ConfigError: the file is missing or malformed, or is ours and any key is wrong.
    """
    if path is None:
        path = Path(checkpoint).with_name(MODEL_JSON)
        if model is None:
            return None
        if not path.is_file():
            raise _nothing_said(checkpoint)
    if model is not None:
        return read_own_config(path, model, forward)
    if Path(path).suffix == ".py":
        return read_python(path)
    mapping = read_mapping(path)
    return build(ModelConfig, mapping, str(path)) if OUR_KEYS & mapping.keys() else mapping


def read_source(
    settings: ModelConfig | dict[str, Any] | None,
    where: str | None,
    code_base: str,
    checkpoint: str | Path,
    articles: Articles,
) -> ModelSource:
    """The source that a settings file and one of its checkpoints make; warns of parameters that never reach a score.

    Args:
        settings: what `read_settings` gave; None where no file was named.
        where: the settings file, for messages and for paths in it; None as `settings`.
        code_base: `auto` recognises it by the checkpoint's names; or `rec_trak`, or a `NAME`.
        checkpoint: any of those that the settings describe; not read where the settings are ours.
        articles: a vocabulary that is not in the checkpoint comes from them.

    Raises:
        ConfigError: the settings do not go with the code base or with the checkpoint, or nothing says them.
        CheckpointError: the file cannot be read, is of no known code base or of another than was named, or its tensors
            do not fit.
    """
    file = None
    if settings is None:
        beside = Path(checkpoint).with_name(MODEL_JSON)
        file = read_checkpoint_file(checkpoint)
        if recognise_checkpoint(without_wrappers(file.state, str(checkpoint))[0]) is None and beside.is_file():
            settings, where = read_settings(beside), str(beside)
    if settings is not None and not isinstance(settings, ModelConfig) and code_base == OURS:
        settings = build(ModelConfig, settings, where)
    if isinstance(settings, ModelConfig):
        if code_base not in ("auto", OURS):
            raise ConfigError(
                f"{where}: these are settings of {OURS}. Got `code_base` {code_base}, expected {OURS} or auto. Give "
                f"the settings file of {code_base} as `model_config`."
            )
        where = where or str(Path(checkpoint).with_name(MODEL_JSON))
        check_ours(settings, where, checkpoint)
        return ModelSource(OURS, settings.architecture, settings, {}, (), where)
    return _theirs(settings, where, code_base, checkpoint, articles, file or read_checkpoint_file(checkpoint))


def _theirs(
    settings: dict[str, Any] | None,
    where: str | None,
    code_base: str,
    checkpoint: str | Path,
    articles: Articles,
    file: CheckpointFile,
) -> ModelSource:
    """The source of another code base's checkpoint."""
    state, rest = without_wrappers(file.state, str(checkpoint))
    module, architecture = _recognised(code_base, state, str(checkpoint), where)
    translated = module.translate(architecture, state, str(checkpoint))
    held = _carried(module, file)
    if settings is None and not held:
        raise _nothing_said(checkpoint)
    where = where or str(checkpoint)
    said = module.chosen(settings or {}, architecture, where)
    if held:
        keys, files = module.decisive(architecture, held | said)
        check_agreement(said, held, keys, files, where, str(checkpoint))
        said = held | {key: value for key, value in said.items() if value is not None or key not in held}
    try:
        config = module.describe(said, state, articles, where)
    except ConfigError as error:
        if where.endswith(".py") and "missing key" in str(error):
            raise ConfigError(f"{error} What a Python file does not say as literals is missing. {INSTEAD}") from None
        raise
    warn_of_rest(rest, str(checkpoint))
    if translated.unreached:
        warnings.warn(
            f"{checkpoint}: {listed('parameter(s) never reach a score', translated.unreached)}. They are left out of "
            "the gradient.",
            RecTrakWarning,
            stacklevel=3,
        )
    fixed = module.fixed(said, config, where) if hasattr(module, "fixed") else {}
    return ModelSource(module.NAME, architecture, config, fixed, translated.unreached, where, said, str(checkpoint))


def _architecture(module: Any, file: CheckpointFile, path: str | Path) -> str | None:
    return module.recognise(without_wrappers(file.state, str(path))[0])


def _module(code_base: str) -> Any:
    return next(module for module in CODE_BASES if code_base == module.NAME)


def _carried(module: Any, file: CheckpointFile) -> dict[str, Any]:
    """What a checkpoint of this code base says of its settings."""
    return module.carried(file.extras) if hasattr(module, "carried") else {}


def _nothing_said(checkpoint: str | Path | None) -> ConfigError:
    return ConfigError(
        f"{checkpoint}: nothing says what the model is. Got no `model_config`, no {MODEL_JSON} beside the checkpoint "
        "and no settings in it, expected one of them. Name the settings that it was trained with as `model_config` "
        "(docs/checkpoints.md)."
    )


def code_base_reading(settings: ModelConfig | dict[str, Any], code_base: str, checkpoint: str | Path) -> dict[str, Any]:
    """Which rows the code base of a checkpoint trains on, as fields of `Reading`; {} where it is ours, or all.

    Raises:
        CheckpointError: the file cannot be read.
    """
    if isinstance(settings, ModelConfig) or code_base == OURS:
        return {}
    found = recognise_checkpoint(read_state_dict(checkpoint))
    return dict(getattr(found[0], "READING", {})) if found else {}


def _recognised(code_base: str, state: dict[str, Tensor], checkpoint: str, where: str | None) -> tuple[Any, str]:
    """The module and the architecture of a checkpoint, where they are those that were asked for."""
    found = recognise_checkpoint(state)
    got = listed("names", state, shown=3)
    if found is None:
        refuse_adapter(state, checkpoint)
        known, given = ", ".join(module.NAME for module in CODE_BASES), where or "what is named as `model_config`"
        raise CheckpointError(
            f"{checkpoint}: no code base is known for these parameters, and {given} is not a model.json of {OURS}. Got "
            f"{got}, expected those of {known}. Give a checkpoint of one of these, or the model.json beside it."
        )
    if code_base not in ("auto", found[0].NAME):
        raise CheckpointError(
            f"{checkpoint}: the parameters are not those of `code_base` {code_base}. Got {got}, which are those of "
            f"{found[0].NAME}. Set `code_base` to {found[0].NAME} or auto."
        )
    return found
