"""Models as users write them, copied by test_own.py into a working directory beside the example. Not here: tests."""

import torch
from own_model import TwoTower, scores
from torch import nn


class Squeezed(TwoTower):
    """Takes a batch of ours itself, and gives (C,) for a single row."""

    def forward(self, batch):
        return scores(super().forward, batch).squeeze()


class InParts(nn.Module):
    """In our two parts, with a parameter at the top."""

    def __init__(self, words):
        super().__init__()
        self.words = nn.Embedding(words, 4, padding_idx=0)
        self.scale = nn.Parameter(torch.ones(4))

    def encode(self, articles):
        return torch.tanh(self.words(articles["title"]).sum(1) * self.scale)

    def score(self, vectors, batch):
        user = (nn.functional.embedding(batch.history, vectors) * batch.history_mask.unsqueeze(-1)).sum(1)
        return (nn.functional.embedding(batch.candidates, vectors) @ user.unsqueeze(-1)).squeeze(-1)

    def forward(self, batch):
        return self.score(self.encode(batch.articles), batch)


class NoModel:
    pass


class Raises(nn.Module):
    def __init__(self):
        raise RuntimeError("no such file: vectors.bin")


def wide(model, batch):
    return scores(model, batch).unsqueeze(-1)


def whole(model, batch):
    return scores(model, batch).long()


def nothing(model, batch):
    scores(model, batch)


@torch.no_grad()
def without_graph(model, batch):
    return scores(model, batch)


A_NUMBER = 3
