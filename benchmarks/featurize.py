"""Featurizing against traker, dattri, a training step and the floor: milliseconds a row, and their ratios.

    python benchmarks/featurize.py --json          # the headline figures, in minutes
    python benchmarks/featurize.py --all           # models, K, batch sizes, histories

Every contender has a process of its own, all of them alive at once; rounds alternate, medians count.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

BASE = {"model": "nrms", "proj_dim": 512, "batch": 32, "history": 50, "vocabulary": 20_000, "rows": 256}
FAST = ("rec_trak", "floor", "padded_step")
SLOW = ("traker_all", "traker_no_embedding", "dattri")
TARGETS = {
    "traker all parameters / rec-trak": ("traker_all", "rec_trak", 90, 150),
    "traker without embeddings / rec-trak": ("traker_no_embedding", "rec_trak", None, None),
    "dattri / rec-trak": ("dattri", "rec_trak", 140, 200),
    "rec-trak / padded training step": ("rec_trak", "padded_step", 0.30, 0.20),
    "rec-trak / floor": ("rec_trak", "floor", 1.5, 1.15),
}


def work(name: str, settings: dict) -> None:
    """One contender: a round for each line on stdin, seconds and rows on stdout."""
    from contenders import CONTENDERS

    run, rows = CONTENDERS[name](settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name in FAST:
        run()  # the first round pays for what a run pays once
    print(json.dumps({"rows": rows, "before": before}), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        run()
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": seconds, "peak_mb": peak / 1024, "own_mb": (peak - before) / 1024}), flush=True)


def measure(names: list[str], settings: dict, rounds: int) -> dict[str, dict]:
    """Median milliseconds a row, and peak memory in MB, of each contender; slow ones do one round."""
    workers = {}
    for name in names:
        command = [sys.executable, __file__, "--worker", name, "--settings", json.dumps(settings)]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    rows = {name: json.loads(worker.stdout.readline())["rows"] for name, worker in workers.items()}
    found: dict[str, list[dict]] = {name: [] for name in names}
    for turn in range(rounds):
        for name, worker in workers.items():
            if turn and name in SLOW:
                continue
            worker.stdin.write("go\n")
            found[name].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {
        name: {
            "ms_per_row": 1000 * statistics.median(r["seconds"] for r in results) / rows[name],
            "peak_mb": max(r["peak_mb"] for r in results),
            "own_mb": max(r["own_mb"] for r in results),
        }
        for name, results in found.items()
    }


def ratios(found: dict[str, dict]) -> dict[str, float]:
    """The headline ratios of what was measured."""
    out = {
        label: found[over]["ms_per_row"] / found[under]["ms_per_row"]
        for label, (over, under, _, _) in TARGETS.items()
        if over in found and under in found
    }
    if "traker_all" in found:
        out["peak memory, rec-trak / traker all parameters"] = (
            found["rec_trak"]["peak_mb"] / found["traker_all"]["peak_mb"]
        )
    return out


def machine() -> dict[str, str]:
    """What it ran on."""
    packages = {name: version(name) for name in ("torch", "traker", "numpy")}
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {"cpu": model or platform.processor(), "python": platform.python_version(), **packages}


def headline(rounds: int, skip: list[str]) -> dict:
    """K = 512 against everything, then K = 2,048 and 8,192 against the step and the floor."""
    slow = [name for name in SLOW if name not in skip and (name != "dattri" or find_spec("dattri"))]
    first = measure([*FAST, *slow], BASE, rounds)
    result = {"settings": BASE, "machine": machine(), "K=512": {"contenders": first, "ratios": ratios(first)}}
    for k in (2048, 8192):
        found = measure(list(FAST), {**BASE, "proj_dim": k}, rounds)
        result[f"K={k}"] = {"contenders": found, "ratios": ratios(found)}
    by_k = {k: result[k]["contenders"]["rec_trak"]["ms_per_row"] for k in ("K=512", "K=8192")}
    result["rec-trak at K = 8,192 / at K = 512"] = by_k["K=8192"] / by_k["K=512"]
    return result


def grid(rounds: int, of: str | None) -> None:
    """A line for each model and K, batch size, history length and vocabulary, or those where `of` changes alone."""
    print("| model | K | B | history | vocabulary | rec-trak ms | floor ms | step ms | / floor | / step | own MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    cases = [{"model": m, "proj_dim": k} for m in ("nrms", "naml", "lstur") for k in (512, 2048, 8192)]
    cases += [{"batch": b} for b in (8, 128)] + [{"history": 10}, {"vocabulary": 100_000}]
    for case in cases:
        if of not in (None, *case):
            continue
        s = BASE | {"rows": 128} | case
        f = measure(list(FAST), s, rounds)
        ms = {name: f[name]["ms_per_row"] for name in FAST}
        print(
            f"| {s['model']} | {s['proj_dim']} | {s['batch']} | {s['history']} | {s['vocabulary']} "
            f"| {ms['rec_trak']:.2f} | {ms['floor']:.2f} | {ms['padded_step']:.2f} | {ms['rec_trak'] / ms['floor']:.2f}"
            f" | {ms['rec_trak'] / ms['padded_step']:.3f} | {f['rec_trak']['own_mb']:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the headline figures as one JSON object")
    parser.add_argument("--all", action="store_true", help="run the grid")
    parser.add_argument("--of", choices=("model", "batch", "history", "vocabulary"), help="with --all: only its lines")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each quick contender")
    parser.add_argument("--skip", nargs="*", default=[], choices=SLOW, help="leave slow contenders out")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.settings)
    elif args.all:
        grid(args.rounds, args.of)
    else:
        print(json.dumps(headline(args.rounds, args.skip), indent=None if args.json else 1))


if __name__ == "__main__":
    main()
