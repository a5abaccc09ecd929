"""Blocks: runs of consecutive rows that are stored whole or not at all, each with a marker that holds its check sums.

A block is finished when its bytes lie in the memory maps, are flushed, and its marker has been renamed into place;
nothing else counts, neither traker's mask nor who computed it. Not here: what a row's numbers are, or who may write.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.errors import StoreError
from rec_trak.store.manifest import read_whole, write_json

_agreed: set[tuple] = set()  # what this process has compared with its check sums, by file, size and time


@dataclass(frozen=True)
class Cut:
    """How the rows of a member, or the targets of a set, are cut.

    Attributes:
        markers: the folder of the markers.
        count: rows.
        size: rows of a block; the last may have fewer.
        command: what fills them, in words that follow "and".
    """

    markers: Path
    count: int
    size: int
    command: str

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def rows(self, block: int) -> slice:
        """The rows of a block."""
        return slice(block * self.size, min((block + 1) * self.size, self.count))

    def length(self, block: int) -> int:
        """How many they are."""
        rows = self.rows(block)
        return rows.stop - rows.start

    def marker(self, block: int) -> Path:
        """Where the marker of a block is, or will be."""
        return self.markers / f"{block:07d}.json"


@dataclass(frozen=True)
class Part:
    """What is filled by block.

    Attributes:
        cut: into which blocks.
        arrays: file name -> the map, (count, ...) each.
        mask: traker's own of what is done, (count, ...).
    """

    cut: Cut
    arrays: Mapping[str, np.ndarray]
    mask: np.ndarray


def cut_rows(folder: Path, count: int, sizes: Mapping[str, int]) -> Cut:
    """The blocks of a member in its `folder`; `sizes` as the manifest has them under `blocks`."""
    return Cut(folder / "blocks", count, sizes["rows"], "run scripts/featurize.py")


def cut_targets(folder: Path, name: str, count: int, sizes: Mapping[str, int]) -> Cut:
    """The blocks of a target set in a member's `folder`."""
    return Cut(folder / f"{name}_blocks", count, sizes["targets"], f"run scripts/score.py with --targets {name}")


def unfinished(cut: Cut) -> list[int]:
    """The blocks without a marker that is whole."""
    return [block for block in range(len(cut)) if _sums(cut, block) is None]


def rows_unfinished(cut: Cut) -> int:
    """How many rows are in blocks without a marker."""
    return sum(map(cut.length, unfinished(cut)))


def begin(part: Part, block: int) -> slice:
    """The rows of a block, which traker takes as not yet done."""
    rows = part.cut.rows(block)
    part.mask[rows] = 0
    return rows


def end(part: Part, block: int) -> None:
    """Bring the maps to the disk, then say by the block's marker that it is finished.

    Raises:
        OSError: the disk takes no more, or is gone.
    """
    rows = part.cut.rows(block)
    part.mask[rows] = 1
    for array in (*part.arrays.values(), part.mask):
        if isinstance(array, np.memmap):
            array.flush()
    part.cut.markers.mkdir(exist_ok=True)
    sums = {name: _sum(array[rows]) for name, array in part.arrays.items()}
    write_json(part.cut.marker(block), {"rows": [rows.start, rows.stop], "sums": sums})
    for array in part.arrays.values():
        if isinstance(array, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            array._mmap.madvise(mmap.MADV_DONTNEED)  # else a process holds all that it wrote, up to its end


def check(cut: Cut, arrays: Mapping[Path, np.ndarray]) -> None:
    """Compare every block with its check sums; once a process for files that nobody has changed since.

    Args:
        cut: of the rows that the arrays have.
        arrays: path -> map (count, ...).

    Raises:
        StoreError: names the file and the rows that are not what was written, and what makes them again.
    """
    seen = (cut, *(_state(path) for path in (cut.markers, *arrays)))
    if seen in _agreed:
        return
    for block in range(len(cut)):
        sums, rows = _sums(cut, block), cut.rows(block)
        for path, array in arrays.items():
            if sums is None or sums.get(path.name) != _sum(array[rows]):
                raise StoreError(
                    f"{path}: rows {rows.start} to {rows.stop - 1} are damaged. Got bytes whose check sum is not the "
                    f"one in {cut.marker(block)}, expected what was written. Delete that file, and {cut.command} "
                    "again: it makes these rows anew."
                )
    _agreed.add(seen)


def damaged(cut: Cut, arrays: Mapping[Path, np.ndarray]) -> list[slice]:
    """The rows of every block that is finished and whose bytes are not those of its check sums."""
    found = []
    for block in range(len(cut)):
        sums, rows = _sums(cut, block), cut.rows(block)
        if sums is not None and any(sums.get(path.name) != _sum(array[rows]) for path, array in arrays.items()):
            found.append(rows)
    return found


def sums_of(cut: Cut, name: str) -> list[int | None]:
    """The check sum of each block of an array, as its marker has it."""
    return [(_sums(cut, block) or {}).get(name) for block in range(len(cut))]


def clear(markers: Path) -> None:
    """Remove the markers of a folder, whose maps are about to be made anew."""
    if markers.is_dir():
        for path in markers.glob("*.json"):
            path.unlink()


def adopt(part: Part) -> None:
    """Give markers to the blocks of an earlier build, whose mask says which rows are finished."""
    for block in unfinished(part.cut):
        if part.mask[part.cut.rows(block)].all():
            end(part, block)


def _sums(cut: Cut, block: int) -> dict[str, Any] | None:
    """The check sums in a block's marker by file name; None where there is none that is whole and of these rows."""
    told, rows = read_whole(cut.marker(block)) or {}, cut.rows(block)
    sums = told.get("sums")
    return sums if told.get("rows") == [rows.start, rows.stop] and isinstance(sums, dict) else None


def _sum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data)


def _state(path: Path) -> tuple:
    try:
        told = path.stat()
    except FileNotFoundError:
        return (str(path),)
    return str(path), told.st_ino, told.st_size, told.st_mtime_ns
