"""The saver that `TRAKer` writes through: its memory maps, made safe. Not here: who may write, or whether it fits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from trak.savers import MmapSaver

from rec_trak.disk import beside
from rec_trak.errors import StoreError
from rec_trak.room import take
from rec_trak.store.manifest import pending_rows, read_whole, write_json

INSTEAD = "choose another `save_dir` (--save_dir) or a smaller `proj_dim` (--proj_dim)"
HEADER = 128  # bytes of a map before its numbers, at least
Maps = dict[str, tuple[Path, tuple[int, ...], type]]  # traker's name of a map -> path, shape, dtype


def member_maps(folder: Path, rows: int, k: int) -> Maps:
    """The maps of a member with so many rows and K numbers a row, in its folder."""
    return {
        "grads": (folder / "grads.mmap", (rows, k), np.float32),
        "out_to_loss": (folder / "out_to_loss.mmap", (rows, 1), np.float32),
        "is_featurized": (folder / "_is_featurized.mmap", (rows, 1), np.int32),
    }


def target_maps(folder: Path, name: str, targets: int, k: int) -> Maps:
    """The maps of a target set in a member's folder."""
    return {
        f"{name}_grads": (folder / f"{name}_grads.mmap", (targets, k), np.float32),
        f"{name}_done": (folder / f"{name}_done.mmap", (targets,), np.int32),
    }


def sizes(maps: Maps) -> dict[Path, int]:
    """Path -> bytes on disk."""
    return {path: HEADER + math.prod(shape) * np.dtype(dtype).itemsize for path, shape, dtype in maps.values()}


def mapped(path: Path) -> np.ndarray | None:
    """The array of a memory map, read-only; None where there is none that is whole."""
    try:
        return open_memmap(path, mode="r")
    except (OSError, ValueError):
        return None


def member_state(save_dir: Path, model_id: int) -> dict[str, int] | None:
    """What traker keeps of a member; None before all its maps are there. It is written after them."""
    state = (read_whole(save_dir / f"id_{model_id}.json") or {}).get(str(model_id))
    known = isinstance(state, dict) and {"is_featurized", "is_finalized"} <= state.keys()
    return state if known else None


def rows_pending(save_dir: Path, model_id: int, count: int) -> int:
    """How many of `count` rows a member lacks."""
    mask = mapped(save_dir / str(model_id) / "_is_featurized.mmap")
    return count if mask is None or member_state(save_dir, model_id) is None else len(pending_rows(mask))


def targets_pending(save_dir: Path, model_id: int, name: str, count: int) -> int:
    """How many of the `count` targets of a set a member lacks; all of them where one of the set's maps is not whole."""
    gradients, mask = (mapped(save_dir / str(model_id) / f"{name}_{part}.mmap") for part in ("grads", "done"))
    return count if gradients is None or mask is None else len(pending_rows(mask))


def reserve(path: Path, size: int, name: str | None = None) -> None:
    """Take `size` bytes of disk for an existing file now, since a full disk under a sparse map kills the process later.

    Args:
        path: the file.
        size: bytes.
        name: what it is going to be called, for the message.

    Raises:
        StoreError: there is no room; the file is removed.
    """
    try:
        with open(path, "r+b") as file:
            take(file.fileno(), size, path.parent, name or path.name, INSTEAD)
    except StoreError:
        path.unlink(missing_ok=True)
        raise


