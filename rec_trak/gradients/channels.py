"""Layers whose channels stand second, taken apart: convolutions and norms over channels. Not here: other layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.factors import LookUp, Recorder
from rec_trak.gradients.linear import graph


def conv(
    mode: Recorder,
    func: Callable,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """The taker of `torch.conv1d` and `torch.conv2d`."""
    axes = weight.dim() - 2
    if input.dim() != axes + 2:
        return NotImplemented
    found = mode.look_up(input)
    if found is not None and found.turned and groups == 1 and _each(stride, 1) == (1,):
        return _over_words(mode, found, input, weight, bias, padding, _each(dilation, 1)[0])
    out = graph(func(input, weight, bias, stride, padding, dilation, groups))
    stride, dilation = _each(stride, axes), _each(dilation, axes)
    windows = input.detach()  # (n, channels, *places), then (n, channels, *places, *kernel)
    for axis in range(axes):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1)
        if padding == "same":
            sides = reach // 2, reach - reach // 2
        else:
            sides = (0 if padding == "valid" else _each(padding, axes)[axis],) * 2
        windows = F.pad(windows.movedim(2 + axis, -1), sides).movedim(-1, 2 + axis)
        windows = windows.unfold(2 + axis, reach + 1, stride[axis])[..., :: dilation[axis]]
    size, width = len(weight) // groups, windows.shape[1] // groups  # channels out and in, of one group
    for group in range(groups):
        part = windows[:, group * width : (group + 1) * width].movedim(1, axes + 1)
        value = part.reshape(len(part), -1, weight[0].numel())
        mode.record(mode.name(weight), "outer", out, value, arrange=_channels(group * size, size), first=group * size)
    mode.record(mode.name(bias), "entries", out, None, arrange=_channels())
    return out


def _over_words(
    mode: Recorder, found: LookUp, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, gap: int
) -> Tensor:
    """A convolution over looked-up words: each of its taps is a linear layer from a word to an output, so that what
    reaches a word is added up over its places before any product, and no window is copied."""
    out = torch.conv1d(input.detach(), weight, bias, 1, padding, gap)
    # Channels last in memory: what follows, and the way back, are then products of whole matrices.
    out = graph(out.transpose(1, 2).contiguous().transpose(1, 2))
    taps, length = weight.shape[2], input.shape[2]
    left = before(padding, gap, taps)

    def arrange(grad: Tensor) -> Tensor:
        """(n, r, L') as (n, L, taps r)."""
        return torch.cat([part.transpose(1, 2) for part in shifted(grad, length, left, gap, taps)], dim=2)

    words = input.detach().transpose(1, 2)
    mode.record(mode.name(weight), "outer", out, words, arrange=arrange, keys=found.ids, taps=taps)
    mode.record(mode.name(bias), "entries", out, None, arrange=_channels())
    more = {"through": weight.detach(), "skip": found.padding}
    mode.record(found.name, "rows", out, found.ids, arrange=arrange, **more)
    return out


def before(padding: Any, gap: int, taps: int) -> int:
    """Places that a convolution along one axis pads in front."""
    if padding == "same":
        return gap * (taps - 1) // 2
    return 0 if padding == "valid" else _each(padding, 1)[0]


def shifted(grad: Tensor, length: int, left: int, gap: int, taps: int) -> list[Tensor]:
    """What reaches each of `length` words through each tap, (n, r, L), from a gradient at the outputs (n, r, L')."""
    start, right = gap * (taps - 1), max(0, length + left - grad.shape[2])
    padded = F.pad(grad, (start, right))
    # Word s is read by output s + left - tap * gap.
    return [padded[..., start + left - t * gap :][..., :length] for t in range(taps)]


def _each(value: Any, axes: int) -> tuple[int, ...]:
    """A setting for each axis."""
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return value * axes if len(value) == 1 else value


def batch_norm(
    mode: Recorder,
    func: Callable,
    input: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """The taker of `F.batch_norm` by running statistics; by the batch's own, rows meet."""
    if training or mean is None or variance is None:
        return NotImplemented
    out = graph(func(input, mean, variance, weight, bias, training, momentum, eps))
    if mode.name(weight):
        plain = F.batch_norm(input.detach(), mean, variance, None, None, False, momentum, eps)
        mode.record(mode.name(weight), "entries", out, _channels()(plain), arrange=_channels())
    mode.record(mode.name(bias), "entries", out, None, arrange=_channels())
    return out


def group_norm(
    mode: Recorder,
    func: Callable,
    input: Tensor,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """The taker of `F.group_norm`."""
    out = graph(func(input, groups, weight, bias, eps))
    if mode.name(weight):
        plain = F.group_norm(input.detach(), groups, None, None, eps)
        mode.record(mode.name(weight), "entries", out, _channels()(plain), arrange=_channels())
    mode.record(mode.name(bias), "entries", out, None, arrange=_channels())
    return out


def _channels(first: int = 0, count: int | None = None) -> Callable[[Tensor], Tensor]:
    """Turns (n, channels, *places) into (n, places, channels), of some channels."""

    def arrange(x: Tensor) -> Tensor:
        part = x if count is None else x[:, first : first + count]
        return part.flatten(2).transpose(1, 2) if x.dim() > 2 else part.unsqueeze(1)

    return arrange
