"""The recommenders: modules and nothing else. Not here: weights on disk, batches, losses, training.

A model is `encode(articles) -> (n, D)` and `score(vectors, batch) -> (B, C)`; `model(batch)` does both.
"""
