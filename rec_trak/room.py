"""Room on disks and in memory: what there is, and refusals with true figures before anything is taken.

Whoever writes or allocates says how much; see `store/saver.py` for features, `scoring/memory.py` for systems. Not here:
writing, allocating.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from rec_trak.errors import RoomError, StoreError

MARGIN = 1 << 20  # bytes that stay free on a disk, at least; a hundredth of what is taken, where that is more
UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
CACHES = ("inactive_file", "active_file")  # of a control group's memory: given back when it is wanted


def in_words(size: int, up: bool = False) -> str:
    """Bytes as `1.25 GB`, rounded down, or up; so that what is free never looks as much as the more that is wanted."""
    unit, name = next(((unit, name) for unit, name in UNITS if size >= unit), (1, "bytes"))
    if unit == 1:
        return f"{size} {name}"
    return f"{(math.ceil if up else math.floor)(size * 100 / unit) / 100:,.2f} {name}"


def free_disk(path: Path) -> int:
    """Bytes that are free where a path lies, or is going to lie once its folders are made."""
    return shutil.disk_usage(_there(path)).free


def require_disk(wanted: Mapping[Path, int], what: str, instead: str) -> None:
    """Refuse files that do not fit where they are going to lie, before any of them is made.

    Args:
        wanted: path -> bytes; those on one disk are added up. Folders need not exist.
        what: they are, for the message.
        instead: of making room, for the message.

    Raises:
        StoreError: they do not fit, with a margin; the message says what is free and what is needed.
    """
    disks: dict[int, list[Path]] = {}
    for path in wanted:
        disks.setdefault(_there(path).stat().st_dev, []).append(path)
    for paths in disks.values():
        size = sum(wanted[path] for path in paths)
        needed, free = size + max(MARGIN, size // 100), free_disk(paths[0])
        if size and needed > free:
            raise _no_room(paths[0].parent, what, "", free, needed, instead)


def take(file: int, size: int, folder: Path, what: str, instead: str) -> None:
    """Take `size` bytes of disk for an open file now, since a full disk under a sparse map kills the process later.

    Args:
        file: its descriptor.
        size: bytes.
        folder: where it lies.
        what, instead: as `require_disk`.

    Raises:
        StoreError: there is no room. The file is empty then, so that what it had taken is free, and counted so.
    """
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(file, 0)
        raise _no_room(folder, what, f" ({error.strerror})", free_disk(folder), size, instead) from None


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process may still take; None where the system does not say.

    Args:
        root: of the file system in which `proc` and `sys` are.
    """
    known = [_of_machine(root / "proc" / "meminfo"), *(_of_group(folder) for folder in _groups(root))]
    return min((size for size in known if size is not None), default=None)


def require_memory(needed: int, what: str, instead: str) -> None:
    """Refuse what does not fit into memory; nothing is refused where the system does not say how much there is.

    Args:
        needed: bytes.
        what, instead: for the message.

    Raises:
        RoomError: there is less; the message says how much.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise RoomError(
            f"{what}: not enough memory. Got {in_words(available)} available, expected {in_words(needed, up=True)}. "
            f"{instead}"
        )


def _no_room(folder: Path, what: str, why: str, free: int, needed: int, instead: str) -> StoreError:
    return StoreError(
        f"{folder}: no room for {what}{why}. Got {in_words(free)} free, expected {in_words(needed, up=True)}. "
        f"Make room, or {instead}."
    )


def _there(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _of_machine(path: Path) -> int | None:
    for line in _lines(path):
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return None


def _groups(root: Path) -> Iterator[Path]:
    """The folders of the control groups of this process that limit memory, the innermost first.

    In a container the path may be the host's, of which only the top is to be seen here.
    """
    mounts = root / "sys" / "fs" / "cgroup"
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        places = (mounts / "memory",) if controllers else (mounts, mounts / "unified")
        inner = Path(path.lstrip("/"))
        for place in places:
            yield from (place / part for part in (inner, *inner.parents))


def _of_group(folder: Path) -> int | None:
    """What a group may still take, its file cache counted as free; None where there is no limit."""
    for limit, usage, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        try:
            most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
        except (OSError, ValueError):  # not there, or `max`
            continue
        stat = dict(line.split()[:2] for line in _lines(folder / "memory.stat"))
        return max(0, most - used + sum(int(stat.get(f"{prefix}{name}", 0)) for name in CACHES))
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
