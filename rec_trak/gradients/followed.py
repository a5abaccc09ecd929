"""A recorder for passes over articles: it follows looked-up words to the first layer, and cuts weights of places.

A layer over looked-up words takes no gradient at the words: each direction's is its output's, through the weight. Not
here: what is done with the uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.channels import before, shifted
from rec_trak.gradients.factors import NOWHERE, LookUp, Recorder
from rec_trak.gradients.linear import graph
from rec_trak.gradients.lookups import without
from rec_trak.gradients.takers import FOLLOWERS, TAKERS

WEIGHTS = frozenset({torch.softmax, F.softmax, Tensor.softmax, torch.exp, Tensor.exp})


class ArticleRecorder(Recorder):
    """A recorder of one pass over articles that follows looked-up words through masks, and cuts weights."""

    def __init__(self, parameters: dict[str, Tensor], count: int, cut: bool, device: Any) -> None:
        super().__init__(parameters, count, TAKERS, FOLLOWERS)
        self.owner = torch.arange(count, device=device)
        self.cut = cut
        self.cuts: list[tuple[Tensor, Tensor]] = []
        self.real: dict[int, Tensor] = {}

    def __torch_function__(self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in (F.linear, torch.conv1d) and args:
            found = self.look_up(args[0])
            if found is not None:
                return (_linear if func is F.linear else _conv1d)(self, found, *args, **kwargs)
        out = super().__torch_function__(func, types, args, kwargs)
        if self.cut and func in WEIGHTS and isinstance(out, Tensor) and self._one_a_place(out):
            leaf = out.detach().requires_grad_()
            self.cuts.append((out, leaf))
            return leaf
        return out

    def real_ids(self, found: LookUp) -> Tensor:
        """Ids (n, L) of a look-up, NOWHERE where a place takes no gradient; the same tensor for all that read it."""
        if found.padding is None:
            return found.ids
        if id(found.ids) not in self.real:
            self.real[id(found.ids)] = without(found.ids, found.ids != found.padding)
        return self.real[id(found.ids)]

    def _one_a_place(self, out: Tensor) -> bool:
        """Whether a tensor holds one number for each place of an article, and depends on something wanted."""
        sizes = out.shape[1:]
        return out.requires_grad and out.shape[0] == self.batch and sizes.numel() == max(sizes, default=0)


def _linear(mode: ArticleRecorder, found: LookUp, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if found.turned:
        return Recorder.__torch_function__(mode, F.linear, (), (input, weight, bias))
    out = graph(F.linear(input.detach(), weight, bias))
    value = input.detach().reshape(input.shape[0], -1, input.shape[-1])
    mode.record(mode.name(weight), "outer", out, value)
    mode.record(mode.name(bias), "entries", out, None)
    mode.record(found.name, "rows", out, mode.real_ids(found), through=weight.detach(), skip=NOWHERE)
    return out


def _conv1d(
    mode: ArticleRecorder, found: LookUp, input: Tensor, weight: Tensor, bias: Any = None, stride=1, padding=0,
    dilation=1, groups=1,
) -> Tensor:  # fmt: skip
    """A convolution over looked-up words: each of its taps is a linear layer from a word to an output."""
    arguments = (input, weight, bias, stride, padding, dilation, groups)
    step, gap = (x[0] if isinstance(x, (tuple, list)) else x for x in (stride, dilation))
    taps = weight.shape[2]
    left = before(padding, gap, taps)
    if not found.turned or step != 1 or groups != 1:
        return Recorder.__torch_function__(mode, torch.conv1d, (), arguments)
    out = graph(Recorder.__torch_function__(mode, torch.conv1d, (), (input.detach(), *arguments[1:])))
    length = input.shape[2]

    def arrange(grad: Tensor) -> Tensor:
        """(n, W, L') as (n, L, W taps): what reaches each word through each tap."""
        return torch.stack(shifted(grad, length, left, gap, taps), dim=-1).transpose(1, 2).flatten(2)

    through = weight.detach().transpose(1, 2).flatten(0, 1)  # (W taps, channels)
    mode.record(found.name, "rows", out, mode.real_ids(found), arrange=arrange, through=through, skip=NOWHERE)
    return out
