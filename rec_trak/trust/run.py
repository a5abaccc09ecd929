"""A finished run -> numbers and a verdict for each of its rankings, and their files. Not here: how numbers are made.

What `trust_run` gives, and trust.json holds: `rankings`, a dictionary each: `ranking`, `folder`, `verdict`, `reason`,
`improvement`, `cost`, `notes`, the fields of `Measures`, and `scores`, a digest of those that were judged; `law`, and
`law_told`, of what, or why not; `dominating`, rows of high leverage; `thresholds`; `seed`; `unseen`, what nothing sees.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.attribution.job import Job, Run, fingerprint, read_job
from rec_trak.config.analysis import analysis_config
from rec_trak.errors import DataError, RecTrakError, StoreError
from rec_trak.results.files import METADATA, Results, as_csv, as_json, read_results, write_files
from rec_trak.runs.click_log import check_same_rows
from rec_trak.runs.stored import stored_gradients
from rec_trak.store.manifest import check_manifest, digest, read_manifest, read_member
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


def trust_run(results_dir: str | Path, seed: int = 0, thresholds: Thresholds | None = None) -> dict[str, Any]:
    """How far each ranking of a finished run can be trusted, as plain data; the module's docstring lists it.

    Args:
        results_dir: what scripts/score.py wrote; its target sets are judged too.
        seed: of splits and samples.
        thresholds: where words change; None for the table's.

    Raises:
        DataError: the run is not finished, does not say how it was made, its sets are of other rows or members, or
            there are too few rows.
        StoreError: its gradients are gone, incomplete, or another run's.
        NumericalError: a number is not finite.
    """
    results, limits = read_results(results_dir), thresholds or Thresholds()
    save_dir = stored_gradients(results)
    members = [_read(save_dir, i) for i in range(len(results.metadata["members"]))]
    job, why_not = _job(results, save_dir)
    owner = _owner(results, len(members[0][1]), job, why_not)
    sets = [read_results(path) for path in _scored_sets(results.folder)]
    law = None if job is None else law_error(job, members[0][1], seed=seed)
    scores = {"": results, **{f"targets/{one.folder.name}": one for one in sets}}
    rankings = [
        _told(name, folder, dataclasses.replace(measures, law=law), limits) | {"scores": digest(scores[folder].scores)}
        for name, folder, measures in _measured(results, sets, save_dir, members, owner, seed)
    ]
    return {
        "rankings": rankings,
        "law": law,
        "law_told": why_not or f"the largest of {min(ROWS, len(members[0][1]))} rows, plain autograd, checkpoint 0",
        "dominating": _dominating(results),
        "thresholds": dataclasses.asdict(limits),
        "seed": seed,
        "unseen": UNSEEN,
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
        paths += write_files(Path(results_dir) / folder, files)
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
    return [*lines, f"note: {content['unseen']}"]


def _measured(
    results: Results, sets: list[Results], save_dir: Path, members: list, owner: np.ndarray, seed: int
) -> list[tuple[str, str, Measures]]:
    """Name, folder below the results, and numbers of each ranking; those with the same ridge share the work."""
    phis, qs = [phi for phi, _ in members], [q for _, q in members]
    own = results.metadata["score"]
    told, groups = [], {}
    for name, folder, metadata, targets in _rankings(results, sets, save_dir, len(members)):
        told.append((name, folder))
        groups.setdefault(float(metadata["score"]["lambda_rel"]), {})[name] = targets
    found = {}
    for lambda_rel, rankings in groups.items():
        if own["form"] == "loss_gradient" and OWN in rankings:
            ones = [np.ones_like(q) for q in qs]
            found |= measure_rankings(phis, ones, {OWN: rankings.pop(OWN)}, lambda_rel, seed, owner, weights=qs)
        if rankings:
            found |= measure_rankings(phis, qs, rankings, lambda_rel, seed, owner)
    return [(name, folder, found[name]) for name, folder in told]


def _rankings(results: Results, sets: list[Results], save_dir: Path, members: int):
    """Name, folder, metadata and target gradients of every ranking of the run."""
    yield OWN, "", results.metadata, None
    for told in sets:
        check_same_rows(results, told)
        digests = [[m["digest"] for m in one.metadata.get("members") or []] for one in (results, told)]
        if digests[0] != digests[1] or "lambda_rel" not in (told.metadata.get("score") or {}):
            raise DataError(
                f"{told.folder}: scored with other checkpoints than {results.folder}. Got {len(digests[1])}, expected "
                f"the same {len(digests[0])}. Run scripts/score.py again, with and without --targets."
            )
        name = told.folder.name
        gradients = [
            _target_gradients(save_dir, i, name, told.metadata["score"].get("target_count")) for i in range(members)
        ]
        mean = [one.mean(axis=0, dtype=np.float64, keepdims=True) for one in gradients]
        folder = f"targets/{name}"
        yield MEAN.format(name), folder, told.metadata, mean
        if len(gradients[0]) > 1:
            yield SINGLE.format(name), folder, told.metadata, gradients


def _scored_sets(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder / "targets").glob(f"*/{METADATA}"))


def _target_gradients(save_dir: Path, model_id: int, name: str, count: int | None) -> np.ndarray:
    path = save_dir / str(model_id) / f"{name}_grads.mmap"
    gradients = np.load(path, mmap_mode="r") if path.is_file() else None
    if gradients is None or len(gradients) != count:
        got = "no file" if gradients is None else f"{len(gradients)} targets"
        raise StoreError(
            f"{path}: not the targets that were scored. Got {got}, expected {count}. Run scripts/score.py with "
            f"--targets {name}."
        )
    return gradients


def _read(save_dir: Path, model_id: int) -> tuple[np.ndarray, np.ndarray]:
    """A member's gradients and Q.

    Raises:
        StoreError: a file is missing or damaged.
    """
    try:
        return read_member(save_dir, model_id)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{save_dir / str(model_id)}: no gradients of checkpoint {model_id} ({error}). Run scripts/featurize.py."
        ) from None


def _job(results: Results, save_dir: Path) -> tuple[Job | None, str]:
    """The job that the run was, read again, or why it cannot be."""
    told = results.metadata
    try:
        config = analysis_config(told.get("config") or {}, str(results.folder / METADATA))
        job = read_job(Run(config, told.get("dataset_type"), told.get("model_type")))
        check_manifest(save_dir, read_manifest(save_dir), fingerprint(job))
    except RecTrakError as error:
        return None, str(error)
    return job, ""


def _owner(results: Results, rows: int, job: Job | None, why_not: str) -> np.ndarray:
    """(N,) the impression of each stored row.

    Raises:
        DataError: the loss makes several rows of an impression, and the data that say which are not to be had.
    """
    if rows == len(results.scores):
        return np.arange(rows)
    if job is None:
        raise DataError(
            f"{results.folder}: the loss made {rows} rows of {len(results.scores)} impressions. Got no data or "
            f"checkpoints that say which are whose ({why_not.rstrip('.')}). Put them back."
        )
    return job.impression_of_row


def _told(name: str, folder: str, measures: Measures, limits: Thresholds) -> dict[str, Any]:
    verdict: Verdict = judge(measures, limits)
    words = {"verdict": verdict.word, **dataclasses.asdict(verdict)}
    words.pop("word")
    return {"ranking": name, "folder": folder, **words, **dataclasses.asdict(measures)}


def _dominating(results: Results) -> list[dict[str, Any]]:
    """The rows learnt by heart, or else those of highest leverage, at most LISTED, the highest first."""
    if "leverage" not in results.rows:
        return []
    h = pd.to_numeric(results.rows["leverage"], errors="coerce").fillna(0.0)
    order = h.sort_values(ascending=False, kind="stable").index[:LISTED]
    columns = ["sample_idx", "user_id", "article_id", "title"]
    return [
        {
            **results.rows.loc[i, columns].to_dict(),
            "leverage": float(h[i]),
            "learnt_by_heart": bool(h[i] > LEARNT_BY_HEART),
        }
        for i in order
    ]
