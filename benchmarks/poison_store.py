"""The expensive part of poison.py, a folder a setting: models trained with an attack, sketches of rows and targets.

A setting is finished when its `told.json` is there; new rankings need no new training. Not here: rankings, figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from attacks import Attack, Ground, build_attack, read_ground

from rec_trak.attribution.history import history_influence
from rec_trak.attribution.job import Job, Member, make_job, state_digest
from rec_trak.attribution.session import featurize, featurize_targets
from rec_trak.clicks import margin
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import build_vocabulary
from rec_trak.data.batches import unique_batch
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.detection.places import of_rows
from rec_trak.models.build import build_model
from rec_trak.runs.stored import Stored
from rec_trak.training.trainer import TrainSettings, train

MEMBERS, PROJ_DIM, RIDGE = 5, 2048, 1.0
SIZES = {"word_dim": 64, "heads": 4, "head_dim": 16, "query_dim": 32}
TRAINING = TrainSettings(epochs=12, learning_rate=0.002, patience=2)
WITHOUT = 3  # models trained without the attack, to see what it does to the targets
SAME_ROWS = {"D": "B"}  # attacks whose rows differ in their days alone


@dataclass(frozen=True)
class Setting:
    """An attack with what was trained on it.

    Attributes:
        ground, attack: what it is made of.
        stored: sketches of rows, and of targets under the name `targets`.
        effect: by how much the attack moves the targets' mean margin.
        places: (2, N) leverage and influence of promoted articles' places in histories, 0 of other rows.
    """

    ground: Ground
    attack: Attack
    stored: Stored
    effect: float
    places: np.ndarray


def make_setting(folder: Path, data: Path, kind: str, seed: int) -> Path:
    """Train and featurize a setting into a folder; what is finished stays."""
    if (folder / "told.json").exists():
        return folder
    torch.set_num_threads(1)
    ground = read_ground(data)
    attack = build_attack(ground, kind, seed)
    models = _trained(ground, attack, attack.rows, MEMBERS)
    genuine = attack.rows.subset(np.flatnonzero(attack.poisoned == 0))
    targets = build_inputs(attack.targets, ground.articles, _model_config(ground))
    effect = _margin(models, targets) - _margin(_trained(ground, attack, genuine, WITHOUT), targets)
    job = _job(ground, attack, models, folder / "store")
    featurize(job)
    featurize_targets(job, "targets", attack.targets)
    places = np.zeros((2, len(attack.rows)))
    if kind == "H":
        ids = [ground.articles.ids[a] for a in attack.promoted]
        found = history_influence(job, "targets", attack.targets, ids)
        places = of_rows(found.impression, found.leverage, found.influence, len(attack.rows))
    np.save(folder / "places.npy", places)
    (folder / "told.json").write_text(json.dumps({"effect": effect}), encoding="utf-8")
    return folder


def read_setting(folder: Path, data: Path, kind: str, seed: int) -> Setting:
    """A finished setting."""
    ground = read_ground(data)
    attack = build_attack(ground, kind, seed)
    stored = Stored(folder / "store", MEMBERS, RIDGE, np.arange(len(attack.rows)), len(attack.rows))
    effect = json.loads((folder / "told.json").read_text(encoding="utf-8"))["effect"]
    return Setting(ground, attack, stored, effect, np.load(folder / "places.npy"))


def setting_folder(folder: Path, ground: str, kind: str, seed: int) -> Path:
    """Where a setting lies."""
    return folder / f"{ground.replace(' ', '_')}_{SAME_ROWS.get(kind, kind)}_{seed}"


def _model_config(ground: Ground) -> ModelConfig:
    words = build_vocabulary(ground.articles, "regex", ("title",), 1)
    return ModelConfig("nrms", ("title",), SIZES, TextConfig(words=words))


def _trained(ground: Ground, attack: Attack, rows, count: int) -> list[torch.nn.Module]:
    """Models of different seeds, each stopped early on validation rows of the attack's own ground."""
    config = _model_config(ground)
    held = ground.clean_validation if attack.kind == "A" else ground.validation
    inputs, validation = (build_inputs(table, ground.articles, config) for table in (rows, held))
    return [train(config, inputs, validation, TRAINING, seed).model for seed in range(count)]


def _margin(models: list[torch.nn.Module], targets: Inputs) -> float:
    batch = unique_batch(targets, np.arange(len(targets)))
    with torch.no_grad():
        return float(np.mean([margin("softmax", model(batch), batch).mean() for model in models]))


def _job(ground: Ground, attack: Attack, models: list[torch.nn.Module], folder: Path) -> Job:
    states = [model.state_dict() for model in models]
    members = tuple(Member(f"seed {i}", state_digest(state), state) for i, state in enumerate(states))
    config = _model_config(ground)
    settings = {"loss": "softmax", "proj_dim": PROJ_DIM, "projector": "sketch", "seed": 0, "gradient": "factored"}
    settings |= {"precision": "float32", "batch_size": 32, "lambda_rel": RIDGE}
    return make_job(
        ground.articles, attack.rows, build_model(config).eval(), config, members, folder, "cpu", None, **settings
    )
