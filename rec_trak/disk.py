"""Files opened so that no link is followed: made new, locked, or looked at. Not here: what is written into them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def open_new(path: Path) -> IO[bytes]:
    """A new file for bytes. What lay at the path goes; of a link the link itself, never what it leads to.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb")


def open_kept(path: Path) -> IO[str]:
    """A text file to read and write that keeps what it holds, made where there is none.

    Raises:
        OSError: it cannot be opened; `errno.ELOOP` where it is a link.
    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+", encoding="utf-8")


def links(folder: Path, depth: int = 2) -> Iterator[Path]:
    """The links in a folder, and in the folders in it down to `depth`; links are not entered."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_symlink():
                yield Path(entry.path)
            elif depth > 1 and entry.is_dir(follow_symlinks=False):
                yield from links(Path(entry.path), depth - 1)
