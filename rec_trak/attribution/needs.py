"""What a job is going to take of disks and of memory, asked for before any of it is taken. Not here: taking it.

Features are of no use where scoring cannot follow, so that both are refused for a K that scoring has no memory for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rec_trak.attribution.job import Job
from rec_trak.config.analysis import AUTO
from rec_trak.disk import sweep
from rec_trak.errors import StoreError
from rec_trak.room import require_disk
from rec_trak.scoring.memory import require_systems
from rec_trak.scoring.solve import needs_double
from rec_trak.store.layout import mapped, member_maps, member_state, sizes, target_maps
from rec_trak.store.saver import INSTEAD

NUMPY_HEADER = 128  # bytes before the numbers in a file that numpy itself makes
FEWER = f"{INSTEAD}, or explain fewer targets"


def solved_type(job: Job) -> type:
    """The type of solved targets, by the precision that the job's ridge needs; `auto` tries none that needs more."""
    return np.float64 if job.lambda_rel != AUTO and needs_double(job.lambda_rel) else np.float32


def features_disk(job: Job) -> dict[Path, int]:
    """Path -> bytes of every file of features that is still to be made."""
    wanted: dict[Path, int] = {}
    for model_id in range(len(job.members)):
        if member_state(job.save_dir, model_id) is None:
            wanted |= sizes(member_maps(job.save_dir / str(model_id), len(job.inputs), job.proj_dim))
    return wanted


def targets_disk(job: Job, name: str, count: int) -> dict[Path, int]:
    """Path -> bytes of every file of gradients of `count` targets that is still to be made."""
    wanted: dict[Path, int] = {}
    for model_id in range(len(job.members)):
        maps = sizes(target_maps(job.save_dir / str(model_id), name, count, job.proj_dim))
        wanted |= maps if any(mapped(path) is None for path in maps) else {}  # all are made anew, or none
    return wanted


def scores_disk(job: Job, count: int, matrix: Path | None = None) -> dict[Path, int]:
    """Path -> bytes that scoring `count` targets takes: the solved targets, while it runs, and all scores if kept."""
    solved = len(job.members) * count * job.proj_dim * np.dtype(solved_type(job)).itemsize
    wanted = {job.save_dir / "solved targets": solved}
    return wanted if matrix is None else wanted | {matrix: NUMPY_HEADER + 4 * len(job.impressions) * count}


def require_room_for_features(job: Job) -> None:
    """Refuse features that do not fit, or that scoring could not be done with.

    Raises:
        StoreError: no room on the disk. RoomError: not enough memory to score with this K. Both say how much.
    """
    require_systems(job.proj_dim)
    rows, members = len(job.inputs), len(job.members)
    _require(job, features_disk(job), f"{rows:,} rows x {members} checkpoint(s) with K = {job.proj_dim:,}", INSTEAD)


def require_room_for_targets(job: Job, name: str, count: int, further: dict[Path, int] | None = None) -> None:
    """Refuse `count` targets whose gradients, and `further` files of theirs, do not fit, or that cannot be scored.

    Raises:
        StoreError: no room on a disk. RoomError: not enough memory to score with this K. Both say how much.
    """
    require_systems(job.proj_dim)
    what = f"{count:,} targets x {len(job.members)} checkpoint(s) with K = {job.proj_dim:,}"
    _require(job, targets_disk(job, name, count) | (further or {}), what, FEWER)


def _require(job: Job, wanted: dict[Path, int], what: str, instead: str) -> None:
    try:
        require_disk(wanted, what, instead)
    except StoreError:
        for folder in {path.parent for path in wanted if path.parent.is_dir()}:
            sweep(folder, lambda name: name.endswith(".mmap"))  # what a killed process had taken
        require_disk(wanted, what, instead)
