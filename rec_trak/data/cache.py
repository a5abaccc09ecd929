"""The cache folder of this machine, and files in it opened with suspicion. Not here: what they hold.

The folder is the one that the environment variable REC_TRAK_CACHE names, else ~/.cache/rec_trak.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

ROOT = 0


def cache_folder() -> Path:
    return Path(os.environ.get("REC_TRAK_CACHE") or "~/.cache/rec_trak").expanduser()


def open_cached(path: Path) -> BinaryIO | None:
    """A file of the cache, open for reading; None where there is none.

    Raises:
        ValueError: what lies there is no file that this user (or root) owns, or cannot be read; says what it is.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        got = "a link" if error.errno == errno.ELOOP else f"what cannot be read ({error.strerror})"
        raise ValueError(got) from None
    status = os.fstat(file.fileno())
    own = status.st_uid in (os.geteuid(), ROOT)
    if stat.S_ISREG(status.st_mode) and own:
        return file
    file.close()
    raise ValueError("a file of another user" if stat.S_ISREG(status.st_mode) else "something that is no file")
