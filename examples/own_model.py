"""A model that knows nothing of rec-trak, and the one function that rec-trak needs to call it.

`configs/trak/own.yaml` names both. Not here: its training, which is any code of yours that ends in
`torch.save(model.state_dict(), path)`.
"""

import torch
from torch import nn


class TwoTower(nn.Module):
    """Titles as means of word vectors, users as means of titles, scores as dot products."""

    def __init__(self, words: int, dim: int = 32):
        super().__init__()
        self.words = nn.Embedding(words, dim)
        self.title = nn.Linear(dim, dim)
        self.user = nn.Linear(dim, dim)

    def forward(self, history, is_real, candidates):
        """Scores (B, C) from titles (B, H, T) and (B, C, T), and which of the H are real (B, H)."""
        read = self.read(history) * is_real.unsqueeze(-1)
        user = self.user(read.sum(1) / is_real.sum(1, keepdim=True).clamp(min=1))
        return (self.read(candidates) @ user.unsqueeze(-1)).squeeze(-1)

    def read(self, titles):
        """Title vectors (..., D) from word ids (..., T), 0 for padding."""
        real = (titles != 0).unsqueeze(-1)
        return torch.tanh(self.title((self.words(titles) * real).sum(-2) / real.sum(-2).clamp(min=1)))


def scores(model, batch):
    """Scores (B, C) of rec-trak's batch: titles looked up by position, then the model's own arguments."""
    titles = batch.articles["title"]
    return model(titles[batch.history], batch.history_mask, titles[batch.candidates])
