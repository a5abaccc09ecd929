"""Retrainings on disk: each is one small file, so that an interrupted validation goes on. Not here: what they mean.

A folder holds the retrainings of one experiment, which its plan.json describes; a retraining's file bears its seed and
what identifies its rows. Weights are not kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rec_trak.config.documents import read_json
from rec_trak.config.model import ModelConfig
from rec_trak.data.inputs import Inputs
from rec_trak.errors import ConfigError, DataError, NumericalError, reason
from rec_trak.gradients.threads import one_thread
from rec_trak.progress import progress, quietly, set_quiet
from rec_trak.store.manifest import digest, write_json
from rec_trak.training.trainer import TrainSettings, train
from rec_trak.validation.experiment import Experiment, held, plan_of
from rec_trak.validation.outcomes import list_exposure, target_margins
from rec_trak.validation.workers import in_processes
from rec_trak.words import outline
from rec_trak.workers import is_worker, shared_out, taken

SEED = 8  # bytes of a seed
PATIENCE = 90  # seconds until a file on a folder of several machines is seen by all of them


@dataclass(frozen=True)
class Retraining:
    """One retraining: its seed and the rows it sees, (n,) positions in ascending order."""

    seed: int
    seen: np.ndarray

    __repr__ = outline

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.seed}_{digest(np.asarray(self.seen, dtype=np.int64))}.json"


@dataclass(frozen=True)
class Outcome:
    """What came of a retraining.

    Attributes:
        margins: (M,) float64; NaN where it diverged.
        exposure: see `outcomes.list_exposure`; empty without lists or where it diverged.
        diverged: what the trainer said, None where it ended well.
    """

    margins: np.ndarray
    exposure: dict[str, float]
    diverged: str | None

    __repr__ = outline


def evaluation_margins(
    model_config: ModelConfig,
    inputs: Inputs,
    validation_inputs: Inputs | None,
    settings: TrainSettings,
    targets_inputs: Inputs,
    subsets: Sequence[np.ndarray],
    seeds: np.ndarray,
    folder: str | Path,
    workers: int = 1,
    word_vectors: np.ndarray | None = None,
) -> np.ndarray:
    """(S, T, M) float64 margins of M targets under models trained anew: T times on each of S sets of rows.

    What stands in the folder already is not trained again; the same arguments give the same bits.

    Args:
        model_config, inputs, validation_inputs, settings, word_vectors: as `training.train`.
        targets_inputs: the M targets.
        subsets: S arrays of row positions.
        seeds: (S, T) ints, all different where retrainings are to be independent.
        folder: of the retrainings; made if need be.
        workers: processes.

    Returns:
        NaN for the targets of a retraining that diverged.

    Raises:
        ConfigError, DataError, StoreError: as `retrain_all`.
    """
    experiment = Experiment(model_config, inputs, validation_inputs, settings, targets_inputs, word_vectors)
    seeds = np.asarray(seeds)
    if seeds.ndim != 2 or len(seeds) != len(subsets):
        raise ConfigError(
            f"evaluation: not one line of seeds a subset. Got shape {seeds.shape}, expected ({len(subsets)}, T). Give "
            "T seeds for each subset."
        )
    wanted = [Retraining(int(seed), rows) for rows, line in zip(subsets, seeds, strict=True) for seed in line]
    outcomes = retrain_all(experiment, wanted, folder, workers)
    return np.array([outcome.margins for outcome in outcomes]).reshape(*seeds.shape, len(targets_inputs))


def retrain_all(
    experiment: Experiment, wanted: Sequence[Retraining], folder: str | Path, workers: int = 1, desc: str = "retrain"
) -> list[Outcome]:
    """The outcome of each retraining, those that are not in the folder trained now, each written as it ends.

    Args:
        experiment: what they share.
        wanted: any, repetitions too.
        folder: made if need be.
        workers: processes, each with one thread; 1 trains in this process. In a torchrun job its workers train instead,
            where the others call `help_retrain`.
        desc: what the progress bar says.

    Raises:
        ConfigError: fewer than one worker, or a model that cannot be built.
        DataError: rows that cannot be trained on; a damaged file.
        StoreError: the folder holds the retrainings of another experiment (the message names what differs), or another
            process is filling it.
        WorkerError: a process ended before it was done.
    """
    if workers < 1:
        raise ConfigError(f"--workers: too few. Got {workers}, expected at least 1. Give a larger number.")
    folder, different = Path(folder), {one.name: one for one in wanted}
    with held(folder, plan_of(experiment)):
        missing = [one for name, one in different.items() if not (folder / name).is_file()]
        there = len(different) - len(missing)
        with progress(len(different), desc, "model", done=there) as bar:
            if workers == 1 or len(missing) < 2 or is_worker():
                _share(experiment, missing, folder, lambda done: bar.update(there + done - bar.n))
            else:
                in_processes(_work, (experiment, folder), missing, workers, lambda: bar.update(1))
        _wait_for_files([folder / one.name for one in missing])
    found = {name: _read(folder / name, len(experiment.targets)) for name in different}
    return [found[one.name] for one in wanted]


def help_retrain(experiment: Experiment, folder: str | Path) -> None:
    """A further worker's part of a torchrun job: retrainings that the first one's `retrain_all` shares out, until it
    says that there are no more (`workers.nothing_more`).

    Args:
        experiment, folder: the same as the first one's.

    Raises:
        DataError: as `retrain_all`.
    """
    with one_thread(), quietly():
        for item in taken():
            _retrain(experiment, _unpacked(item, len(experiment.inputs)), Path(folder))


def _share(experiment: Experiment, missing: Sequence[Retraining], folder: Path, told: Callable[[int], None]) -> None:
    """Train in this process, and where it is one of several in all of them."""
    with one_thread(), quietly():  # as in every worker, so that their number changes no bit
        rows = len(experiment.inputs)
        for number in shared_out(len(missing), lambda number: _packed(missing[number], rows), told):
            _retrain(experiment, missing[number], folder)


def _packed(one: Retraining, rows: int) -> bytes:
    """A retraining of so many rows as bytes: its seed, and a bit a row."""
    seen = np.zeros(rows, dtype=bool)
    seen[one.seen] = True
    return one.seed.to_bytes(SEED, "little") + np.packbits(seen).tobytes()


def _unpacked(content: bytes, rows: int) -> Retraining:
    seen = np.unpackbits(np.frombuffer(content[SEED:], dtype=np.uint8), count=rows)
    return Retraining(int.from_bytes(content[:SEED], "little"), np.flatnonzero(seen))


def _wait_for_files(paths: Sequence[Path]) -> None:
    """Wait until files are seen that others have written: a machine may know for a while that there was none."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and not all(path.is_file() for path in paths):
        time.sleep(1)


