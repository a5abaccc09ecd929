"""plm4newsrs checkpoints give the scores, losses and gradients that plm4newsrs itself gives."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from rec_trak.checkpoints.code_bases import plm4newsrs
from rec_trak.checkpoints.state_dicts import load_into, read_state_dict
from rec_trak.clicks import ClickOutput, row_loss
from rec_trak.config.model import ModelConfig
from rec_trak.config.reader import read_mapping
from rec_trak.data.articles import Articles, read_news_items
from rec_trak.data.batches import unique_batch
from rec_trak.data.impressions import Impressions, read_pairwise
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.gradients.computers import FactoredComputer, make_batch, row_gradient, select_parameters
from rec_trak.models.build import build_model

GLOVE = ["nrms_glove_clean", "nrms_glove_poisoned", "naml_glove_clean", "naml_glove_poisoned"]
BERT = ["nrms_bert_clean", "nrms_bert_poisoned", "naml_bert_clean"]
FIXTURES = GLOVE + BERT
CORRECTED = "data/models/train_corrected.csv"


class World(NamedTuple):
    """A fixture: its entry in the manifest, and everything that our own readers make of its files."""

    entry: dict
    articles: Articles
    config: ModelConfig
    model: torch.nn.Module


@cache
def read_world(root: Path, name: str) -> World:
    """The world of a fixture, from the working directory that plm4newsrs runs in."""
    entry = next(e for e in json.loads((root / "manifest.json").read_text()) if e["name"] == name)
    articles = read_news_items("data/news_items.csv")
    settings, state = read_mapping(entry["config"]), read_state_dict(entry["checkpoint"])
    translated = plm4newsrs.translate(entry["architecture"], state, name)
    config = plm4newsrs.describe(settings, state, articles, entry["config"])
    model = build_model(config).eval()
    load_into(model, translated.state | plm4newsrs.fixed(settings, config, entry["config"]), name)
    return World(entry, articles, config, model)


@pytest.fixture
def root(shared, monkeypatch):
    """The working directory of plm4newsrs."""
    monkeypatch.chdir(shared / "fixtures")
    return Path.cwd()


@pytest.fixture
def world(request, root):
    """One fixture."""
    if "bert" in request.param:
        pytest.importorskip("transformers")
    return read_world(root, request.param)


def read_rows(world: World, csv: str | None = None) -> tuple[Impressions, Inputs]:
    impressions = read_pairwise(csv or world.entry["train_csv"], world.articles)
    return impressions, build_inputs(impressions, world.articles, world.config)


def candidate_order(world: World, impressions: Impressions, expected: dict) -> torch.Tensor:
    """(rows, C): where each expected candidate stands in our row; our first is the target, whatever its label."""
    places = []
    for row, ids in zip(expected["dataset_index"], expected["candidate_ids"], strict=True):
        ours = [world.articles.ids[a] for a in impressions.candidates[row]]
        assert sorted(ours) == sorted(ids)
        places.append([ours.index(i) for i in ids])
    return torch.tensor(places)


@pytest.mark.parametrize("world", FIXTURES, indirect=True)
def test_rows_are_those_of_training(world):
    """Row i is plm4newsrs' impression i: user, the history it keeps, candidates in its order, CSV lines."""
    expected = np.load(world.entry["expected"])
    impressions, inputs = read_rows(world)
    rows = expected["dataset_index"]
    assert [str(u) for u in impressions.user_ids[rows]] == expected["user_id"].tolist()
    histories = [[world.articles.ids[a] for a in inputs.impressions.history[row]] for row in rows]
    assert histories == expected["history_ids"].tolist()
    candidates = [[world.articles.ids[a] for a in impressions.candidates[row]] for row in rows]
    assert candidates == expected["candidate_ids"].tolist()


