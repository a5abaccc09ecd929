"""A model that knows nothing of rec-trak, and the one function that rec-trak needs to call it.

`configs/trak/own.yaml` names both. `python -m examples.own_model configs/trak/own.yaml runs/own/clean.pt` ranks the
rows from Python. Not here: its training, which is any code of yours that ends in
`torch.save(model.state_dict(), path)`.
"""

import sys

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


def rank(yaml, checkpoint, folder="trak_results", top_k=10):
    """The rows that rest most on themselves, as a table would show them: number, score, article clicked."""
    from rec_trak import compute_trak_scores, load_model, load_train_data, rank_training_samples

    model = load_model(checkpoint, analysis=yaml)  # the YAML's class, called by its `forward`
    rows, loader = load_train_data(yaml)
    results = compute_trak_scores(model, loader, device="cpu", proj_dim=512, save_dir=folder)
    ranking = rank_training_samples(results["scores"], results["labels"], top_k, results["nothing"])
    titles = [loader.articles.titles[article] for article in rows.clicked]
    return [(int(i), float(results["scores"][i]), titles[i]) for i in ranking["top_k_indices"]]


if __name__ == "__main__":
    for row, score, title in rank(*sys.argv[1:]):
        print(f"row {row}  {score:.4g}  {title}")
