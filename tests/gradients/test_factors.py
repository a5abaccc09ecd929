"""Factors of every known use of a parameter add up to plain autograd, row by row; unknown uses are found."""

import numpy as np
import pytest
import torch
from support.nets import ROWS, Net, some_ids, words
from torch import nn

from rec_trak.clicks import ClickOutput
from rec_trak.errors import ConfigError
from rec_trak.gradients.computers import FactoredComputer, without_gradient
from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.takers import TAKERS
from rec_trak.models.layers import GRU
from rec_trak.sketch.projection import SketchProjector


def vector(n):
    return nn.Parameter(torch.randn(n))


def padded_embedding():
    embedding = nn.Embedding(11, 6, padding_idx=0)
    with torch.no_grad():
        embedding.weight.normal_()
    return embedding


def tied(m, ids):
    return torch.tanh(m.head(torch.tanh(m.words(ids))))


def tied_net():
    net = Net(tied, words=nn.Embedding(11, 6), head=nn.Linear(6, 11))
    net.head.weight = net.words.weight
    return net


def attend(m, ids, **more):
    x = m.words(ids)
    return torch.tanh(m.attention(x, x, x, **more)[0])


def cross(m, ids):
    x = m.words(ids)
    return torch.tanh(m.attention(x[:, :2], x, x, need_weights=False)[0])


def recur(m, ids):
    return m.gru(m.words(ids), ids != 0, torch.zeros(len(ids), 5))


NETS = {
    "linear": lambda: Net(lambda m, i: torch.tanh(m.layer(m.words(i))), words=words(), layer=nn.Linear(6, 5)),
    "linear without bias": lambda: Net(
        lambda m, i: torch.tanh(m.layer(m.words(i))), words=words(), layer=nn.Linear(6, 5, bias=False)
    ),
    "padding_idx": lambda: Net(lambda m, i: torch.tanh(m.words(i)) ** 2, words=padded_embedding()),
    "shared embedding": lambda: Net(lambda m, i: torch.tanh(m.words(i)) * m.words(i.flip(1)), words=words()),
    "tied": tied_net,
    "conv same": lambda: Net(
        lambda m, i: torch.relu(m.conv(m.words(i).transpose(1, 2))),
        words=words(),
        conv=nn.Conv1d(6, 4, 3, padding="same"),
    ),
    "conv stride": lambda: Net(
        lambda m, i: torch.relu(m.conv(m.words(i).transpose(1, 2))),
        words=words(),
        conv=nn.Conv1d(6, 4, 2, stride=2, padding=1, dilation=2),
    ),
    "layer norm": lambda: Net(lambda m, i: torch.tanh(m.norm(m.words(i))), words=words(), norm=nn.LayerNorm(6)),
    "attention": lambda: Net(attend, words=words(), attention=nn.MultiheadAttention(6, 2, batch_first=True)),
    "masked attention": lambda: Net(
        lambda m, i: attend(m, i, key_padding_mask=i == 0),
        words=words(),
        attention=nn.MultiheadAttention(6, 3, batch_first=True),
    ),
    "cross attention": lambda: Net(cross, words=words(), attention=nn.MultiheadAttention(6, 2, batch_first=True)),
    "query vector": lambda: Net(
        lambda m, i: torch.softmax(m.words(i) @ m.query, 1)[..., None] * m.words(i), words=words(), query=vector(6)
    ),
    "matrix product": lambda: Net(
        lambda m, i: torch.tanh(torch.matmul(m.words(i), m.matrix)),
        words=words(),
        matrix=nn.Parameter(torch.randn(6, 3)),
    ),
    "scale and shift": lambda: Net(
        lambda m, i: torch.tanh(m.scale * torch.tanh(m.words(i)) + m.shift),
        words=words(),
        scale=vector(6),
        shift=vector(6),
    ),
    "gru": lambda: Net(recur, words=words(), gru=GRU(6, 5)),
    "unused parameter": lambda: Net(lambda m, i: torch.tanh(m.words(i)), words=words(), spare=vector(3)),
}


