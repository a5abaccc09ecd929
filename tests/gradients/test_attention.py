"""torch's attention as factors: each form of it, each form of mask, and places without anything to attend to."""

import pytest
import torch
from torch import nn

from rec_trak.gradients.computers import without_gradient
from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.takers import TAKERS

ROWS, L, D = 3, 4, 6
PADDING = torch.tensor([[False] * 4, [False, False, True, True], [True] * 4])
CAUSAL = nn.Transformer.generate_square_subsequent_mask(L)

FORMS = {  # arguments of the layer and of its call
    "plain": ({}, {}),
    "padding": ({}, {"key_padding_mask": PADDING}),
    "float padding": ({}, {"key_padding_mask": torch.zeros(ROWS, L).masked_fill(PADDING, -torch.inf)}),
    "causal": ({}, {"attn_mask": CAUSAL, "is_causal": True}),
    "causal and padding": ({}, {"attn_mask": CAUSAL < 0, "key_padding_mask": PADDING, "is_causal": True}),
    "a mask for each head": ({}, {"attn_mask": torch.randn(2 * ROWS, L, L)}),
    "other widths": ({"kdim": D, "vdim": D}, {"key_padding_mask": PADDING}),
    "no bias": ({"bias": False}, {"key_padding_mask": PADDING}),
    "other widths, no bias": ({"kdim": D, "vdim": D, "bias": False}, {}),
}


@pytest.mark.parametrize("needed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_equals_plain_autograd(form, needed):
    """Law: values and each row's gradient are torch's own, and finite; where weights are asked for, a row of padding
    alone is NaN in both, so it is left out."""
    layer, keys = FORMS[form]
    net, x = nn.MultiheadAttention(D, 2, batch_first=True, **layer).eval(), torch.randn(ROWS, L, D)
    parameters = dict(net.named_parameters())
    empty = needed and keys.get("key_padding_mask") is not None
    recorder = Recorder(parameters, ROWS, TAKERS)
    with without_gradient(net), recorder:
        out, weights = net(x, x, x, need_weights=needed, **keys)
    assert recorder.unknown == []
    expected, expected_weights = net(x, x, x, need_weights=needed, **keys)
    torch.testing.assert_close(out, expected, equal_nan=True)
    assert expected[-1].isnan().any() == empty
    torch.testing.assert_close(weights, expected_weights, equal_nan=True)
    found = recorder.factors(torch.sin(out).flatten(1).sum(1)).dense()
    for b in range(ROWS - empty):  # alone: beside a row of NaN, plain autograd is NaN
        alone = net(x[b : b + 1], x[b : b + 1], x[b : b + 1], need_weights=needed, **of_row(keys, b))[0]
        grads = torch.autograd.grad(torch.sin(alone).sum(), list(parameters.values()))
        for name, grad in zip(parameters, grads, strict=True):
            torch.testing.assert_close(found[name][b], grad, rtol=1e-4, atol=1e-6)


def of_row(keys, b):
    """The arguments of a call for one row."""
    own = dict(keys)
    if "key_padding_mask" in keys:
        own["key_padding_mask"] = keys["key_padding_mask"][b : b + 1]
    if "attn_mask" in keys and keys["attn_mask"].dim() == 3:
        own["attn_mask"] = keys["attn_mask"][2 * b : 2 * b + 2]
    return own
