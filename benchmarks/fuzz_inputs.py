"""Inputs of every kind, changed a little and read: a word, or a traceback, a dead process, a hang, gigabytes?

python benchmarks/fuzz.py --inputs --tries 20000

Valid files are written, one of a kind is changed at random (`mutations.py`), and whatever reads that kind is asked for
it in a process of its own, which is ended after SECONDS and may take ROOM more memory than it had. What is read is not
judged here: many changes leave a file valid.
"""

from __future__ import annotations

import collections
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from input_kinds import Kind, checkpoints, logs_of, texts
from input_runs import runs
from support import tiny

from rec_trak.errors import RecTrakError
from rec_trak.words import say

SECONDS, WAITED, ROOM = 20, 600, 2 * 2**30  # processor time, time on the clock, memory
READ, REFUSED, TRACEBACK, ROOMY, HANGS, DIES = (
    *("read", "refused in a line", "traceback", "over 2 GB", "hang"),
    "process dies",
)
OUTCOMES = (REFUSED, READ, TRACEBACK, DIES, HANGS, ROOMY)
CODES = {0: READ, 10: REFUSED, 11: TRACEBACK, 12: ROOMY}
NO_ROOM = ("memoryerror", "can't allocate", "cannot allocate", "unable to allocate", "not enough memory", "bad alloc")


def outcome(kind: Kind) -> tuple[str, str]:
    """How a process ends that reads the files of a kind, and the last words of its traceback."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            os.dup2(told.fileno(), 2)
            os.dup2(told.fileno(), 1)
            os._exit(_read(kind))
        _, status = os.waitpid(child, 0)
        told.seek(0)
        words = told.read().decode("utf-8", "replace")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hangs = number in (signal.SIGALRM, signal.SIGXCPU)
        return (HANGS, "") if hangs else (DIES, f"{signal.Signals(number).name} {words[-300:]}")
    return CODES.get(os.WEXITSTATUS(status), DIES), words


def _read(kind: Kind) -> int:
    """What a child does; its exit code."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WAITED)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, 2 * SECONDS))
    with open("/proc/self/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = 0
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


@dataclass(frozen=True)
class Found:
    """What came of one changed file: its kind and name, the outcome, and the last words."""

    kind: str
    file: str
    what: str
    words: str


def tried(kinds: Sequence[Kind], tries: int, seed: int, keep: Path | None = None) -> Iterator[Found]:
    """Change one file after another, each put back afterwards; those that end badly are copied to `keep`."""
    rng = np.random.default_rng(seed)
    shares = np.array([kind.share for kind in kinds], dtype=float)
    for number in range(tries):
        kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
        path = kind.files[int(rng.integers(len(kind.files)))]
        content = path.read_bytes()
        path.write_bytes(kind.change(content, rng))
        after = kind.settle(path, rng)
        what, words = outcome(kind)
        if keep is not None and what not in (READ, REFUSED):
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, keep / f"{number}_{path.name}")
        path.write_bytes(content)
        for other, held in after.items():
            other.write_bytes(held)
        yield Found(kind.name, path.name, what, words)


def run(tries: int, seed: int, only: Sequence[str], keep: Path | None, progress: Callable[[str], None]) -> None:
    """Print a line a kind, then the sum, and where tracebacks came from."""
    warnings.simplefilter("ignore")
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    bad: collections.Counter = collections.Counter()
    with tempfile.TemporaryDirectory() as place:
        os.environ["REC_TRAK_CACHE"] = f"{place}/cache"
        kinds = [kind for kind in _all_kinds(Path(place)) if not only or kind.name in only]
        for kind in kinds:
            what, words = outcome(kind)
            if what != READ:
                sys.exit(f"fuzz: {kind.name} is not read as it was written: {what} {words}")
        for found in tried(kinds, tries, seed, keep):
            counts[found.kind][found.what] += 1
            if found.what not in (READ, REFUSED):
                bad[found.what, found.kind, found.file, _last(found.words)] += 1
    print(f"{'kind':<24}{'tried':>7}" + "".join(f"  {what}" for what in OUTCOMES))
    for name, held in counts.items():
        print(f"{name:<24}{held.total():>7}" + "".join(f"  {held[what]:>{len(what)}}" for what in OUTCOMES))
    total = sum(counts.values(), collections.Counter())
    print(f"{total.total()} changed inputs: " + ", ".join(f"{total[what]} {what}" for what in OUTCOMES))
    for (what, kind, file, words), count in bad.most_common():
        progress(f"{count} x {what}: {kind}, {file}: {words}")


def _all_kinds(place: Path) -> list[Kind]:
    """Every kind, its files written below `place`."""
    tree = tiny.write_tree(place / "tree")
    return [*logs_of(place, tree), *texts(place, tree), *checkpoints(place, tree), *runs(place)]


def _last(words: str) -> str:
    """Where in our code a traceback ended, and its last line."""
    lines = words.strip().splitlines() or [""]
    places = [line.split("rec_trak/")[-1] for line in lines if 'File "' in line and "/rec_trak/" in line]
    return f"{places[-1] if places else ''} {lines[-1][:160]}"
