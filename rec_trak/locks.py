"""One writer of a folder at a time: its lock, and waiting for it. Not here: what is written into the folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rec_trak.disk import is_at, open_kept
from rec_trak.errors import StoreError
from rec_trak.words import QUOTE, say

LOCK = "rec_trak.lock"
PATIENCE = 0.2  # seconds between two looks at a lock that somebody holds
_waiting = False


def set_waiting(waiting: bool) -> None:
    """Whether this process waits for a lock that somebody holds (`--wait`), or is refused."""
    global _waiting
    _waiting = waiting


@contextmanager
def locked(folder: Path, instead: str = "give another folder") -> Iterator[None]:
    """Hold the folder's writer lock; the operating system drops it when the process ends, however it ends.

    After `set_waiting(True)` it is waited for, with a word on standard error.

    Args:
        folder: made where it does not exist, and gone again if it is empty when the lock goes.
        instead: what to do rather than wait, for the message.

    Raises:
        StoreError: another process holds it (the message names process and host), it is a link, or there are no locks.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    with _taken(folder, instead) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                if is_at(file.fileno(), folder / LOCK):
                    (folder / LOCK).unlink()
                for one in made:
                    one.rmdir()


def remove_dead(folder: Path) -> None:
    """Remove the lock of a process that died with its work done: whoever has nothing to write there takes none."""
    with suppress(OSError, StoreError), _lock_file(folder / LOCK, make=False) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(file.fileno(), folder / LOCK):
            (folder / LOCK).unlink()


def _taken(folder: Path, instead: str) -> IO[str]:
    """The lock file, locked, waited for where that is wanted."""
    told = None
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = _lock_file(folder / LOCK)
        except FileNotFoundError:  # whoever made the folder found nothing in it
            continue
        owner = _holder(file, folder, instead)
        if owner is None and is_at(file.fileno(), folder / LOCK):
            return file
        file.close()  # of another, or removed by whoever held it when it was opened
        if owner is None:
            continue
        if not _waiting:
            raise StoreError(
                f"{folder}: in use. Got a lock held by {owner or 'another process'}, expected a directory that nobody "
                f"writes to. Wait for it to end (--wait does), or {instead}."
            )
        if owner and owner != told:
            say(f"waiting: {folder} is in use by {owner}. Ctrl-C ends the wait.", to=sys.stderr)
            told = owner
        time.sleep(PATIENCE)


def _lock_file(path: Path, make: bool = True) -> IO[str]:
    try:
        return open_kept(path, make)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StoreError(
            f"{path}: a link where the folder's lock belongs. Got one to {os.readlink(path)}, expected a file, since "
            "writing would go there. Remove the link."
        ) from None


def _holder(file: IO[str], folder: Path, instead: str) -> str | None:
    """Who holds the lock, '' where they have not said; None where it is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(file.fileno(), QUOTE, 0).decode("utf-8", "replace").strip()
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be locked ({error.strerror}). Expected a file system with locks, so that no two "
            f"processes write there at once. Take a local disk: {instead}."
        ) from None
    return None