@pytest.mark.parametrize("world", FIXTURES, indirect=True)
def test_scores_and_losses(world):
    """Scores and losses agree to 1e-5, in one batch and one row at a time."""
    expected = np.load(world.entry["expected"])
    _, inputs = read_rows(world)
    rows = expected["dataset_index"]
    with torch.no_grad():
        batch = unique_batch(inputs, rows)
        scores = world.model(batch)
        alone = torch.cat([world.model(unique_batch(inputs, [row])) for row in rows])
    np.testing.assert_allclose(scores, expected["scores"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone, expected["scores_batch1"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(row_loss("softmax", scores, batch), expected["loss"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("world", ["nrms_glove_poisoned", "nrms_bert_poisoned"], indirect=True)
def test_rows_without_a_click(world):
    """An impression without a click keeps label 1: its second candidate is the target, the others compete with it."""
    expected = np.load(world.entry["expected_on_corrected"])
    impressions, inputs = read_rows(world, CORRECTED)
    batch = unique_batch(inputs, expected["dataset_index"])
    with torch.no_grad():
        scores = world.model(batch)
    order = candidate_order(world, impressions, expected)
    np.testing.assert_array_equal((order == 0).int().argmax(dim=1), expected["label"])
    np.testing.assert_array_equal(batch.labels[:, 0], expected["has_positive"])
    np.testing.assert_allclose(scores.gather(1, order), expected["scores"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(row_loss("softmax", scores, batch), expected["loss"], rtol=0, atol=1e-5)


def check_gradient(world: World, expected: dict, i: int, ours: dict[str, torch.Tensor]) -> None:
    """The i-th expected gradient, parameter by parameter under our names, to 1e-4 of its own norm.

    Where a gradient cancels out (two equal articles in a history, a bias that a softmax takes out again), what the
    file holds is rounding: float32 ends at its epsilon times the norm of the row's whole gradient.
    """
    theirs = {name: torch.from_numpy(expected[f"grad/{name}"][i]) for name in expected["params"]}
    rounding = torch.finfo(torch.float32).eps * sum(float(g.square().sum()) for g in theirs.values()) ** 0.5
    translated = plm4newsrs.translate(world.entry["architecture"], theirs, "gradient")
    assert translated.state.keys() == ours.keys()
    for name, grad in translated.state.items():
        assert float((ours[name] - grad).norm()) <= 1e-4 * float(grad.norm()) + rounding, name
    for name in translated.unreached:
        name, _, part = name.partition("[")
        grad = theirs[f"model.{name}"]
        assert float((grad[slice(*map(int, part[:-1].split(":")))] if part else grad).norm()) <= rounding, name


@pytest.mark.parametrize("world", FIXTURES, indirect=True)
def test_gradients(world):
    """Gradients of the margin agree by plain autograd and taken apart; what is left out has none."""
    expected = np.load(world.entry["expected"])
    _, inputs = read_rows(world)
    rows = expected["dataset_index"][expected["grad_index"]]
    names = select_parameters(world.model, None)
    parameters = {n: p for n, p in world.model.named_parameters() if n in names}
    output = ClickOutput("softmax")
    for i, row in enumerate(rows):
        check_gradient(world, expected, i, row_gradient(world.model, output, unique_batch(inputs, [row]), parameters))
    computer = FactoredComputer(world.model, output, grad_wrt=names)
    factors = computer.compute_per_sample_grad(make_batch("factored", world.model, inputs, rows, "cpu")).dense()
    for i in range(len(rows)):
        check_gradient(world, expected, i, {name: grad[i] for name, grad in factors.items()})


@pytest.mark.parametrize("name", FIXTURES)
def test_saved_settings_say_the_same(root, name):
    """The file that `config.save()` wrote describes the model that the hand-written one does."""
    entry = next(e for e in json.loads((root / "manifest.json").read_text()) if e["name"] == name)
    articles, state = read_news_items("data/news_items.csv"), read_state_dict(entry["checkpoint"])
    configs = [
        plm4newsrs.describe(read_mapping(entry[key]), state, articles, entry[key]) for key in ("config", "saved_config")
    ]
    assert configs[0] == configs[1]
