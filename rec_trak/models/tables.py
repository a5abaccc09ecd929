"""Tables of vectors that change themselves as they are read, made to stand still. Not here: other layers.

`max_norm` makes torch shorten the rows that a pass looks up, in the parameter itself. Weights would then depend on
what was looked at before, and two passes need not agree.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import nn

from rec_trak.errors import RecTrakWarning, listed


def standing_still(model: nn.Module, where: str) -> nn.Module:
    """The model itself, or, where it has tables with a `max_norm`, a copy of which none changes, and a warning.

    All rows are shortened when weights are loaded, as torch does with those that it looks up. A gradient is then that
    of the shortened row, as in torch; the file's tensors, and whatever is made of them, stay what they are.
    """
    names = [name or "model" for name, part in model.named_modules() if _changes(part)]
    if not names:
        return model
    warnings.warn(
        f"{where}: {listed('table(s) that a pass changes', names)}. Each pass shortens the rows that it reads to "
        "`max_norm`; here all rows are shortened once, whenever weights are loaded, and the checkpoint is left as it "
        "is.",
        RecTrakWarning,
        stacklevel=3,
    )
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if _changes(part):
            part.register_load_state_dict_post_hook(_Shortened(part.max_norm, part.norm_type))
            _Shortened(part.max_norm, part.norm_type)(part)
            part.max_norm = None
    return twin


def _changes(part: nn.Module) -> bool:
    return isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None


class _Shortened:
    """Shortens all rows of a table; a class, so that a copied model's hooks are copied with it."""

    def __init__(self, longest: float, norm_type: float) -> None:
        self.longest, self.norm_type = longest, norm_type

    def __call__(self, part: nn.Module, *_: Any) -> None:
        with torch.no_grad():
            rows = torch.arange(len(part.weight), device=part.weight.device)
            torch.embedding_renorm_(part.weight.detach(), rows, self.longest, self.norm_type)
