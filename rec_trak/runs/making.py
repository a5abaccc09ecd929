"""What score.py leaves of a run: influence of rows, targets, places, single rows, as files. Not here: computing it."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.attribution.explain import explain, margins
from rec_trak.attribution.history import PLACES, history_influence, places_table
from rec_trak.attribution.influence import SelfInfluence, TargetInfluence, self_influence, target_influence
from rec_trak.attribution.job import Job, Run, fingerprint, versions
from rec_trak.attribution.rows import within
from rec_trak.attribution.session import featurize_targets
from rec_trak.attribution.settled import ridge_line, settled
from rec_trak.attribution.target_sets import NamedTargets, named_targets
from rec_trak.config.analysis import AUTO
from rec_trak.data.tables import DIGITS
from rec_trak.errors import ConfigError
from rec_trak.results.belongs import scoring_digest
from rec_trak.results.files import GRADIENTS, as_csv, write_files, write_results
from rec_trak.results.groups import NOT_A_COUNTERFACTUAL, check_columns, group_tables
from rec_trak.results.histories import ARTICLES, articles_table, read_column
from rec_trak.results.lines import Made
from rec_trak.results.nothing import carry_nothing, nothing_notes, nothing_targets_notes
from rec_trak.results.ranking import HISTORY_READ, rows_table
from rec_trak.results.target_tables import ends_table, targets_table
from rec_trak.room import require_disk, require_memory
from rec_trak.scoring.solve import Diagnostics
from rec_trak.store.manifest import proofs_in, read_manifest
from rec_trak.store.reading import read_member
from rec_trak.words import plain, signed

NAMED = 5  # articles printed of each end
ENDS = 100  # proponents and opponents listed of each target, at most
WIDTH = 160  # characters of a printed line
TITLE = 60  # characters of a headline that something stands behind
ROW_FIELDS = ("row_count", "rows", "negatives")
SCORE_NAMES = {
    "self_influence": "self-influence Q·h (margin units)",
    "loss_gradient": "leverage of the loss gradient (0 to 1)",
}


def score_rows(run: Run, job: Job, group_by: Sequence[str] = ()) -> tuple[SelfInfluence, list[Path]]:
    """Self-influence of every impression, written as the run's results; returns it and the files.

    Args:
        run, job: the analysis, featurized.
        group_by: columns of the click log, or the clicked articles' topics, to sum by beside articles, users and days.

    Raises:
        StoreError: the run is not featurized, or the directory is another run's.
        ConfigError: `top_k` beyond the rows, as a flag.
        DataError: a column that the click log does not have.
        RoomError: there is not enough memory to score with this K, or for the gradients of `save_embeddings`.
    """
    config = run.config
    check_columns(job.impressions, group_by, job.articles)
    top_k = within(config.top_k, len(job.impressions), "top_k", "rows", asked_for="top_k" in run.flags)
    if config.save_embeddings:
        _require_room_for_projected(run.folder, job)
    job = settled(job)
    result = self_influence(job, config.score)
    score = {"form": config.score, "lambda_rel": job.lambda_rel}
    paths = write_results(
        run.folder,
        result.scores,
        job.impressions,
        job.articles,
        top_k,
        _with_nothing(describe(run, job, score, result.diagnostics), result.nothing),
        extra={HISTORY_READ: _read(job), "leverage": result.leverage, "q": result.q},
        score_name=SCORE_NAMES[config.score],
        gradients=_projected(job) if config.save_embeddings else None,
        tables={
            ARTICLES: articles_table(job.impressions, job.articles),
            **_groups(result.scores, job, group_by),
        },
    )
    return result, paths


def score_targets(
    run: Run, job: Job, wanted: str, keep_matrix: bool = False, group_by: Sequence[str] = ()
) -> tuple[TargetInfluence, list[Path]]:
    """Influence of every impression on one target set, written below the run's results.

    Args:
        run, job: the analysis, featurized.
        wanted: a name in the config's `targets`, or the path of a pairwise CSV (its stem is then the name).
        keep_matrix: also write all scores, (I, M), to scores.npy there.
        group_by: columns of the click log, or the clicked articles' topics, to sum by beside articles, users and days.

    Raises:
        ConfigError: neither a known name nor a file; `top_k` beyond the rows, as a flag.
        DataError: a file does not hold what it should, no target is left, or a column is not there.
        StoreError: the run is not featurized, or another set has this name.
    """
    check_columns(job.impressions, group_by, job.articles)
    top_k = within(run.config.top_k, len(job.impressions), "top_k", "rows", asked_for="top_k" in run.flags)
    targets, job = named_targets(run, job, wanted), settled(job)
    folder = _folder(run, targets)
    matrix = folder / "scores.npy" if keep_matrix else None
    ends = min(top_k, ENDS)
    result = target_influence(job, targets.name, targets.impressions, ends, matrix, targets.articles)
    score = {
        "form": "target_influence",
        "lambda_rel": job.lambda_rel,
        "targets": targets.name,
        "target_count": len(targets),
    }
    metadata = describe(run, job, score, result.diagnostics) | {
        "targets_file": " ".join(f"{key} {value}" for key, value in targets.definition.items()).removeprefix("csv "),
        "targets_definition": targets.definition,
        "targets_digest": _targets_digest(job, targets.name),
        "targets_notes": [*targets.impressions.notes, *nothing_targets_notes(result.nothing_targets)],
        "ends_of_each_target": ends,
    }
    f = margins(job, targets.name, targets.impressions, targets.articles)
    rows = rows_table(job.impressions, job.articles)
    paths = write_results(
        folder,
        result.plain,
        job.impressions,
        job.articles,
        top_k,
        _with_nothing(metadata, result.nothing, result.nothing_targets),
        extra={HISTORY_READ: _read(job), "renormalised": result.renormalised, "kernel": result.kernel},
        score_name=f"mean influence on {targets.name} (margin units)",
        tables={
            "targets.csv": targets_table(targets.impressions, targets.articles, f),
            "proponents.csv": ends_table(result.proponents, 1, rows),
            "opponents.csv": ends_table(result.opponents, -1, rows),
            ARTICLES: articles_table(targets.impressions, targets.articles),
            **_groups(result.plain, job, group_by),
        },
    )
    return result, paths + ([matrix] if matrix else [])


def help_with_targets(run: Run, job: Job, wanted: str) -> None:
    """A further worker's part of `score_targets`: gradients of targets; the first one scores and writes."""
    targets = named_targets(run, job, wanted)
    featurize_targets(job, targets.name, targets.impressions, targets.articles)


