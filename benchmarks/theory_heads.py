"""The ladder of theory.py on convex heads of trained models: the demo world, and real clicks where a tree is given.

Not here: the head or its rungs (rec_trak/validation/).
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.target_sets import named_targets
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.training import read_training_config
from rec_trak.data.synthetic import WorldSettings, write_demo_world
from rec_trak.demo import ANALYSIS, TRAINING
from rec_trak.training.job import train_run
from rec_trak.validation.leave_one_out import leave_one_out

ROOT = Path(__file__).parents[1]
MODELS = ("nrms", "naml", "lstur")
TARGETS = 60
DIMS = (8, 16, 32, 64, 128)
RIDGES = (0.0, None, 0.1, 1.0)


def heads(folder: Path, politifact: Path | None, out: Path | None) -> None:
    """Train what is missing in `folder`, leave every row out of each head, print a table; the numbers go into `out`."""
    runs = {"demo nrms": demo_run(folder / "demo")}
    if politifact is not None:
        runs |= {f"politifact {model}": real_run(model, politifact, folder / "politifact") for model in MODELS}
    found = {}
    for name, (run, targets) in runs.items():
        begin = time.perf_counter()
        job = read_job(run)
        aims = named_targets(run, job, targets).impressions
        chosen = np.sort(np.random.default_rng(0).choice(len(aims), size=min(TARGETS, len(aims)), replace=False))
        found[name] = leave_one_out(job, aims.subset(chosen), dims=(*DIMS, job.proj_dim), lambda_rel=RIDGES)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    print(table(found))
    if out:
        out.write_text(json.dumps(found, indent=1))


def demo_run(folder: Path) -> tuple[Run, str]:
    """The demo world's poisoned clicks and one NRMS trained on them, as scripts/demo.py makes them; its targets."""
    if not (folder / "data").exists():
        write_demo_world(folder / "data", 0, WorldSettings())
    training, analysis = folder / "train.yaml", folder / "trak.yaml"
    training.write_text(TRAINING.format(folder=folder, seed=0), encoding="utf-8")
    analysis.write_text(ANALYSIS.format(folder=folder, seed=0), encoding="utf-8")
    checkpoint = train_run(read_training_config(training), "train_poisoned")[0]
    config = dataclasses.replace(read_analysis_config(analysis), checkpoints=str(checkpoint))
    return Run(config, "train_poisoned", "poisoned"), "promoted"


def real_run(model: str, data: Path, folder: Path) -> tuple[Run, str]:
    """One model trained on the tree's poisoned clicks with configs/train/, and clicks on fake articles to explain."""
    places = {"data_path": str(data), "news_items_path": str(data / "news_items.csv")}
    training = read_training_config(ROOT / "configs" / "train" / f"{model}.yaml")
    checkpoint = train_run(dataclasses.replace(training, **places, output_dir=str(folder / model)), "train_poisoned")[0]
    config = dataclasses.replace(
        read_analysis_config(ROOT / "configs" / "trak" / f"{model}.yaml"),
        **places,
        checkpoints=str(checkpoint),
        model_config=str(folder / model / "model.json"),
        output_dir=str(folder / "results"),
    )
    return Run(config, "train_poisoned", "poisoned"), str(data / "benchmarks" / "benchmark_honeypot.csv")


def table(found: dict[str, dict]) -> str:
    """A line a rung, a column a head: Spearman (interval over targets) / Pearson (predicted) / relative error."""
    columns = list(found)
    cells: dict[str, dict[str, str]] = {}
    for key, kind in (("rows", "rows, all left out"), ("weights", "weights D"), ("l2_rel", "l2_rel")):
        cells[kind] = {name: f"{told[key]:g}" for name, told in found.items()}
    for name, told in found.items():
        for line in told["rungs"]:
            cells.setdefault(label(line), {})[name] = cell(line)
    head = "| rung | " + " | ".join(columns) + " |\n|---" + "|---" * len(columns) + "|"
    body = (
        f"| {name} | " + " | ".join(row.get(column, "-") for column in columns) + " |" for name, row in cells.items()
    )
    return "\n".join([head, *body])


def label(line: dict) -> str:
    """The name of a line; what a run has for K differs between heads."""
    ridge = "matched ridge" if line["rung"].endswith("matched ridge") else f"lambda_rel {line['lambda_rel'] or 0:g}"
    if line["K"]:
        return f"K = {line['K'] if line['K'] in DIMS else 'of the run'}, E = {line['members']}, {ridge}"
    return f"TRAK, {ridge}" if line["rung"].startswith("TRAK") else line["rung"]


def cell(line: dict) -> str:
    """Spearman (interval) / Pearson, and what the law of the spectrum predicts / relative error."""
    if line["spearman"] is None:
        return "no solution"
    pearson = f"{line['pearson']:.2f}" + (f" ({line['predicted']:.2f})" if "predicted" in line else "")
    return f"{line['spearman']:.3f} ({line['low']:.2f}-{line['high']:.2f}) / {pearson} / {line['error']:.2f}"
