"""Which maps a save directory has, of what shape, and how far they are filled. Not here: filling or reading them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rec_trak.arrays import read_array
from rec_trak.store.blocks import cut_rows, cut_targets, rows_unfinished
from rec_trak.store.manifest import read_manifest, read_whole

HEADER = 4096  # bytes of a map before its numbers: a page, so that blocks are whole pages
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
        return read_array(path, mapped=True)
    except (OSError, ValueError):
        return None


def member_state(save_dir: Path, model_id: int) -> dict[str, int] | None:
    """What traker keeps of a member; None before all its maps are there. It is written after them."""
    state = (read_whole(save_dir / f"id_{model_id}.json") or {}).get(str(model_id))
    known = isinstance(state, dict) and {"is_featurized", "is_finalized"} <= state.keys()
    return state if known else None


def rows_pending(save_dir: Path, model_id: int, count: int) -> int:
    """How many of `count` rows a member lacks."""
    folder = save_dir / str(model_id)
    held = [mapped(path) for path, _, _ in member_maps(folder, 0, 0).values()]
    if any(one is None for one in held) or member_state(save_dir, model_id) is None:
        return count
    return _pending(save_dir, held[-1], lambda held: cut_rows(folder, count, held))


def targets_pending(save_dir: Path, model_id: int, name: str, count: int) -> int:
    """How many of the `count` targets of a set a member lacks; all of them where one of the set's maps is not whole."""
    folder = save_dir / str(model_id)
    gradients, mask = (mapped(folder / f"{name}_{part}.mmap") for part in ("grads", "done"))
    if gradients is None or mask is None:
        return count
    return _pending(save_dir, mask, lambda held: cut_targets(folder, name, count, held))


def _pending(save_dir: Path, mask: np.ndarray, cut) -> int:
    """Rows without a marker; in a directory of an earlier build, which has no blocks, those that the mask lacks."""
    held = (read_manifest(save_dir) or {}).get("blocks")
    return int(np.count_nonzero(np.asarray(mask) == 0)) if held is None else rows_unfinished(cut(held))
