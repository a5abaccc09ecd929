"""Commands ended at their acts on files by SIGKILL, Ctrl-C and SIGTERM: does the same command, given again, mend all?

OMP_NUM_THREADS=1 python benchmarks/crash.py --tries 600

A tiny world is copied, a command is begun in it and sent a signal before one of its acts on a file (opens one to write,
maps, lengthens, flushes, renames or removes it, makes or removes a folder), and the same command is run again to its
end. The world is then compared with one in which the command ran through at once, byte for byte; training and
retraining in this process (`--workers 1`), figures left unpainted. Commands that score an existing run again with
another setting are also looked at before they are given again: what the page and detect.py read there is held against
the files of before and after. Days and times in metadata.json aside, nothing is left out of the comparison.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import finished, tiny, validated
from support.killed import Ended, ended
from support.small_world import SMALL

from rec_trak import cli, demo
from rec_trak.detection.run import find_poison
from rec_trak.page.page import page_content
from rec_trak.runs.finished import open_run
from rec_trak.store.manifest import BLOCKS

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
ENDS = {signal.SIGKILL: (137,), signal.SIGINT: (0, 130), signal.SIGTERM: (0, 143)}
HEAD = ("tried", "another file differs", "temporary files stay", "rerun fails", "mixtures read as one run")
RUN = "results/clean_train_clean"


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        name: what it says.
        after: commands that make the world in which it is tried, one after the other.
        command: what is ended and given again.
        mixed: whether its readers are asked between.
    """

    name: str
    after: tuple[Callable[[], None], ...]
    command: Callable[[], None]
    mixed: bool = False


def lines(folder: Path) -> list[Line]:
    """All that is tried, in a world at `folder`."""

    def command(name: str, *words: str, config: str = "trak.yaml") -> Callable[[], None]:
        flags = ["--config", str(folder / config)] if name in ("train", "featurize", "score", "validate") else []
        return partial(cli.main, name, [*flags, *words, "--quiet"])

    results, targets = str(folder / RUN), str(folder / "data/benchmarks/benchmark_mixed.csv")
    featurize, score, scored_set = command("featurize"), command("score"), command("score", "--targets", targets)
    scored = (featurize, score, scored_set)
    detect = command("detect", "--results_dir", results, "--promoted", finished.PROMOTED)
    found = (*scored, detect)
    asked = ("--what", "lds", "removal", "--subsets", "10", "--trainings", "1", "--removal_seeds", "1")
    few = ("--max_targets", "4", "--removal_targets", "1", "--workers", "1")
    validate = command("validate", "--training", str(folder / "train.yaml"), "--targets", targets, *asked, *few)
    small = partial(demo.run_demo, folder / "demo", settings=SMALL)
    clean = command("clean", "--results_dir", results, "--top", "3", "--output", str(folder / "new.csv"))
    again = {name: partial(command, "score", config=f"{name}.yaml") for name in ("ridge", "loss", "rows")}
    ridged = (*found, again["ridge"]())
    return [
        Line("train", (), command("train", "--members", "2", config="train.yaml")),
        Line("featurize", (), featurize),
        Line("score", (featurize,), score),
        Line("score --targets", (featurize, score), scored_set),
        Line("validate", scored, validate),
        Line("detect", scored, detect),
        Line("trust", scored, command("trust", "--results_dir", results)),
        Line("report", found, command("report", "--results_dir", results)),
        Line("clean", scored, clean),
        Line("demo", (), partial(cli.run_script, lambda args: small(), argparse.ArgumentParser(), [])),
        Line("score again, other ridge", found, again["ridge"](), mixed=True),
        Line("score --targets again, other ridge", ridged, again["ridge"]("--targets", targets), mixed=True),
        Line("score again, of the loss", found, again["loss"](), mixed=True),
        Line("score again, other top_k", found, again["rows"](), mixed=True),
    ]


