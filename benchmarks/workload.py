"""The click log that the benchmarks run on: MIND-like lengths, Zipf articles, no file. Not here: timing."""

from __future__ import annotations

import numpy as np
import torch

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.models.build import build_model

SIZES = {
    "nrms": {"word_dim": 300, "heads": 20, "head_dim": 20, "query_dim": 200},
    "naml": {"word_dim": 300, "filters": 400, "query_dim": 200},
    "lstur": {"word_dim": 300, "filters": 300, "query_dim": 200},
}


def make_inputs(
    rows: int,
    vocabulary: int = 20_000,
    max_history: int = 50,
    articles: int = 20_000,
    candidates: int = 5,
    seed: int = 0,
) -> Inputs:
    """`rows` rows: lognormal histories (mean about 22 where up to 50 are kept), titles of 12.5 words on average up to
    30, `candidates` candidates, articles and words by Zipf's law."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(2.85, 0.85, size=rows), 1, max_history).astype(int)
    popular = 1 / np.arange(1, articles + 1) ** 0.9
    popular /= popular.sum()
    draw = iter(rng.choice(articles, size=int(lengths.sum()) + rows * candidates, p=popular).tolist())
    history = Ragged.of([[next(draw) for _ in range(length)] for length in lengths])
    shown = Ragged.of([[next(draw) for _ in range(candidates)] for _ in range(rows)])
    labels = Ragged.of([[1] + [0] * (candidates - 1)] * rows)
    words = 1 / np.arange(1, vocabulary + 1) ** 0.9
    title = rng.choice(vocabulary, size=(articles, 30), p=words / words.sum()).astype(np.int32) + 2
    size = np.clip(rng.normal(12.5, 3.5, size=articles), 3, 30).astype(int)
    title[np.arange(30) >= size[:, None]] = 0
    impressions = Impressions(
        user_ids=np.array([f"u{i}" for i in range(rows)], dtype=object),
        history=history,
        candidates=shown,
        labels=labels,
        is_fake=np.zeros(rows, dtype=np.int8),
        sources=tuple(map(str, range(rows))),
    )
    return Inputs(impressions, {"title": title}, np.arange(rows) % 1000 + 1)


def make_model(name: str, vocabulary: int = 20_000) -> torch.nn.Module:
    """The architecture with the benchmark's sizes and fresh weights, in eval mode."""
    text = TextConfig(words=tuple(map(str, range(vocabulary))))
    users = tuple(map(str, range(1000))) if name == "lstur" else ()
    torch.manual_seed(0)
    return build_model(ModelConfig(name, ("title",), SIZES[name], text, users=users)).eval()
