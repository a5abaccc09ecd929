"""From the words of a command line to a command, and from its errors to one line. Not here: flags, or any work.

The modules of commands import what they need when they run, so that `--help` and a mistyped flag answer at once.
"""

from __future__ import annotations

import argparse
import atexit
import difflib
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from functools import partial
from importlib import import_module
from types import FrameType, ModuleType
from typing import NoReturn

from rec_trak.errors import RecTrakError, RecTrakWarning, listed
from rec_trak.locks import set_waiting
from rec_trak.progress import set_quiet
from rec_trak.results.cells import set_spreadsheet_safe
from rec_trak.words import LINE, QUOTE, plain, say
from rec_trak.workers import is_first, is_worker, share_cores

COMMANDS = (  # in the order in which a user needs them
    *("demo", "checkpoint_info", "train", "featurize", "score", "analyze", "trust", "compare", "suspects"),
    *("detect", "validate", "clean", "report", "verify"),
)
NUMBER = re.compile(r"\d[\d.,]*(e[+-]?\d+)?")
KEPT = "what is finished is kept; the same command goes on from there."


def main(command: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process: 0 when done, 2 after an error the user can mend (one line), 130 after Ctrl-C,
    143 after SIGTERM.

    Args:
        command: a script's own; None to take it from the command line (`rec-trak score ...`).
        arguments: of the command line; None for the process's.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with _ending():
        name = command or _command(words)
        module = import_module(f"rec_trak.commands.{name}")
        parser = _Parser(prog=None if command else f"rec-trak {name}", description=module.__doc__)
        module.add_flags(parser)
        _run(_shared(module) if is_worker() else module.run, parser, words)


def run_script(
    body: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> None:
    """Parse, call, and end as `main`."""
    with _ending():
        _run(body, parser, words)


def _shared(module: ModuleType) -> Callable[[argparse.Namespace], None]:
    """The command as a worker of a torchrun job runs it: one that cannot be shared is the first worker's alone."""

    def body(args: argparse.Namespace) -> None:
        if getattr(module, "SHARED", False):
            say(share_cores())
            module.run(args)
        elif is_first():
            say("this command is not shared: one worker of the job runs it")
            module.run(args)

    return body


def _run(body: Callable, parser: argparse.ArgumentParser, words: Sequence[str] | None) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args(words)
    set_quiet(args.quiet or not is_first())
    told = _Told()
    warnings.showwarning = told.show
    set_waiting(getattr(args, "wait", False))
    set_spreadsheet_safe(getattr(args, "spreadsheet_safe", False))
    try:
        with nullcontext() if is_first() else redirect_stdout(io.StringIO()):
            body(args)
    finally:
        told.rest()
        set_waiting(False)


def overview() -> str:
    """The commands in order, a line each."""
    told = [(name, import_module(f"rec_trak.commands.{name}").__doc__.splitlines()[0]) for name in COMMANDS]
    lines = [f"  {name:<{max(map(len, COMMANDS))}}  {text}" for name, text in told]
    head = "Which clicks taught a news recommender what it does.\n\nusage: rec-trak COMMAND [flags]\n"
    return "\n".join(
        [head, *lines, "\n`rec-trak COMMAND --help` lists its flags; `rec-trak --version` says the version."]
    )


class _Parser(argparse.ArgumentParser):
    """A parser whose errors, too, are harmless: argparse repeats unknown words as they were typed."""

    def error(self, message: str) -> NoReturn:
        super().error(plain(message, LINE))


class _TerminatedError(BaseException):
    """SIGTERM, raised where the process stands, so that locks are let go and temporary files removed."""


ENDS = {signal.SIGINT: (KeyboardInterrupt, "interrupted", 130), signal.SIGTERM: (_TerminatedError, "terminated", 143)}


@contextmanager
def _ending() -> Iterator[None]:
    """What comes out of here, a signal too, ends the process with one line and the code that `main` names."""
    stopped: list[int] = []
    heeded = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, partial(_stop, stopped)) for number in heeded}
    atexit.unregister(_leave_quietly)
    atexit.register(_leave_quietly)
    try:
        yield
    except BaseException as error:  # whatever a library made of the exception that a signal raised in it
        if isinstance(error, KeyboardInterrupt | _TerminatedError):
            stopped.append(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
        if stopped:
            for number in before:
                signal.signal(number, signal.SIG_DFL)
            before = {}
            sys.exit(_tell(stopped[0]))
        if isinstance(error, RecTrakError):
            sys.exit(_fail(str(error)))
        if isinstance(error, OSError):
            where, what = f"{error.filename}: " if error.filename else "", error.strerror or error
            sys.exit(_fail(f"{where}{what}. Check the path, its permissions and the room on the disk."))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(stopped: list[int], number: int, frame: FrameType | None) -> None:
    """Unwind from where the process stands; but inside an import, where nothing is to be unwound and much can swallow
    or change what is raised, end it."""
    stopped.append(number)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            with suppress(Exception):
                sys.stdout.flush()
                _tell(number)
            os._exit(ENDS[number][2])
        frame = frame.f_back
    raise ENDS[number][0]


def _tell(number: int) -> int:
    _, word, code = ENDS[number]
    say(f"{word}: {KEPT}", to=sys.stderr)
    sys.stderr.flush()
    return code


def _leave_quietly() -> None:
    """From the end of a command to that of the interpreter, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _command(words: list[str]) -> str:
    """The command that the first word names, taken out of the words; overview and version end here."""
    first = words.pop(0) if words else "--help"
    if first in ("--help", "-h"):
        say(*overview().split("\n"))
        sys.exit(0)
    if first == "--version":
        from importlib.metadata import version

        say(f"rec-trak {version('rec-trak')}")
        sys.exit(0)
    name = first.replace("-", "_")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean {close[0]}?" if close else ""
        sys.exit(_fail(f"rec-trak: no such command. Got {first!r}, expected one of {', '.join(COMMANDS)}.{meant}"))
    return name


def _fail(message: str) -> int:
    say(f"error: {' '.join(message.split())}", to=sys.stderr)
    return 2


class _Told:
    """The warnings of a command: the first of a kind is shown at once, how many more there were at the end.

    Of one kind are messages that differ in what stands before their first colon, the place, or in numbers.
    """

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = {}
        self.texts: dict[str, str] = {}

    def show(self, message, category, filename, lineno, file=None, line=None) -> None:
        """As `warnings.showwarning`; what is not ours stays unsaid."""
        if not issubclass(category, RecTrakWarning) or not is_first():
            return
        text = " ".join(str(message).split())
        place, _, what = text.partition(": ")
        kind = NUMBER.sub("0", what or text)
        if kind not in self.texts:
            self.texts[kind] = what or text
            say(f"warning: {text}", to=sys.stderr)
        self.places.setdefault(kind, []).append(place)

    def rest(self) -> None:
        """Say what else there was of each kind that came more than once."""
        for kind, places in self.places.items():
            if len(places) > 1:
                more = listed("more", places[1:], shown=3)
                say(f"warning: {more}: {plain(self.texts[kind], QUOTE)}", to=sys.stderr)
