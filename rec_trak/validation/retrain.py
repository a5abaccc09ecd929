"""Retrainings on disk: each is one small file, so that an interrupted validation goes on. Not here: what they mean.

A folder holds the retrainings of one experiment, which its plan.json describes; a retraining's file bears its seed and
what identifies its rows. Weights are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rec_trak.config.documents import DocumentError, read_json
from rec_trak.config.model import ModelConfig
from rec_trak.data.inputs import Inputs
from rec_trak.disk import sweep
from rec_trak.errors import ConfigError, DataError, NumericalError, StoreError, reason
from rec_trak.gradients.threads import one_thread
from rec_trak.locks import locked
from rec_trak.progress import progress, quietly, set_quiet
from rec_trak.store.manifest import digest, write_json
from rec_trak.training.trainer import TrainSettings, train
from rec_trak.validation.outcomes import Lists, list_exposure, target_margins
from rec_trak.validation.workers import in_processes
from rec_trak.words import outline, quoted

PLAN = "plan.json"


@dataclass(frozen=True)
class Experiment:
    """What all retrainings of a validation share.

    Attributes:
        model_config: the model; `settings.loss` counts and not its own.
        inputs: the rows to train on, one an impression (not yet cut by the loss).
        validation: rows for early stopping, None for none.
        settings: how to train.
        targets: M rows whose margins are measured.
        word_vectors: as `training.train`.
        lists: whose exposure is measured, None for none.
    """

    model_config: ModelConfig
    inputs: Inputs
    validation: Inputs | None
    settings: TrainSettings
    targets: Inputs
    word_vectors: np.ndarray | None = None
    lists: Lists | None = None


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
        workers: processes, each with one thread; 1 trains in this process.
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
    with _held(folder, plan_of(experiment)):
        missing = [one for name, one in different.items() if not (folder / name).is_file()]
        with progress(len(different), desc, "model", done=len(different) - len(missing)) as bar:
            if workers == 1 or len(missing) < 2:
                with one_thread(), quietly():  # as in every worker, so that their number changes no bit
                    for one in missing:
                        _retrain(experiment, one, folder)
                        bar.update(1)
            else:
                in_processes(_work, (experiment, folder), missing, workers, lambda: bar.update(1))
    found = {name: _read(folder / name, len(experiment.targets)) for name in different}
    return [found[one.name] for one in wanted]


def plan_of(experiment: Experiment) -> dict[str, Any]:
    """Everything that decides an outcome beside seed and rows, as flat JSON."""
    settings = asdict(experiment.settings)
    del settings["eval_batch_size"]  # it changes no result
    config = asdict(replace(experiment.model_config, loss=experiment.settings.loss))
    lists, validation = experiment.lists, experiment.validation
    return {
        "rows": len(experiment.inputs),
        "data": inputs_digest(experiment.inputs),
        "validation rows": None if validation is None else inputs_digest(validation),
        "model": digest(config),
        **{f"settings.{key}": value for key, value in settings.items()},
        "word vectors": None if experiment.word_vectors is None else digest(experiment.word_vectors),
        "target count": len(experiment.targets),
        "targets": inputs_digest(experiment.targets),
        "lists": None if lists is None else digest(inputs_digest(lists.inputs), lists.own, lists.fake, lists.read),
    }


def inputs_digest(inputs: Inputs) -> str:
    """16 hex digits that identify rows as a model reads them."""
    rows = inputs.impressions
    tables = [part for table in (rows.history, rows.candidates, rows.labels) for part in (table.values, table.offsets)]
    views = [part for name in sorted(inputs.views) for part in (name, inputs.views[name])]
    return digest(*tables, inputs.users, *views)


@contextmanager
def _held(folder: Path, plan: dict[str, Any]) -> Iterator[None]:
    """The folder, known to be of this plan. Nobody else fills it meanwhile: two would train the same."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder / PLAN}: cannot be written ({error.strerror}). Choose another folder.") from None
    with locked(folder, "stop it: what it has trained is kept"):
        _open(folder, plan)
        try:
            yield
        finally:
            sweep(folder, lambda name: name.endswith(".json"), former=True)  # of workers that were ended


def _open(folder: Path, plan: dict[str, Any]) -> None:
    """Write the plan where there is none; refuse another one."""
    path = folder / PLAN
    try:
        held = read_json(path) if path.is_file() else None
        if not isinstance(held, dict | None):
            raise DocumentError(f"{type(held).__name__}, no keys and values")
    except DocumentError as error:
        raise DataError(f"{path}: damaged ({error}). Expected JSON. Delete the folder and validate again.") from None
    if held is None:
        try:
            write_json(path, plan)
        except OSError as error:
            raise StoreError(f"{path}: cannot be written ({error.strerror}). Choose another folder.") from None
        return
    for key in plan | held:
        if plan.get(key) != held.get(key):
            raise StoreError(
                f"{folder}: retrainings of another plan, `{key}` differs. Got {quoted(plan.get(key))}, the folder "
                f"holds {quoted(held.get(key))}. Go back to that, or delete the folder to start anew."
            )


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
