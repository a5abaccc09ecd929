"""Which code base wrote a checkpoint, by the names of its tensors. Not here: any code base's own names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType

from torch import Tensor

from rec_trak.checkpoints.code_bases import keras, newsreclib, plm4newsrs, yusanshi
from rec_trak.checkpoints.code_bases.tables import Validation
from rec_trak.checkpoints.names import chosen_prefix, equal, is_counter, refuse_adapter, under

CODE_BASES = (plm4newsrs, yusanshi, newsreclib, keras)
PARTS = {"news_encoder", "user_encoder", "user_embedding"}  # first parts of all names that code bases in PyTorch write


def recognise_checkpoint(names: Iterable[str]) -> tuple[ModuleType, str] | None:
    """The code base (its module) and the architecture whose parameters have these names; None where none is known."""
    names = list(names)
    for code_base in CODE_BASES:
        architecture = code_base.recognise(names)
        if architecture:
            return code_base, architecture
    return None


def without_wrappers(state: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """A code base's tensors under the names that it wrote, and the file's names that are none of the model's.

    The state dict comes back as it is where no code base is known behind any prefix.

    Raises:
        CheckpointError: several models stand in the file, or an adapter is not merged.
    """
    prefixes = dict.fromkeys(prefix for prefix in map(_prefix, state) if prefix is not None)
    models = {prefix: _of_model(under(state, prefix)) for prefix in prefixes}
    fitting = [prefix for prefix, model in models.items() if recognise_checkpoint(model)]
    prefix = chosen_prefix(fitting, lambda one, other: _same(models[one], models[other]), where)
    if models:
        refuse_adapter(state, where)
    if prefix is None:
        return dict(state), ()
    read = {f"{prefix}{name}" for name in models[prefix]}
    return models[prefix], tuple(name for name in state if name not in read and not is_counter(name))


def _prefix(name: str) -> str | None:
    """What stands before the first part of a name that a code base writes; None where there is no such part."""
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts) if part in PARTS), None)
    return None if at is None else "".join(f"{part}." for part in parts[:at])


def _of_model(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name.split(".")[0] in PARTS and not is_counter(name)}


def _same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(equal(tensor, right[name]) for name, tensor in left.items())


def validation_of(name: str) -> Validation:
    """How a code base measures its validation AUC; our own way where it is not known to have another."""
    known = (getattr(module, "VALIDATION", None) for module in CODE_BASES if name == module.NAME)
    return next(known, None) or Validation()
