"""Which code base wrote a checkpoint, by the names of its tensors. Not here: any code base's own names."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from rec_trak.checkpoints.code_bases import keras, newsreclib, plm4newsrs, yusanshi

CODE_BASES = (plm4newsrs, yusanshi, newsreclib, keras)


def recognise_checkpoint(names: Iterable[str]) -> tuple[ModuleType, str] | None:
    """The code base (its module) and the architecture whose parameters have these names; None where none is known."""
    names = list(names)
    for code_base in CODE_BASES:
        architecture = code_base.recognise(names)
        if architecture:
            return code_base, architecture
    return None
