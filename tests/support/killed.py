"""A process that is killed at a chosen moment, as the system kills one: without a last word. Not here: tests."""

import os
import signal
import sys
import traceback

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def killed_before(act, action, folder):
    """Whether a child that does `action` was killed; it is before its act number `act` (from 1) on files in `folder`.

    An act is whatever opens a file to write, maps, renames or removes one, or makes a folder; an error in it is raised.
    """
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            _kill_before(act, str(folder))
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the action failed; its traceback is on standard error"
    return False


def _kill_before(act, folder):
    count = 0

    def hook(event, arguments):
        nonlocal count
        if not (event == "mmap.__new__" or (arguments and str(arguments[0]).startswith(folder))):
            return
        writes = event == "open" and (arguments[2] or 0) & WRITES
        if writes or event in ("mmap.__new__", "os.mkdir", "os.remove", "os.rename"):
            count += 1
            if count == act:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def left_over(folder):
    """The temporary files below a folder."""
    return [path.name for path in folder.rglob(".*") if path.is_file()]
