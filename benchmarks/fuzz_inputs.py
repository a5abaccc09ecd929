"""Inputs of every kind, changed a little and read: a word, or a traceback, a dead process, a hang, gigabytes?

python benchmarks/fuzz.py --inputs --tries 20000 --log tries.jsonl

Valid files are written, one of a kind is changed at random (`mutations.py`), and whatever reads that kind is asked for
it in a process of its own (`fuzz_children.py`). What is read is not judged here: many changes leave a file valid. Each
try has a seed of its own, so that a run can be done in pieces: what stands in the log is not tried again.
"""

from __future__ import annotations

import collections
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from fuzz_children import OUTCOMES, READ, REFUSED, outcome, prepare
from input_jobs import jobs, later
from input_kinds import Kind, checkpoints, logs_of, texts
from input_runs import runs
from support import tiny


def tried(kinds: Sequence[Kind], numbers: Iterable[int], seed: int, keep: Path | None = None) -> Iterator[dict]:
    """Change one file after another, each put back afterwards, and say what came of each.

    Args:
        kinds: of which one is drawn a try.
        numbers: of the tries; a try is the same whichever others there are.
        seed: of them all.
        keep: files that end badly are copied there.
    """
    shares = np.array([kind.share for kind in kinds], dtype=float)
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
        path = kind.files[int(rng.integers(len(kind.files)))]
        content = path.read_bytes()
        path.write_bytes(kind.change(content, rng))
        after = kind.settle(path, rng)
        end = outcome(kind)
        bad = end.what not in (READ, REFUSED)
        if keep is not None and bad:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, keep / f"{number}_{path.name}")
            (keep / f"{number}.txt").write_text(end.words, encoding="utf-8")
        path.write_bytes(content)
        for other, held in after.items():
            other.write_bytes(held)
        told = {"kind": kind.name, "file": path.name, "what": end.what, "seconds": end.seconds, "size": end.size}
        yield {"seed": seed, "number": number, **told, "words": _last(end.words) if bad else ""}


def run(
    numbers: Sequence[int], seed: int, only: Sequence[str], keep: Path | None, log: Path | None, seconds: float | None
) -> None:
    """Try what the log does not hold yet, for so many seconds at most, and print the log's table."""
    warnings.simplefilter("ignore")
    begun, found = time.monotonic(), _logged(log)
    there = {(one["seed"], one["number"]) for one in found}
    with tempfile.TemporaryDirectory() as place:
        os.environ["REC_TRAK_CACHE"] = f"{place}/cache"
        kinds = [kind for kind in _all_kinds(Path(place)) if not only or kind.name in only]
        prepare(kinds)
        for one in tried(kinds, (number for number in numbers if (seed, number) not in there), seed, keep):
            found.append(one)
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(one) + "\n")
            if seconds is not None and time.monotonic() - begun > seconds:
                break
    show(found)


def show(found: Sequence[dict]) -> None:
    """Print a line a kind, then the sum, and where what ended badly came from."""
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    bad: dict[tuple[str, ...], list[str]] = collections.defaultdict(list)
    for one in found:
        counts[one["kind"]][one["what"]] += 1
        if one["what"] not in (READ, REFUSED):
            bad[one["what"], one["kind"], one["file"], one["words"]].append(f"{one['seed']}:{one['number']}")
    print(f"{'kind':<24}{'tried':>7}" + "".join(f"  {what}" for what in OUTCOMES))
    for name, held in counts.items():
        print(f"{name:<24}{held.total():>7}" + "".join(f"  {held[what]:>{len(what)}}" for what in OUTCOMES))
    total = sum(counts.values(), collections.Counter())
    print(f"{total.total()} changed inputs: " + ", ".join(f"{total[what]} {what}" for what in OUTCOMES))
    if found:
        most, size = max(one["seconds"] for one in found), max(one["size"] for one in found)
        print(f"the longest took {most:.1f} s of processor time, the largest {size / 2**30:.2f} GB")
    for told, which in sorted(bad.items(), key=lambda item: -len(item[1])):
        print(f"{len(which)} x {told[0]}: {told[1]}, {told[2]}: {told[3]} ({', '.join(which[:5])})")


def _logged(log: Path | None) -> list[dict]:
    """The tries of before."""
    if log is None or not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def _all_kinds(place: Path) -> list[Kind]:
    """Every kind, its files written below `place`."""
    tree = tiny.write_tree(place / "tree")
    return [
        *(*logs_of(place, tree), *texts(place, tree), *checkpoints(place, tree)),
        *(*runs(place), *jobs(place), *later(place)),
    ]


def _last(words: str) -> str:
    """Where in our code a traceback ended, and its last line."""
    lines = words.strip().splitlines() or [""]
    places = [line.split("rec_trak/")[-1] for line in lines if 'File "' in line and "/rec_trak/" in line]
    return f"{places[-1] if places else ''} {lines[-1][:160]}"
