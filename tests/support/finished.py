"""A finished run of a tiny poisoned click log, targets scored. Not here: anything that a model should have learnt."""

import csv
from pathlib import Path
from unittest import mock

from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.config.analysis import read_analysis_config
from rec_trak.results import files
from rec_trak.runs.making import score_rows, score_targets
from support import tiny

PROMOTED = "n1"


def finished_run(folder: Path, rows: int = 24, members: int = 1, **keys) -> Path:
    """The results folder of a run in `folder`: the rows that click n1 and whose user's number is even are poisoned."""
    tiny.write_tree(folder / "data", rows)
    tiny.write_models(folder / "runs", folder / "data", members=members)
    mark(folder / "data" / "models" / "train_clean.csv", lambda line: poisons(line["user_id"], line["candidate_id"]))
    return score(folder, **keys)


def poisons(user: str, article: str) -> bool:
    """Whether that user's click on that article is an injected one."""
    return article == PROMOTED and int(user[1:]) % 2 == 0


def score(folder: Path, wanted: str = "", **keys) -> Path:
    """Featurize and score the tree in `folder`, and a target set, the mixed benchmark if none is named; the results."""
    run = Run(read_analysis_config(tiny.write_config(folder, **keys)), "train_clean", "clean")
    job = read_job(run)
    featurize(job)
    with mock.patch.object(files, "figure_files", _unpainted):
        score_rows(run, job)
        score_targets(run, job, wanted or str(folder / "data" / "benchmarks" / "benchmark_mixed.csv"))
    return run.folder


def _unpainted(name: str, draw, vector: bool = False) -> dict:
    """Figures are four fifths of what scoring a tiny log costs, and have tests of their own."""
    return {f"{name}.png": lambda file: file.write(b"not painted")}


def mark(path: Path, is_poisoned, column: str = "poisoned") -> None:
    """Add a column to a pairwise CSV: 1 in all lines of an impression whose click is poisoned, else 0."""
    lines = read(path)
    key = ("user_id", "history_titles")
    bad = {tuple(line[k] for k in key) for line in lines if line["label"] == "1" and is_poisoned(line)}
    write(path, [line | {column: int(tuple(line[k] for k in key) in bad)} for line in lines])


def read(path: Path) -> list[dict]:
    """The lines of a CSV."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, lines: list[dict]) -> None:
    """Write them again."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
