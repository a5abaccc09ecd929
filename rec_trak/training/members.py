"""The members of an ensemble on disk: trained, written whole, left alone when finished. Not here: the training loop."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.checkpoints.records import file_digest, read_record
from rec_trak.checkpoints.state_dicts import check_model_config, save_weights, write_model_config
from rec_trak.config.model import ModelConfig
from rec_trak.data.inputs import Inputs
from rec_trak.disk import beside, put_in_place
from rec_trak.errors import CheckpointError, ConfigError
from rec_trak.locks import locked, remove_dead
from rec_trak.training.trainer import Trained, TrainSettings, half, train
from rec_trak.words import quoted
from rec_trak.workers import agreed, drawn, is_first


def train_members(
    config: ModelConfig,
    inputs: Inputs,
    validation: Inputs | None,
    settings: TrainSettings,
    folder: str | Path,
    name: str,
    seed: int,
    members: int = 1,
    halves: bool = False,
    word_vectors: np.ndarray | None = None,
    device: str = "cpu",
) -> list[Path]:
    """The checkpoints of `members` models, trained one after the other; those that are finished are left alone.

    Member m has the seed `seed + m` and, with `halves`, the random half of the rows under that seed. It is
    `<folder>/<name>.pt` (`<name>_<m>.pt` for several), with its seed, settings and metrics in a .json and the rows it
    saw in a `_rows.npy` beside it. `<folder>/model.json` describes the model of all members in the folder.

    Args:
        config, inputs, validation, settings, word_vectors, device: as `train`.
        folder: made if need be; nothing but a lock lies in it before the first member is trained.
        name: the start of the files' names, for example `clean`.
        seed, members, halves: see above.

    Raises:
        ConfigError: the folder holds another model, or a checkpoint of that name that was trained otherwise.
        CheckpointError: a checkpoint cannot be written, or does not go with its record.
        StoreError: another process trains into the folder.
        ConfigError, DataError, NumericalError: as `train`.
    """
    folder, config = Path(folder), replace(config, loss=settings.loss)
    stems = [name] if members == 1 else [f"{name}_{m}" for m in range(members)]
    parts = [half(len(inputs), seed + m) if halves else np.arange(len(inputs), dtype=np.int64) for m in range(members)]
    plans = {
        folder / f"{stem}.pt": (seen, _plan(inputs, validation, settings, seed + m, seen, word_vectors))
        for m, (stem, seen) in enumerate(zip(stems, parts, strict=True))
    }

    told = {"name": name, "validation": None}
    if validation is not None:
        shown = validation.impressions.candidates
        told["validation"] = {"impressions": len(shown), "candidates": len(shown.values)}

    def missing() -> list[str]:
        check_model_config(folder / "model.json", config)
        return [path.name for path, (_, plan) in plans.items() if not _is_finished(path, plan)]

    if agreed(missing):
        with locked(folder, "give another `output_dir`") if is_first() else nullcontext():
            names = agreed(missing)  # another process may have trained some while this one waited
            for number in drawn(len(names)):
                path = folder / names[number]
                seen, plan = plans[path]
                how = (settings, plan["seed"], seen, word_vectors, device, f"train {path.stem}")
                _write_member(path, train(config, inputs, validation, *how), plan | told, config)
    elif is_first():
        remove_dead(folder)  # of a process that was killed with all done
    return list(plans)


def _plan(
    inputs: Inputs, validation: Inputs | None, settings: TrainSettings, seed: int, seen: np.ndarray, vectors: Any
) -> dict[str, Any]:
    """Everything that decides a member's weights, as JSON: two members with equal plans are the same member."""
    digest = hashlib.blake2b(digest_size=16)
    for part in filter(None, (inputs, validation)):
        tables = (part.impressions.history, part.impressions.candidates, part.impressions.labels)
        arrays = [array for table in tables for array in (table.values, table.offsets)]
        for array in (*arrays, part.users, *(part.views[view] for view in sorted(part.views))):
            digest.update(str((array.dtype, array.shape)).encode() + np.ascontiguousarray(array).tobytes())
    for array in (seen, vectors):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    how = {key: value for key, value in asdict(settings).items() if key != "eval_batch_size"}
    return {"seed": seed, "rows": len(seen), "rows_of": len(inputs), "settings": how, "data": digest.hexdigest()}


def _is_finished(path: Path, plan: dict[str, Any]) -> bool:
    """Whether the checkpoint is there; one that was made by another plan is refused, never overwritten."""
    if not path.exists():
        return False
    made = read_record(path)
    different = [key for key, value in plan.items() if made.get(key) != value]
    if different:
        key = different[0]
        raise ConfigError(
            f"{path}: this checkpoint was trained otherwise. Got `{key}` {quoted(plan[key])}, it has "
            f"{quoted(made.get(key))}. Give another name or folder, or delete it."
        )
    return True


def _write_member(path: Path, trained: Trained, plan: dict[str, Any], config: ModelConfig) -> None:
    """All of a member's files, which take their places when the last is complete, the weights last: a checkpoint that
    is there is a finished one, and its record names it."""
    record, rows = path.with_suffix(".json"), path.with_name(f"{path.stem}_rows.npy")
    try:
        with ExitStack() as stack:
            places = {one: stack.enter_context(beside(one)) for one in (rows, record, path)}
            save_weights(places[path], trained.model)
            with open(places[rows], "wb") as file:
                np.save(file, trained.seen)
            content = {**plan, "checkpoint": file_digest(places[path]), "epochs": trained.history}
            places[record].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            write_model_config(path.parent / "model.json", config)
            put_in_place(places)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error}). Free some space or give another folder."
        ) from error
