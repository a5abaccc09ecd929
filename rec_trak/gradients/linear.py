"""Linear layers taken apart, whole ones and those whose weight is a part of a larger one. Not here: other layers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.factors import LookUp, Recorder, blocks
from rec_trak.gradients.lookups import different


def graph(output: Tensor) -> Tensor:
    """The output, at which the graph begins where nothing before it needs a gradient."""
    return output if output.requires_grad or not torch.is_grad_enabled() else output.detach().requires_grad_()


def linear(mode: Recorder, func: Callable, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The taker of `F.linear`."""
    found = mode.look_up(input)
    found = None if found is None or found.turned else found
    # What was looked up needs no gradient of its own here: it is the output's, through the weight, once for each
    # different id of a row.
    out = graph(func(input, weight, bias) if found is None else _each_once(mode, found, func, input, weight, bias))
    mode.record(mode.name(weight), "outer", out, blocks(input), keys=found and found.ids)
    mode.record(mode.name(bias), "entries", out, None)
    if found is not None:
        mode.record(found.name, "rows", out, found.ids, through=weight.detach(), skip=found.padding)
    return out


def _each_once(
    mode: Recorder, found: LookUp, func: Callable, input: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """The layer's output, each different id's input multiplied once; on a GPU, waiting for their number costs more."""
    if input.device.type != "cpu":
        return func(input.detach(), weight, bias)
    places, first = different(mode, found.ids)
    table = func(input.detach().flatten(0, -2).index_select(0, first), weight, bias)
    return F.embedding(places.view(input.shape[:-1]), table)


def part_linear(
    mode: Recorder,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    whole: tuple[Tensor, int],
    whole_bias: tuple[Tensor | None, int],
) -> Tensor:
    """A linear layer whose weight and bias are rows of larger ones.

    Args:
        whole, whole_bias: the larger parameters, and the row at which the part begins.
    """
    out = graph(F.linear(input, weight, bias))
    mode.record(mode.name(whole[0]), "outer", out, blocks(input), first=whole[1])
    parameter, first = whole_bias
    if parameter is not None:
        rest = parameter.shape[0] - first - out.shape[-1]
        mode.record(mode.name(parameter), "entries", out, None, arrange=lambda grad: F.pad(blocks(grad), (first, rest)))
    return out
