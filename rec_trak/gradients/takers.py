"""How each torch function that takes a parameter is taken apart into factors. Not here: the recorder, or any sum.

A taker runs the function, makes sure that the graph begins at its output, and records the use; it gives
NotImplemented for a variant that it does not know, which then counts as an unknown use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.factors import LookUp, Recorder, blocks


def _graph(output: Tensor) -> Tensor:
    """The output, at which the graph begins where nothing before it needs a gradient."""
    return output if output.requires_grad or not torch.is_grad_enabled() else output.detach().requires_grad_()


def _linear(mode: Recorder, func: Callable, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    found = mode.look_up(input)
    # What was looked up needs no gradient of its own here: it is the output's, through the weight, once for each
    # different id of a row.
    out = _graph(func(input if found is None else input.detach(), weight, bias))
    mode.record(mode.name(weight), "outer", out, blocks(input), keys=found and found.ids)
    mode.record(mode.name(bias), "entries", out, None)
    if found is not None:
        mode.record(found.name, "rows", out, found.ids, through=weight.detach(), skip=found.padding)
    return out


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
    out = _graph(func(input, weight))
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
    out = _graph(func(input, weight, bias, stride, padding, dilation, groups))
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
    out = _graph(func(input, normalized_shape, weight, bias, eps))
    if mode.name(weight):
        plain = F.layer_norm(input.detach(), normalized_shape, None, None, eps)
        mode.record(mode.name(weight), "entries", out, blocks(plain))
    mode.record(mode.name(bias), "entries", out, None)
    return out


def _matmul(mode: Recorder, func: Callable, input: Tensor, other: Tensor) -> Any:
    name = mode.name(other)
    if name is None or mode.name(input) or input.dim() < 2 or other.dim() > 2:
        return NotImplemented
    out = _graph(func(input, other))
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
    out = _graph(func(input, other))
    mode.record(mode.name(parameter), "entries", out, None if factor is None else blocks(factor))
    return out


def _attention(
    mode: Recorder, func: Callable, query, key, value, embed_dim, num_heads, in_weight, in_bias, *rest, **more
):
    """torch.nn.MultiheadAttention: its projections are slices of one parameter, which no hook on a layer sees."""
    names = ("bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_weight", "out_bias", "training", "key_padding_mask")
    given = dict(zip(names, rest, strict=False)) | {
        {"out_proj_weight": "out_weight", "out_proj_bias": "out_bias"}.get(k, k): v for k, v in more.items()
    }
    separate = given.get("use_separate_proj_weight", False) or (given["training"] and given["dropout_p"])
    if separate or query.dim() != 3 or given["bias_k"] is not None or given["add_zero_attn"] or given.get("is_causal"):
        return NotImplemented
    weights, biases = in_weight.detach().chunk(3), (None,) * 3 if in_bias is None else in_bias.detach().chunk(3)
    q, k, v = (
        _slice_linear(mode, x.transpose(0, 1), w, b, in_weight, in_bias, i * embed_dim)
        for i, (x, w, b) in enumerate(zip((query, key, value), weights, biases, strict=True))
    )
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    for mask in (_per_head(given.get("attn_mask"), num_heads), _keys(given.get("key_padding_mask"))):
        if mask is not None:
            logits = logits.masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    attention = torch.softmax(logits, dim=-1)
    joined = (attention @ v).transpose(1, 2).flatten(2)
    out = _linear(mode, F.linear, joined, given["out_weight"], given["out_bias"]).transpose(0, 1)
    if not given.get("need_weights", True):
        return out, None
    return out, attention.mean(dim=1) if given.get("average_attn_weights", True) else attention


def _slice_linear(mode: Recorder, x, weight, bias, whole, whole_bias, first: int) -> Tensor:
    """A linear layer whose weight is the rows of `whole` from `first` on."""
    out = _graph(F.linear(x, weight, bias))
    mode.record(mode.name(whole), "outer", out, blocks(x), first=first)
    width = None if whole_bias is None else whole_bias.shape[0]
    mode.record(
        mode.name(whole_bias),
        "entries",
        out,
        None,
        arrange=lambda grad: F.pad(blocks(grad), (first, width - first - grad.shape[-1])),
    )
    return out


def _per_head(mask: Tensor | None, heads: int) -> Tensor | None:
    """(L, S) or (N heads, L, S) as something that broadcasts to (N, heads, L, S)."""
    return mask if mask is None or mask.dim() == 2 else mask.unflatten(0, (-1, heads))


def _keys(mask: Tensor | None) -> Tensor | None:
    """(N, S) as (N, 1, 1, S)."""
    return None if mask is None else mask[:, None, None, :]


TAKERS: dict[Callable, Callable] = {
    F.linear: _linear,
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
    F.multi_head_attention_forward: _attention,
}
