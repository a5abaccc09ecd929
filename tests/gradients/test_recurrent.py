"""torch's recurrent layers as factors: packed or not, every gradient is that of plain autograd, row by row."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rec_trak.gradients.computers import without_gradient
from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.takers import FOLLOWERS, TAKERS

ROWS = 4
IDS = torch.tensor([[4, 2, 7, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7], [9, 9, 8, 9, 1, 0, 0], [3, 0, 0, 0, 0, 0, 0]])


class Net(nn.Module):
    """Word vectors, a recurrent layer, and a number a row that outputs of all steps and last states reach."""

    def __init__(self, layer, packed=None, start=False):
        super().__init__()
        self.words, self.layer, self.packed = nn.Embedding(11, 6), layer, packed
        self.start = nn.Linear(6, 5) if start else None

    def forward(self, ids):
        x = self.words(ids)
        first = None if self.start is None else torch.tanh(self.start(x[:, 0])).unsqueeze(0)
        lengths = (ids != 0).sum(1)
        if self.packed == "any order":
            packs = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            out, last = self.layer(packs, first)
            out = pad_packed_sequence(out, batch_first=True, total_length=7)[0]
        elif self.packed == "sorted":
            out, last = self.layer(pack_padded_sequence(x, torch.tensor([7, 5, 3, 1]), batch_first=True), first)
            out = pad_packed_sequence(out, batch_first=True, total_length=7)[0]
        elif self.layer.batch_first:
            out, last = self.layer(x, first)
        else:
            out, last = self.layer(x.transpose(0, 1), first)
            out = out.transpose(0, 1)
        states = last if isinstance(last, tuple) else (last,)
        read = torch.sin(out).flatten(1) @ torch.linspace(0.2, 1, out[0].numel())
        return read + sum(torch.sin(2 * state).transpose(0, 1).flatten(1).sum(1) for state in states)


def net(kind, packed=None, start=False, batch_first=True, **keys):
    return Net(kind(6, 5, batch_first=batch_first, **keys), packed, start).eval()


NETS = {
    "GRU": lambda: net(nn.GRU),
    "GRU, no bias": lambda: net(nn.GRU, bias=False),
    "GRU, time first": lambda: net(nn.GRU, batch_first=False),
    "GRU, two layers, both directions": lambda: net(nn.GRU, num_layers=2, bidirectional=True),
    "GRU from a state": lambda: net(nn.GRU, start=True),
    "GRU, dropout": lambda: net(nn.GRU, num_layers=2, dropout=0.5),
    "GRU, packed": lambda: net(nn.GRU, "any order"),
    "GRU, packed, from a state": lambda: net(nn.GRU, "any order", start=True),
    "LSTM": lambda: net(nn.LSTM),
    "LSTM, packed, two layers, both directions": lambda: net(nn.LSTM, "any order", num_layers=2, bidirectional=True),
    "RNN": lambda: net(nn.RNN),
    "RNN, relu, packed": lambda: net(nn.RNN, "any order", nonlinearity="relu"),
}


def assert_plain(model, ids):
    """The recorder's values and gradients, and whether it knew all uses."""
    parameters = dict(model.named_parameters())
    recorder = Recorder(parameters, len(ids), TAKERS, FOLLOWERS)
    with without_gradient(model), recorder:
        f = model(ids)
    recorder.find_changed()
    assert recorder.unknown == []
    found, plain = recorder.factors(f).dense(), model(ids)
    torch.testing.assert_close(f, plain)
    for b in range(len(ids)):
        grads = torch.autograd.grad(plain[b], list(parameters.values()), retain_graph=True)
        error = sum(float((found[n][b] - g).square().sum()) for n, g in zip(parameters, grads, strict=True)) ** 0.5
        assert error <= 1e-5 * sum(float(g.square().sum()) for g in grads) ** 0.5


@pytest.mark.parametrize("name", NETS)
def test_every_form_equals_plain_autograd(name):
    """Law: |g - g'| <= 1e-5 |g'| for each row, and values to float32's rounding."""
    torch.manual_seed(0)
    assert_plain(NETS[name](), IDS)


def test_sequences_that_are_packed_in_order_are_taken():
    """Law: without a sorting by torch, sequences stand in the order of the rows."""
    assert_plain(net(nn.GRU, "sorted"), IDS[[1, 2, 0, 3]])


def test_what_cannot_be_taken_apart_is_named():
    """Law: an LSTM with projections, and sequences that were packed before anybody watched, are unknown uses."""
    x = torch.randn(7, ROWS, 6)
    for model, given in ((nn.LSTM(6, 5, proj_size=3), x), (nn.GRU(6, 5), pack_padded_sequence(x, [7, 5, 2, 1]))):
        recorder = Recorder(dict(model.named_parameters()), ROWS, TAKERS, FOLLOWERS)
        with without_gradient(model), recorder:
            model(given)
        assert any(use.startswith("`weight_ih_l0` in ") for use in recorder.unknown)
