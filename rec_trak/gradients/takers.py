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
from rec_trak.gradients.channels import batch_norm, conv, group_norm
from rec_trak.gradients.factors import LookUp, Recorder, blocks
from rec_trak.gradients.linear import graph, linear
from rec_trak.gradients.lookups import MASKS, TURNS, follow_mask, follow_turn
from rec_trak.gradients.recurrent import PACKING, gru, lstm, rnn_relu, rnn_tanh


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


def _index(mode: Recorder, func: Callable, input: Tensor, index: Any) -> Any:
    """`table[ids]`: a look-up in a parameter."""
    if mode.name(input) is None or input.dim() != 2 or not isinstance(index, Tensor) or index.dtype != torch.int64:
        return NotImplemented
    out = graph(func(input, index)) if index.dim() else NotImplemented
    if out is not NotImplemented:
        ids = (index % input.shape[0]).reshape(index.shape[0], -1)
        mode.record(mode.name(input), "rows", out, ids)
    return out


def _embedding_bag(
    recorder: Recorder,
    func: Callable,
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Bags of equal length, summed or averaged over what is no padding."""
    plain = offsets is None and max_norm is None and not scale_grad_by_freq and per_sample_weights is None
    if not plain or input.dim() != 2 or mode == "max":
        return NotImplemented
    vectors = _embedding(recorder, F.embedding, input, weight, padding_idx)
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    real = (input != padding).unsqueeze(-1)
    total = (vectors * real).sum(dim=1)
    return total if mode == "sum" else total / real.sum(dim=1).clamp(min=1)


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


def _rms_norm(
    mode: Recorder,
    func: Callable,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Any:
    if len(normalized_shape) != 1:
        return NotImplemented
    out = graph(func(input, normalized_shape, weight, eps))
    mode.record(mode.name(weight), "entries", out, blocks(F.rms_norm(input.detach(), normalized_shape, None, eps)))
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
    F.embedding_bag: _embedding_bag,
    Tensor.__getitem__: _index,
    torch.conv1d: conv,
    torch.conv2d: conv,
    F.batch_norm: batch_norm,
    F.group_norm: group_norm,
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
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

FOLLOWERS: dict[Callable, Callable] = {
    **PACKING,
    **dict.fromkeys(MASKS, follow_mask),
    **dict.fromkeys(TURNS, follow_turn),
}