def alone(net, ids):
    """Plain autograd, one row after the other."""
    parameters = dict(net.named_parameters())
    rows = []
    for i in range(len(ids)):
        grads = torch.autograd.grad(net(ids[i : i + 1]).sum(), list(parameters.values()), allow_unused=True)
        rows.append([torch.zeros_like(p) if g is None else g for p, g in zip(parameters.values(), grads, strict=True)])
    return {name: torch.stack(column) for name, column in zip(parameters, zip(*rows, strict=True), strict=True)}


def recorded(net, ids):
    """The recorder, and the factors of the rows' sum."""
    recorder = Recorder(dict(net.named_parameters()), len(ids), TAKERS)
    with without_gradient(net), recorder:
        f = net(ids)
    return recorder, recorder.factors(f)


@pytest.mark.parametrize("name", NETS)
def test_factors_equal_plain_autograd(name):
    """|g - g'| / |g'| <= 1e-5 for each row, over all parameters."""
    torch.manual_seed(0)
    net, ids = NETS[name]().eval(), some_ids()
    expected = alone(net, ids)
    recorder, factors = recorded(net, ids)
    assert recorder.unknown == []
    found = factors.dense()
    for i in range(ROWS):
        error = sum(float((found[n][i] - g[i]).square().sum()) for n, g in expected.items()) ** 0.5
        assert error <= 1e-5 * sum(float(g[i].square().sum()) for g in expected.values()) ** 0.5
    some = factors.dense([2, 0])
    for n, g in found.items():
        torch.testing.assert_close(some[n], g[[2, 0]])


