"""A model and rows that a test can train in a second. Not here: tests."""

import numpy as np

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged

CONFIG = ModelConfig(
    "nrms",
    sizes={"word_dim": 8, "heads": 2, "head_dim": 4, "query_dim": 4, "dropout": 0.1},
    text=TextConfig(words=tuple("abcdefgh")),
)


def make_inputs(rows=64, seed=0):
    """Twenty articles in two topics, each with words of its own; a user clicks the topic of the history."""
    rng = np.random.default_rng(seed)
    topic = np.arange(20) % 2
    titles = (rng.integers(0, 4, size=(20, 5)) + 2 + 4 * topic[:, None]).astype(np.int32)
    history, candidates = [], []
    for i in range(rows):
        own, other = np.flatnonzero(topic == i % 2), np.flatnonzero(topic != i % 2)
        history.append(rng.choice(own, size=rng.integers(1, 5), replace=False))
        candidates.append([rng.choice(own), *rng.choice(other, size=3, replace=False)])
    impressions = Impressions(
        user_ids=np.array([f"u{i % 7}" for i in range(rows)], dtype=object),
        history=Ragged.of(history),
        candidates=Ragged.of(candidates),
        labels=Ragged.of([[1, 0, 0, 0]] * rows),
        is_fake=np.zeros(rows, dtype=np.int8),
        sources=tuple(f"lines {4 * i}-{4 * i + 3}" for i in range(rows)),
    )
    return Inputs(impressions, {"title": titles}, np.arange(rows, dtype=np.int64) % 7 + 1)
