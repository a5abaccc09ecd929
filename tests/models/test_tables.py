"""A table with `max_norm` stands still: shortened once, as torch shortens what it looks up."""

import warnings

import pytest
import torch
from torch import nn

from rec_trak.errors import RecTrakWarning
from rec_trak.models.tables import standing_still


class Words(nn.Module):
    def __init__(self, **keys):
        super().__init__()
        self.words = nn.Embedding(9, 4, **keys)

    def forward(self, ids):
        return self.words(ids)


@pytest.mark.parametrize("norm_type", [2.0, 1.0])
def test_rows_are_those_that_torch_looks_up(norm_type):
    """Law: values are torch's own; neither the model that was given nor the copy changes in a pass."""
    given = Words(max_norm=1.0, norm_type=norm_type)
    state = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    with pytest.warns(RecTrakWarning, match=r"`model`: 1 table\(s\) that a pass changes \(words\)\. Each pass"):
        still = standing_still(given, "`model`")
    torch.testing.assert_close(given.words.weight.detach(), state["words.weight"], rtol=0, atol=0)
    ids = torch.arange(9)
    version = still.words.weight._version
    found = still(ids)
    assert still.words.weight._version == version
    torch.testing.assert_close(found, given(ids))  # which changes `given`
    assert not torch.equal(given.words.weight, state["words.weight"])
    assert float(found.norm(p=norm_type, dim=1).max()) <= 1 + 1e-6


def test_weights_loaded_later_are_shortened_too():
    """Law: each checkpoint's own rows, and never the file's tensors."""
    with pytest.warns(RecTrakWarning, match="that a pass changes"):
        still = standing_still(Words(max_norm=1.0), "`model`")
    state = {"words.weight": torch.full((9, 4), 3.0)}
    still.load_state_dict(state)
    torch.testing.assert_close(still(torch.arange(9)), torch.full((9, 4), 0.5))
    assert (state["words.weight"] == 3).all()


def test_bags_are_tables_too():
    """Law: `nn.EmbeddingBag` with a `max_norm` gives what torch gives."""
    given = nn.EmbeddingBag(9, 4, max_norm=1.0)
    with pytest.warns(RecTrakWarning, match=r"1 table\(s\) that a pass changes \(model\)"):
        still = standing_still(given, "here")
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(still(ids), given(ids))


def test_other_models_come_back_as_they_are():
    """Law: nothing is copied and nothing is said without a `max_norm`."""
    given = Words()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert standing_still(given, "here") is given
