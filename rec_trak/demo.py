"""The whole job on the demo world: train, featurize, score, compare, and see what was found. Not here: any step's work.

The YAML files that it writes are ordinary ones, so that each step can be repeated with the scripts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak import words
from rec_trak.attribution.influence import TargetInfluence
from rec_trak.attribution.job import Job, Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.comparison.run import compare_runs, write_comparison
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.training import read_training_config
from rec_trak.data.synthetic import World, WorldSettings, write_demo_world
from rec_trak.detection.run import find_poison, write_detection
from rec_trak.detection.suspects import read_suspects, write_suspects
from rec_trak.disk import open_new
from rec_trak.errors import ConfigError
from rec_trak.locks import LOCK, locked
from rec_trak.page.page import Page, write_page
from rec_trak.results.ranking import rows_table
from rec_trak.runs.making import explain_row, score_rows, score_targets
from rec_trak.training.job import train_run
from rec_trak.trust.run import trust_run, write_trust

MEMBERS = 3
MARK = ".rec_trak_demo"
MARK_TEXT = b"This folder was made by the demo of rec-trak, which empties it when it runs again.\n"
WRITTEN = ("data", "models", "results", "comparison", "train.yaml", "trak.yaml")
TRAINING = """# The demo's training; scripts/train.py repeats it.
architecture: nrms
views: [title]
sizes: {{word_dim: 64, heads: 4, head_dim: 16, query_dim: 32}}
data_path: {folder}/data
output_dir: {folder}/models
max_history: 8
epochs: 12
batch_size: 64
learning_rate: 0.005
patience: 2
seed: {seed}
"""
ANALYSIS = """# The demo's analysis; scripts/featurize.py, score.py and analyze.py repeat it.
checkpoints: {folder}/models/{{model_type}}_*.pt
model_config: {folder}/models/model.json
data_path: {folder}/data
output_dir: {folder}/results
proj_dim: 1024
top_k: 100
seed: {seed}
targets:
  promoted: {folder}/data/benchmarks/promoted.csv
"""


@dataclass(frozen=True)
class Found:
    """What the demo ends with.

    Attributes:
        world: the planted answers.
        verdicts: how far each ranking of the run can be trusted, ranking -> word, see `trust.run`.
        detection: how well each ranking finds the bots' clicks, see `detection.run`.
        top: the ten rows that taught the model most about the promoted articles.
        page: the report, and the facts of its first screen.
        paths: the other files.
    """

    world: World
    verdicts: dict[str, str]
    detection: dict[str, Any]
    top: pd.DataFrame
    page: Page
    paths: list[Path]


def run_demo(
    folder: str | Path,
    seed: int = 0,
    say: Callable[[str], None] = words.say,
    settings: WorldSettings | None = None,
) -> Found:
    """Build the demo world in `folder` and do the whole job on it; what an earlier demo wrote there is replaced.

    Args:
        folder: made where it does not exist.
        seed: of the world, the training and the sketch.
        say: called with a line before each step.
        settings: the sizes of the world; None for the usual ones.

    Raises:
        ConfigError: the folder holds something that no demo wrote, or a link stands where the demo writes.
        StoreError: another demo writes into it.
    """
    folder = Path(folder)
    _check(folder)  # nothing is written into a folder that is not the demo's, not even a lock
    with locked(folder, "give another --folder"):
        _check(folder)
        _empty(folder)
        return _whole_job(folder, seed, say, settings or WorldSettings())


def _whole_job(folder: Path, seed: int, say: Callable[[str], None], settings: WorldSettings) -> Found:
    say("1/5 writing the demo world: articles, genuine readers, bots")
    world = write_demo_world(folder / "data", seed, settings)
    training, analysis = folder / "train.yaml", folder / "trak.yaml"
    training.write_text(TRAINING.format(folder=folder, seed=seed), encoding="utf-8")
    analysis.write_text(ANALYSIS.format(folder=folder, seed=seed), encoding="utf-8")
    for kind in ("clean", "poisoned"):
        say(f"{2 if kind == 'clean' else 3}/5 training {MEMBERS} models on the {kind} clicks, featurizing, scoring")
        train_run(read_training_config(training), f"train_{kind}", MEMBERS)
        run = Run(read_analysis_config(analysis), f"train_{kind}", kind)
        job = read_job(run)
        featurize(job)
        _, own_paths = score_rows(run, job)
    say("4/5 explaining the exposure of the promoted articles, comparing clean and poisoned")
    told, target_paths = score_targets(run, job, "promoted")
    target_paths += [_why_strongest(run, job, told)]
    comparison = compare_runs(run.folder.with_name("clean_train_clean"), run.folder)
    compared = write_comparison(comparison, folder / "comparison")
    say("5/5 judging the rankings, counting what was found, writing the report")
    trust = trust_run(run.folder, seed)
    judged = write_trust(run.folder, trust)
    poison = find_poison(run.folder, "promoted", world.promoted)
    detected = write_detection(run.folder, poison.content, poison.table)
    detected += write_suspects(run.folder, read_suspects(results_dir=run.folder))
    command = f"python scripts/report.py --results_dir {run.folder} --compare_dir {folder / 'comparison'}"
    page = write_page(run.folder, folder / "comparison", command=command)
    order = np.argsort(-told.renormalised, kind="stable")[:10]
    top = rows_table(job.impressions, job.articles).take(order, ["user_id", "title", "source_lines"])
    top.insert(0, "poisoned", [job.impressions.columns["poisoned"][i] for i in order])
    paths = [*detected, *judged, *own_paths, *target_paths, *compared, *page.others]
    verdicts = {one["ranking"]: one["verdict"] for one in trust["rankings"]}
    return Found(world, verdicts, poison.content, top, page, paths)


def _why_strongest(run: Run, job: Job, told: TargetInfluence) -> Path:
    """The file that says why the strongest click counts, on the recommendation that it moves most."""
    row, ends = int(np.argmax(told.plain)), told.proponents
    moved = np.where(ends.rows == row, ends.scores, -np.inf).max(axis=1)
    return explain_row(run, job, str(row), f"promoted:{int(moved.argmax())}")[1]


def _check(folder: Path) -> None:
    """Refuse a folder that is not the demo's.

    Raises:
        ConfigError: it is a link or a file, it holds files and not the mark, or a link stands where the demo writes.
    """
    mark = folder / MARK
    link = next((path for path in (folder, mark, *_own(folder)) if path.is_symlink()), None)
    if link is not None:
        raise ConfigError(f"--folder: {link} is a link, and what it leads to is not the demo's. Give a new folder.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--folder: {folder} is a file. Expected a new folder or an earlier demo's. Give another.")
    # A demo that was killed may have left its mark half written, or nothing but the folder and its lock.
    holds = folder.exists() and any(path.name != LOCK for path in folder.iterdir())
    if holds and not (mark.is_file() and _is_mark(mark)):
        raise ConfigError(
            f"--folder: {folder} holds other files. Got no {MARK}, which a demo puts into its folder, expected a new "
            "folder or an earlier demo's. Give another."
        )


def _empty(folder: Path) -> None:
    """Mark the folder as a demo's and remove an earlier demo's files; nothing else is ever removed or written."""
    with open_new(folder / MARK) as file:
        file.write(MARK_TEXT)
    for path in _own(folder):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _own(folder: Path) -> list[Path]:
    return [folder / name for name in WRITTEN]


def _is_mark(mark: Path) -> bool:
    with open(mark, "rb") as file:
        return MARK_TEXT.startswith(file.read(len(MARK_TEXT) + 1))
