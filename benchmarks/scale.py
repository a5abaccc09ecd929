"""Whole commands on a log of any size: processor seconds and peak memory of each, as a process of its own.

    python benchmarks/scale.py /tmp/scale --rows 100000                      # makes the data, then all commands
    python benchmarks/scale.py /tmp/scale --rows 100000 --only dry_run again
    python benchmarks/scale.py /tmp/scale --rows 100000 --plan         # what a dry run expects beside what it takes

The log is MIND-like (histories of 22 articles on average, few articles popular, slates of 20 with one click), the model
a small NRMS with fresh weights: what is measured is all that grows with the log and is not gradients.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rec_trak.checkpoints.state_dicts import write_state_dict
from rec_trak.clicks import LOSSES
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import build_vocabulary, read_mind_news
from rec_trak.models.build import build_model

SCRIPTS = Path(__file__).parent.parent / "scripts"
SIZES = {"word_dim": 8, "heads": 2, "head_dim": 4, "query_dim": 5}
AT_ONCE = 50_000
WORDS = 5_000
TARGETS = 50
FIRST = 10_000  # the number of the article that most histories hold


def make(folder: Path, rows: int, articles: int, seed: int = 0) -> None:
    """A tree in MIND's format, a checkpoint and a YAML."""
    rng = np.random.default_rng(seed)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    words = np.array([f"w{i}" for i in range(WORDS)], dtype=object)
    ids = np.array([f"N{FIRST + i}" for i in range(articles)], dtype=object)
    with open(folder / "data" / "news.tsv", "w", encoding="utf-8") as file:
        for name, length in zip(ids, rng.integers(6, 18, size=articles), strict=True):
            title = " ".join(words[(WORDS * rng.random(length) ** 3).astype(int)])
            file.write(f"{name}\tnews\tlocal\t{title}\t{title} {title}\thttps://x\t[]\t[]\n")
    with open(folder / "data" / "behaviors.tsv", "w", encoding="utf-8") as file:
        for start in range(0, rows, AT_ONCE):
            file.writelines(_lines(rng, ids, start, min(AT_ONCE, rows - start), rows))
    table = read_mind_news(folder / "data" / "news.tsv")
    text = TextConfig(words=build_vocabulary(table, "regex", ("title",)), title_length=20)
    config = ModelConfig("nrms", ("title",), SIZES, text)
    (folder / "runs").mkdir(exist_ok=True)
    config.write(folder / "runs" / "model.json")
    torch.manual_seed(seed)
    write_state_dict(folder / "runs" / "clean_0.pt", build_model(config))
    settings = {"checkpoints": str(folder / "runs" / "clean_0.pt"), "model_config": str(folder / "runs" / "model.json")}
    settings |= {"data_path": str(folder / "data"), "output_dir": str(folder / "results"), "proj_dim": 64}
    settings |= {"data_format": "mind", "batch_size": 256}
    settings["targets"] = {"promoted": {"article": str(ids[articles // 50]), "users": "train", "count": TARGETS}}
    lines = [f"{key}: {json.dumps(value)}" for key, value in settings.items()]
    (folder / "trak.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(rng: np.random.Generator, ids: np.ndarray, start: int, count: int, rows: int) -> list[str]:
    """Lines of behaviors.tsv; each user has some ten of them."""
    lengths = np.clip(rng.lognormal(2.85, 0.85, size=count), 1, 50).astype(int)
    ends = np.cumsum(lengths)
    drawn = ids[(len(ids) * rng.random(int(ends[-1])) ** 4).astype(int)]
    slates = ids[(len(ids) * rng.random((count, 20)) ** 2).astype(int)]
    users, days = rng.integers(0, max(rows // 10, 1), size=count), rng.integers(9, 15, size=count)
    lines = []
    for i in range(count):
        history = " ".join(drawn[ends[i] - lengths[i] : ends[i]])
        slate = " ".join(f"{name}-{int(place == 0)}" for place, name in enumerate(slates[i]))
        lines.append(f"{start + i + 1}\tU{users[i]}\t11/{days[i]}/2019 9:05:58 AM\t{history}\t{slate}\n")
    return lines


def promoted(folder: Path) -> str:
    """The article of the target set."""
    return read_analysis_config(folder / "trak.yaml").targets["promoted"].article


def commands(folder: Path) -> dict[str, list[str]]:
    """Name -> script and arguments, in the order in which they can run. `other` is the run that `compare` compares
    with: of the same checkpoint, so that it needs no gradients of its own."""
    run, results = ["--config", str(folder / "trak.yaml"), "--dataset_type", "train_clean"], folder / "results"
    kind, own = [*run, "--model_type", "clean"], results / "clean_train_clean"
    other = [*run, "--model_type", "poisoned", "--save_dir", str(own / "store")]
    of = ["--results_dir", str(own)]
    sides = ["--clean_dir", str(own), "--poisoned_dir", str(results / "poisoned_train_clean")]
    return {
        "dry_run": ["featurize.py", *kind, "--dry_run"],
        "featurize": ["featurize.py", *kind],
        "again": ["featurize.py", *kind],  # nothing to do
        "score": ["score.py", *kind],
        "targets": ["score.py", *kind, "--targets", "promoted"],
        "trust": ["trust.py", *of],
        "detect": ["detect.py", *of],
        "suspects": ["suspects.py", *of],
        "other": ["score.py", *other],
        "compare": ["compare.py", *sides, "--output_dir", str(folder / "comparison")],
        "clean": ["clean.py", *of, "--top", "1000", "--output", str(folder / "cleaned.tsv")],
        "report": ["report.py", *of],
        "verify": ["verify.py", str(own)],
        "places": ["score.py", *kind, "--targets", "promoted", "--history", promoted(folder)],
        "most_read": ["detect.py", *of, "--history", "--promoted", f"N{FIRST}"],
    }


def measured(command: list[str], env: dict[str, str]) -> dict:
    """Processor seconds (user and system) and peak GB of a command; what it said where it failed."""
    child = subprocess.Popen(
        [sys.executable, str(SCRIPTS / command[0]), *command[1:]],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    found = {"seconds": round(used.ru_utime + used.ru_stime, 1), "peak_gb": round(used.ru_maxrss / 2**20, 2)}
    return found if child.returncode == 0 else found | {"failed": said[-400:]}


def fill(folder: Path) -> None:
    """A save directory whose gradients are drawn: nothing that comes after asks where they are from."""
    from unittest import mock

    from rec_trak.attribution import filling, session
    from rec_trak.attribution.job import Run, read_job
    from rec_trak.attribution.ways import Way
    from rec_trak.gradients.preflight import GradientChoice

    rng = np.random.default_rng(0)

    def drawn(traker, job, way, rows: np.ndarray) -> None:
        held = traker.saver.current_store
        held["grads"][rows] = rng.standard_normal((len(rows), job.proj_dim), dtype=np.float32)
        held["out_to_loss"][rows] = rng.random((len(rows), 1), dtype=np.float32)
        held["is_featurized"][rows] = 1

    os.environ["REC_TRAK_CACHE"] = str(folder / "cache")
    job = read_job(Run(read_analysis_config(folder / "trak.yaml"), "train_clean", "clean"))
    way = Way(GradientChoice("factored", "drawn"), None, "drawn")
    quick = (mock.patch.object(filling, "_featurize_rows", drawn), mock.patch.object(Way, "batch"))
    with quick[0], quick[1], mock.patch.object(session, "agreed_way", return_value=way):
        session.featurize(job)


def read_input(folder: Path, loss: str) -> None:
    """What every command does before its own work, in this process: libraries, the log, all else of the input."""
    from rec_trak.attribution.job import Run, fingerprint, read_job
    from rec_trak.config.reading import reading_of
    from rec_trak.data.sources import read_data

    config = replace(read_analysis_config(folder / "trak.yaml"), loss=loss)
    os.environ["REC_TRAK_CACHE"] = str(folder / "cache")
    steps = {
        "libraries": lambda: None,
        "the log": lambda: read_data(config.data_path, None, "train_clean", reading_of(config)),
        "the job, the log again": lambda: fingerprint(read_job(Run(config, "train_clean", "clean"))),
    }
    before = 0.0
    for name, step in steps.items():
        step()
        now, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{name}: {now - before:.1f} s, peak so far {peak / 2**20:.2f} GB", flush=True)
        before = now


def expect(folder: Path) -> None:
    """What `featurize.py --dry_run` expects, as JSON: processor seconds, bytes of disk and of a process."""
    from rec_trak.attribution.estimate import estimate
    from rec_trak.attribution.job import Run, read_job

    time.perf_counter = time.process_time  # the processor's seconds, so that other work on the machine does not decide
    cost = estimate(read_job(Run(read_analysis_config(folder / "trak.yaml"), "train_clean", "clean")))
    own = time.process_time()
    told = {"path": cost.gradient.name, "own": own, "seconds": cost.seconds, "disk": cost.disk, "memory": cost.memory}
    print(json.dumps(told), flush=True)


def compare_plan(folder: Path, env: dict[str, str]) -> None:
    """A table of what a dry run expects and what featurizing then takes, in a store that is made anew."""
    store = folder / "results" / "clean_train_clean" / "store"
    if store.exists():
        raise SystemExit(f"{store} is there: a plan is of a run that has nothing yet")
    this = [sys.executable, __file__, str(folder), "--expect"]
    told = json.loads(
        subprocess.run(this, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    )
    found = measured(commands(folder)["featurize"], env)
    disk = sum(512 * path.stat().st_blocks for path in store.rglob("*") if path.is_file())
    rows = {
        "processor seconds, reading and trials among them": (told["own"] + told["seconds"], found["seconds"]),
        "disk, GB": (told["disk"] / 1e9, disk / 1e9),
        "peak of the process, GB": (told["memory"] / 1e9, found["peak_gb"] * 2**30 / 1e9),
    }
    print(f"{told['path']}:", found.get("failed", ""))
    print("| | expected | taken | expected / taken |\n|---|---|---|---|")
    for name, (expected, taken) in rows.items():
        print(f"| {name} | {expected:.3g} | {taken:.3g} | {expected / taken:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where data, results and the cache go; made where it is not there")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--articles", type=int, help="in the table (default: a tenth of the rows, at least 1,000)")
    parser.add_argument("--only", nargs="+", help="commands to run, in this order; all by default")
    parser.add_argument("--input", action="store_true", help="read the input alone, of data that are there")
    parser.add_argument("--loss", choices=LOSSES, default="softmax", help="of --input alone")
    parser.add_argument("--drawn", action="store_true", help="fill the save directory with drawn gradients, no more")
    parser.add_argument(
        "--plan", action="store_true", help="compare what a dry run expects with what featurizing takes"
    )
    parser.add_argument("--expect", action="store_true", help="what a dry run expects, alone")
    args = parser.parse_args()
    if args.expect:
        expect(args.folder)
        return
    if args.input:
        read_input(args.folder, args.loss)
        return
    if not (args.folder / "trak.yaml").exists():
        make(args.folder, args.rows, args.articles or max(args.rows // 10, 1_000))
    if args.drawn:
        fill(args.folder)
        return
    root = str(Path(__file__).parent.parent)
    env = os.environ | {"REC_TRAK_CACHE": str(args.folder / "cache"), "PYTHONPATH": root}
    if args.plan:
        compare_plan(args.folder, env)
        return
    every = commands(args.folder)
    print("| command | processor seconds | peak GB |\n|---|---|---|", flush=True)
    for name in args.only or every:
        if name == "clean":
            for path in args.folder.glob("cleaned*"):  # it writes over nothing
                path.unlink()
        found = measured(every[name], env)
        print(f"| {name} | {found['seconds']} | {found['peak_gb']} |", found.get("failed", ""), flush=True)
    own = resource.getrusage(resource.RUSAGE_SELF)
    print(f"(this process: {own.ru_maxrss / 2**20:.2f} GB)")


if __name__ == "__main__":
    main()
