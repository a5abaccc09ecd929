"""One validation of one target set: its parts, the files they leave, and what they add up to. Not here: the parts.

What `validate` gives, and validation.json of the target set holds: `verdict`, a sentence that begins with what failed;
`targets`, `count`, `measured`, `rows`, `of` (identity of what was measured), `members`, `recorded_seeds`; `lds`,
`removal`, `loo`, `ridge`, each as its own function gives it, where it was asked for now or before; `notes`; `lines`,
the table of validation.csv. The run's own validation.json holds that of every set under `sets`, and one `verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.attribution.settled import explained_margins
from rec_trak.config.documents import DocumentError, read_json
from rec_trak.errors import ConfigError, DataError
from rec_trak.results.belongs import run_digest, scoring_digest
from rec_trak.results.files import METADATA, Writer, as_csv, as_json, write_files
from rec_trak.scoring.choice import best_ridge
from rec_trak.store.manifest import read_whole
from rec_trak.validation.case import Case
from rec_trak.validation.estimates import CHOSEN, RUN, baseline_scores, group_scores
from rec_trak.validation.lds import lds
from rec_trak.validation.removal import removal
from rec_trak.validation.retrain import Retraining, retrain_all
from rec_trak.validation.ridge import ridge_search
from rec_trak.validation.subsets import half_sets
from rec_trak.validation.text import lines_of, verdict

FILE = "validation.json"
PARTS = ("lds", "removal", "loo", "ridge")
LEFT_OUT = 200  # rows of exact leave-one-out, at most


def validate(
    case: Case,
    what: Sequence[str] = ("lds",),
    subsets: int = 60,
    trainings: int = 2,
    removal_seeds: int = 3,
    removal_targets: int = 10,
) -> dict[str, Any]:
    """All that is known of the case after the parts asked for: these, and earlier ones of the same scores and targets.

    Args:
        case: what is validated.
        what: some of PARTS.
        subsets, trainings: half sets, and models on each.
        removal_seeds, removal_targets: see `removal.removal`.

    Raises:
        ConfigError: no such part, or a number out of range.
        DataError, StoreError, NumericalError: as the parts.
    """
    unknown = [part for part in what if part not in PARTS]
    if unknown or not what:
        raise ConfigError(f"--what: no such check. Got {unknown or 'none'}, expected some of {', '.join(PARTS)}.")
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "lds": partial(score, case, subsets, trainings),
        "removal": partial(removal, case, removal_seeds, removal_targets),
        "loo": partial(_left_out, case),
        "ridge": partial(ridge_search, case, subsets),
    }
    content = _earlier(case)
    for part in PARTS:
        if part in what:
            content[part] = made[part]()
    return described(case, content)


def score(case: Case, subsets: int, trainings: int) -> dict[str, Any]:
    """The LDS of the run's estimator, of variants of it, and of baselines; what `lds.lds` gives, and `diverged`.

    Args:
        case: what is validated.
        subsets, trainings: as `subsets.half_sets`.

    Raises:
        ConfigError, NumericalError, DataError, StoreError: as its parts.
    """
    job, n = case.job, len(case.job.impressions)
    halves, seeds = half_sets("lds", case.seed, n, subsets, trainings)
    wanted = [Retraining(int(seed), rows) for rows, line in zip(halves, seeds, strict=True) for seed in line]
    outcomes = retrain_all(case.experiment, wanted, case.folder, case.workers, "half sets")
    margins = np.array([outcome.margins for outcome in outcomes]).reshape(subsets, trainings, -1)
    groups = np.zeros((subsets, n))
    for group, rows in zip(groups, halves, strict=True):
        group[rows] = 1
    predicted = group_scores(
        len(job.members), case.member, case.member_targets, case.in_rows(groups), job.lambda_rel
    ) | baseline_scores(job.impressions, case.targets, groups, case.seed)
    predicted |= with_chosen_ridge(case, groups)
    told = lds(predicted, margins, seed=case.seed)
    told["target_places"] = case.places[told["target_places"]].tolist()
    told["diverged"] = [f"seed {one.seed}" for one, o in zip(wanted, outcomes, strict=True) if o.diverged]
    return told


def with_chosen_ridge(case: Case, groups: np.ndarray) -> dict[str, np.ndarray]:
    """What the ranking with `lambda_rel: auto` predicts, where that is another than the run's; else nothing."""
    job = case.job
    ridge = best_ridge([explained_margins(job)])
    if ridge == job.lambda_rel:
        return {}
    found = group_scores(len(job.members), case.member, case.member_targets, case.in_rows(groups), ridge)
    return {CHOSEN.format(ridge): found[RUN]}


