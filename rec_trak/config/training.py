"""The YAML of a training (`configs/train/*.yaml`). Not here: the training loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rec_trak.config.model import ARCHITECTURES
from rec_trak.config.reader import build, read_mapping
from rec_trak.config.reading import DATA_FORMATS, MISSING_ARTICLES, TITLES

TRAINED_FORMATS = tuple(form for form in DATA_FORMATS if form != "parsed")  # which is of a model that is there


@dataclass(frozen=True)
class TrainingConfig:
    """Every key of the YAML; docs/config.md says what each means. Paths are relative to the working directory."""

    architecture: str = field(metadata={"choices": ARCHITECTURES})
    data_path: str
    output_dir: str
    news_items_path: str | None = None
    validation_path: str | None = None
    views: tuple[str, ...] = ("title",)
    sizes: dict[str, Any] = field(default_factory=dict)
    tokeniser: str = field(default="regex", metadata={"choices": ("regex", "whitespace")})
    title_length: int = field(default=30, metadata={"least": 1})
    body_length: int = field(default=50, metadata={"least": 1})
    min_count: int = field(default=1, metadata={"least": 1})
    word_vectors: str | None = None
    frozen: tuple[str, ...] = ()
    data_format: str = field(default="auto", metadata={"choices": TRAINED_FORMATS})
    rows: str = field(default="as_trained", metadata={"choices": ("as_trained", "per_click")})
    negatives: int = field(default=4, metadata={"least": 1})
    titles: str = field(default="compare", metadata={"choices": TITLES})
    missing_articles: str = field(default="refuse", metadata={"choices": MISSING_ARTICLES})
    least_history: int = field(default=0, metadata={"least": 0})
    since: str = ""
    until: str = ""
    max_history: int = field(default=50, metadata={"least": 1})
    history_truncation: str | None = field(default=None, metadata={"choices": ("first", "last")})
    loss: str = field(default="softmax", metadata={"choices": ("softmax", "bce", "bpr", "marginal")})
    epochs: int = field(default=5, metadata={"least": 1})
    batch_size: int = field(default=64, metadata={"least": 1})
    learning_rate: float = field(default=1e-3, metadata={"least": 0.0})
    weight_decay: float = field(default=0.0, metadata={"least": 0.0})
    patience: int = field(default=2, metadata={"least": 1})
    seed: int = field(default=0, metadata={"least": 0})


def read_training_config(path: str | Path) -> TrainingConfig:
    """The training that a YAML file describes.

    Raises:
        ConfigError: the file is missing or malformed, or any key is wrong; one message names every bad key.
    """
    return build(TrainingConfig, read_mapping(path), str(path))