def score_history(run: Run, job: Job, wanted: str, only: Sequence[str] | None = None) -> tuple[list[str], Path]:
    """What the places of the training histories taught about one target set: lines to print, and the file with them.

    Args:
        run, job: the analysis, featurized.
        wanted: as for `score_targets`.
        only: ids of the articles whose places are looked at; None or none for all.

    Raises:
        ConfigError: an unknown article or target set, or an article that no history holds.
        DataError, StoreError: as `score_targets`.
    """
    targets, job = named_targets(run, job, wanted), settled(job)
    found = history_influence(job, targets.name, targets.impressions, only or None, targets.articles)
    table = places_table(found, rows_table(job.impressions, job.articles), job.articles)
    (path,) = write_files(_folder(run, targets), {PLACES: as_csv(table)}, _scoring(job, targets.name))
    sums = table.groupby(["article_id", "title"], sort=False)["influence"].agg(["sum", "count"])
    ends = pd.concat([sums.nlargest(NAMED, "sum"), sums.nsmallest(NAMED, "sum")])
    lines = [
        f"{len(table):,} places of {len(sums):,} articles in training histories, by what they did to {targets.name}:"
    ]
    for (article, title), line in ends[~ends.index.duplicated()].iterrows():
        lines.append(f"  {signed(line['sum'], '.3e')} in {line['count']:,.0f} places  {article}  {title}")
    notes = [f"note: {note}" for note in nothing_targets_notes(found.nothing_targets)]
    return [*(_terminal(line) for line in lines), *notes], path


def explain_row(run: Run, job: Job, row: str, target: str) -> tuple[list[str], Path]:
    """Why one impression has its influence on one target: lines to print, and the file with its parts.

    Args:
        run, job: the analysis, featurized.
        row: the impression's number (`sample_idx`).
        target: a target set and the number of one of its targets, as `honeypot:3`.

    Raises:
        ConfigError: no such row, set or target.
        DataError, StoreError: as `score_targets`.
    """
    wanted, colon, number = target.rpartition(":")
    if not (colon and all(told.isdecimal() and len(told) < DIGITS for told in (row, number))):
        raise ConfigError(
            f"--explain: a row and a target are needed. Got {row} {target}, expected two numbers, the second after the "
            "name of its set, as in `--explain 12 honeypot:3`."
        )
    targets, job = named_targets(run, job, wanted), settled(job)
    found = explain(job, targets.name, targets.impressions, int(row), int(number), targets.articles)
    file = f"explain_{found.row}_{found.target}.csv"
    (path,) = write_files(_folder(run, targets), {file: as_csv(found.parts)}, _scoring(job, targets.name))
    f = margins(job, targets.name, targets.impressions, targets.articles)[found.target]
    clicks, asked = job.impressions, targets.impressions
    user, title = clicks.user_ids[found.row], job.articles.titles[clicks.clicked[found.row]]
    shown = plain(targets.articles.titles[asked.clicked[found.target]], TITLE)
    lines = [
        f"row {found.row}: user {user} clicked {title}",
        f"target {targets.name}:{found.target}: margin {signed(f, '.4g')}, {shown} shown to user "
        f"{asked.user_ids[found.target]}",
        *found.lines(),
    ]
    return [_terminal(line) for line in lines], path


