"""Small corruptions of a finished run: is each refused with a word, harmless, wrong in silence, or a traceback?

python benchmarks/fuzz.py --tries 1000
python benchmarks/fuzz.py --inputs --tries 20000

A tiny run (two members, one target set) is harmed in one file at a time: a flipped bit, a cut-off end, half a JSON, an
emptied file. Then everything that reads it is asked for its numbers, which are compared with those of before.
"""

import argparse
import collections
import contextlib
import io
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import finished

from rec_trak.errors import RecTrakError
from rec_trak.runs.finished import open_run
from rec_trak.store import blocks

OUTCOMES = ("refused", "right", "other numbers in silence", "traceback")


def numbers(folder: Path) -> list[np.ndarray]:
    """All that later commands compute from a finished run."""
    blocks._agreed.clear()
    run = open_run(folder)
    told = run.target_set()
    stored, members = run.stored(), run.members()
    parts = [run.results.scores, run.results.labels, told.scores, *members.parts]
    for model_id in range(stored.members):
        parts += [*stored.read(model_id), stored.targets(model_id, run.sets[0])]
    return [np.array(part) for part in parts] + [np.array(run.results.rows.whole()), np.array(told.rows.whole())]


def outcome(folder: Path, truth: list[np.ndarray]) -> str:
    """What comes of the run as it lies there."""
    try:
        found = numbers(folder)
    except RecTrakError:
        return "refused"
    except Exception:
        traceback.print_exc()
        return "traceback"
    same = len(found) == len(truth) and all(np.array_equal(a, b) for a, b in zip(found, truth, strict=True))
    return "right" if same else "other numbers in silence"


def harm(content: bytes, rng: np.random.Generator) -> bytes:
    """One of the corruptions."""
    how = rng.integers(4)
    if how == 1:
        return content[: int(rng.integers(len(content)))]
    if how == 2:
        return b""
    if how == 3:
        return content[: len(content) // 2]
    changed = bytearray(content)
    changed[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", action="store_true", help="whatever is read, not the run alone; see fuzz_inputs.py")
    parser.add_argument("--only", nargs="+", default=[], metavar="KIND", help="with --inputs: these kinds")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="with --inputs: what ended badly goes there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="with --inputs: a line a try; tries in it are done")
    parser.add_argument("--seconds", type=float, help="with --inputs: end after these; the same command goes on")
    parser.add_argument("--numbers", type=int, nargs="+", help="with --inputs: these tries of the seed alone")
    args = parser.parse_args()
    if args.inputs:
        import fuzz_inputs

        numbers = args.numbers or range(args.tries)
        fuzz_inputs.run(numbers, args.seed, args.only, args.keep, args.log, args.seconds)
        return
    rng, counts = np.random.default_rng(args.seed), collections.Counter()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as made:
        with contextlib.redirect_stdout(io.StringIO()):
            folder = finished.finished_run(Path(made), members=2)
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size and p.suffix != ".png")
        truth = numbers(folder)
        for _ in range(args.tries):
            path = files[int(rng.integers(len(files)))]
            content = path.read_bytes()
            path.write_bytes(harm(content, rng))
            counts[path.name, outcome(folder, truth)] += 1
            path.write_bytes(content)
        shutil.rmtree(folder)
    total = collections.Counter()
    for (name, what), count in sorted(counts.items()):
        total[what] += count
        if what in OUTCOMES[2:]:
            print(f"{what}: {name} {count}")
    print(f"{args.tries} corruptions of {len(files)} files: " + ", ".join(f"{total[what]} {what}" for what in OUTCOMES))


if __name__ == "__main__":
    main()
