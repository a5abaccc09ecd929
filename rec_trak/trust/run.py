"""A finished run -> numbers and a verdict for each of its rankings, and their files. Not here: how numbers are made.

What `trust_run` gives, and trust.json holds: `rankings`, a dictionary each: `ranking`, `folder`, `verdict`, `reason`,
`improvement`, `cost`, `notes`, the fields of `Measures`, and `scores`, a digest of those that were judged; `of`, the
scoring of each folder; `law`, and `law_told`, of what, or why not; `dominating`, rows of high leverage; `thresholds`;
`seed`; `unseen`, what nothing sees; `left_aside`, sets of another scoring.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.attribution.job import Job
from rec_trak.config.analysis import AnalysisConfig
from rec_trak.errors import RecTrakError
from rec_trak.results.belongs import scoring_digest
from rec_trak.results.files import Results, as_csv, as_json, write_files
from rec_trak.results.ranking import best_first
from rec_trak.runs.finished import FinishedRun, open_run
from rec_trak.runs.stored import Stored
from rec_trak.store.manifest import digest
from rec_trak.trust.law import ROWS, law_error
from rec_trak.trust.measures import Measures, measure_rankings
from rec_trak.trust.verdict import Thresholds, Verdict, judge

OWN = "self-influence"
MEAN, SINGLE = "mean influence on {}", "influence on single targets of {}"
LEARNT_BY_HEART, LISTED = 0.9, 5
UNSEEN = (
    "No number here sees what all members share: a linearisation that does not hold, a ridge so large that curvature "
    "is lost, members trained on the same rows. Only retraining does (scripts/validate.py). To pass is necessary, not "
    "enough."
)


def trust_run(
    results_dir: str | Path,
    seed: int = 0,
    thresholds: Thresholds | None = None,
    given: AnalysisConfig | None = None,
) -> dict[str, Any]:
    """How far each ranking of a finished run can be trusted, as plain data; the module's docstring lists it.

    Args:
        results_dir: what scripts/score.py wrote; its target sets are judged too.
        seed: of splits and samples.
        thresholds: where words change; None for the table's.
        given: the run's YAML, needed where its model is of the user's own code; see `FinishedRun.job`.

    Raises:
        DataError: the run is not finished, does not say how it was made, its sets are of other rows or members, or
            there are too few rows.
        StoreError: its gradients are gone, incomplete, or another run's.
        NumericalError: a number is not finite.
    """
    run, limits = open_run(results_dir), thresholds or Thresholds()
    results, stored = run.results, run.stored()
    members = [stored.read(i) for i in range(stored.members)]
    job, why_not = _job(run, given)
    sets = run.target_sets()
    law = None if job is None else law_error(job, members[0][1], seed=seed)
    scores = {"": results, **{f"targets/{one.folder.name}": one for one in sets}}
    rankings = [
        _told(name, folder, dataclasses.replace(measures, law=law), limits) | {"scores": digest(scores[folder].scores)}
        for name, folder, measures in _measured(results, sets, stored, members, seed)
    ]
    return {
        "rankings": rankings,
        "of": {folder: scoring_digest(one.metadata) for folder, one in scores.items()},
        "law": law,
        "law_told": why_not or f"the largest of {min(ROWS, len(members[0][1]))} rows, plain autograd, checkpoint 0",
        "dominating": _dominating(results),
        "thresholds": dataclasses.asdict(limits),
        "seed": seed,
        "unseen": UNSEEN,
        "left_aside": [line for line in run.left_aside if line.startswith("targets/")],
    }


def write_trust(results_dir: str | Path, content: dict[str, Any]) -> list[Path]:
    """Write trust.csv and trust.json beside the scores, and each target set's own beside its scores; their paths.

    Raises:
        StoreError: a file cannot be written.
    """
    paths = []
    for folder in dict.fromkeys(("", *(one["folder"] for one in content["rankings"]))):
        own = [one for one in content["rankings"] if not folder or one["folder"] == folder]
        table = pd.DataFrame([line | {"notes": "; ".join(line["notes"])} for line in own])
        files = {"trust.csv": as_csv(table), "trust.json": as_json(content | {"rankings": own})}
        paths += write_files(Path(results_dir) / folder, files, content["of"][folder])
    return paths


def trust_lines(content: dict[str, Any]) -> list[str]:
    """What a terminal shows: a line a ranking, then what a reader should know."""
    lines = []
    for one in content["rankings"]:
        better = f" Better: {one['improvement']} ({one['cost']})." if one["improvement"] else ""
        lines.append(f"{one['ranking']}: {one['verdict']}: {one['reason']}.{better}")
    law, rows = content["law"], content["dominating"]
    lines.append(
        f"Q grad f = - grad L: {'not checked, ' if law is None else f'off by {law:.1e}, '}{content['law_told']}"
    )
    if rows:
        named = ", ".join(f"row {row['sample_idx']} ({row['leverage']:.2f})" for row in rows)
        lines.append(f"highest leverage: {named}")
    return [*lines, *(f"note: {line}" for line in [content["unseen"], *content["left_aside"]])]


def _measured(
    results: Results, sets: list[Results], stored: Stored, members: list, seed: int
) -> list[tuple[str, str, Measures]]:
    """Name, folder below the results, and numbers of each ranking."""
    phis, qs = [phi for phi, _ in members], [q for _, q in members]
    told = list(_rankings(sets, stored))
    rankings, found = {name: targets for name, _, targets in told}, {}
    if (results.metadata.get("score") or {}).get("form") == "loss_gradient":
        ones, own = [np.ones_like(q) for q in qs], {OWN: rankings.pop(OWN)}
        found |= measure_rankings(phis, ones, own, stored.lambda_rel, seed, stored.owner, weights=qs)
    if rankings:
        found |= measure_rankings(phis, qs, rankings, stored.lambda_rel, seed, stored.owner, kept=stored.gram)
    return [(name, folder, found[name]) for name, folder, _ in told]


def _rankings(sets: list[Results], stored: Stored):
    """Name, folder and target gradients of every ranking of the run."""
    yield OWN, "", None
    for told in sets:
        name, count = told.folder.name, (told.metadata.get("score") or {}).get("target_count")
        gradients = [_carrying(stored.targets(i, name, count), told.nothing_targets) for i in range(stored.members)]
        mean = [one.mean(axis=0, dtype=np.float64, keepdims=True) for one in gradients]
        folder = f"targets/{name}"
        yield MEAN.format(name), folder, mean
        if len(gradients[0]) > 1:
            yield SINGLE.format(name), folder, gradients


def _carrying(gradients: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """The targets' gradients (M, K) without those that carry nothing, which have no part in any mean over targets."""
    return np.delete(gradients, nothing, axis=0) if len(nothing) else gradients


def _job(run: FinishedRun, given: AnalysisConfig | None) -> tuple[Job | None, str]:
    """The job that the run was, read again, or why it cannot be."""
    try:
        return run.job(given), ""
    except RecTrakError as error:
        return None, str(error)


def _told(name: str, folder: str, measures: Measures, limits: Thresholds) -> dict[str, Any]:
    verdict: Verdict = judge(measures, limits)
    words = {"verdict": verdict.word, **dataclasses.asdict(verdict)}
    words.pop("word")
    return {"ranking": name, "folder": folder, **words, **dataclasses.asdict(measures)}


def _dominating(results: Results) -> list[dict[str, Any]]:
    """The rows learnt by heart, or else those of highest leverage, at most LISTED, the highest first."""
    if "leverage" not in results.rows:
        return []
    h = np.nan_to_num(results.rows.numbers("leverage"))
    order = best_first(h)[:LISTED]
    lines = results.rows.take(order, ["sample_idx", "user_id", "article_id", "title"]).to_dict("records")
    return [
        {**line, "leverage": float(h[i]), "learnt_by_heart": bool(h[i] > LEARNT_BY_HEART)}
        for i, line in zip(order, lines, strict=True)
    ]
