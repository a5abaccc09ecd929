"""Two finished runs against each other, clean and poisoned: the rows that stand in both, and how their ranks moved.

Rows are matched by what they are (user, history, clicked article, occurrence), never by where they stand. Ranks are
taken among the matched rows alone, so that rows which stand in one run only move nobody. Not here: reading click logs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.errors import DataError
from rec_trak.plots import DPI, SCORE_NAME, plot_score_comparison
from rec_trak.ranking import IDENTITY, LABELS, percentiles
from rec_trak.report import METADATA, ROWS, Results, as_csv, as_json, read_results, write_files

SETTINGS = ("features", "score")  # parts of metadata.json that say how the scores were made, from whatever rows
LARGEST = 100  # rows named in each list of comparison_stats.json
SHIFT_COLUMNS = (
    "clean_sample_idx", "poisoned_sample_idx", "user_id", "article_id", "title", "label", "clean_score",
    "poisoned_score", "clean_rank", "poisoned_rank", "shift", "other_candidates_differ",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Two runs and what became of the rows that stand in both.

    Attributes:
        clean, poisoned: the runs.
        table: the n matched rows, those that rose most in the poisoned run first, with SHIFT_COLUMNS. `clean_rank` and
            `poisoned_rank` are percentiles among the matched rows, 1 the highest score and 100 the lowest; `shift` is
            their difference, clean less poisoned, so a row that rose in the poisoned run has a positive one.
        stats: the content of comparison_stats.json.
    """

    clean: Results
    poisoned: Results
    table: pd.DataFrame
    stats: dict[str, Any]

    def summary(self) -> list[str]:
        """What happened, a sentence a line, for the terminal."""
        numbers = self.stats["comparison"]
        alone = [f"{numbers[f'unmatched_{run}_rows']:,} only in the {run} one" for run in ("clean", "poisoned")]
        n, others = numbers["matched_rows"], numbers["matched_with_other_candidates"]
        lines = [f"{n:,} rows stand in both runs; {', '.join(alone)}."]
        if others:
            lines.append(
                f"{others:,} of them have other candidates in the two runs, so their Q differs for that reason too."
            )
        spearman = "" if numbers["spearman"] is None else f"; rank correlation {numbers['spearman']:.3f}"
        moved = f"{numbers['rank_shift']['mean_absolute']:.1f} percentile points"
        lines.append(f"On average a row's rank changed by {moved} (unrelated rankings: 33.3){spearman}.")
        for label, shift in numbers["rank_shift"]["by_label"].items():
            direction = "rose" if shift["mean"] > 0 else "fell"
            if shift["n_rows"] < n:  # the mean over all matched rows is 0 by construction
                rows = "row that clicks" if shift["n_rows"] == 1 else "rows that click"
                rows = f"The {shift['n_rows']:,} matched {rows} a {label} article"
                lines.append(f"{rows} {direction} by {abs(shift['mean']):.1f} percentile points on average.")
        return lines


def compare_runs(clean_dir: str | Path, poisoned_dir: str | Path) -> Comparison:
    """The comparison of two results folders that differ in checkpoint and rows alone.

    Args:
        clean_dir: results of the clean checkpoint.
        poisoned_dir: results of the poisoned checkpoint.

    Raises:
        DataError: a folder holds no finished run, the runs were not made alike, a row stands twice in one of them, or
            no row stands in both.
        NumericalError: a score is NaN or infinite.
    """
    clean, poisoned = read_results(clean_dir), read_results(poisoned_dir)
    _check_alike(clean, poisoned)
    matched = _matched_rows(clean, poisoned)
    table = matched.sort_values("shift", ascending=False, kind="stable", ignore_index=True)
    return Comparison(clean, poisoned, table[[*SHIFT_COLUMNS]], _statistics(clean, poisoned, matched))


def write_comparison(comparison: Comparison, output_dir: str | Path) -> list[Path]:
    """Write model_comparison.png, rank_shift.csv and comparison_stats.json; their paths.

    Raises:
        StoreError: a file cannot be written.
    """
    clean, poisoned, table = comparison.clean, comparison.poisoned, comparison.table
    pairs = (table["clean_sample_idx"].to_numpy(), table["poisoned_sample_idx"].to_numpy())
    name = str(clean.metadata.get("score_name", SCORE_NAME))
    figure = plot_score_comparison(
        clean.scores, clean.labels, poisoned.scores, poisoned.labels, pairs=pairs, score_name=name
    )
    writers = {
        "model_comparison.png": partial(figure.savefig, format="png", dpi=DPI),
        "rank_shift.csv": as_csv(table),
        "comparison_stats.json": as_json(comparison.stats),
    }
    return write_files(output_dir, writers)


def _check_alike(clean: Results, poisoned: Results) -> None:
    """Refuse runs whose scores measure different things."""
    for run in (clean, poisoned):
        absent = [name for name in SETTINGS if name not in run.metadata]
        if absent:
            raise DataError(
                f"{run.folder / METADATA}: does not say how the run was made. Got no `{'` and no `'.join(absent)}`, "
                "expected what scripts/score.py writes. Run it again."
            )
    found = [d for name in SETTINGS for d in _differences(clean.metadata[name], poisoned.metadata[name], name)]
    if found:
        fields = "; ".join(f"`{field}` {ours} and {theirs}" for field, ours, theirs in found)
        raise DataError(
            f"{clean.folder} and {poisoned.folder}: not made alike, so their scores cannot be compared. Got {fields}, "
            "expected runs that differ in checkpoint and rows alone. Run both with the same settings."
        )


