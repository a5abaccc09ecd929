"""A process that reads files of a kind, and how it ends. Not here: changing the files, or kinds.

What the package imports is imported once; each try is a fork of that process, so that nothing one try does is there in
the next. Of the page, figures whose data are those of the unchanged files are painted once for all tries.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import os
import pickle
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps

from input_kinds import Kind

from rec_trak.errors import RecTrakError
from rec_trak.page import figures
from rec_trak.words import say

SECONDS, WAITED, ROOM = 20, 600, 2 * 2**30  # processor time, time on the clock, memory
READ, REFUSED, TRACEBACK, ROOMY, HANGS, DIES = (
    *("read", "refused in a line", "traceback", "over 2 GB", "hang"),
    "process dies",
)
OUTCOMES = (REFUSED, READ, TRACEBACK, DIES, HANGS, ROOMY)
CODES = {13: READ, 10: REFUSED, 11: TRACEBACK, 12: ROOMY}  # whatever else ends a process has died
NO_ROOM = ("memoryerror", "can't allocate", "cannot allocate", "unable to allocate", "not enough memory", "bad alloc")
PAINTED: dict[bytes, object] = {}  # a figure's function and data, pickled -> the figure


@dataclass(frozen=True)
class End:
    """How a process ended.

    Attributes:
        what: one of OUTCOMES.
        words: what it printed: a traceback, or our line.
        seconds: of processor time.
        size: its most memory, bytes, what it shares with its parent among it.
    """

    what: str
    words: str
    seconds: float
    size: int


def outcome(kind: Kind, learnt: int | None = None) -> End:
    """How a process ends that reads the files of a kind; with `learnt`, an open file, it leaves there what to know
    beforehand: the modules it imported, and figures."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            os.dup2(told.fileno(), 2)
            os.dup2(told.fileno(), 1)
            code = _read(kind)
            if learnt is not None:
                with os.fdopen(learnt, "wb") as file:
                    pickle.dump((list(sys.modules), PAINTED), file)
            os._exit(code)
        _, status, used = os.wait4(child, 0)
        told.seek(0)
        words = told.read().decode("utf-8", "replace")
    what = CODES.get(os.WEXITSTATUS(status), DIES)
    if what in (READ, REFUSED) and "Traceback (most recent" in words:  # of a thread, or where nobody waits for it
        what = TRACEBACK
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        what = HANGS if number in (signal.SIGALRM, signal.SIGXCPU) else DIES
        words += f"\n{signal.Signals(number).name}"
    return End(what, words, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def prepare(kinds: Sequence[Kind]) -> None:
    """Import what the readers import as they go, and have figures of unchanged files; no reader runs in this process.

    Raises:
        SystemExit: a kind is not read as it was written.
    """
    _paint_once()
    for kind in kinds:
        with tempfile.TemporaryFile() as learnt:
            end = outcome(kind, os.dup(learnt.fileno()))
            if end.what != READ:
                sys.exit(f"fuzz: {kind.name} is not read as it was written: {end.what} {end.words}")
            learnt.seek(0)
            modules, painted = pickle.load(learnt)
        PAINTED.update(painted)
        for name in modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else a child's first collection copies all of it


def _paint_once() -> None:
    """Every module of the page draws a figure whose data were drawn before by looking it up."""

    def once(draw: Callable) -> Callable:
        @wraps(draw)
        def call(*arguments: object, **keys: object) -> object:
            key = pickle.dumps((draw.__name__, arguments, keys))
            if key not in PAINTED:
                PAINTED[key] = draw(*arguments, **keys)
            return PAINTED[key]

        return call

    made = {
        draw: once(draw)
        for name, draw in inspect.getmembers(figures, inspect.isfunction)
        if inspect.getmodule(inspect.unwrap(draw)) is figures and not name.startswith("_")
    }
    for module in [one for name, one in sys.modules.items() if name.startswith("rec_trak.page.")]:
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value in made:
                setattr(module, name, made[value])


def _read(kind: Kind) -> int:
    """What a child does; its exit code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WAITED)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, 2 * SECONDS))
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = 13
    try:
        for read in kind.readers:
            try:
                read()
            except RecTrakError as error:
                if _is_of_room(error):
                    traceback.print_exc()
                    return 12
                say(f"error: {' '.join(str(error).split())}")
                code = 10
        return code
    except BaseException as error:
        traceback.print_exc()
        return 12 if _is_of_room(error) else 11
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _is_of_room(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that memory ran out."""
    while error is not None:
        told = f"{type(error).__name__} {error}".lower()
        if not isinstance(error, RecTrakError) and any(word in told for word in NO_ROOM):
            return True
        error = error.__cause__ or error.__context__
    return False
