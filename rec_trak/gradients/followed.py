"""A recorder for passes over articles: it follows looked-up words to the first layer, and cuts weights of places.

A layer over looked-up words takes no gradient at the words: each direction's is its output's, through the weight. Not
here: what is done with the uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.linear import graph
from rec_trak.gradients.recurrent import FOLLOWERS
from rec_trak.gradients.takers import TAKERS

NOWHERE = -1  # stands for an id whose place takes no gradient
WEIGHTS = frozenset({torch.softmax, F.softmax, Tensor.softmax, torch.exp, Tensor.exp})
MULTIPLIED = frozenset({torch.mul, Tensor.mul, Tensor.__mul__})
TURNED = frozenset({torch.transpose, Tensor.transpose})


@dataclass(frozen=True)
class _Seen:
    """A tensor that is an embedding's rows `ids` (n, L) of `name`, some taken out, perhaps with channels first."""

    name: str
    output: Tensor
    version: int
    ids: Tensor
    turned: bool = False


class ArticleRecorder(Recorder):
    """A recorder of one pass over articles that follows looked-up words through masks, and cuts weights."""

    def __init__(self, parameters: dict[str, Tensor], count: int, cut: bool, device: Any) -> None:
        super().__init__(parameters, count, TAKERS, FOLLOWERS)
        self.owner = torch.arange(count, device=device)
        self.cut = cut
        self.cuts: list[tuple[Tensor, Tensor]] = []
        self.seen: dict[int, _Seen] = {}

    def __torch_function__(self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in (F.linear, torch.conv1d) and args:
            found = self._found(args[0])
            if found is not None:
                return (_linear if func is F.linear else _conv1d)(self, found, *args, **kwargs)
        out = super().__torch_function__(func, types, args, kwargs)
        if not isinstance(out, Tensor):
            return out
        if func is F.embedding and id(out) in self.looked_up:
            known = self.looked_up[id(out)]
            if known.name is not None:
                ids = known.ids if known.padding is None else _without(known.ids, known.ids != known.padding)
                self.seen[id(out)] = _Seen(known.name, out, out._version, ids)
        elif func in MULTIPLIED and len(args) == 2:
            self._masked(out, *args)
        elif func in TURNED and len(args) == 3:
            found = self._found(args[0])
            if found is not None and out.dim() == 3 and sorted(d % 3 for d in args[1:]) == [1, 2]:
                self.seen[id(out)] = _Seen(found.name, out, out._version, found.ids, not found.turned)
        elif self.cut and func in WEIGHTS and self._one_a_place(out):
            leaf = out.detach().requires_grad_()
            self.cuts.append((out, leaf))
            return leaf
        return out

    def _found(self, tensor: Any) -> _Seen | None:
        found = self.seen.get(id(tensor))
        return found if found and found.output is tensor and tensor._version == found.version else None

    def _masked(self, out: Tensor, one: Any, other: Any) -> None:
        """Follow a looked-up tensor through its product with a mask of its places."""
        for words, mask in ((one, other), (other, one)):
            found = self._found(words)
            if found is None or found.turned or not isinstance(mask, Tensor) or mask.dim() != words.dim():
                continue
            if mask.shape[-1] == 1 and mask.numel() == found.ids.numel() and mask.dtype == torch.bool:
                ids = _without(found.ids, mask.reshape(found.ids.shape))
                self.seen[id(out)] = _Seen(found.name, out, out._version, ids)

    def _one_a_place(self, out: Tensor) -> bool:
        """Whether a tensor holds one number for each place of an article, and depends on something wanted."""
        sizes = out.shape[1:]
        return out.requires_grad and out.shape[0] == self.batch and sizes.numel() == max(sizes, default=0)


def _without(ids: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, ids, NOWHERE)


def _linear(mode: ArticleRecorder, found: _Seen, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if found.turned:
        return Recorder.__torch_function__(mode, F.linear, (), (input, weight, bias))
    out = graph(F.linear(input.detach(), weight, bias))
    value = input.detach().reshape(input.shape[0], -1, input.shape[-1])
    mode.record(mode.name(weight), "outer", out, value)
    mode.record(mode.name(bias), "entries", out, None)
    mode.record(found.name, "rows", out, found.ids, through=weight.detach(), skip=NOWHERE)
    return out


def _conv1d(
    mode: ArticleRecorder, found: _Seen, input: Tensor, weight: Tensor, bias: Any = None, stride=1, padding=0,
    dilation=1, groups=1,
) -> Tensor:  # fmt: skip
    """A convolution over looked-up words: each of its taps is a linear layer from a word to an output."""
    arguments = (input, weight, bias, stride, padding, dilation, groups)
    step, gap = (x[0] if isinstance(x, (tuple, list)) else x for x in (stride, dilation))
    taps = weight.shape[2]
    if padding == "same":
        left = gap * (taps - 1) // 2
    else:
        left = 0 if padding == "valid" else padding[0] if isinstance(padding, (tuple, list)) else padding
    if not found.turned or step != 1 or groups != 1:
        return Recorder.__torch_function__(mode, torch.conv1d, (), arguments)
    out = graph(Recorder.__torch_function__(mode, torch.conv1d, (), (input.detach(), *arguments[1:])))
    length = input.shape[2]

    def arrange(grad: Tensor) -> Tensor:
        """(n, W, L') as (n, L, W taps): what reaches each word through each tap."""
        right = max(0, length + left - grad.shape[2])
        padded = F.pad(grad, (gap * (taps - 1), right))
        # Word s is read by output s + left - tap * gap.
        parts = [padded[..., gap * (taps - 1) + left - t * gap :][..., :length] for t in range(taps)]
        return torch.stack(parts, dim=-1).transpose(1, 2).flatten(2)

    through = weight.detach().transpose(1, 2).flatten(0, 1)  # (W taps, channels)
    mode.record(found.name, "rows", out, found.ids, arrange=arrange, through=through, skip=NOWHERE)
    return out
