"""A pairwise tree small enough for any test, with checkpoints of fresh weights. Not here: planted answers."""

import csv
import json
from pathlib import Path

import numpy as np
import torch

from rec_trak.attribution.job import Job, Run, read_job
from rec_trak.checkpoints.state_dicts import write_state_dict
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import build_vocabulary, read_news_items
from rec_trak.models.build import build_model

WORDS = ["storm", "vote", "market", "goal", "star", "virus", "border", "court", "rocket", "harvest"]
SIZES = {
    "nrms": {"word_dim": 8, "heads": 2, "head_dim": 4, "query_dim": 5},
    "naml": {"word_dim": 8, "filters": 6, "query_dim": 5, "category_dim": 4},
    "lstur": {"word_dim": 8, "filters": 6, "query_dim": 5},
}
COLUMNS = ["user_id", "history_titles", "history_ids", "candidate_id", "candidate_title", "label", "candidate_is_fake"]


def write_tree(folder: Path, rows: int = 24, seed: int = 0) -> Path:
    """A tree of 12 articles and `rows` impressions in train_clean, and some more in train_poisoned."""
    rng = np.random.default_rng(seed)
    titles = [" ".join(rng.choice(WORDS, size=rng.integers(1, 7))) + f" {i}" for i in range(12)]
    (folder / "models").mkdir(parents=True)
    (folder / "benchmarks").mkdir()
    with open(folder / "news_items.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "title", "text"])
        writer.writerows([f"n{i}", title, f"{title} and more"] for i, title in enumerate(titles))
    impressions = [_impression(rng, titles, user) for user in range(rows + 8)]
    _write(folder / "models" / "train_clean.csv", impressions[:rows])
    _write(folder / "models" / "train_poisoned.csv", impressions)
    _write(folder / "benchmarks" / "benchmark_mixed.csv", impressions[::3])
    users = {f"u{i}": i + 1 for i in range(rows)}
    (folder / "user_to_idx_map.json").write_text(json.dumps(users), encoding="utf-8")
    return folder


def write_models(folder: Path, data: Path, architecture: str = "nrms", members: int = 1, **keys) -> Path:
    """`members` checkpoints each for clean and poisoned, of fresh weights, and their model.json."""
    articles = read_news_items(data / "news_items.csv")
    views = keys.pop("views", ("title",))
    users = tuple(f"u{i}" for i in range(20)) if architecture == "lstur" else ()
    text = TextConfig(words=build_vocabulary(articles, "regex", views), title_length=6, body_length=6)
    config = ModelConfig(architecture, views, keys.pop("sizes", SIZES[architecture]), text, users=users, **keys)
    folder.mkdir(parents=True)
    config.write(folder / "model.json")
    for i, name in enumerate(f"{kind}_{m}" for kind in ("clean", "poisoned") for m in range(members)):
        torch.manual_seed(i)
        write_state_dict(folder / f"{name}.pt", build_model(config))
    return folder


def write_config(folder: Path, **keys) -> Path:
    """A YAML that names the tree and checkpoints in `folder`."""
    values = {
        "checkpoints": str(folder / "runs" / "{model_type}_*.pt"),
        "model_config": str(folder / "runs" / "model.json"),
        "data_path": str(folder / "data"),
        "news_items_path": str(folder / "data" / "news_items.csv"),
        "output_dir": str(folder / "results"),
        "proj_dim": 16,
        "top_k": 5,
        "batch_size": 7,
    }
    path = folder / "trak.yaml"
    path.write_text(
        "\n".join(f"{key}: {json.dumps(value)}" for key, value in (values | keys).items()), encoding="utf-8"
    )
    return path


def make_job(folder: Path, architecture: str = "nrms", members: int = 1, model: dict | None = None, **keys) -> Job:
    """The job of a fresh tree in `folder`, or of the one that is there; `keys` go into the YAML."""
    if not (folder / "data").exists():
        write_tree(folder / "data")
        write_models(folder / "runs", folder / "data", architecture, members, **(model or {}))
    return read_job(Run(read_analysis_config(write_config(folder, **keys)), "train_clean", "clean"))


def _impression(rng: np.random.Generator, titles: list[str], user: int) -> list[list]:
    history = rng.choice(12, size=rng.integers(1, 6), replace=False)
    candidates = rng.choice(12, size=rng.integers(2, 6), replace=False)
    names, ids = str([titles[i] for i in history]), str([f"n{i}" for i in history])
    return [[f"u{user}", names, ids, f"n{c}", titles[c], int(c == candidates[-1]), int(c % 4 == 0)] for c in candidates]


def _write(path: Path, impressions: list[list[list]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for lines in impressions:
            writer.writerows(lines)
