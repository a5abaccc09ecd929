"""The whole job on a real click log: train NRMS, NAML and LSTUR clean and poisoned, attribute, compare, as a table.

python benchmarks/politifact.py ../shared/data/upfd_politifact --folder runs/politifact
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from rec_trak import cli
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.comparison.run import compare_runs, write_comparison
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.training import read_training_config
from rec_trak.runs.making import score_rows, score_targets
from rec_trak.training.job import train_run

ROOT = Path(__file__).parents[1]
MODELS = ("nrms", "naml", "lstur")


def share_fake(job, rows) -> float:
    """Per cent of the rows that click a fake article."""
    return 100 * float((job.impressions.is_fake[rows] == 1).mean())


def attribute(model: str, kind: str, data: Path, folder: Path) -> dict:
    """Train one model on one data set and attribute it; the figures of its line."""
    places = {"data_path": str(data), "news_items_path": str(data / "news_items.csv")}
    training = read_training_config(ROOT / "configs" / "train" / f"{model}.yaml")
    runs = folder / "models" / model
    checkpoint = train_run(dataclasses.replace(training, **places, output_dir=str(runs)), f"train_{kind}")[0]
    best = max(json.loads(checkpoint.with_suffix(".json").read_text())["epochs"], key=lambda epoch: epoch["auc"])
    config = dataclasses.replace(
        read_analysis_config(ROOT / "configs" / "trak" / f"{model}.yaml"),
        **places,
        checkpoints=str(runs / f"{kind}.pt"),
        model_config=str(runs / "model.json"),
        output_dir=str(folder / "results" / model),
    )
    run = Run(config, f"train_{kind}", kind)
    job = read_job(run)
    featurize(job)
    own, _ = score_rows(run, job)
    told, _ = score_targets(run, job, str(data / "benchmarks" / "benchmark_honeypot.csv"))
    top = np.argsort(-own.scores, kind="stable")[:100]
    proponents = np.argsort(-told.plain, kind="stable")[:100]
    return {
        "model": model,
        "clicks": kind,
        "rows": len(job.impressions),
        "val AUC": f"{best['auc']:.3f}",
        "parameters": f"{job.parameter_count:,}",
        "d_lambda": f"{own.diagnostics[0].effective_dimension:.0f}",
        "max h": f"{own.diagnostics[0].max_leverage:.2f}",
        "fake %": f"{share_fake(job, np.arange(len(job.impressions))):.1f}",
        "fake % of self-influence top 100": f"{share_fake(job, top):.0f}",
        "fake % of honeypot proponents top 100": f"{share_fake(job, proponents):.0f}",
        "folder": run.folder,
    }


def main(args) -> None:
    lines, sentences = [], []
    for model in MODELS:
        both = [attribute(model, kind, args.data, args.folder) for kind in ("clean", "poisoned")]
        comparison = compare_runs(both[0]["folder"], both[1]["folder"])
        write_comparison(comparison, args.folder / "results" / model / "comparison")
        sentences += [f"{model}: {line}" for line in comparison.summary()]
        lines += both
    columns = [name for name in lines[0] if name != "folder"]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for line in lines:
        print("| " + " | ".join(str(line[name]) for name in columns) + " |")
    print("\n" + "\n".join(f"- {sentence}" for sentence in sentences))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a pairwise tree with models/, benchmarks/ and news_items.csv")
    parser.add_argument("--folder", type=Path, default=Path("runs/politifact"), help="where everything goes")
    cli.run_script(main, parser)
