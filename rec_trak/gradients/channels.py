"""Layers whose channels stand second, taken apart: convolutions and norms over channels. Not here: other layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.factors import Recorder
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
