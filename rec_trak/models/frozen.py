"""What no wanted parameter reaches, computed once for each article of a run. Not here: which parameters are wanted.

Where nothing that `encode` uses is differentiated, article vectors are kept, and a row costs what its user encoder
costs. Where a language model alone is left out, the hidden states that it gives are kept, for the layers above it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from rec_trak.data.batches import moved, unique_batch
from rec_trak.data.inputs import Inputs
from rec_trak.models.language import LanguageModel
from rec_trak.models.passes import as_trained, values_only

TRIED = 4  # articles that are encoded to see which parameters take part
LIMIT = 2 << 30  # bytes that one memory keeps; what does not fit is computed each time


def remembering(model: nn.Module, inputs: Inputs, wanted: Iterable[str], device: str) -> nn.Module:
    """A model with the same parameters under the same names that encodes no article twice, or the model itself.

    What is kept is forgotten as soon as a parameter changes (when another checkpoint is loaded).

    Args:
        model: in eval mode on `device`.
        inputs: the rows; a few of their articles are tried.
        wanted: names of the parameters to differentiate.
    """
    encode, names = getattr(model, "encode", None), set(wanted)
    if not callable(encode) or isinstance(encode, nn.Module) or not callable(getattr(model, "score", None)):
        return model
    parameters = [p for name, p in model.named_parameters() if name in names]
    views = {name: view[:TRIED] for name, view in moved(unique_batch(inputs, [0]).articles, device).items()}
    try:
        with as_trained():
            reached = _reached(encode(views), parameters)
    except Exception:  # a user's model may raise anything; the preflight says what is wrong
        return model
    if not reached:
        twin = copy.copy(model)
        twin.encode = Memory(encode, model)
        return twin
    ids = {id(p) for p in parameters}
    kept = {
        name: _keeping_states(part)
        for name, part in model.named_children()
        if isinstance(part, LanguageModel) and not any(id(p) in ids for p in part.parameters())
    }
    if not kept:
        return model
    twin = copy.copy(model)
    twin._modules = model._modules | kept
    return twin


def _reached(output: Tensor, parameters: list[nn.Parameter]) -> bool:
    """Whether any of the parameters takes part in `output`."""
    if not output.requires_grad:
        return False
    return any(g is not None for g in torch.autograd.grad(output.sum(), parameters, allow_unused=True))


def _keeping_states(part: LanguageModel) -> LanguageModel:
    twin, states = copy.copy(part), Memory(lambda views: part(views["ids"]), part)
    twin.forward = lambda ids: states({"ids": ids})
    return twin


class Memory:
    """A function of articles that is computed once for each content, without a gradient.

    A result with a place for each token is cut to the batch's length, and computed again where that is longer: so it
    is right at padding too.
    """

    def __init__(self, function: Callable[[dict[str, Tensor]], Tensor], model: nn.Module) -> None:
        self.function, self.model = function, model
        self.tables = [part._parameters for part in model.modules()]  # walking through the modules each time is slow
        self.held: dict[tuple[bytes, ...], Tensor] = {}
        self.size = 0
        self.stamp: list[tuple[int, int]] = []

    def __call__(self, views: dict[str, Tensor]) -> Tensor:
        """`function(views)`; texts (n, T) padded with 0 on the right, names (n,)."""
        if self.model.training:
            return self.function(views)
        try:
            keys = _keys(views)
        except RuntimeError:  # inside torch.func.vmap no number can be looked at
            return self.function(views)
        stamp = [(p.data_ptr(), p._version) for table in self.tables for p in table.values() if p is not None]
        if stamp != self.stamp:
            self.held, self.size, self.stamp = {}, 0, stamp
        length = max((view.shape[1] for view in views.values() if view.ndim == 2), default=0)
        places = {key: i for i, key in enumerate(keys) if not self._fits(key, length)}
        found = self.held
        if places:
            new = self._computed({name: view[list(places.values())] for name, view in views.items()})
            fresh = dict(zip(places, new, strict=True))
            found = {key: fresh.get(key, self.held.get(key)) for key in keys}
            if self.size + new.nbytes <= LIMIT:
                self.held |= fresh
                self.size += new.nbytes
        return torch.stack([found[key][:length] if found[key].ndim == 2 else found[key] for key in keys])

    def _fits(self, key: tuple[bytes, ...], length: int) -> bool:
        held = self.held.get(key)
        return held is not None and (held.ndim == 1 or len(held) >= length)

    def _computed(self, views: dict[str, Tensor]) -> Tensor:
        device = next(iter(views.values())).device.type
        with values_only(), torch.autocast(device, enabled=False):
            return self.function(views)


def _keys(views: dict[str, Tensor]) -> list[tuple[bytes, ...]]:
    """What each article holds in each view, without the padding behind."""
    columns = []
    for view in views.values():
        values = view.cpu().numpy()
        if values.ndim != 2:
            columns.append([value.tobytes() for value in values])
            continue
        used = (values != 0) * np.arange(1, values.shape[1] + 1)
        lengths = used.max(axis=1, initial=0)
        columns.append([row[:length].tobytes() for row, length in zip(values, lengths.tolist(), strict=True)])
    return list(zip(*columns, strict=True))