def write_world(folder: Path) -> None:
    """Clicks, checkpoints, and the YAML files that the commands name."""
    tiny.write_tree(folder / "data", rows=24)
    tiny.write_models(folder / "runs", folder / "data", members=2)
    log = folder / "data/models/train_clean.csv"
    finished.mark(log, lambda line: finished.poisons(line["user_id"], line["candidate_id"]))
    shutil.copy(log, log.with_name("val_clean.csv"))
    validated.write_training(folder, output_dir=str(folder / "trained"))
    for name, keys in {"ridge": {"lambda_rel": 0.1}, "loss": {"score": "loss_gradient"}, "rows": {"top_k": 3}}.items():
        tiny.write_config(folder, **keys).rename(folder / f"{name}.yaml")
    tiny.write_config(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a world but those that are on their way, and folders with nothing in them."""
    found = {}
    for path in folder.rglob("*"):
        if not path.is_dir():
            found[str(path.relative_to(folder))] = path.read_bytes()
        elif not any(path.iterdir()):
            found[f"{path.relative_to(folder)}/"] = b""
    return found


def temporary(name: str) -> bool:
    """Whether a file is there only while a command runs."""
    return name.endswith((".tmp", ".lock")) or Path(name).name.startswith("tmp")


def read_by(reader: Callable[[], object], folder: Path) -> list[str]:
    """The files below `folder` that a reader opened, if it took what lies there for a run; else none."""
    with tempfile.TemporaryFile() as opened:

        def watched() -> None:
            def hook(event: str, arguments: tuple) -> None:
                if event == "open" and str(arguments[0]).startswith(str(folder)):
                    os.write(opened.fileno(), f"{arguments[0]}\n".encode())

            sys.addaudithook(hook)
            reader()

        if ended(watched, folder).code:
            return []
        opened.seek(0)
        return sorted({str(Path(line).relative_to(folder)) for line in opened.read().decode().splitlines()})


def mixture(folder: Path, before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Files that the page or detect.py read there as one run, of which some are of before and some of after.

    Of a target set that is left aside its metadata.json alone is read.
    """
    run = folder / RUN
    readers = (lambda: page_content(open_run(run), None, ""), lambda: find_poison(run, promoted=[finished.PROMOTED]))
    held = contents(folder)
    for reader in readers:
        names = [name for name in read_by(reader, folder) if name.startswith(RUN) and not name.endswith("belongs.json")]
        whole = {str(Path(name).parent) for name in names if not name.endswith("metadata.json")}
        names = [name for name in names if str(Path(name).parent) in whole and "/store/" not in name]
        changed = [name for name in names if before.get(name) != after.get(name)]
        of_before = [name for name in changed if held.get(name) == before.get(name)]
        if of_before and len(of_before) < len(changed):
            return [*of_before, "beside", *sorted(set(changed) - set(of_before))]
    return []


def tried(
    line: Line, folder: Path, template: Path, whole: dict[str, bytes], act: int, by: signal.Signals
) -> Iterator[tuple[str, str]]:
    """What is wrong after the command was ended before this act and given again: the column, and a word on it."""
    fresh(template, folder)
    first = ended(line.command, folder, act, by)
    if first.code not in ENDS[by]:
        yield "ends otherwise", _last(first)
    if line.mixed:
        mixed = mixture(folder, contents(template), whole)
        if mixed:
            yield HEAD[4], " ".join(mixed)
    again = ended(line.command, folder)
    if again.code:
        yield HEAD[3], _last(again)
        return
    held = contents(folder)
    stays = [name for name in held if temporary(name) and name not in whole]
    if stays:
        yield HEAD[2], " ".join(stays)
    names = sorted({*held, *whole} - {*stays})
    differing = [name for name in names if held.get(name) != whole.get(name)]
    if differing:
        yield HEAD[1], " ".join(differing)


def _last(end: Ended) -> str:
    return f"{end.code} {' '.join(end.told.splitlines()[-1:])[:300]}"


def fresh(template: Path, folder: Path) -> None:
    """The world as the template has it, at the place where all worlds are, since files name their paths."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)


def done(command: Callable[[], None], folder: Path) -> int:
    """Run a command to its end; the number of its acts."""
    end = ended(command, folder)
    if end.code:
        sys.exit(f"crash: a command fails undisturbed. {end.told}")
    return end.acts


def check(line: Line, place: Path, tries: int, rng: np.random.Generator, verbose: bool) -> collections.Counter:
    """The line's counts."""
    folder, template = place / "world", place / "template"
    for made in (folder, template):
        shutil.rmtree(made, ignore_errors=True)
    write_world(folder)
    for command in line.after:
        done(command, folder)
    folder.rename(template)
    fresh(template, folder)
    acts, whole = done(line.command, folder), contents(folder)
    fresh(template, folder)
    done(line.command, folder)
    noise = [name for name, content in contents(folder).items() if whole.get(name) != content]
    if noise:
        sys.exit(f"crash: {line.name} undisturbed gives other bytes each time: {noise}")
    counts = collections.Counter(acts=acts)
    for act in 1 + ((np.arange(tries) + rng.random()) * acts / max(tries, 1)).astype(int):
        by = SIGNALS[int(rng.integers(len(SIGNALS)))]
        counts[HEAD[0]] += 1
        for column, what in tried(line, folder, template, whole, int(act), by):
            counts[column] += 1
            if verbose:
                print(f"  {line.name}, {by.name} before act {act} of {acts}: {column}: {what}", file=sys.stderr)
    return counts


def _unpainted(name: str, draw: Callable, vector: bool = False) -> dict:
    return {f"{name}.{form}": lambda file: file.write(b"not painted") for form in ("png", *("pdf", "svg") * vector)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=600, help="over all lines")
    parser.add_argument("--only", nargs="+", default=[], metavar="COMMAND", help="these lines of the table")
    parser.add_argument("--seed", type=int, default=0, help="of signals, and of where the acts tried begin")
    parser.add_argument("--verbose", action="store_true", help="say what is wrong, on standard error")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    BLOCKS.update(rows=10, targets=3)  # several blocks of a tiny log
    demo.MEMBERS, demo.TRAINING = 2, demo.TRAINING.replace("epochs: 12", "epochs: 1")
    demo.ANALYSIS = demo.ANALYSIS.replace("proj_dim: 1024", "proj_dim: 32")
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        os.environ["REC_TRAK_CACHE"] = f"{place}/cache"
        for module in [one for name, one in sys.modules.items() if name.startswith("rec_trak.")]:
            if hasattr(module, "figure_files"):
                stack.enter_context(mock.patch.object(module, "figure_files", _unpainted))
        told = lines(Path(place) / "world")
        wanted = [one for one in told if not args.only or one.name in args.only]
        print(f"{'command':<36}{'acts':>6}" + "".join(f"  {name}" for name in HEAD))
        for one in wanted:
            tries = len(range(told.index(one), args.tries, len(told)))
            with contextlib.redirect_stdout(io.StringIO()):
                counts = check(one, Path(place), tries, np.random.default_rng(args.seed), args.verbose)
            cells = [f"{counts[name] if name != HEAD[4] or one.mixed else '-':>{len(name) + 2}}" for name in HEAD]
            other = f"  ends otherwise: {counts['ends otherwise']}" if counts["ends otherwise"] else ""
            print(f"{one.name:<36}{counts['acts']:>6}{''.join(cells)}{other}", flush=True)


if __name__ == "__main__":
    main()