def test_blocks_belong_to_the_owner_that_is_set():
    """With an owner, a leading dimension of any length is shared out among the rows."""
    torch.manual_seed(0)
    layer, x = nn.Linear(5, 3), torch.randn(6, 5)
    owner = torch.tensor([0, 0, 0, 1, 3, 3])
    recorder = Recorder(dict(layer.named_parameters()), ROWS, TAKERS)
    with without_gradient(layer), recorder:
        recorder.owner = owner
        out = torch.tanh(layer(x)).sum(dim=1)
    found = recorder.factors(torch.zeros(ROWS).index_add(0, owner, out)).dense()
    for row in range(ROWS):
        grads = torch.autograd.grad(torch.tanh(layer(x[owner == row])).sum(), list(layer.parameters()))
        torch.testing.assert_close(found["weight"][row], grads[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found["bias"][row], grads[1], rtol=1e-5, atol=1e-6)


def test_a_leading_dimension_of_no_whole_rows_is_unknown():
    """Seven blocks cannot be shared out among four rows."""
    layer = nn.Linear(5, 3)
    recorder = Recorder(dict(layer.named_parameters()), ROWS, TAKERS)
    with without_gradient(layer), recorder:
        layer(torch.randn(7, 5))
    assert recorder.unknown[0] == "`weight`, whose leading dimension 7 is not of 4 rows"


UNKNOWN = {
    "cumsum": lambda: Net(lambda m, i: m.words(i) * torch.cumsum(m.odd, 0), words=words(), odd=vector(6)),
    "expand": lambda: Net(lambda m, i: m.words(i) * m.odd.expand(len(i), 7, 6), words=words(), odd=vector(6)),
    "max_norm": lambda: Net(lambda m, i: m.odd(i), odd=nn.Embedding(11, 6, max_norm=1.0)),
    "turned conv": lambda: Net(
        lambda m, i: m.odd(m.words(i).transpose(1, 2)), words=words(), odd=nn.ConvTranspose1d(6, 4, 3)
    ),
    "matrix first": lambda: Net(lambda m, i: m.odd @ m.words(i), words=words(), odd=nn.Parameter(torch.randn(3, 7))),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_uses_are_found_and_named(name):
    """Nothing that a parameter does is left out in silence."""
    net = UNKNOWN[name]().eval()
    recorder = Recorder(dict(net.named_parameters()), ROWS, TAKERS)
    with without_gradient(net), recorder:
        net(some_ids())
    assert any(use.startswith("`odd") and " in " in use for use in recorder.unknown)


def test_reading_a_shape_is_no_use():
    """Metadata of a parameter is not a gradient path."""
    layer = nn.Linear(5, 3)
    recorder = Recorder(dict(layer.named_parameters()), ROWS, TAKERS)
    with without_gradient(layer), recorder:
        assert (layer.weight.shape[0], layer.weight.dim(), layer.weight.numel()) == (3, 2, 15)
        assert layer.weight.device.type == "cpu"
    assert recorder.unknown == []


def test_flags_come_back_after_a_pass_and_after_an_error():
    """Which weights are trainable is as before, whatever happens inside."""
    layer = nn.Linear(5, 3)
    layer.bias.requires_grad_(False)
    with without_gradient(layer):
        assert not layer.weight.requires_grad
    with pytest.raises(RuntimeError, match="mat1"), without_gradient(layer):
        layer(torch.zeros(2, 7))
    assert (layer.weight.requires_grad, layer.bias.requires_grad) == (True, False)


def test_computer_refuses_what_it_cannot_take_apart(tmp_path):
    """The factored computer names the use instead of leaving it out."""
    from support import tiny

    from rec_trak.gradients.computers import make_batch

    job = tiny.make_job(tmp_path)

    class Odd(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.odd = inner, vector(2)

        def forward(self, batch):
            return self.inner(batch) * torch.cumsum(self.odd, 0)[1]

    model = Odd(job.model).eval()
    computer = FactoredComputer(model, ClickOutput("softmax"))
    with pytest.raises(ConfigError, match="`factored` cannot take this model apart: `odd` in cumsum"):
        computer.compute_per_sample_grad(make_batch("factored", model, job.inputs, np.arange(3), "cpu"))


def test_frozen_layers_begin_no_graph():
    """Where nothing before a layer is wanted, nothing before it is differentiated."""
    net = Net(lambda m, i: torch.tanh(m.layer(m.words(i))), words=words(), layer=nn.Linear(6, 5))
    recorder = Recorder({"layer.weight": net.layer.weight}, ROWS, TAKERS)
    with without_gradient(net), recorder:
        f = net(some_ids())
        embedded = net.words(some_ids())
    assert f.requires_grad
    assert not embedded.requires_grad
    factors = recorder.factors(f)
    assert set(factors.dense()) == {"layer.weight"}
    plain = torch.autograd.grad(net(some_ids()).sum(), net.layer.weight)[0]
    torch.testing.assert_close(factors.dense()["layer.weight"].sum(dim=0), plain, rtol=1e-5, atol=1e-5)


def test_an_output_changed_in_place_is_found():
    """relu_ on a layer's output would put the gradient in the wrong place."""
    net = Net(lambda m, i: torch.relu_(m.layer(2 * m.words(i))), words=words(), layer=nn.Linear(6, 5))
    recorder = Recorder(dict(net.named_parameters()), ROWS, TAKERS)
    with without_gradient(net), recorder:
        net(some_ids())
    recorder.find_changed()
    assert "`layer.weight`, whose output is changed in place" in recorder.unknown


def test_nothing_that_reaches_f_gives_zeros():
    """Wanted parameters that are used for nothing have gradient zero, and so has their sketch."""
    layer, x = nn.Linear(5, 3), torch.randn(ROWS, 5)
    recorder = Recorder(dict(layer.named_parameters()), ROWS, TAKERS)
    with without_gradient(layer), recorder:
        layer(x)
    factors = recorder.factors(x.sum(dim=1))
    assert not factors.dense()["weight"].any()
    assert not SketchProjector(0, 8, 0).project(factors, 0).any()
