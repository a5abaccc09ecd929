"""Layers over looked-up words: gradients are those of plain autograd, with each word multiplied once."""

import pytest
import torch
from support.nets import ROWS, Net, some_ids, words
from torch import nn

from rec_trak.gradients.computers import without_gradient
from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.takers import FOLLOWERS, TAKERS
from rec_trak.sketch.projection import SketchProjector

CONVOLUTIONS = {
    "same": {"kernel_size": 3, "padding": "same"},
    "wider than before": {"kernel_size": 2, "padding": 1},
    "narrower": {"kernel_size": 3},
    "spread out": {"kernel_size": 4, "padding": "same", "dilation": 2},
}


def recorded(net, ids):
    """Factors of the rows' sum, taken with followers."""
    recorder = Recorder(dict(net.named_parameters()), len(ids), TAKERS, FOLLOWERS)
    with without_gradient(net), recorder:
        f = net(ids)
    assert recorder.unknown == []
    return f, recorder.factors(f)


def assert_as_autograd(net, ids, factors, k=16):
    """Dense and sketched, by row."""
    dense = factors.dense()
    for row in range(ROWS):
        grads = torch.autograd.grad(net(ids[row : row + 1]).sum(), list(net.parameters()))
        for (name, _), grad in zip(net.named_parameters(), grads, strict=True):
            torch.testing.assert_close(dense[name][row], grad, rtol=1e-4, atol=1e-5)
    projector = SketchProjector(0, k, 0)
    torch.testing.assert_close(projector.project(factors, 0), projector.project(dense, 0), rtol=1e-4, atol=1e-4)


def embedding(padding):
    found = nn.Embedding(11, 6, padding_idx=0 if padding else None)
    nn.init.normal_(found.weight)  # the padding's row too
    return found


@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolution_over_words(kind, masked, padding):
    """No window is copied, and what a mask or a padding row holds back is held back."""

    def run(m, ids):
        x = m.words(ids)
        x = x * (ids != 0).unsqueeze(-1) if masked else x
        return torch.tanh(m.conv(x.transpose(1, 2)))

    torch.manual_seed(0)
    net, ids = Net(run, words=embedding(padding), conv=nn.Conv1d(6, 5, **CONVOLUTIONS[kind])), some_ids()
    f, factors = recorded(net, ids)
    torch.testing.assert_close(f, net(ids).detach(), rtol=0, atol=0, check_device=False)
    (weight,), (word,) = factors.parts["conv.weight"], factors.parts["words.weight"]
    assert (weight.taps, weight.right.shape[-1]) == (net.conv.kernel_size[0], 6)
    assert word.ids.data_ptr() == weight.keys.data_ptr()
    for k in (7, 16):
        assert_as_autograd(net, ids, factors, k)


@pytest.mark.parametrize(
    "change",
    [
        lambda x, ids: x * torch.rand(*ids.shape, 1),
        lambda x, ids: x * (torch.arange(6) > 2),
        lambda x, ids: (x * (ids != 0).unsqueeze(-1)).mul_(2),
    ],
    ids=["weights", "a mask of channels", "in place"],
)
def test_what_is_no_mask_of_places_is_not_followed(change):
    """A tensor that is not rows of the embedding takes the way of any other, with the same gradients."""

    def run(m, ids):
        torch.manual_seed(1)
        return torch.tanh(m.conv(change(m.words(ids), ids).transpose(1, 2)))

    net, ids = Net(run, words=words(), conv=nn.Conv1d(6, 5, 3)), some_ids()
    _, factors = recorded(net, ids)
    assert [part.taps for part in factors.parts["conv.weight"]] == [1]
    found = {name: grad.sum(dim=0) for name, grad in factors.dense().items()}
    grads = torch.autograd.grad(net(ids).sum(), list(net.parameters()))
    for (name, _), grad in zip(net.named_parameters(), grads, strict=True):
        torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=1e-5)


def test_linear_layers_multiply_each_word_once():
    """Two layers over masked words share what is different, and values and gradients are as before."""
    seen = []

    def run(m, ids):
        x = m.words(ids) * (ids != 0).unsqueeze(-1)
        return torch.tanh(m.layer(x)) * m.other(x)

    torch.manual_seed(0)
    net, ids = Net(run, words=embedding(True), layer=nn.Linear(6, 5), other=nn.Linear(6, 5, bias=False)), some_ids()
    expected = net(ids).detach()

    def watched(recorder, func, input, weight, bias=None):
        def counted(x, *rest):
            seen.append(len(x))
            return func(x, *rest)

        return TAKERS[func](recorder, counted, input, weight, bias)

    recorder = Recorder(dict(net.named_parameters()), ROWS, TAKERS | {nn.functional.linear: watched}, FOLLOWERS)
    with without_gradient(net), recorder:
        f = net(ids)
    torch.testing.assert_close(f.detach(), expected)
    assert seen == [len(ids.unique())] * 2
    assert_as_autograd(net, ids, recorder.factors(f))
