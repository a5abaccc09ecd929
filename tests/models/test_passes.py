"""Passes of a model are those of its training: torch's fast path is off inside, and what it was afterwards."""

import pytest
import torch
from torch import nn

from rec_trak.models.passes import as_trained, values_only


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()


@pytest.mark.parametrize("setting", [True, False])
def test_the_setting_of_the_process_comes_back(setting):
    """Law: after a pass, and after one that raises, the fast path is on or off as before; inside it is off."""
    torch.backends.mha.set_fastpath_enabled(setting)
    try:
        with as_trained(), values_only():
            assert not torch.backends.mha.get_fastpath_enabled()
        assert torch.backends.mha.get_fastpath_enabled() is setting
        with pytest.raises(ValueError, match="inside"), values_only():
            raise ValueError("inside")
        assert torch.backends.mha.get_fastpath_enabled() is setting
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_values_are_those_with_gradients():
    """Law: without a graph, padded places hold what they hold with one, and a text of padding alone is finite; torch's
    fast path gives zeros at the padded places, and nothing finite or an error for such a text."""
    net, x = encoder(), torch.randn(3, 5, 8)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [True] * 5])
    expected = net(x, src_key_padding_mask=padding).detach()
    assert expected.isfinite().all()
    with values_only():
        found = net(x, src_key_padding_mask=padding)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected)
