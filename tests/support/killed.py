"""A process that is ended at a chosen moment, as the system, a user or a scheduler ends one. Not here: tests."""

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass
from unittest import mock

import numpy as np

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.mkdir", "os.remove", "os.rename")  # besides opening to write, and mapping
FURTHER = ("os.rmdir", "os.truncate", "shutil.rmtree")
FLUSHES = ((os, "fsync"), (os, "posix_fallocate"), (np.memmap, "flush"))  # of which no audit event tells


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: as a shell says it: 128 and the signal's number where a signal ended it.
        acts: how many acts on files there were.
        told: what it wrote to standard error, where that was asked for.
    """

    code: int
    acts: int
    told: str = ""


def ended(action, folder, act=None, by=signal.SIGKILL, fine=True, quiet=True):
    """How a child ends that does `action` and is sent the signal `by` before its act number `act` (from 1) in `folder`.

    An act is whatever opens a file to write, maps, renames or removes one, or makes a folder; with `fine` also what
    brings a file to the disk or changes its length, and what removes a folder. With `quiet` nothing that the child says
    reaches the terminal.
    """
    sys.stdout.flush()
    with tempfile.TemporaryFile() as counted, tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            code = 1
            try:
                if quiet:
                    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                    os.dup2(told.fileno(), 2)
                with _watched(str(folder), act, by, counted.fileno(), fine):
                    action()
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        told.seek(0)
        return Ended(code, os.fstat(counted.fileno()).st_size, told.read().decode("utf-8", "replace"))


def killed_before(act, action, folder):
    """Whether a child that does `action` was killed before that act, see `ended`; an error in it is raised."""
    code = ended(action, folder, act, fine=False, quiet=False).code
    assert code in (0, 128 + signal.SIGKILL), "the action failed; its traceback is on standard error"
    return code != 0


@contextlib.contextmanager
def _watched(folder, act, by, counted, fine):
    """Count acts in here, a byte each in the file `counted`, and send the signal."""
    count, changes = 0, CHANGES + FURTHER * fine

    def one():
        nonlocal count
        count += 1
        os.pwrite(counted, b".", count - 1)
        if count == act:
            os.kill(os.getpid(), by)

    def hook(event, arguments):
        if event == "mmap.__new__" or (event == "os.truncate" and fine and isinstance(arguments[0], int)):
            one()
            return
        writes = event in changes or (event == "open" and (arguments[2] or 0) & WRITES)
        if writes and str(arguments[0]).startswith(folder):
            one()

    def counting(done):
        def call(*arguments, **keys):
            one()
            return done(*arguments, **keys)

        return call

    with contextlib.ExitStack() as stack:
        for owner, name in FLUSHES * fine:
            stack.enter_context(mock.patch.object(owner, name, counting(getattr(owner, name))))
        sys.addaudithook(hook)
        yield


def left_over(folder):
    """The temporary files below a folder."""
    return [path.name for path in folder.rglob(".*") if path.is_file()]
