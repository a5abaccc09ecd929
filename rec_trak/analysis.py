"""The jobs that scripts run, from a `Run` to files. Not here: flags, printing, or any of the steps themselves."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.data.targets import read_targets
from rec_trak.errors import ConfigError
from rec_trak.influence import SelfInfluence, TargetInfluence, self_influence, target_influence
from rec_trak.job import Job, Run, fingerprint, versions, within
from rec_trak.report import write_results
from rec_trak.scoring import Diagnostics
from rec_trak.store import read_manifest, read_member

ROW_FIELDS = ("row_count", "rows", "negatives")
SCORE_NAMES = {
    "self_influence": "self-influence Q·h (margin units)",
    "loss_gradient": "leverage of the loss gradient (0 to 1)",
}


def score_rows(run: Run, job: Job) -> tuple[SelfInfluence, list[Path]]:
    """Self-influence of every impression, written as the run's results; returns it and the files.

    Raises:
        StoreError: the run is not featurized, or the directory is another run's.
        ConfigError: `top_k` beyond the rows, as a flag.
    """
    config = run.config
    top_k = within(config.top_k, len(job.impressions), "top_k", "rows", asked_for="top_k" in run.flags)
    result = self_influence(job, config.score)
    score = {"form": config.score, "lambda_rel": config.lambda_rel}
    paths = write_results(
        run.folder,
        result.scores,
        job.impressions,
        job.articles,
        top_k,
        describe(run, job, score, result.diagnostics),
        extra={"leverage": result.leverage, "q": result.q},
        score_name=SCORE_NAMES[config.score],
        gradients=_projected(job) if config.save_embeddings else None,
    )
    return result, paths


def score_targets(run: Run, job: Job, wanted: str, keep_matrix: bool = False) -> tuple[TargetInfluence, list[Path]]:
    """Mean influence of every impression on one target set, written below the run's results.

    Args:
        run, job: the analysis, featurized.
        wanted: a name in the config's `targets`, or the path of a pairwise CSV (its stem is then the name).
        keep_matrix: also keep the (N, M) scores in the save directory.

    Raises:
        ConfigError: neither a known name nor a file.
        DataError: the file is not a target file.
        StoreError: the run is not featurized, or another set has this name.
    """
    path = Path(run.config.targets.get(wanted, wanted))
    name = wanted if wanted in run.config.targets else path.stem
    if not path.is_file():
        known = ", ".join(run.config.targets) or "none"
        raise ConfigError(f"--targets: no such file or name. Got {wanted}, expected a CSV or one of: {known}.")
    top_k = within(run.config.top_k, len(job.impressions), "top_k", "rows", asked_for="top_k" in run.flags)
    targets = read_targets(path, job.articles)
    result = target_influence(job, name, targets, keep_matrix)
    score = {
        "form": "target_influence",
        "lambda_rel": run.config.lambda_rel,
        "targets": name,
        "target_count": len(targets),
    }
    metadata = describe(run, job, score, result.diagnostics) | {
        "targets_file": str(path),
        "targets_notes": targets.notes,
    }
    paths = write_results(
        run.folder / "targets" / name,
        result.plain,
        job.impressions,
        job.articles,
        top_k,
        metadata,
        extra={"renormalised": result.renormalised, "kernel": result.kernel},
        score_name=f"mean influence on {name} (margin units)",
    )
    return result, paths


def describe(run: Run, job: Job, score: dict[str, Any], diagnostics: tuple[Diagnostics, ...]) -> dict[str, Any]:
    """All that is needed to repeat the run, and how well posed its systems were, for metadata.json."""
    features = fingerprint(job)["features"]
    return {
        "config": dataclasses.asdict(run.config),
        "dataset_type": run.dataset_type,
        "model_type": run.model_type,
        "proj_dim": job.proj_dim,
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "features": {key: value for key, value in features.items() if key not in ROW_FIELDS},
        "rows": {key: features[key] for key in ROW_FIELDS},
        "score": score,
        "members": [
            {"checkpoint": member.name, "digest": member.digest, **dataclasses.asdict(numbers)}
            for member, numbers in zip(job.members, diagnostics, strict=True)
        ],
        "parameters": job.parameter_count,
        "save_dir": str(job.save_dir),
        "recorded": (read_manifest(job.save_dir) or {}).get("recorded", {}),
        "versions": versions(),
        "notes": list(job.impressions.notes),
    }


def _projected(job: Job) -> np.ndarray:
    """Projected gradients (N, K), or (members, N, K) of an ensemble."""
    maps = [read_member(job.save_dir, model_id)[0] for model_id in range(len(job.members))]
    return maps[0] if len(maps) == 1 else np.stack(maps)
