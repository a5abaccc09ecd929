"""Articles and rows in words for models of other code bases, and our reading of their checkpoints. Not here: what those
models give.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import ClickOutput
from rec_trak.config.model import ModelConfig
from rec_trak.data.articles import Articles
from rec_trak.data.batches import unique_batch
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import build_inputs
from rec_trak.data.ragged import Ragged
from rec_trak.gradients.computers import COMPUTERS, make_batch, row_gradient
from rec_trak.gradients.factors import Factors
from rec_trak.models.build import build_model

WORDS = tuple(f"w{i}" for i in range(1, 25))
TOPICS, SUBTOPICS, USERS = ("news", "sport", "film"), ("vote", "goal", "star", "court"), ("U1", "U2", "U3")


def world(articles: int = 9, rows: int = 7, seed: int = 0) -> tuple[Articles, Impressions]:
    """Articles with known and unknown words (the first has no known one at all), and rows with histories of 0 to 9."""
    rng = np.random.default_rng(seed)
    titles = [" ".join(rng.choice((*WORDS, "other"), size=rng.integers(1, 9))) for _ in range(articles)]
    bodies = [" ".join(rng.choice((*WORDS, "other"), size=rng.integers(0, 11))) for _ in range(articles)]
    topics = [rng.choice((*names, "else"), size=articles) for names in (TOPICS, SUBTOPICS)]
    texts = (("other", *titles[1:]), tuple(bodies), *(tuple(str(name) for name in names) for names in topics))
    ids = tuple(f"N{i}" for i in range(articles))
    histories = [rng.integers(0, articles, size=n).tolist() for n in (3, 1, 2, 9, 4, 0, 5)[:rows]]
    candidates = rng.integers(0, articles, size=(rows, 4)).tolist()
    users = np.array([str(user) for user in rng.choice((*USERS, "U9"), size=rows)], dtype=object)
    nobody_said = np.full(articles, -1, dtype=np.int8)
    impressions = Impressions(
        users,
        Ragged.of(histories),
        Ragged.of(candidates),
        Ragged.of([[1, 0, 0, 0]] * rows),
        np.full(rows, -1, dtype=np.int8),
        tuple(str(i) for i in range(rows)),
    )
    return Articles(ids, *texts, is_fake=nobody_said, source="articles"), impressions


def numbered(strings: tuple[str, ...], names: tuple[str, ...], length: int | None = None) -> np.ndarray:
    """Numbers from 1 of names (A,), or of a text's words (A, length); 0 for what is not known and for padding."""
    places = {name: i + 1 for i, name in enumerate(names)}
    if length is None:
        return np.array([places.get(string, 0) for string in strings])
    out = np.zeros((len(strings), length), dtype=np.int64)
    for i, string in enumerate(strings):
        found = [places.get(word, 0) for word in string.split()[:length]]
        out[i, : len(found)] = found
    return out


def write_numbers(path: Path, name: str, number: str, names: tuple[str, ...]) -> None:
    """A table with tabs that numbers the names from 1."""
    lines = [f"{name}\t{number}", *(f"{text}\t{i + 1}" for i, text in enumerate(names))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(code_base, state: dict[str, Tensor], settings: dict, articles: Articles) -> tuple[nn.Module, ModelConfig]:
    """Our model with their weights, and its configuration."""
    architecture = code_base.recognise(state)
    translated = code_base.translate(architecture, state, "file")
    config = code_base.describe(settings, state, articles, "settings")
    model = build_model(config).eval()
    load_into(model, translated.state, "file")
    return model, config


def scores(model: nn.Module, config: ModelConfig, articles: Articles, rows: Impressions) -> Tensor:
    """Our scores (N, C)."""
    with torch.no_grad():
        return model(unique_batch(build_inputs(rows, articles, config), np.arange(len(rows))))


def check_gradients(model: nn.Module, config: ModelConfig, articles: Articles, rows: Impressions) -> None:
    """Every path's gradients of all rows are plain autograd's, and every parameter has one in some row."""
    inputs, output = build_inputs(rows, articles, config), ClickOutput("softmax")
    parameters, every = dict(model.named_parameters()), np.arange(len(rows))
    expected = [row_gradient(model, output, unique_batch(inputs, [row]), parameters) for row in every]
    for path, computer in COMPUTERS.items():
        computer = computer(model, output, 0, torch.float32, "cpu", grad_wrt=list(parameters))
        found = computer.compute_per_sample_grad(make_batch(path, model, inputs, every, "cpu"))
        found = found.dense() if isinstance(found, Factors) else found
        for name in parameters:
            torch.testing.assert_close(found[name], torch.stack([row[name] for row in expected]), atol=1e-5, rtol=1e-4)
    assert {name for name in parameters if not any(row[name].any() for row in expected)} == set()
