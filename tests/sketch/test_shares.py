"""A batch's factors in shares: every row in one of them, with all that it has."""

import pytest
import torch

from rec_trak.gradients.factors import Entries, Factors, Outer, Rows
from rec_trak.sketch.shares import shares

SHAPES = {"words": torch.Size([9, 4]), "layer": torch.Size([3, 4]), "bias": torch.Size([3])}


def make_factors(rows):
    """Factors of each kind; the first row has most places, and the last none in `words` but for a batch of one."""
    gen = torch.Generator().manual_seed(0)
    owner = torch.cat([torch.zeros(6, dtype=torch.int64), torch.arange(max(rows - 1, 1))])
    each = torch.arange(rows)
    keys = torch.randint(9, (len(owner), 5), generator=gen)
    left, right = torch.randn(len(owner), 5, 3, generator=gen), torch.randn(len(owner), 5, 4, generator=gen)
    parts = {
        "words": [Rows(keys, right, owner, skip=0)],
        "layer": [Outer(left, right, owner, 0, keys), Outer(left[:rows], right[:rows], each[: len(left)], 0)],
        "bias": [Entries(left, owner)],
    }
    return Factors(rows, SHAPES, parts)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_shares_are_the_batch(rows, count):
    """Their gradients, one after the other, are the batch's; no more shares than asked for, none without a row."""
    factors = make_factors(rows)
    found = shares(factors, count)
    assert len(found) <= count
    assert all(len(share) for share in found)
    whole, parts = factors.dense(), [share.dense() for share in found]
    for name in SHAPES:
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), whole[name])


def test_rows_without_a_gradient_have_a_share():
    """A batch in which nothing reaches f is cut too."""
    found = shares(Factors(5, {"bias": SHAPES["bias"]}, {"bias": []}), 2)
    assert sum(map(len, found)) == 5