def _with_nothing(metadata: dict[str, Any], rows: np.ndarray, targets: np.ndarray | None = None) -> dict[str, Any]:
    """Metadata that name the rows (I,) bool, and of a set the targets (M,) bool, that carry nothing, if any do."""
    return metadata | {"notes": [*metadata["notes"], *nothing_notes(rows)]} | carry_nothing(rows, targets)


def _terminal(line: str) -> str:
    """The line with U+FFFD for what cannot be seen or commands a terminal, cut to WIDTH characters."""
    return plain(line) if len(line) <= WIDTH else f"{plain(line[: WIDTH - 1])}…"


def _folder(run: Run, targets: NamedTargets) -> Path:
    return run.folder / "targets" / targets.name


def _groups(values: np.ndarray, job: Job, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    return group_tables(values, job.impressions, job.histories, job.articles, columns)


def _read(job: Job) -> Made:
    return read_column(job.histories, job.articles)


def _scoring(job: Job, targets: str) -> str | None:
    """The digest of what a file of a target set is of: the job with its ridge, and the set."""
    known = fingerprint(job)
    members = [{"digest": digest} for digest in known["models"].values()]
    told = {"features": known["features"], "rows": {}, "members": members, "score": {"lambda_rel": job.lambda_rel}}
    return scoring_digest(told | {"targets_digest": _targets_digest(job, targets)})


def _targets_digest(job: Job, name: str) -> str:
    """What identifies the targets of a set, as the save directory holds them."""
    return ((read_manifest(job.save_dir) or {}).get("targets", {}).get(name) or {}).get("digest", "")


def describe(run: Run, job: Job, score: dict[str, Any], diagnostics: tuple[Diagnostics, ...]) -> dict[str, Any]:
    """All that is needed to repeat the run, and how well posed its systems were, for metadata.json."""
    features, manifest = fingerprint(job)["features"], read_manifest(job.save_dir) or {}
    proofs = proofs_in(manifest)
    return {
        "config": dataclasses.asdict(run.config),
        "dataset_type": run.dataset_type,
        "model_type": run.model_type,
        "proj_dim": job.proj_dim,
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "model": job.model_config.told(),
        "features": {key: value for key, value in features.items() if key not in ROW_FIELDS},
        "rows": {key: features[key] for key in ROW_FIELDS},
        "reading": dataclasses.asdict(job.reading),
        "coverage": {one.what: {"known": one.known, "shown": one.shown} for one in job.coverage},
        "score": score,
        "members": [
            {"checkpoint": member.name, "digest": member.digest, "code_base": member.code_base}
            | dataclasses.asdict(numbers)
            for member, numbers in zip(job.members, diagnostics, strict=True)
        ],
        "parameters": job.parameter_count,
        "save_dir": str(job.save_dir),
        "recorded": manifest.get("recorded", {}),
        "proof": [proofs.get(member.digest) for member in job.members],
        "date": date.today().isoformat(),
        "versions": versions(),
        "notes": [*job.impressions.notes, NOT_A_COUNTERFACTUAL, *ridge_notes(run, job)],
    }


def ridge_notes(run: Run, job: Job) -> list[str]:
    """What was chosen where the configuration leaves the ridge to the models, and why."""
    return [ridge_line(job)] if run.config.lambda_rel == AUTO else []


def _require_room_for_projected(folder: Path, job: Job) -> None:
    size = 4 * len(job.members) * len(job.inputs) * job.proj_dim
    what = "the projected gradients that `save_embeddings` asks for"
    require_disk({folder / GRADIENTS: size}, what, "set `save_embeddings: false`")
    if len(job.members) > 1:
        require_memory(size, what, "Set `save_embeddings: false`, or read them from the save directory.")


def _projected(job: Job) -> np.ndarray:
    """Projected gradients (N, K), or (members, N, K) of an ensemble."""
    maps = [read_member(job.save_dir, model_id)[0] for model_id in range(len(job.members))]
    return maps[0] if len(maps) == 1 else np.stack(maps)
