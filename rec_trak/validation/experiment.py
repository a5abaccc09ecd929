"""What all retrainings of a validation share, and their folder, held by who fills it. Not here: any retraining."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.config.documents import DocumentError, read_json
from rec_trak.config.model import ModelConfig
from rec_trak.data.inputs import Inputs
from rec_trak.disk import sweep
from rec_trak.errors import DataError, StoreError
from rec_trak.locks import locked
from rec_trak.store.manifest import digest, write_json
from rec_trak.training.trainer import TrainSettings
from rec_trak.validation.outcomes import Lists
from rec_trak.words import quoted

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
def held(folder: Path, plan: dict[str, Any]) -> Iterator[None]:
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
