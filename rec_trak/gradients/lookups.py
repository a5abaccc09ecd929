"""What was looked up in an embedding, followed through masks of its places and with its channels first. Not here: what
is made of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rec_trak.gradients.factors import NOWHERE, LookUp, Recorder

MASKS = frozenset({torch.mul, Tensor.mul, Tensor.__mul__})
TURNS = frozenset({torch.transpose, Tensor.transpose})


def without(ids: Tensor, kept: Tensor) -> Tensor:
    """The ids, NOWHERE where they are not kept."""
    return torch.where(kept, ids, NOWHERE)


def different(mode: Recorder, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the different ids each place (N0 L,) has, and a place (U,) of each; found once a pass."""
    if id(ids) not in mode.same:
        found, of = torch.unique(ids, return_inverse=True)
        of = of.flatten()
        place = torch.empty(len(found), dtype=torch.int64, device=ids.device)
        place[of] = torch.arange(len(of), device=ids.device)
        mode.same[id(ids)] = of, place, ids  # held, so that no other ids take its place
    return mode.same[id(ids)][:2]


def follow_mask(mode: Recorder, out: Tensor, input: Any, other: Any = None, **_: Any) -> None:
    """Note that `out` is a looked-up tensor (n, L, channels) times a bool mask (n, L, 1) of its places."""
    for words, mask in ((input, other), (other, input)):
        found = mode.look_up(words)
        if found is None or found.turned or not isinstance(mask, Tensor) or mask.dim() != words.dim():
            continue
        if mask.shape[-1] == 1 and mask.numel() == found.ids.numel() and mask.dtype == torch.bool:
            _note(mode, out, found, without(found.ids, mask.reshape(found.ids.shape)), False)


def follow_turn(mode: Recorder, out: Tensor, input: Tensor, *dims: int, **named: int) -> None:
    """Note that `out` is a looked-up tensor with its places and channels exchanged."""
    found = mode.look_up(input)
    if found is not None and out.dim() == 3 and sorted(d % 3 for d in (*dims, *named.values())) == [1, 2]:
        _note(mode, out, found, found.ids, not found.turned)


def _note(mode: Recorder, out: Tensor, found: LookUp, ids: Tensor, turned: bool) -> None:
    mode.looked_up[id(out)] = LookUp(found.name, out, out._version, ids, found.padding, turned)
