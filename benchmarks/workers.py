"""Several workers against one: whether the bytes of the store are the same when two are killed, and rows a second.

    python benchmarks/workers.py /tmp/workers --bytes 2 4 8    # kill -9, two workers each time, --max-restarts
    python benchmarks/workers.py /tmp/workers --speed          # 2 workers x 1 thread over 1 worker x 2 threads

A command starts libraries and reads the log; rows a second are those of a run over twice the rows less those of a run
over them, so that this is not in it. Whole commands as users type them, on data of benchmarks/scale.py.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from scale import SCRIPTS, SIZES, make

from rec_trak.checkpoints.state_dicts import write_state_dict
from rec_trak.config.model import ModelConfig, read_model_config
from rec_trak.models.build import build_model

PAPER = {"word_dim": 300, "heads": 20, "head_dim": 20, "query_dim": 200}
MODELS = {"paper": (PAPER, 4096), "small": (SIZES, 8192)}  # sizes, and rows of the shorter run
KILLED = 2
ROWS = 12_288  # of the runs that are killed: twelve blocks


def world(folder: Path, rows: int, sizes: dict, gradient: str = "factored") -> Path:
    """Data, a checkpoint of these sizes and a YAML; its path."""
    if not (folder / "trak.yaml").exists():
        make(folder, rows, 2000)
    config = read_model_config(folder / "runs" / "model.json")
    config = ModelConfig("nrms", config.views, sizes, config.text)
    config.write(folder / "runs" / "model.json")
    torch.manual_seed(0)
    write_state_dict(folder / "runs" / "clean_0.pt", build_model(config))
    told = (folder / "trak.yaml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in told if not line.startswith(("gradient:", "batch_size:"))]
    (folder / "trak.yaml").write_text("\n".join([*kept, f"gradient: {gradient}", "batch_size: 32"]) + "\n")
    return folder / "trak.yaml"


def command(config: Path, out: Path, workers: int) -> list[str]:
    """featurize.py of one process, or of a torchrun job."""
    start = [sys.executable]
    if workers > 1:
        start += [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            str(workers),
            "--max-restarts",
            "4",
        ]
    asked = ["--dataset_type", "train_clean", "--model_type", "clean", "--output_dir", str(out)]
    return [*start, str(SCRIPTS / "featurize.py"), "--config", str(config), *asked]


def environment(folder: Path, threads: int) -> dict[str, str]:
    """Its own cache, and so many threads."""
    root = str(Path(__file__).parent.parent)
    return {
        **os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": str(threads), "REC_TRAK_CACHE": str(folder / "cache"),
    }  # fmt: skip


def seconds(config: Path, out: Path, workers: int, threads: int) -> float:
    """Of the clock, of a whole run into a new folder."""
    start = time.perf_counter()
    subprocess.run(command(config, out, workers), env=environment(out.parent, threads), check=True, capture_output=True)
    return time.perf_counter() - start


def speed(folder: Path, rounds: int) -> None:
    """Rows a second of two workers with a thread each over one with two, medians over rounds that alternate."""
    for name, (sizes, rows) in MODELS.items():
        configs = [world(folder / f"{name}_{n}", n, sizes) for n in (rows, 2 * rows)]
        rates: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(rounds):
            for workers in rates:
                out = [config.parent / f"out_{workers}_{turn}" for config in configs]
                short, long = (seconds(c, o, workers, 2 // workers) for c, o in zip(configs, out, strict=True))
                rates[workers].append(rows / (long - short))
        one, two = (sorted(found)[len(found) // 2] for found in rates.values())
        print(f"| {name} | {one:.0f} | {two:.0f} | {two / one:.2f} | {rates} |", flush=True)


def workers_of(job: int) -> list[int]:
    """The processes that torchrun started."""
    children = Path(f"/proc/{job}/task/{job}/children").read_text(encoding="utf-8").split()
    return [int(one) for one in children]


def killed(config: Path, out: Path, workers: int) -> int:
    """A job of which two workers are killed while blocks are being filled; how many were."""
    job = subprocess.Popen(command(config, out, workers), env=environment(out.parent, 1), stderr=subprocess.DEVNULL)
    done, last = 0, -1
    while job.poll() is None:
        filled = len(list(out.rglob("blocks/*.json")))
        if done < KILLED and filled > last + 1 and filled > 0:
            found = workers_of(job.pid)
            if found:
                os.kill(found[done % len(found)], signal.SIGKILL)
                done, last = done + 1, filled
        time.sleep(0.05)
    if job.returncode:
        raise SystemExit(f"the job of {workers} workers ended with {job.returncode}")
    return done


def differing(one: Path, other: Path) -> list[str]:
    """Files that are in one of two folders alone, or differ."""
    names = {str(path.relative_to(top)) for top in (one, other) for path in top.rglob("*") if path.is_file()}
    return sorted(n for n in names if not all((t / n).is_file() for t in (one, other)) or not _same(one / n, other / n))


def _same(one: Path, other: Path) -> bool:
    return filecmp.cmp(one, other, shallow=False)


def same_bytes(folder: Path, sizes: list[int]) -> None:
    """A store by one undisturbed process, and by jobs of so many workers of which two were killed."""
    config = world(folder / "bytes", ROWS, SIZES)
    seconds(config, folder / "bytes" / "alone", 1, 1)
    for workers in sizes:
        out = folder / "bytes" / f"by_{workers}"
        count = killed(config, out, workers)
        found = differing(*(next(top.rglob("rec_trak.json")).parent for top in (folder / "bytes" / "alone", out)))
        print(json.dumps({"workers": workers, "killed": count, "files that differ": found}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--bytes", type=int, nargs="+", default=[], help="how many workers, two of which are killed")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.bytes:
        same_bytes(args.folder, args.bytes)
    if args.speed:
        print("| model | rows/s, 1 worker x 2 threads | 2 workers x 1 thread | ratio | all |\n|---|---|---|---|---|")
        speed(args.folder, args.rounds)


if __name__ == "__main__":
    main()
