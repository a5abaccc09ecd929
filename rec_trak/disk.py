"""Files made new without following a link, and so that they are whole or absent; what stands where none was found.

Not here: what is written into them.

A process can be killed at any moment. What later runs read is therefore written to a temporary file beside its place
and renamed. What the dead leave of that goes when somebody writes the same file again, or all at once where the folder
is known to be ours (`sweep`).
"""

from __future__ import annotations

import difflib
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rec_trak.words import QUOTE, plain

TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<process>\d{1,9})(-\d+)?\.tmp")
FORMER = re.compile(r"\.(?P<name>.+\.json)\.(?P<process>\d{1,9})")  # of builds that did not lock theirs
FORMER_AGE = 3600  # seconds after which one of these is nobody's, on whatever host


def absent(path: str | Path, shown: int = 3) -> str:
    """For messages: what is wrong with a path at which no file was found, without a full stop.

    Says so where it is a folder; else names the nearest folder that exists and some of what is in it. Names longer
    than a file system takes are no file.
    """
    path = Path(path)
    if path.is_dir():
        return "it is a folder, not a file"
    if path.exists():
        return "it is no plain file"
    nearest = next((folder for folder in path.parents if folder.is_dir()), Path("."))
    names = []
    with suppress(OSError), os.scandir(nearest) as entries:
        names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in entries if one.name[0] != ".")
    if nearest == path.parent:  # a name that goes on, or one with a letter changed, is likely meant
        begun = [name for name in names if name.startswith(f"{path.name}.")]
        names = begun or difflib.get_close_matches(path.name, names, shown) or names
    told = ", ".join(plain(name, QUOTE) for name in names[:shown]) + ", ..." * (len(names) > shown)
    there = "this folder" if nearest == Path(".") else f"{nearest}, the nearest folder that exists,"
    return f"no such file; {there} holds {told or 'nothing'}"


def open_new(path: Path) -> IO[bytes]:
    """A new file for bytes. What lay at the path goes; of a link the link itself, never what it leads to.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666))


def open_kept(path: Path, make: bool = True) -> IO[str]:
    """A text file to read and write that keeps what it holds; with `make` it is made where there is none.

    Raises:
        OSError: it cannot be opened; `errno.ELOOP` where it is a link.
    """
    return os.fdopen(os.open(path, os.O_RDWR | make * os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+", encoding="utf-8")


def links(folder: Path, depth: int = 2) -> Iterator[Path]:
    """The links in a folder, and in the folders in it down to `depth`; links are not entered."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_symlink():
                yield Path(entry.path)
            elif depth > 1 and entry.is_dir(follow_symlinks=False):
                yield from links(Path(entry.path), depth - 1)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a new, empty file beside `path`, to be written to; it takes its place when the block ends well.

    Raises:
        OSError: it cannot be made, brought to the disk or renamed; `path` is as it was.
    """
    with beside(path) as temporary:
        yield temporary
        put_in_place({path: temporary})


def put_in_place(places: dict[Path, Path], mark: Path | None = None) -> None:
    """Rename files that are complete to what they are going to be called, in this order, when all are on the disk.

    Args:
        places: final name -> name of now.
        mark: the last of them, if it says that all belong together: what lies there goes before the first is renamed,
            so that nobody takes files of before and after for one.

    Raises:
        OSError: one cannot be brought to the disk or renamed.
    """
    for temporary in places.values():
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
    if mark is not None:
        mark.unlink(missing_ok=True)
    for path, temporary in places.items():
        os.replace(temporary, path)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """The name of a new, empty file beside `path`: gone when the block ends, unless it was renamed before.

    It bears the number of this process, and is locked until the block ends, since a number says little to another host
    or another container: what is not locked is of a dead process. Open it by name without removing it, to keep that.

    Raises:
        OSError: it cannot be made.
    """
    sweep(path.parent, lambda name: name == path.name)
    handle, temporary = _locked_beside(path)
    try:
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        os.close(handle)


def sweep(folder: Path, ours: Callable[[str], bool], former: bool = False) -> None:
    """Remove the temporary files that dead processes left in a folder.

    Those of the living stay: they are locked, or their number is that of another process of this host. Where the file
    system has no locks, all stay.

    Args:
        folder: looked at without its subfolders.
        ours: whether a file's name, without what makes it temporary, is one that is written here; nothing else goes.
        former: also those of former builds, see FORMER; only where nobody else keeps files.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            for pattern, age in ((TEMPORARY, 0), (FORMER, FORMER_AGE))[: 1 + former]:
                parts = pattern.fullmatch(entry.name)
                if parts and ours(parts["name"]) and not _lives(int(parts["process"])):
                    _remove_unlocked(Path(entry.path), age)


def _locked_beside(path: Path) -> tuple[int, Path]:
    """The descriptor, which holds the lock, and the name of a new file."""
    number = -1
    while True:
        number += 1
        temporary = path.with_name(f".{path.name}.{os.getpid()}{f'-{number}' if number else ''}.tmp")
        if temporary.is_symlink():
            temporary.unlink(missing_ok=True)
        try:
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:  # of a process with this number in another container
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody takes it for a leftover and is removing it
            os.close(handle)
            continue
        except OSError:
            return handle, temporary  # no locks here; nobody sweeps, then
        if is_at(handle, temporary):
            return handle, temporary
        os.close(handle)


def _remove_unlocked(path: Path, age: float) -> None:
    """Remove a file, if it is one, nobody locks it and it is at least `age` seconds old."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            about = os.fstat(handle)
            if stat.S_ISREG(about.st_mode) and time.time() - about.st_mtime >= age and is_at(handle, path):
                path.unlink()
        finally:
            os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether the open file is the one that bears the name."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _lives(process: int) -> bool:
    """Whether another process of this host has the number. Our own is that of a dead one where numbers begin anew."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
