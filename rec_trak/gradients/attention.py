"""torch's multi-head attention taken apart: its projections are parts of one parameter. Not here: other layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.linear import linear, part_linear

NAMES = ("bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_weight", "out_bias", "training", "key_padding_mask")
KEYS = {"out_proj_weight": "out_weight", "out_proj_bias": "out_bias"}
SEPARATE = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def attention(
    mode: Recorder, func: Callable, query, key, value, embed_dim, num_heads, in_weight, in_bias, *rest, **more
) -> Any:
    """The taker of `F.multi_head_attention_forward`, which every `nn.MultiheadAttention` calls."""
    given = dict(zip(NAMES, rest, strict=False)) | {KEYS.get(k, k): v for k, v in more.items()}
    dropped = given["training"] and given["dropout_p"]
    if dropped or query.dim() != 3 or given["bias_k"] is not None or given["add_zero_attn"]:
        return NotImplemented
    q, k, v = _projected(mode, (query, key, value), in_weight, in_bias, given)
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    mask, padding = given.get("attn_mask"), given.get("key_padding_mask")
    needed = given.get("need_weights", True)
    causal = bool(given.get("is_causal")) and padding is None and not needed  # torch then leaves the mask out
    masks = [] if causal else [_added(_per_head(mask, num_heads), q.dtype), _added(_keys(padding), q.dtype)]
    mask = sum((one for one in masks if one is not None), start=torch.zeros((), dtype=q.dtype, device=q.device))
    if needed:
        weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask, dim=-1)
        contexts = weights @ v
    else:  # where nothing may be attended to this gives 0, softmax NaN: each as torch does
        mask = mask.expand(len(q), 1, q.shape[2], k.shape[2]) if mask.dim() < 4 else mask
        contexts = F.scaled_dot_product_attention(q, k, v, None if causal else mask, is_causal=causal)
    joined = contexts.transpose(1, 2).flatten(2)
    out = linear(mode, F.linear, joined, given["out_weight"], given["out_bias"]).transpose(0, 1)
    if not needed:
        return out, None
    return out, weights.mean(dim=1) if given.get("average_attn_weights", True) else weights


def _projected(mode: Recorder, inputs: tuple[Tensor, ...], weight, bias, given: dict) -> list[Tensor]:
    """Queries, keys and values (N, L, width); their biases are always parts of one parameter."""
    if given.get("use_separate_proj_weight", False):
        wholes = [(given[name], 0) for name in SEPARATE]
        weights = [whole.detach() for whole, _ in wholes]
    else:
        width = len(weight) // 3
        wholes = [(weight, i * width) for i in range(3)]
        weights = weight.detach().chunk(3)
    biases = (None,) * 3 if bias is None else bias.detach().chunk(3)
    size = 0 if bias is None else len(bias) // 3
    return [
        part_linear(mode, x.transpose(0, 1), weights[i], biases[i], wholes[i], (bias, i * size))
        for i, x in enumerate(inputs)
    ]


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A mask as what is added to logits: -inf where a bool one is True."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)


def _per_head(mask: Tensor | None, heads: int) -> Tensor | None:
    """(L, S) or (N heads, L, S) as something that broadcasts to (N, heads, L, S)."""
    return mask if mask is None or mask.dim() == 2 else mask.unflatten(0, (-1, heads))


def _keys(mask: Tensor | None) -> Tensor | None:
    """(N, S) as (N, 1, 1, S)."""
    return None if mask is None else mask[:, None, None, :]
