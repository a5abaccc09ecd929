"""Gram matrix, solve and self-influence of a million rows from a memory map, against one matrix product in RAM.

    python benchmarks/score.py --json

The rate is multiply-adds a second over the two passes (Gram and leverage), against that of Phi'Phi with all of Phi in
memory; memory is the peak of RssAnon, sampled while scoring. The map is warm in the page cache for both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

BLOCK = 20_000


def anonymous_mb() -> float:
    """Anonymous resident memory of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def fill(path: Path, rows: int, k: int) -> None:
    """A (rows, k) map of random numbers, written in blocks."""
    rng = np.random.default_rng(0)
    phi = np.lib.format.open_memmap(path, mode="w+", shape=(rows, k), dtype=np.float32)
    for start in range(0, rows, BLOCK):
        phi[start : start + BLOCK] = rng.standard_normal((min(BLOCK, rows - start), k), dtype=np.float32)
    phi.flush()


def from_the_map(path: Path) -> dict:
    """Self-influence through the library; seconds and the peak of anonymous memory."""
    from rec_trak.scoring import member_leverage

    phi = np.load(path, mmap_mode="r")
    q = np.linspace(0, 1, len(phi))
    member_leverage(phi[:BLOCK], 1.0)
    peak, done = [anonymous_mb()], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak.append(anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.perf_counter()
    h, _ = member_leverage(phi, 1.0)
    scores = q * h
    seconds = time.perf_counter() - begin
    done.set()
    watcher.join()
    return {
        "seconds": seconds,
        "peak_anonymous_mb": max(peak),
        "sum_of_leverage": float(h.sum()),
        "mean": float(scores.mean()),
    }


def in_memory(path: Path) -> dict:
    """One product Phi'Phi with all of Phi in memory; seconds."""
    import torch

    phi = torch.from_numpy(np.load(path))
    _ = phi[:BLOCK].T @ phi[:BLOCK]
    begin = time.perf_counter()
    product = phi.T @ phi
    return {"seconds": time.perf_counter() - begin, "trace": float(product.trace())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--proj_dim", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="where the map goes for the time being (2 GB)")
    parser.add_argument("--json", action="store_true", help="one line")
    parser.add_argument("--worker", choices=("from_the_map", "in_memory"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps({"from_the_map": from_the_map, "in_memory": in_memory}[args.worker](args.folder)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "phi.npy"
        fill(path, args.rows, args.proj_dim)
        found = {}
        for worker in ("in_memory", "from_the_map"):
            command = [sys.executable, __file__, "--worker", worker, "--folder", str(path)]
            found[worker] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    work = args.rows * args.proj_dim**2
    rates = {
        "in_memory": work / found["in_memory"]["seconds"],
        "from_the_map": 2 * work / found["from_the_map"]["seconds"],
    }
    result = {
        "rows": args.rows,
        "proj_dim": args.proj_dim,
        **found,
        "rate over one product in memory": rates["from_the_map"] / rates["in_memory"],
    }
    print(json.dumps(result, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
