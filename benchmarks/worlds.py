"""Two click logs with everything that attribution is judged by: rows, targets, members, and models trained for judging.

`demo` is the demo world, `politifact` real shares; of both the poisoned training rows, cut to a seeded 1,500, a small
NRMS, and 60 impressions of held-out users as targets. All training goes to disk and is done once, model by model. Not
here: any figure.
"""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from rec_trak.attribution.job import Job, Member, make_job, state_digest
from rec_trak.attribution.session import featurize, featurize_targets
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles, build_vocabulary
from rec_trak.data.impressions import Impressions, read_slates
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.data.sources import read_data
from rec_trak.data.synthetic import write_demo_world
from rec_trak.models.build import build_model
from rec_trak.store.reading import read_member
from rec_trak.training.members import train_members
from rec_trak.training.trainer import TrainSettings
from rec_trak.validation.retrain import Experiment, evaluation_margins
from rec_trak.validation.subsets import half_sets

WORLDS = ("demo", "politifact")
MEMBERS = {"half": 10, "full": 5}
SUBSETS, TRAININGS = 60, 2
ROWS, TARGETS, PROJ_DIM = 1500, 60, 2048
SIZES = {"word_dim": 64, "heads": 4, "head_dim": 16, "query_dim": 32}
RATES = {
    "demo": 0.005,
    "politifact": 0.002,
}  # the demo's own; at .002 two trainings on the same rows hardly agree there


@dataclass(frozen=True)
class World:
    """A click log, cut to size.

    Attributes:
        name: one of WORLDS.
        folder: everything of this world: `models`, `margins`, and a save directory for each kind of members.
        articles: the table.
        rows, validation, targets: impressions; of a target the clicked article is explained.
        config: of the model.
        settings: how all models of this world are trained.
    """

    name: str
    folder: Path
    articles: Articles
    rows: Impressions
    validation: Impressions
    targets: Impressions
    config: ModelConfig
    settings: TrainSettings

    def inputs(self, impressions: Impressions) -> Inputs:
        """What the model reads."""
        return build_inputs(impressions, self.articles, self.config)

    @cached_property
    def halves(self) -> tuple[list[np.ndarray], np.ndarray]:
        """SUBSETS half sets of the rows, and (SUBSETS, TRAININGS) seeds; no member has one of them."""
        return half_sets("lds", 0, len(self.rows), SUBSETS, TRAININGS)

    @property
    def groups(self) -> np.ndarray:
        """(SUBSETS, N) 1 where a row is in a half set."""
        groups = np.zeros((SUBSETS, len(self.rows)))
        for group, rows in zip(groups, self.halves[0], strict=True):
            group[rows] = 1
        return groups

    @property
    def experiment(self) -> Experiment:
        """How all models of this world are trained, and which margins count."""
        rows, validation, targets = (self.inputs(part) for part in (self.rows, self.validation, self.targets))
        return Experiment(self.config, rows, validation, self.settings, targets)


@dataclass(frozen=True)
class Features:
    """Sketches of one kind of members, E of them.

    Attributes:
        phis: (N, K) float32 maps, read-only.
        qs: (N,) float64.
        targets: (M, K) float32 maps.
        seen: (E, N) bool, rows that a member was trained on.
        job: what made them.
    """

    phis: tuple[np.ndarray, ...]
    qs: tuple[np.ndarray, ...]
    targets: tuple[np.ndarray, ...]
    seen: np.ndarray
    job: Job


def read_world(name: str, folder: str | Path, data: str | Path | None = None, size: int = ROWS) -> World:
    """A world, its data written or read.

    Args:
        name: one of WORLDS.
        folder: of the benchmark; the world takes `<folder>/<name>`.
        data: the pairwise tree of `politifact`; unused for `demo`.
        size: rows that it is cut to; another size wants a folder of its own.
    """
    own = Path(folder) / name
    tree = own / "data" if name == "demo" else Path(data)
    if name == "demo" and not (tree / "news_items.csv").exists():
        write_demo_world(tree, 0)
    articles, rows = read_data(str(tree), str(tree / "news_items.csv"), "train_poisoned", Reading("pairwise"))
    _, validation = read_data(str(tree), str(tree / "news_items.csv"), "val_poisoned", Reading("pairwise"))
    targets = read_slates(tree / "benchmarks" / "benchmark_mixed.csv", articles)
    words = build_vocabulary(articles, "regex", ("title",), 1)
    config = ModelConfig("nrms", ("title",), SIZES, TextConfig(words=words))
    settings = TrainSettings(epochs=12, learning_rate=RATES[name], patience=2)
    return World(name, own, articles, _cut(rows, size), validation, _cut(targets, TARGETS), config, settings)


