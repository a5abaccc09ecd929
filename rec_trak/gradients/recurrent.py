"""torch's recurrent layers taken apart, packed sequences too. Not here: other layers.

A layer is run step by step. What each step adds to its gates gets a leaf of zeros, so that one backward pass gives
the gradients of all steps at once, (N, T, gates), in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.factors import Recorder

State = tuple[Tensor, ...]  # (N, hidden) each: h, and c of an LSTM
Cell = Callable[[Tensor, Tensor, State], State]


@dataclass(frozen=True)
class _Sequences:
    """N sequences, side by side from their first step.

    Attributes:
        steps: (N, T, D).
        real: (N, T) bool; None where all are.
        order: (N,) the row's place that each sequence has in the caller's order; None where that is this one.
    """

    steps: Tensor
    real: Tensor | None = None
    order: Tensor | None = None


def _gru_cell(inputs: Tensor, hidden: Tensor, state: State) -> State:
    (in_reset, in_update, in_new), (reset, update, new) = inputs.chunk(3, -1), hidden.chunk(3, -1)
    update = torch.sigmoid(in_update + update)
    new = torch.tanh(in_new + torch.sigmoid(in_reset + reset) * new)
    return (new + update * (state[0] - new),)


def _lstm_cell(inputs: Tensor, hidden: Tensor, state: State) -> State:
    entry, forget, new, out = (inputs + hidden).chunk(4, -1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(entry) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


def _simple_cell(bend: Callable[[Tensor], Tensor]) -> Cell:
    return lambda inputs, hidden, state: (bend(inputs + hidden),)


def _taker(cell: Cell) -> Callable:
    def take(mode: Recorder, func: Callable, *given: Any) -> Any:
        if len(given) != 9:
            return NotImplemented
        packed = not isinstance(given[3], bool)
        data, sizes, start, weights = given[:4] if packed else (given[0], None, *given[1:3])
        biased, layers, dropout, training, both = given[4:] if packed else given[3:8]
        start = start if isinstance(start, (list, tuple)) else (start,)
        each = 4 if biased else 2
        if (dropout and training and layers > 1) or len(weights) != each * layers * (1 + both):
            return NotImplemented  # an LSTM with projections has more weights
        seen = _unpacked(mode, data, sizes) if packed else _Sequences(data if given[8] else data.transpose(0, 1))
        if seen is None:
            return NotImplemented
        weights = [weights[i : i + each] for i in range(0, len(weights), each)]  # of each layer and direction
        out, last = _layers(mode, cell, seen, start, weights, both)
        out = _packed(out, sizes) if packed else out if given[8] else out.transpose(0, 1)
        return out, *last

    return take


gru, lstm = _taker(_gru_cell), _taker(_lstm_cell)
rnn_tanh, rnn_relu = _taker(_simple_cell(torch.tanh)), _taker(_simple_cell(torch.relu))


def _layers(
    mode: Recorder, cell: Cell, seen: _Sequences, start: Sequence[Tensor], weights: list[Sequence[Tensor]], both: bool
) -> tuple[Tensor, list[Tensor]]:
    """Outputs (N, T, directions * hidden) of the last layer, and the last states (layers * directions, N, hidden)."""
    steps, last = seen.steps, []
    for first in range(0, len(weights), 1 + both):
        outs = []
        for i in range(first, first + 1 + both):
            state = tuple(one[i] for one in start)
            out, state = _direction(mode, cell, seen, steps, state, weights[i], backward=i > first)
            outs.append(out)
            last.append(state)
        steps = torch.cat(outs, dim=-1)
    return steps, [torch.stack(parts) for parts in zip(*last, strict=True)]


def _direction(
    mode: Recorder, cell: Cell, seen: _Sequences, steps: Tensor, state: State, weights: Sequence[Tensor], backward: bool
) -> tuple[Tensor, State]:
    """Outputs (N, T, hidden) and the last state of one layer in one direction."""
    of_input, of_state, *biases = weights
    bias, state_bias = biases or (None, None)
    inputs = F.linear(steps, of_input.detach(), bias if bias is None else bias.detach())
    leaf, state_leaf = (_leaf(inputs, seen.order) for _ in range(2))
    inputs = inputs + leaf[1]
    outs, states = [inputs.new_zeros(0)] * steps.shape[1], [state[0]] * steps.shape[1]
    times = range(steps.shape[1])
    added, hidden_added = inputs.unbind(1), state_leaf[1].unbind(1)
    for t in reversed(times) if backward else times:
        states[t] = state[0].detach()
        hidden = F.linear(state[0], of_state.detach(), state_bias if state_bias is None else state_bias.detach())
        new = cell(added[t], hidden + hidden_added[t], state)
        if seen.real is not None:
            new = tuple(torch.where(seen.real[:, t, None], a, b) for a, b in zip(new, state, strict=True))
        state, outs[t] = new, new[0]
    for parameter, use, value in (
        (of_input, leaf[0], steps),
        (of_state, state_leaf[0], torch.stack(states, dim=1)),
    ):
        mode.record(mode.name(parameter), "outer", use, _in_order(value.detach(), seen.order))
    mode.record(mode.name(bias), "entries", leaf[0], None)
    mode.record(mode.name(state_bias), "entries", state_leaf[0], None)
    return torch.stack(outs, dim=1), state


def _leaf(like: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """Zeros of this shape at which gradients arrive, in the caller's order and in the sequences' own."""
    leaf = torch.zeros_like(like, requires_grad=True)
    return leaf, leaf if order is None else leaf.index_select(0, order)


def _in_order(values: Tensor, order: Tensor | None) -> Tensor:
    """Values of the sequences in the caller's order."""
    return values if order is None else torch.empty_like(values).index_copy_(0, order, values)


def follow_selection(mode: Recorder, out: Tensor, input: Tensor, dim: int, index: Tensor, **_: Any) -> None:
    """Note that `out` is `input` in another order along a dimension."""
    if len(index) == input.shape[dim]:
        mode.orders[id(out)] = (out, index)


def follow_packing(mode: Recorder, out: tuple[Tensor, Tensor], input: Tensor, *_: Any, **__: Any) -> None:
    """Note in which order the sequences stand that were packed."""
    held = mode.orders.get(id(input))
    mode.orders[id(out[0])] = (out[0], held[1] if held and held[0] is input else None)


PACKING = {
    Tensor.index_select: follow_selection,
    torch.index_select: follow_selection,
    torch._VF._pack_padded_sequence: follow_packing,
}


def _unpacked(mode: Recorder, data: Tensor, sizes: Tensor) -> _Sequences | None:
    """Packed sequences side by side; None where nobody saw them being packed."""
    held = mode.orders.get(id(data))
    if held is None or held[0] is not data:
        return None
    real = torch.arange(int(sizes[0])) < sizes[:, None]  # (T, N)
    real = real.to(data.device)
    steps = data.new_zeros(*real.shape, data.shape[-1]).masked_scatter(real.unsqueeze(-1), data)
    return _Sequences(steps.transpose(0, 1), real.T, held[1])


def _packed(out: Tensor, sizes: Tensor) -> Tensor:
    """Outputs (N, T, width) as the packed ones (steps, width)."""
    real = torch.arange(len(out)) < sizes[:, None]
    return out.transpose(0, 1)[real.to(out.device)]
