"""Where a run's model comes from: a settings file and a checkpoint, of rec-trak or of another code base, as one thing
that gives our configuration and our tensors. Not here: any code base's names, reading files, building models.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rec_trak.checkpoints.code_bases.known import CODE_BASES, recognise_checkpoint
from rec_trak.checkpoints.state_dicts import read_state_dict
from rec_trak.config.model import ModelConfig
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
    """

    code_base: str
    architecture: str
    config: ModelConfig
    fixed: dict[str, Tensor]
    unreached: tuple[str, ...]

    def state_dict(self, path: str | Path) -> dict[str, Tensor]:
        """The tensors of a checkpoint under our names, with those that it lacks.

        Raises:
            CheckpointError: the file cannot be read, or does not fit the code base's names.
        """
        state = read_state_dict(path)
        if self.code_base == OURS:
            return state
        translate = next(module.translate for module in CODE_BASES if self.code_base == module.NAME)
        return translate(self.architecture, state, str(path)).state | self.fixed


def read_settings(
    path: str | Path, model: dict[str, Any] | None = None, forward: str | None = None
) -> ModelConfig | dict[str, Any]:
    """What a settings file says: our model configuration, or the content of another code base's file.

    Args:
        path: the file.
        model, forward: as in the analysis; a class of the user's own is described by our model.json.

    Raises:
        ConfigError: the file is missing or malformed, or is ours and any key is wrong.
    """
    if model is not None:
        return read_own_config(path, model, forward)
    mapping = read_mapping(path)
    return build(ModelConfig, mapping, str(path)) if OUR_KEYS & mapping.keys() else mapping


def read_source(
    settings: ModelConfig | dict[str, Any], where: str, code_base: str, checkpoint: str | Path, articles: Articles
) -> ModelSource:
    """The source that a settings file and one of its checkpoints make; warns of parameters that never reach a score.

    Args:
        settings: what `read_settings` gave.
        where: the settings file, for messages and for paths in it.
        code_base: `auto` recognises it by the checkpoint's names; or `rec_trak`, or a `NAME`.
        checkpoint: any of those that the settings describe; not read where the settings are ours.
        articles: a vocabulary that is not in the checkpoint comes from them.

    Raises:
        ConfigError: the settings do not go with the code base or with the checkpoint.
        CheckpointError: the file cannot be read, is of no known code base or of another than was named, or its tensors
            do not fit.
    """
    if not isinstance(settings, ModelConfig) and code_base == OURS:
        settings = build(ModelConfig, settings, where)
    if isinstance(settings, ModelConfig):
        if code_base not in ("auto", OURS):
            raise ConfigError(
                f"{where}: these are settings of {OURS}. Got `code_base` {code_base}, expected {OURS} or auto. Give "
                f"the settings file of {code_base} as `model_config`."
            )
        return ModelSource(OURS, settings.architecture, settings, {}, ())
    state = read_state_dict(checkpoint)
    module, architecture = _recognised(code_base, state, str(checkpoint), where)
    translated = module.translate(architecture, state, str(checkpoint))
    config = module.describe(settings, state, articles, where)
    if translated.unreached:
        warnings.warn(
            f"{checkpoint}: {listed('parameter(s) never reach a score', translated.unreached)}. They are left out of "
            "the gradient.",
            RecTrakWarning,
            stacklevel=2,
        )
    fixed = module.fixed(settings, config, where) if hasattr(module, "fixed") else {}
    return ModelSource(module.NAME, architecture, config, fixed, translated.unreached)


def _recognised(code_base: str, state: dict[str, Tensor], checkpoint: str, where: str) -> tuple[Any, str]:
    """The module and the architecture of a checkpoint, where they are those that were asked for."""
    found = recognise_checkpoint(state)
    got = listed("names", state, shown=3)
    if found is None:
        known = ", ".join(module.NAME for module in CODE_BASES)
        raise CheckpointError(
            f"{checkpoint}: no code base is known for these parameters, and {where} is not a model.json of {OURS}. Got "
            f"{got}, expected those of {known}. Give a checkpoint of one of these, or the model.json beside it."
        )
    if code_base not in ("auto", found[0].NAME):
        raise CheckpointError(
            f"{checkpoint}: the parameters are not those of `code_base` {code_base}. Got {got}, which are those of "
            f"{found[0].NAME}. Set `code_base` to {found[0].NAME} or auto."
        )
    return found