def _cut(rows: Impressions, size: int) -> Impressions:
    """A seeded draw, in its own order."""
    return rows.subset(np.sort(np.random.default_rng(0).permutation(len(rows))[:size]))


def train_kind(world: World, kind: str, members: int | None = None) -> list[Path]:
    """The checkpoints of MEMBERS[kind] members, or so many, on random halves (`half`) or on all rows (`full`).

    `half_after_2` are the very trainings of `half`, as they were after two epochs.
    """
    one, (sort, _, epochs) = world.experiment, kind.partition("_after_")
    settings, validation = one.settings, one.validation
    if epochs:
        settings, validation = replace(settings, epochs=int(epochs)), None
    how = (one.model_config, one.inputs, validation, settings, world.folder / "models")
    return train_members(*how, kind, 0, members or MEMBERS[sort], halves=sort == "half")


def margins(world: World, workers: int = 2) -> np.ndarray:
    """(SUBSETS, TRAININGS, M) margins under models that are no members."""
    one = world.experiment
    halves, seeds = world.halves
    parts = (one.model_config, one.inputs, one.validation, one.settings, one.targets, halves, seeds)
    return evaluation_margins(*parts, world.folder / "margins", workers)


def make_world_job(
    world: World, kind: str, proj_dim: int = PROJ_DIM, precision: str = "float32", members: int | None = None
) -> Job:
    """The attribution of one kind of members; `<world>/store_<kind>` is its save directory."""
    checkpoints = train_kind(world, kind, members)
    states = [torch.load(path, weights_only=True) for path in checkpoints]
    members = tuple(Member(str(p), state_digest(s), s) for p, s in zip(checkpoints, states, strict=True))
    name = f"store_{kind}" + (f"_{proj_dim}" if proj_dim != PROJ_DIM else "")
    name += f"_{precision}" if precision != "float32" else ""
    return make_job(
        world.articles, world.rows, build_model(world.config).eval(), world.config, members, world.folder / name,
        "cpu", None, loss="softmax", proj_dim=proj_dim, projector="sketch", seed=0, gradient="factored",
        precision=precision, batch_size=32, lambda_rel=1.0,
    )  # fmt: skip


def features(world: World, kind: str, proj_dim: int = PROJ_DIM, precision: str = "float32") -> Features:
    """The sketches of rows and targets, made where they are missing."""
    job = make_world_job(world, kind, proj_dim, precision)
    featurize(job)
    featurize_targets(job, "targets", world.targets)
    stored = [read_member(job.save_dir, m) for m in range(len(job.members))]
    aims = tuple(np.load(job.save_dir / str(m) / "targets_grads.mmap", mmap_mode="r") for m in range(len(stored)))
    seen = np.zeros((len(stored), len(world.rows)), dtype=bool)
    for line, member in zip(seen, job.members, strict=True):
        line[np.load(Path(member.name).with_name(f"{Path(member.name).stem}_rows.npy"))] = True
    return Features(tuple(phi for phi, _ in stored), tuple(q for _, q in stored), aims, seen, job)


def prepare(folder: Path, data: Path, workers: int = 2) -> None:
    """Train and featurize everything of both worlds that is not there yet."""
    worlds = [read_world(name, folder, data) for name in WORLDS]
    with multiprocessing.get_context("spawn").Pool(workers, torch.set_num_threads, (1,)) as pool:
        pool.starmap(_prepare_kind, [(world, kind) for world in worlds for kind in MEMBERS], chunksize=1)
    for world in worlds:
        found = margins(world, workers)
        (world.folder / "done.json").write_text(json.dumps({"margins": list(found.shape)}), encoding="utf-8")


def _prepare_kind(world: World, kind: str) -> None:
    torch.set_num_threads(1)
    features(world, kind)
