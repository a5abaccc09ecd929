"""Number formats of weights: those with fewer digits than float32 are run in float32. Not here: reading them.

bfloat16 has 8 binary digits and float16 11; gradients in them would be rounded at every layer, and sums over words
would lose most of what a row adds.
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterable

from torch import Tensor, nn

from rec_trak.errors import RecTrakWarning


def warn_of_formats(tensors: Iterable[Tensor], where: str) -> None:
    """Say in which short format tensors are, if some are."""
    short = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors if _is_short(tensor)})
    if short:
        warnings.warn(
            f"{where}: the weights are {' and '.join(short)}. The model runs in float32 with these rounded numbers.",
            RecTrakWarning,
            stacklevel=3,
        )


def in_float32(model: nn.Module, where: str) -> nn.Module:
    """The model itself, or, where it has parameters or buffers in a short format, a copy in float32 and a warning."""
    tensors = list(itertools.chain(model.parameters(), model.buffers()))
    if not any(map(_is_short, tensors)):
        return model
    warn_of_formats(tensors, where)
    twin = copy.deepcopy(model)
    for module in twin.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if _is_short(tensor):
                tensor.data = tensor.data.float()
    return twin


def _is_short(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.itemsize < 4