def _differences(clean: Any, poisoned: Any, where: str) -> Iterator[tuple[str, str, str]]:
    """Field, clean value and poisoned value of everything that is not the same, values as JSON."""
    if isinstance(clean, dict) and isinstance(poisoned, dict):
        for key in sorted(clean.keys() | poisoned.keys()):
            yield from _differences(clean.get(key), poisoned.get(key), f"{where}.{key}")
    elif clean != poisoned:
        yield where, json.dumps(clean), json.dumps(poisoned)


def _matched_rows(clean: Results, poisoned: Results) -> pd.DataFrame:
    """The rows that stand in both runs, in an order that depends on neither, with scores, ranks and shift."""
    frames = []
    for run, name in ((clean, "clean"), (poisoned, "poisoned")):
        twice = run.rows.duplicated(list(IDENTITY))
        if twice.any():
            row = run.rows.loc[twice.idxmax()]
            identity = ", ".join(f"{part} {row[part]}" for part in IDENTITY if part != "history_ids")
            raise DataError(
                f"{run.folder / ROWS}: row {row['sample_idx']} stands twice. Got {identity} again, expected each once."
            )
        own = {f"{name}_sample_idx": run.rows["sample_idx"], f"{name}_score": run.scores.astype(np.float64)}
        shared = {"user_id", *IDENTITY} if name == "poisoned" else {*IDENTITY, "title", "label"}
        columns = [c for c in run.rows.columns if c in shared] + ["other_candidates"]
        frames.append(run.rows[columns].assign(**own))
    matched = frames[0].merge(frames[1], on=list(IDENTITY), suffixes=("_clean", "_poisoned"), validate="one_to_one")
    if matched.empty:
        raise DataError(
            f"{clean.folder} and {poisoned.folder}: no row stands in both. Got {len(clean.rows)} and "
            f"{len(poisoned.rows)} rows, expected some with equal user, history and clicked article. Compare runs on "
            "data sets that share users and article ids."
        )
    matched = matched.sort_values(list(IDENTITY), ignore_index=True)
    before, after = (percentiles(matched[f"{name}_score"].to_numpy()) for name in ("clean", "poisoned"))
    return matched.assign(
        clean_rank=before.round(6),
        poisoned_rank=after.round(6),
        shift=(before - after).round(6),  # equal shifts are to compare as equal, and fall back on the rows' order
        diff=matched["poisoned_score"] - matched["clean_score"],
        other_candidates_differ=matched["other_candidates_clean"] != matched["other_candidates_poisoned"],
    )


def _statistics(clean: Results, poisoned: Results, matched: pd.DataFrame) -> dict[str, Any]:
    """The content of comparison_stats.json; everything under `comparison` is over the matched rows."""
    n, shift, differences = len(matched), matched["shift"].to_numpy(), matched["diff"].to_numpy()
    rises = matched.sort_values("diff", ascending=False, kind="stable").head(LARGEST).to_dict("records")
    falls = matched.sort_values("diff", kind="stable").head(LARGEST).to_dict("records")
    by_label = {
        name: {"n_rows": int((matched["label"] == name).sum()), "mean": shift[matched["label"] == name].mean().round(6)}
        for name in LABELS.values()
        if (matched["label"] == name).any()
    }
    return {
        "clean_model": _run_statistics(clean),
        "poisoned_model": _run_statistics(poisoned),
        "comparison": {
            "score_diff_mean": differences.mean(),
            "score_diff_std": differences.std(),
            "correlation": _correlation(matched["clean_score"], matched["poisoned_score"]),
            "spearman": _correlation(matched["clean_rank"], matched["poisoned_rank"]),
            "matched_rows": n,
            "unmatched_clean_rows": len(clean.rows) - n,
            "unmatched_poisoned_rows": len(poisoned.rows) - n,
            "matched_with_other_candidates": int(matched["other_candidates_differ"].sum()),
            "rank_shift": {
                "unit": "percentile points among the matched rows, positive: rose in the poisoned run",
                "mean_absolute": np.abs(shift).mean(),
                "largest_rise": shift.max(),
                "largest_fall": shift.min(),
                "by_label": by_label,
            },
            "largest_increases": [_entry(row) for row in rises],
            "largest_decreases": [_entry(row) for row in falls],
        },
    }


def _run_statistics(run: Results) -> dict[str, Any]:
    scores = run.scores.astype(np.float64)
    counts = {
        "folder": str(run.folder),
        "n_samples": len(scores),
        "n_fake": int((run.labels == 1).sum()),
        "n_real": int((run.labels == 0).sum()),
    }
    return counts | {"score_mean": scores.mean(), "score_std": scores.std()}


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    names = ("label", "clean_score", "poisoned_score", "diff", "clean_sample_idx", "poisoned_sample_idx")
    about = {name: row[name] for name in (*names, "user_id", "article_id", "title")}
    return {"sample_idx": row["clean_sample_idx"], **about}


def _correlation(a: pd.Series, b: pd.Series) -> float | None:
    """Pearson's correlation, None where one side does not vary."""
    if a.nunique() < 2 or b.nunique() < 2:
        return None
    return float(np.corrcoef(a, b)[0, 1])
