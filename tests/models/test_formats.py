"""Laws of number formats: short ones are run in float32 with a word, nobody's model is changed, others pass."""

import pytest
import torch
from torch import nn

from rec_trak.errors import RecTrakWarning
from rec_trak.models.formats import in_float32, warn_of_formats


def make():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model.register_buffer("count", torch.tensor([3]))
    return model


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats_are_copied(dtype):
    """The copy has the same rounded numbers and ties; the model stays as it was."""
    model = make().to(dtype)
    with pytest.warns(RecTrakWarning, match=f"here: the weights are {str(dtype)[6:]}. The model runs in float32"):
        twin = in_float32(model, "here")
    assert {t.dtype for t in model.parameters()} == {dtype}
    assert {t.dtype for t in twin.parameters()} == {torch.float32}
    assert twin[1].weight is twin[0].weight
    assert twin.count.dtype == torch.int64
    assert all(torch.equal(p, q.to(dtype)) for q, p in zip(twin.parameters(), model.parameters(), strict=True))


def test_other_formats_pass(recwarn):
    """Models in float32 and float64 are themselves."""
    for model in (make(), make().double()):
        assert in_float32(model, "here") is model
    warn_of_formats([torch.ones(1), torch.tensor([3], dtype=torch.int8)], "here")
    assert not recwarn.list