def _retrain(experiment: Experiment, one: Retraining, folder: Path) -> None:
    """Train, measure, write."""
    parts = (experiment.model_config, experiment.inputs, experiment.validation, experiment.settings, one.seed, one.seen)
    content: dict[str, Any] = {"seed": one.seed, "rows": len(one.seen)}
    try:
        trained = train(*parts, experiment.word_vectors, desc=f"seed {one.seed}")
        margins = target_margins(trained.model, experiment.targets)
        if not np.isfinite(margins).all():
            raise NumericalError(
                "training: the targets' margins diverged. Got NaN or Inf, expected finite numbers. Lower "
                f"`learning_rate` (now {experiment.settings.learning_rate})."
            )
        lists = experiment.lists
        content["exposure"] = {} if lists is None else list_exposure(trained.model, lists)
        content |= {"epochs": len(trained.history), "margins": margins.tolist(), "diverged": None}
    except NumericalError as error:
        content |= {"epochs": None, "margins": None, "exposure": {}, "diverged": str(error)}
    write_json(folder / one.name, content)


def _read(path: Path, count: int) -> Outcome:
    try:
        content = read_json(path)
        diverged, margins = content["diverged"], content["margins"]
        values = np.full(count, np.nan) if diverged else np.array(margins, dtype=np.float64)
        if values.shape != (count,):
            raise ValueError(f"{values.shape} margins, expected ({count},)")
        if not (diverged or np.isfinite(values).all()):
            raise ValueError("margins that are not finite")
        return Outcome(values, content["exposure"], diverged)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}). Delete it; it is then trained again.") from None


def _work(shared: tuple[Experiment, Path], one: Retraining) -> None:
    """What a worker does."""
    set_quiet(True)
    torch.set_num_threads(1)
    _retrain(shared[0], one, shared[1])
