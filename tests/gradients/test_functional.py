"""traker's vmap path: Q of the pass that gives the gradients, and layers in the form that vmap takes."""

import numpy as np
import pytest
import torch
from support.recommenders import relative_error, world
from torch import nn

from rec_trak.clicks import ClickOutput
from rec_trak.gradients.computers import make_batch, row_batch, row_gradient, row_margin
from rec_trak.gradients.functional import FunctionalComputer


class Reads(nn.Module):
    """Titles through a recurrent layer of torch without a start state, users as means."""

    def __init__(self, layer, **words):
        super().__init__()
        self.words, self.layer = nn.Embedding(40, 6, **words), layer

    def forward(self, batch):
        ids = batch.articles["title"]
        real = (ids != 0).unsqueeze(-1)
        vectors = (self.layer(self.words(ids))[0] * real).sum(1) / real.sum(1).clamp(min=1)
        seen = nn.functional.embedding(batch.history, vectors) * batch.history_mask.unsqueeze(-1)
        return (nn.functional.embedding(batch.candidates, vectors) @ seen.sum(1).unsqueeze(-1)).squeeze(-1)


LAYERS = {
    "GRU": lambda: nn.GRU(6, 5, batch_first=True),
    "GRU, two layers, both directions": lambda: nn.GRU(6, 5, 2, batch_first=True, bidirectional=True),
    "LSTM": lambda: nn.LSTM(6, 5, batch_first=True),
    "RNN": lambda: nn.RNN(6, 5, batch_first=True),
    "RNN, relu": lambda: nn.RNN(6, 5, batch_first=True, nonlinearity="relu"),
}


def in_a_batch(model, inputs, rows):
    computer = FunctionalComputer(model, ClickOutput("softmax"), 0, torch.float32, "cpu")
    batch = make_batch("functional", model, inputs, rows, "cpu")
    return computer.compute_per_sample_grad(batch), computer.compute_loss_grad(batch)


def assert_those_of_the_rows_alone(model, inputs, grads, q, rows):
    output, parameters = ClickOutput("softmax"), dict(model.named_parameters())
    for i, row in enumerate(rows):
        alone = row_batch(inputs, row, "cpu")
        expected = row_gradient(model, output, alone, parameters)
        assert relative_error({n: g[i] for n, g in grads.items()}, expected) < 1e-5
        torch.testing.assert_close(q[i, 0], torch.sigmoid(-row_margin(model, output, alone)).detach())


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", LAYERS)
def test_recurrent_layers_are_taken(tmp_path, name):
    """Law: gradients and Q in a batch are those of plain autograd of the row alone, without a start state of the
    user's."""
    _, inputs = world(tmp_path, "nrms")
    model, rows = Reads(LAYERS[name]()).eval(), np.array([3, 0, 7])
    assert_those_of_the_rows_alone(model, inputs, *in_a_batch(model, inputs, rows), rows)


def test_sparse_look_ups_have_the_numbers_of_dense_ones(tmp_path):
    """Law: `sparse` is a form of the gradient; under vmap, and alone, its numbers are those of sparse=False."""
    _, inputs = world(tmp_path, "nrms")
    model, rows = Reads(LAYERS["RNN"](), sparse=True).eval(), np.array([3, 0])
    grads, q = in_a_batch(model, inputs, rows)
    alone = row_gradient(model, ClickOutput("softmax"), row_batch(inputs, 3, "cpu"), dict(model.named_parameters()))
    assert {g.layout for g in alone.values()} == {torch.strided}
    model.words.sparse = False
    assert_those_of_the_rows_alone(model, inputs, grads, q, rows)
    dense = row_gradient(model, ClickOutput("softmax"), row_batch(inputs, 3, "cpu"), dict(model.named_parameters()))
    torch.testing.assert_close(alone, dense)


def test_q_comes_from_the_same_pass(tmp_path):
    """Law: one forward pass a batch gives both; Q of another batch, or of other weights, is not the one kept."""
    model, inputs = world(tmp_path, "nrms")
    computer = FunctionalComputer(model, ClickOutput("softmax"), 0, torch.float32, "cpu")
    calls, output = [], computer.modelout_fn
    get = output.get_output
    output.get_output = lambda *given: calls.append(1) or get(*given)
    first, second = (make_batch("functional", model, inputs, rows, "cpu") for rows in (np.arange(3), np.arange(3, 6)))
    computer.compute_per_sample_grad(first)
    q = computer.compute_loss_grad(first)
    assert len(calls) == 1
    assert not torch.equal(computer.compute_loss_grad(second), q)
    torch.testing.assert_close(computer.compute_loss_grad(first), q)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    computer.load_model_params(model)
    assert not torch.equal(computer.compute_loss_grad(first), q)