def described(case: Case, content: dict[str, Any]) -> dict[str, Any]:
    """Parts with everything that is to be said of them, ready to be written."""
    members = len(case.job.members)
    notes = [
        f"Retrainings use seeds from 1,000,000,000 on; {case.recorded_seeds} of {members} members record theirs, and "
        "none of these is among them.",
    ]
    if case.count > len(case.places):
        nothing = len(case.results.nothing_targets)
        left_out = f"; {nothing} carry nothing and are left out" if nothing else ""
        drawn = ", a seeded draw" if case.count - nothing > len(case.places) else ""
        notes.append(f"{len(case.places)} of {case.count} targets are measured{drawn}{left_out}.")
    parts = {part: content[part] for part in PARTS if content.get(part)}
    return {
        "verdict": verdict(parts),
        "targets": case.name,
        "count": case.count,
        "measured": len(case.places),
        "rows": len(case.job.impressions),
        "members": members,
        "recorded_seeds": case.recorded_seeds,
        "of": case.identity,
        **parts,
        "notes": notes,
        "lines": lines_of(parts),
    }


def write_validation(run_folder: Path, case: Case, content: dict[str, Any]) -> list[Path]:
    """Write validation.json and .csv (and validation_ridge.png) beside the set's scores, and the run's validation.json.

    Raises:
        StoreError: a file cannot be written.
        DataError: the run's validation.json is damaged.
    """
    writers: dict[str, Writer] = {FILE: as_json(content), "validation.csv": as_csv(pd.DataFrame(content["lines"]))}
    if "ridge" in content:
        from rec_trak.results.plots import plot_ridge_search  # matplotlib, for this part alone
        from rec_trak.results.style import figure_files

        settings = [content["ridge"][key] for key in ("curve", "chosen", "run")]
        draw = partial(plot_ridge_search, *settings)
        writers |= figure_files("validation_ridge", lambda columns: draw(columns=columns), vector=True)
    of = scoring_digest(case.results.metadata)
    paths = write_files(case.results.folder, writers, of)
    held = _read(run_folder / FILE).get("sets")
    sets = (held if isinstance(held, dict) else {}) | {case.name: content}
    sets = {name: one for name, one in sets.items() if (run_folder / "targets" / name / FILE).is_file()}
    of_run = run_digest(case.results.metadata, above=read_whole(run_folder / METADATA))
    told = " ".join(f"{name}: {one['verdict']}" for name, one in sets.items())
    return paths + write_files(run_folder, {FILE: as_json({"verdict": told, "sets": sets})}, of_run)


def _left_out(case: Case) -> dict[str, Any]:
    from rec_trak.validation.leave_one_out import leave_one_out

    rows = min(len(case.job.impressions), LEFT_OUT)
    return leave_one_out(case.job, case.targets, rows, case.seed, articles=case.articles)


def _earlier(case: Case) -> dict[str, Any]:
    """Parts of an earlier call on the same scores, targets and seed."""
    held = _read(case.results.folder / FILE)
    return {part: held[part] for part in PARTS if part in held} if held.get("of") == case.identity else {}


def _read(path: Path) -> dict[str, Any]:
    """The content of an earlier validation.json, {} where there is none."""
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
    except DocumentError as error:
        raise DataError(f"{path}: cannot be read ({error}). Delete it; retrainings stand elsewhere.") from None
    return content if isinstance(content, dict) else {}
