"""What identifies the weights of a member in a store. Not here: what else a store was made from (`job.fingerprint`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rec_trak.store.manifest import digest


def state_digest(state: dict[str, Tensor]) -> str:
    """What identifies a checkpoint: names, shapes and bytes of its tensors."""
    return digest(*(part for name in sorted(state) for part in (name, *_digested(state[name]))))


def _digested(tensor: Tensor) -> tuple[Any, ...]:
    """A tensor for `digest`: as an array, or its format and its bytes as one where numpy has no such format."""
    tensor = tensor.detach().cpu().contiguous()
    try:
        return (tensor.numpy(),)
    except TypeError:
        return str(tensor.dtype), list(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy()
