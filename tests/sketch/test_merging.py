"""Merged places: the same sums, one place for each different key of a row."""

import pytest
import torch
from support.nets import ROWS, Net, some_ids, words
from torch import nn

from rec_trak.gradients.computers import without_gradient
from rec_trak.gradients.factors import Entries, Factors, Outer, Recorder, Rows
from rec_trak.gradients.takers import TAKERS
from rec_trak.sketch.merging import merged
from rec_trak.sketch.projection import SketchProjector


def looked_up(seed=0):
    """Two blocks of places with recurring keys, as an outer product, as rows, and as rows through a matrix."""
    gen = torch.Generator().manual_seed(seed)
    table, through = torch.randn(9, 5, generator=gen), torch.randn(4, 5, generator=gen)
    blocks = []
    for owner in (torch.tensor([0, 0, 1, 3]), torch.tensor([0, 1, 1, 2])):
        keys = torch.randint(9, (4, 6), generator=gen)
        blocks.append((keys, torch.randn(4, 6, 4, generator=gen), owner))
    outer = [Outer(grad, table[keys], owner, 0, keys) for keys, grad, owner in blocks]
    rows = [Rows(keys, grad @ through, owner, skip=0) for keys, grad, owner in blocks]
    rows += [Rows(keys, grad, owner, through, skip=3) for keys, grad, owner in blocks]
    return {"weight": outer, "words": rows}, {"weight": torch.Size([4, 5]), "words": torch.Size([9, 5])}


@pytest.mark.parametrize("name", ["weight", "words"])
def test_merged_parts_are_the_same_gradient(name):
    """Merging changes no sum, leaves a row's key once, and shares its places between parameters."""
    parts, shapes = looked_up()
    known = {}
    found = merged(parts[name], known)
    expected = Factors(4, shapes, parts).dense()[name]
    torch.testing.assert_close(Factors(4, shapes, {name: found}).dense()[name], expected)
    places = [(int(o), int(k)) for part in found for o, k in zip(part.owner, known_keys(part, known), strict=True)]
    assert len(places) == len(set(places)) < sum(p.owner.numel() * 6 for p in parts[name])
    assert all(a <= b for a, b in zip(found[0].owner[:-1], found[0].owner[1:], strict=True))
    merged(parts["words" if name == "weight" else "weight"], known)
    assert len(known) == 1


def known_keys(part, known):
    return part.ids[:, 0] if isinstance(part, Rows) else next(iter(known.values())).keys


@pytest.mark.parametrize(
    "parts",
    [
        [Outer(torch.ones(2, 1, 3), torch.ones(2, 1, 3), torch.arange(2), 0)],
        [Entries(torch.ones(2, 1, 3), torch.arange(2))],
        [Outer(torch.ones(2, 1, 3), torch.ones(2, 1, 3), torch.arange(2), i, torch.ones(2, 1).long()) for i in (0, 3)],
    ],
    ids=["no keys", "entries", "slices of a parameter"],
)
def test_parts_without_common_keys_stay(parts):
    """Nothing is merged where inputs are not known to be equal, or go to other rows of the parameter."""
    assert merged(parts, {}) is parts


@pytest.mark.parametrize("also", [False, True], ids=["layers alone", "another use"])
def test_what_layers_look_up_gets_its_gradient_through_them(also):
    """An embedding read by two linear layers, and perhaps by something else, has the gradient that autograd gives."""
    torch.manual_seed(0)

    def run(m, i):
        found = m.words(i)
        out = torch.tanh(m.layer(found)) * m.other(found)
        return out + found.square().sum(-1, keepdim=True) if also else out

    net = Net(run, words=words(), layer=nn.Linear(6, 5), other=nn.Linear(6, 5, bias=False))
    ids = some_ids()
    recorder = Recorder(dict(net.named_parameters()), ROWS, TAKERS)
    with without_gradient(net), recorder:
        f = net(ids)
    factors = recorder.factors(f)
    assert any(part.through is not None for part in factors.parts["words.weight"])
    expected = [torch.autograd.grad(net(ids[b : b + 1]).sum(), list(net.parameters())) for b in range(ROWS)]
    for k, (name, _) in enumerate(net.named_parameters()):
        torch.testing.assert_close(factors.dense()[name], torch.stack([grads[k] for grads in expected]))
    projector = SketchProjector(0, 16, 0)
    torch.testing.assert_close(projector.project(factors, 0), projector.project(factors.dense(), 0))
