"""How each torch function that takes a parameter is taken apart into factors. Not here: the recorder, or any sum.

A taker runs the function, makes sure that the graph begins at its output, and records the use; it gives
NotImplemented for a variant that it does not know, which then counts as an unknown use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.attention import attention
from rec_trak.gradients.factors import LookUp, Recorder, blocks
from rec_trak.gradients.linear import graph, linear
from rec_trak.gradients.recurrent import gru, lstm, rnn_relu, rnn_tanh


def _embedding(
    mode: Recorder,
    func: Callable,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    if max_norm is not None or scale_grad_by_freq:
        return NotImplemented
    input = mode.spread(input)
    out = graph(func(input, weight))
    ids = input.reshape(input.shape[0], -1)
    padding = None if padding_idx is None else padding_idx % weight.shape[0]
    mode.record(mode.name(weight), "rows", out, ids, skip=padding)
    mode.looked_up[id(out)] = LookUp(mode.name(weight), out, out._version, ids, padding)
    return out


def _conv1d(
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
    if groups != 1 or input.dim() != 3:
        return NotImplemented
    out = graph(func(input, weight, bias, stride, padding, dilation, groups))
    step, gap = (x[0] if isinstance(x, (tuple, list)) else x for x in (stride, dilation))
    reach = gap * (weight.shape[2] - 1)
    if padding == "same":
        left, right = reach // 2, reach - reach // 2
    else:
        left = right = 0 if padding == "valid" else padding[0] if isinstance(padding, (tuple, list)) else padding
    windows = F.pad(input.detach(), (left, right)).unfold(2, reach + 1, step)[..., ::gap]  # (n, channels, L, k)
    mode.record(mode.name(weight), "outer", out, windows.transpose(1, 2).flatten(2), arrange=_channels_last)
    mode.record(mode.name(bias), "entries", out, None, arrange=_channels_last)
    return out


def _channels_last(grad: Tensor) -> Tensor:
    return grad.transpose(1, 2)


def _layer_norm(
    mode: Recorder,
    func: Callable,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    if len(normalized_shape) != 1:
        return NotImplemented
    out = graph(func(input, normalized_shape, weight, bias, eps))
    if mode.name(weight):
        plain = F.layer_norm(input.detach(), normalized_shape, None, None, eps)
        mode.record(mode.name(weight), "entries", out, blocks(plain))
    mode.record(mode.name(bias), "entries", out, None)
    return out


def _matmul(mode: Recorder, func: Callable, input: Tensor, other: Tensor) -> Any:
    name = mode.name(other)
    if name is None or mode.name(input) or input.dim() < 2 or other.dim() > 2:
        return NotImplemented
    out = graph(func(input, other))
    if other.dim() == 2:
        mode.record(name, "outer", out, blocks(input), turned=True)
    else:  # a query vector: the gradient is the inputs, each times one number
        mode.record(name, "entries", out, blocks(input), arrange=lambda grad: grad.reshape(grad.shape[0], -1, 1))
    return out


def _add(mode: Recorder, func: Callable, input: Tensor, other: Tensor, *, alpha: float = 1) -> Any:
    return _broadcast(mode, func, input, other, None) if alpha == 1 else NotImplemented


def _mul(mode: Recorder, func: Callable, input: Tensor, other: Tensor) -> Any:
    parameter_last = mode.name(other) is not None
    return _broadcast(mode, func, input, other, input if parameter_last else other)


def _broadcast(mode: Recorder, func: Callable, input: Any, other: Any, factor: Any) -> Any:
    """A one-dimensional parameter that is added to, or multiplied with, the last dimension of something larger."""
    parameter, value = (other, input) if mode.name(other) is not None else (input, other)
    if not isinstance(value, Tensor) or mode.name(value) or parameter.dim() != 1 or value.dim() < 2:
        return NotImplemented
    if value.shape[-1] != parameter.shape[0]:
        return NotImplemented
    out = graph(func(input, other))
    mode.record(mode.name(parameter), "entries", out, None if factor is None else blocks(factor))
    return out


TAKERS: dict[Callable, Callable] = {
    F.linear: linear,
    F.embedding: _embedding,
    torch.conv1d: _conv1d,
    F.layer_norm: _layer_norm,
    torch.matmul: _matmul,
    Tensor.matmul: _matmul,
    Tensor.__matmul__: _matmul,
    torch.add: _add,
    Tensor.add: _add,
    Tensor.__add__: _add,
    Tensor.__radd__: _add,
    torch.mul: _mul,
    Tensor.mul: _mul,
    Tensor.__mul__: _mul,
    Tensor.__rmul__: _mul,
    F.multi_head_attention_forward: attention,
    torch.gru: gru,
    torch.lstm: lstm,
    torch.rnn_tanh: rnn_tanh,
    torch.rnn_relu: rnn_relu,
}
