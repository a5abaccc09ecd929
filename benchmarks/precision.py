"""What bfloat16 in the gradient pass changes: ranks of real clicks, and time. Needs what politifact.py trained.

python benchmarks/precision.py ../shared/data/upfd_politifact --folder runs/politifact
"""

import argparse
import dataclasses
import time
from pathlib import Path

from scipy.stats import spearmanr

from rec_trak import cli
from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.config.analysis import read_analysis_config
from rec_trak.data.targets import read_targets

ROOT = Path(__file__).parents[1]


def main(args) -> None:
    runs, found, seconds = args.folder / "models" / "nrms", {}, {}
    for precision in ("float32", "bf16"):
        config = dataclasses.replace(
            read_analysis_config(ROOT / "configs" / "trak" / "nrms.yaml"),
            data_path=str(args.data),
            news_items_path=str(args.data / "news_items.csv"),
            checkpoints=str(runs / "poisoned.pt"),
            model_config=str(runs / "model.json"),
            output_dir=str(args.folder / "precision" / precision),
            precision=precision,
        )
        job = read_job(Run(config, "train_poisoned", "poisoned"))
        begin = time.perf_counter()
        featurize(job)
        seconds[precision] = time.perf_counter() - begin
        targets = read_targets(args.data / "benchmarks" / "benchmark_honeypot.csv", job.articles)
        found[precision] = (self_influence(job).scores, target_influence(job, "honeypot", targets).plain)
    names = ("self-influence", "influence on the honeypot clicks")
    for name, single, rounded in zip(names, found["float32"], found["bf16"], strict=True):
        print(f"{name}: rank correlation of bf16 with float32 {spearmanr(single, rounded).statistic:.5f}")
    print(f"seconds: float32 {seconds['float32']:.1f}, bf16 {seconds['bf16']:.1f} (0 where a store was there already)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the pairwise tree")
    parser.add_argument("--folder", type=Path, default=Path("runs/politifact"), help="what politifact.py wrote to")
    cli.run_script(main, parser)
