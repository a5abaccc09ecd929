"""The saver that `TRAKer` writes through: its memory maps, made safe. Not here: who may write, or whether it fits."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from trak.savers import MmapSaver

from rec_trak.arrays import read_array
from rec_trak.disk import beside
from rec_trak.errors import StoreError
from rec_trak.room import take
from rec_trak.store.blocks import Part, adopt, clear, cut_rows, cut_targets
from rec_trak.store.layout import HEADER, mapped, member_maps, member_state, target_maps
from rec_trak.store.manifest import BLOCKS, MANIFEST, read_whole, write_json

MAGIC = b"\x93NUMPY\x01\x00"  # of numpy's format, version 1.0
INSTEAD = "choose another `save_dir` (--save_dir) or a smaller `proj_dim` (--proj_dim)"


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


def _new_map(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    """A map of zeros with its room reserved, whose numbers begin at a page: numpy's header, filled up with blanks."""
    told = repr({"descr": dtype.str, "fortran_order": False, "shape": shape})
    length = HEADER - len(MAGIC) - 2
    size = HEADER + math.prod(shape) * dtype.itemsize
    with beside(path) as temporary:
        with open(temporary, "r+b") as file:
            file.write(MAGIC + length.to_bytes(2, "little") + told.ljust(length - 1).encode() + b"\n")
            file.truncate(size)
        reserve(temporary, size, path.name)
        os.replace(temporary, path)
    return open_memmap(path, mode="r+")


class RowSaver(MmapSaver):
    """traker's memory-map saver with space reserved, shapes checked, atomic JSON and only its own folder's model ids.

    Rows and targets are filled by block (`part`). traker's own (N, K) features and (N, M)
    scores are never made: scores are solved block by block from the gradients.
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
            return _new_map(Path(fname), shape, dtype)
        try:
            read_array(fname, mapped=True)  # to write, numpy would lengthen a file that is too short
            array = open_memmap(fname, mode=mode)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{fname}: cannot be read ({error}). Expected the array of an earlier run. "
                "Delete that file and featurize again."
            ) from None
        if array.shape != shape or array.dtype != dtype:
            raise StoreError(
                f"{fname}: not this run's. Got shape {array.shape} of {array.dtype}, expected {shape} of {dtype}. "
                "Delete that file and featurize again."
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
        gone = any(not path.exists() for path, _, _ in wanted.values())
        half_made = exp_name is not None and any(mapped(path) is None for path, _, _ in wanted.values())
        create = mode == "w+" or gone or half_made
        if create:
            clear(folder / ("blocks" if exp_name is None else f"{exp_name}_blocks"))
        for name, (path, shape, dtype) in wanted.items():
            self.current_store[name] = self._load(path, shape, "w+" if create else "r+", dtype)

    def serialize_current_model_id_metadata(self, already_exists: bool = True) -> None:
        """Nothing after each batch, where traker would add up a mask of N rows; `commit` writes it once."""
        if not already_exists:
            self.commit()

    def commit(self) -> int:
        """Write how far the current member is; returns the number of rows not yet featurized."""
        mask = self.current_store["is_featurized"]
        mask.flush()
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
        told = {
            "num_targets": num_targets,
            "scores_path": str(self.save_dir / "scores" / f"{exp_name}.mmap"),
            "scores_finalized": 0,
        }
        if self.experiments.get(exp_name) != told:  # of many workers the first writes it, before the others look
            self.experiments[exp_name] = told
            write_json(self.experiments_file, self.experiments)
        self.load_current_store(model_id, exp_name, num_targets)

    def part(self, sizes: Mapping[str, int], targets: tuple[str, int] | None = None) -> Part:
        """The current member's rows, or those of a target set (name, count), to be filled by block."""
        folder = self.save_dir / str(self.current_model_id)
        if targets is None:
            cut, maps = cut_rows(folder, self.train_set_size, sizes), member_maps(folder, 0, 0)
        else:
            name, count = targets
            cut, maps = cut_targets(folder, name, count, sizes), target_maps(folder, name, count, 0)
        *names, mask = maps  # the last is the mask of what is done
        return Part(cut, {maps[name][0].name: self.current_store[name] for name in names}, self.current_store[mask])

    def adopt_all(self, manifest: dict[str, Any]) -> None:
        """Give blocks to a directory of an earlier build, whose masks alone say what is done; others are left alone.

        Args:
            manifest: of the directory, locked; what it lacks is added, there and in the file.
        """
        if "blocks" in manifest:
            return
        for model_id in self.model_ids:
            self.load_current_store(model_id)
            adopt(self.part(BLOCKS))
            for name, told in manifest["targets"].items():
                maps = target_maps(self.save_dir / str(model_id), name, told["count"], self.proj_dim)
                if all(mapped(path) is not None for path, _, _ in maps.values()):
                    self.load_current_store(model_id, name, told["count"])
                    adopt(self.part(BLOCKS, (name, told["count"])))
        manifest["blocks"] = BLOCKS
        write_json(self.save_dir / MANIFEST, manifest)

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
