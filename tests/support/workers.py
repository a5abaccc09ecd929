"""What processes are given to do in tests of them, and how to see that they are gone. Not here: tests."""

import fcntl
import os
import signal
import time
from pathlib import Path


def hold(folder, item):
    """Lock a file, so that whoever can lock it knows that this process is gone, and work for minutes."""
    file = os.open(Path(folder) / f"{item}.held", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    os.write(file, b"held")
    end = time.monotonic() + 300
    while time.monotonic() < end:
        sum(range(100_000))


def held(folder, count):
    """Wait until so many processes hold their file."""
    files = []
    while len(files) < count:
        time.sleep(0.02)
        files = [path for path in Path(folder).glob("*.held") if path.read_bytes()]
    return files


def gone(files, seconds):
    """Whether all processes that held these files are gone within that time."""
    end = time.monotonic() + seconds
    return all(_free(path, end) for path in files)


def _free(path, end):
    with open(path, "rb") as file:
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.02)
    return False


def note(folder, item):
    """Leave a file that says so."""
    (Path(folder) / f"{item}.done").write_text(str(os.getpid()))


def refuse(folder, item):
    """Fail at item 2, with an error that cannot be sent as it is at item 3."""
    if item == 3:
        raise OddError(1, 2)
    if item == 2:
        raise KeyError("no such thing")
    note(folder, item)


def die(folder, item):
    """End as a process does that the system kills for its memory."""
    os.kill(os.getpid(), signal.SIGKILL)


class OddError(Exception):
    """Its class cannot be called with what it keeps."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
