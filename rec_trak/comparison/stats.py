"""The numbers of a comparison: the content of comparison_stats.json. Not here: matching, the null band, words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.comparison.match import PARTS, SIDES
from rec_trak.results.files import ROWS, Results
from rec_trak.results.ranking import LABELS, best_first
from rec_trak.store.manifest import digest

LARGEST = 100  # rows named in each list of comparison_stats.json


def statistics(clean: Results, poisoned: Results, matched: pd.DataFrame, null: dict[str, Any]) -> dict[str, Any]:
    """The content of comparison_stats.json; everything under `comparison` is over the matched rows.

    Args:
        clean, poisoned: the runs.
        matched: their matched rows, see `match.matched_rows`, with `beyond_null`, NA where there is no band.
        null: what `null_band.null_band` gives.
    """
    n, shift, differences = len(matched), matched["shift"].to_numpy(), matched["diff"].to_numpy()
    rises, falls = (best_first(sign * differences)[:LARGEST] for sign in (1, -1))
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
            "alone": _alone((clean, poisoned), matched),
            "matched_with_other_candidates": int(matched["other_candidates_differ"].sum()),
            "rank_shift": {
                "unit": "percentile points among the matched rows, positive: rose in the poisoned run",
                "mean_absolute": np.abs(shift).mean(),
                "largest_rise": shift.max(),
                "largest_fall": shift.min(),
                "by_label": _means(matched, "shift"),
            },
            "parts": _parts(clean, poisoned, matched),
            "null_band": null | _beyond(matched, null),
            "largest_increases": _entries(matched.iloc[rises], clean),
            "largest_decreases": _entries(matched.iloc[falls], clean),
        },
    }


def _run_statistics(run: Results) -> dict[str, Any]:
    scores = run.scores.astype(np.float64)
    counts = {
        "folder": str(run.folder),
        "scores": digest(run.scores),
        "n_samples": len(scores),
        "n_fake": int((run.labels == 1).sum()),
        "n_real": int((run.labels == 0).sum()),
    }
    return counts | {"score_mean": scores.mean(), "score_std": scores.std()}


def _alone(runs: tuple[Results, Results], matched: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Side -> of the rows that stand in that run only: how many click each class, by how many users, and how many of
    them the other run does not have at all (`new_users`)."""
    users, found = [run.rows.codes("user_id") for run in runs], {}
    for side, run, (codes, names), (_, others) in zip(SIDES, runs, users, users[::-1], strict=True):
        rows = np.setdiff1d(np.arange(len(run.rows)), matched[f"{side}_sample_idx"].to_numpy())
        own = [names[code] for code in np.unique(codes[rows])]
        counts = {word: int((run.labels[rows] == label).sum()) for label, word in LABELS.items()}
        found[side] = counts | {"users": len(own), "new_users": len(set(own) - set(others))}
    return found


def _parts(clean: Results, poisoned: Results, matched: pd.DataFrame) -> dict[str, Any]:
    """How far rankings by Q and by leverage alone moved, and how that goes with the shift; or the `reason` why not."""
    found: dict[str, Any] = {"reason": None}
    silent = {part: [run.folder / ROWS for run in (clean, poisoned) if part not in run.rows] for part in PARTS}
    absent = [part for part in PARTS if silent[part]]
    if absent:
        files = dict.fromkeys(str(path) for part in absent for path in silent[part])
        found["reason"] = f"{' and '.join(files)}: no column `{'` and no `'.join(absent)}`."
    for part in PARTS:
        if part in absent:
            continue
        shift = matched[f"{part}_shift"]
        found[part] = {
            "mean_absolute": shift.abs().mean(),
            "spearman_with_shift": _correlation(shift.rank(), matched["shift"].rank()),
            "by_label": _means(matched, f"{part}_shift"),
        }
    return found


def _beyond(matched: pd.DataFrame, null: dict[str, Any]) -> dict[str, Any]:
    """How many rows lie beyond the null band, over all and of each class; nothing where there is no band."""
    if null["reason"] is not None:
        return {}
    beyond = matched["beyond_null"].astype(bool).to_numpy()
    counts = {label: {"n_rows": int(own.sum()), "beyond": int(beyond[own].sum())} for label, own in _classes(matched)}
    return {"rows_beyond": int(beyond.sum()), "share_beyond": beyond.mean(), "by_label": counts}


def _means(matched: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    """Rows and mean of a column for each class that occurs."""
    values = matched[column].to_numpy()
    return {
        label: {"n_rows": int(own.sum()), "mean": values[own].mean().round(6) + 0.0} for label, own in _classes(matched)
    }


def _classes(matched: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    for label in LABELS.values():
        own = (matched["label"] == label).to_numpy()
        if own.any():
            yield label, own


def _entries(matched: pd.DataFrame, clean: Results) -> list[dict[str, Any]]:
    """What is said of matched rows, a dictionary each."""
    rows = matched["clean_sample_idx"].to_numpy()
    names = ["label", "clean_score", "poisoned_score", "diff", *(f"{side}_sample_idx" for side in SIDES)]
    texts = clean.rows.take(rows, ["user_id", "article_id", "title"])
    told = zip(rows.tolist(), matched[names].to_dict("records"), texts.to_dict("records"), strict=True)
    return [{"sample_idx": row, **numbers, **about} for row, numbers, about in told]


def _correlation(a: pd.Series, b: pd.Series) -> float | None:
    """Pearson's correlation, None where one side does not vary."""
    if a.nunique() < 2 or b.nunique() < 2:
        return None
    return float(np.corrcoef(a, b)[0, 1])
