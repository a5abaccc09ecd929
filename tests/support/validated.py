"""A tiny run with a scored target set, and the YAML that its checkpoints could have been trained with."""

import json
import shutil
from pathlib import Path

from rec_trak.attribution.job import Job, Run, read_job
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.training import TrainingConfig, read_training_config
from rec_trak.validation.case import Case, make_case
from support import finished, tiny

TARGETS = "benchmark_mixed"


def write_training(folder: Path, **keys) -> Path:
    """The training of the checkpoints that `tiny` writes, quick."""
    values = {
        "architecture": "nrms",
        "sizes": tiny.SIZES["nrms"],
        "data_path": str(folder / "data"),
        "output_dir": str(folder / "runs"),
        "title_length": 6,
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 0.01,
    }
    path = folder / "train.yaml"
    path.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in (values | keys).items()))
    return path


def make_run(folder: Path, rows: int = 24, members: int = 2, **keys) -> tuple[Run, Job]:
    """A run in `folder`, featurized and scored on its mixed benchmark; the tree gets a val_clean log of its own."""
    finished.finished_run(folder, rows, members, **keys)
    log = folder / "data" / "models" / "train_clean.csv"
    shutil.copy(log, log.with_name("val_clean.csv"))
    run = Run(read_analysis_config(folder / "trak.yaml"), "train_clean", "clean")
    return run, read_job(run)


def copy_run(scored: Path, folder: Path) -> tuple[Run, Job]:
    """The run in `scored` once more, in `folder`, to be changed at will."""
    if scored != folder:
        shutil.copytree(scored, folder, dirs_exist_ok=True)
    run = Run(read_analysis_config(tiny.write_config(folder)), "train_clean", "clean")
    return run, read_job(run)


def benchmark(folder: Path) -> str:
    """The target set's file."""
    return str(folder / "data" / "benchmarks" / f"{TARGETS}.csv")


def training(folder: Path, **keys) -> TrainingConfig:
    """The same YAML, read."""
    return read_training_config(write_training(folder, **keys))


def case_of(folder: Path, run: Run, job: Job, training_keys: dict | None = None, **keys) -> Case:
    """The run's case."""
    return make_case(run, job, training(folder, **(training_keys or {})), "train.yaml", benchmark(folder), **keys)
