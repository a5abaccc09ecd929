"""From the words of a command line to a command, and from its errors to one line. Not here: flags, or any work.

The modules of commands import what they need when they run, so that `--help` and a mistyped flag answer at once.
"""

from __future__ import annotations

import argparse
import difflib
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from rec_trak.errors import RecTrakError, RecTrakWarning
from rec_trak.progress import set_quiet

COMMANDS = (  # in the order in which a user needs them
    *("demo", "checkpoint_info", "train", "featurize", "score", "analyze", "trust", "compare", "detect", "validate"),
    *("clean", "report"),
)
KEPT = "what is finished is kept; the same command goes on from there."


def main(command: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process: 0 when done, 2 after an error the user can mend (one line), 130 after Ctrl-C,
    143 after SIGTERM.

    Args:
        command: a script's own; None to take it from the command line (`rec-trak score ...`).
        arguments: of the command line; None for the process's.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = command or _command(words)
    module = import_module(f"rec_trak.commands.{name}")
    parser = argparse.ArgumentParser(prog=None if command else f"rec-trak {name}", description=module.__doc__)
    module.add_flags(parser)
    run_script(module.run, parser, words)


def run_script(
    body: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser, words: Sequence[str] | None = None
) -> None:
    """Parse, call, and end as `main`."""
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    args = parser.parse_args(words)
    set_quiet(args.quiet)
    warnings.showwarning = _show_warning
    try:
        with _terminated():
            body(args)
    except RecTrakError as error:
        sys.exit(_fail(str(error)))
    except KeyboardInterrupt:
        print(f"interrupted: {KEPT}", file=sys.stderr)
        sys.exit(130)
    except _TerminatedError:
        print(f"terminated: {KEPT}", file=sys.stderr)
        sys.exit(143)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.exit(_fail(f"{place}{error.strerror or error}. Check the path, its permissions and the room on the disk."))


def overview() -> str:
    """The commands in order, a line each."""
    told = [(name, import_module(f"rec_trak.commands.{name}").__doc__.splitlines()[0]) for name in COMMANDS]
    lines = [f"  {name:<{max(map(len, COMMANDS))}}  {text}" for name, text in told]
    head = "Which clicks taught a news recommender what it does.\n\nusage: rec-trak COMMAND [flags]\n"
    return "\n".join(
        [head, *lines, "\n`rec-trak COMMAND --help` lists its flags; `rec-trak --version` says the version."]
    )


class _TerminatedError(BaseException):
    """SIGTERM, raised where the process stands, so that locks are let go and temporary files removed."""


@contextmanager
def _terminated() -> Iterator[None]:
    """While in here SIGTERM unwinds like Ctrl-C."""

    def stop(*_) -> None:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command(words: list[str]) -> str:
    """The command that the first word names, taken out of the words; overview and version end here."""
    first = words.pop(0) if words else "--help"
    if first in ("--help", "-h"):
        print(overview())
        sys.exit(0)
    if first == "--version":
        from importlib.metadata import version

        print(f"rec-trak {version('rec-trak')}")
        sys.exit(0)
    name = first.replace("-", "_")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean {close[0]}?" if close else ""
        sys.exit(_fail(f"rec-trak: no such command. Got {first!r}, expected one of {', '.join(COMMANDS)}.{meant}"))
    return name


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    if issubclass(category, RecTrakWarning):
        print(f"warning: {message}", file=sys.stderr)