class RowSaver(MmapSaver):
    """traker's memory-map saver with space reserved, shapes checked, atomic JSON and only its own folder's model ids.

    Each target set also gets a mask of finished targets, so that scoring resumes at target granularity. traker's own
    (N, K) features and (N, M) scores are never made: scores are solved block by block from the gradients.
    """

    def __init__(self, load_from_save_dir: bool = True, **arguments: Any) -> None:
        # traker would read the JSON of every folder below, and write its own in place.
        super().__init__(load_from_save_dir=False, **arguments)
        numbers = (path.stem.removeprefix("id_") for path in sorted(self.save_dir.glob("id_*.json")))
        states = {int(number): member_state(self.save_dir, int(number)) for number in numbers if number.isdecimal()}
        self.model_ids = {number: state for number, state in states.items() if state is not None}
        self.experiments = read_whole(self.experiments_file) or {}

    def _load(self, fname: Path, shape: tuple[int, ...], mode: str, dtype: Any = None) -> np.memmap:
        dtype = np.dtype(np.float32 if dtype is None else dtype)
        if mode == "w+":
            with beside(Path(fname)) as temporary:
                array = open_memmap(temporary, mode=mode, shape=shape, dtype=dtype)
                reserve(temporary, temporary.stat().st_size, Path(fname).name)
                os.replace(temporary, fname)
            return array
        try:
            open_memmap(fname, mode="r")  # to write, numpy would lengthen a file that is too short
            array = open_memmap(fname, mode=mode)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{fname}: cannot be read ({error}). Expected the array of an earlier run. "
                f"Delete {self.save_dir} and featurize again."
            ) from None
        if array.shape != shape or array.dtype != dtype:
            raise StoreError(
                f"{fname}: not this run's. Got shape {array.shape} of {array.dtype}, expected {shape} of {dtype}. "
                f"Delete {self.save_dir} and featurize again."
            )
        return array

    def init_store(self, model_id: int) -> None:
        (self.save_dir / str(model_id)).mkdir(exist_ok=True)
        self.load_current_store(model_id, mode="w+")

    def load_current_store(
        self, model_id: int, exp_name: str | None = None, exp_num_targets: int = -1, mode: str = "r+"
    ) -> None:
        """Open the maps of one member, or of one target set of it, into `current_store`."""
        self.current_model_id = model_id
        folder, n = self.save_dir / str(model_id), self.train_set_size
        if exp_name is None:
            wanted = member_maps(folder, n, self.proj_dim)
        else:
            self.current_experiment_name = exp_name
            wanted = target_maps(folder, exp_name, exp_num_targets, self.proj_dim)
        half_made = exp_name is not None and any(mapped(path) is None for path, _, _ in wanted.values())
        create = mode == "w+" or half_made
        for name, (path, shape, dtype) in wanted.items():
            self.current_store[name] = self._load(path, shape, "w+" if create else "r+", dtype)

    def serialize_current_model_id_metadata(self, already_exists: bool = True) -> None:
        """Nothing after each batch, where traker would add up a mask of N rows; `commit` writes it once."""
        if not already_exists:
            self.commit()

    def commit(self) -> int:
        """Write how far the current member is; returns the number of rows not yet featurized."""
        mask = self.current_store["is_featurized"]
        pending = int(self.train_set_size - np.count_nonzero(mask))
        state = self.model_ids[self.current_model_id]
        state["is_featurized"] = int(pending == 0)
        write_json(self.save_dir / f"id_{self.current_model_id}.json", {self.current_model_id: state})
        return pending

    def init_experiment(self, exp_name: str, num_targets: int, model_id: int) -> None:
        if not (self.save_dir / str(model_id)).exists():
            raise StoreError(
                f"{self.save_dir}: checkpoint {model_id} has no features. Got nothing, expected its featurized rows. "
                "Run featurize first."
            )
        self.experiments[exp_name] = {
            "num_targets": num_targets,
            "scores_path": str(self.save_dir / "scores" / f"{exp_name}.mmap"),
            "scores_finalized": 0,
        }
        write_json(self.experiments_file, self.experiments)
        self.load_current_store(model_id, exp_name, num_targets)

    @contextmanager
    def targets_allowed(self, model_id: int) -> Iterator[None]:
        """Let traker featurize targets although no (N, K) `features` file was finalized.

        It asks for that file's flag before it takes target gradients, which do not need the file: scores are solved
        from the gradients themselves by `scoring`.
        """
        state = self.model_ids[model_id]
        held = state["is_finalized"]
        state["is_finalized"] = 1
        try:
            yield
        finally:
            state["is_finalized"] = held
