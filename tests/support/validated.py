"""A tiny run with a scored target set, and the YAML that its checkpoints could have been trained with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rec_trak.attribution.job import Job, Run, read_job
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.training import TrainingConfig, read_training_config
from rec_trak.validation.case import Case, make_case
from support import ROOT, finished, tiny

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


def command(folder: Path) -> list[str]:
    """scripts/validate.py of the run in `folder`, and its flags: twelve retrainings."""
    flags = ["--config", str(folder / "trak.yaml"), "--training", str(folder / "train.yaml"), "--quiet"]
    few = ["--subsets", "12", "--trainings", "1", "--workers", "1", "--max_targets", "4"]
    return [str(ROOT / "scripts" / "validate.py"), *flags, "--targets", benchmark(folder), *few]


def _started(command: list[str], workers: int, **pipes) -> subprocess.Popen:
    """The command as a process, or as a torchrun job of several workers."""
    job = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(workers)] if workers > 1 else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *job, *command], env=environment, text=True, **pipes)


def told_by(command: list[str], workers: int = 1) -> str:
    """What the command says, which must end well."""
    process = _started(command, workers, stdout=subprocess.PIPE)
    said = process.communicate()[0]
    assert process.returncode == 0
    return said


def killed_in_job(command: list[str], workers: int, after: int) -> Path:
    """Kill one of the workers when so many retrainings are there; their folder, when the job has ended."""
    folder = Path(command[2]).parent / "results/clean_train_clean/targets" / TARGETS / "validation"
    job = _started(command, workers, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(folder.glob("[0-9]*.json"))) < after:
        assert job.poll() is None
        time.sleep(0.005)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text(encoding="utf-8").split()
    os.kill(int(children[-1]), signal.SIGKILL)
    assert job.wait() != 0
    return folder
