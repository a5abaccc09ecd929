"""Small modules of layers, and inputs for them. Not here: tests."""

import torch
from torch import nn

ROWS = 4


class Net(nn.Module):
    """A module made of parts and a forward function of (module, ids)."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._forward = forward

    def forward(self, ids):
        return self._forward(self, ids).flatten(1).sum(dim=1)


def words():
    return nn.Embedding(11, 6)


def some_ids():
    """Ids with padding, and one id several times in a row."""
    ids = torch.randint(1, 11, (ROWS, 7), generator=torch.Generator().manual_seed(1))
    ids[0, :3] = 4
    ids[1, 5:] = 0
    return ids
