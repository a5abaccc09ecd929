"""The rows that stand in two runs: their scores, Q and leverage, and how the rank of each moved. Not here: statistics.

Rows are matched by what they are (user, history, clicked article, occurrence), never by where they stand. Ranks are
taken among the matched rows alone, so that rows which stand in one run only move nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.errors import DataError
from rec_trak.results.files import METADATA, ROWS, Results
from rec_trak.results.ranking import IDENTITY, percentiles
from rec_trak.words import LINE, plain, quoted

SIDES = ("clean", "poisoned")
PARTS = ("q", "leverage")  # columns of rows.csv whose product is self-influence
SETTINGS = ("features", "score")  # parts of metadata.json that say how the scores were made, from whatever rows
SHIFT_COLUMNS = (
    "clean_sample_idx", "poisoned_sample_idx", "user_id", "article_id", "title", "label", "clean_score",
    "poisoned_score", "clean_rank", "poisoned_rank", "shift", "other_candidates_differ", "clean_q", "poisoned_q",
    "q_shift", "clean_leverage", "poisoned_leverage", "leverage_shift", "beyond_null",
)  # fmt: skip


def check_sides(clean: Results, poisoned: Results) -> None:
    """Refuse a clean run in the poisoned one's place and the other way round; two runs of one kind are fine.

    Raises:
        DataError: says what each of the two is.
    """
    kinds = [(run.metadata.get("model_type"), run.metadata.get("dataset_type")) for run in (clean, poisoned)]
    (model, data), (other_model, other_data) = kinds
    by_data = model == other_model and (data, other_data) == ("train_poisoned", "train_clean")
    if (model, other_model) == ("poisoned", "clean") or by_data:
        raise DataError(
            f"--clean_dir and --poisoned_dir: clean and poisoned are crossed. Got {clean.folder}, a {model} checkpoint "
            f"on {data}, and {poisoned.folder}, a {other_model} checkpoint on {other_data}, expected the clean one "
            "first. Swap them."
        )


def check_alike(clean: Results, poisoned: Results) -> None:
    """Refuse runs whose scores measure different things.

    Raises:
        DataError: names every setting that differs, with both values, or the run that does not tell its settings.
    """
    for run in (clean, poisoned):
        absent = [name for name in SETTINGS if name not in run.metadata]
        if absent:
            raise DataError(
                f"{run.folder / METADATA}: does not say how the run was made. Got no `{'` and no `'.join(absent)}`, "
                "expected what scripts/score.py writes. Run it again."
            )
    _check_models(clean, poisoned)
    found = [d for name in SETTINGS for d in _differences(clean.metadata[name], poisoned.metadata[name], name)]
    if found:
        fields = "; ".join(f"`{field}` {ours} and {theirs}" for field, ours, theirs in found)
        raise DataError(
            f"{clean.folder} and {poisoned.folder}: not made alike, so their scores cannot be compared. Got {fields}, "
            "expected runs that differ in checkpoint and rows alone. Run both with the same settings."
        )


def _check_models(clean: Results, poisoned: Results) -> None:
    """Models of two kinds, told by what they are; their features differ in a digest and a list of parameters only."""
    models = [run.metadata.get("model") for run in (clean, poisoned)]
    if not all(isinstance(model, dict) for model in models):
        return
    found = list(_differences(*models, "model"))
    if found:
        first = next((one for one in found if one[0] == "model.architecture"), None)
        fields = "; ".join(f"`{field}` {ours} and {theirs}" for field, ours, theirs in ([first] if first else found))
        raise DataError(
            f"{clean.folder} and {poisoned.folder}: two kinds of model, whose scores cannot be compared. Got {fields}, "
            "expected models that differ in their training alone. Compare runs of one architecture and one "
            "`model_config`."
        )


def matched_rows(clean: Results, poisoned: Results) -> pd.DataFrame:
    """The rows that stand in both runs, in an order that depends on neither.

    Returns:
        n lines with SHIFT_COLUMNS but the last, and `diff`, the poisoned score less the clean one. `clean_rank` and
        `poisoned_rank` are percentiles among the n rows, 1 the highest score and 100 the lowest; `shift` is clean less
        poisoned. `q_shift` and `leverage_shift` are the same of rankings by Q and by leverage alone; NaN where a run
        does not tell them.

    Raises:
        DataError: a row stands twice in a run, no row stands in both, or a Q or leverage is no number.
    """
    frames = [_own_columns(run, side) for run, side in zip((clean, poisoned), SIDES, strict=True)]
    matched = frames[0].merge(frames[1], on=list(IDENTITY), suffixes=("_clean", "_poisoned"), validate="one_to_one")
    if matched.empty:
        raise DataError(
            f"{clean.folder} and {poisoned.folder}: no row stands in both. Got {len(clean.rows)} and "
            f"{len(poisoned.rows)} rows, expected some with equal user, history and clicked article. Compare runs on "
            "data sets that share users and article ids."
        )
    matched = matched.sort_values(list(IDENTITY), ignore_index=True)
    before, after, shift = _ranks(matched, "score")
    shifts = {f"{part}_shift": _ranks(matched, part)[2] for part in PARTS}
    return matched.assign(
        clean_rank=before,
        poisoned_rank=after,
        shift=shift,
        **shifts,
        diff=matched["poisoned_score"] - matched["clean_score"],
        other_candidates_differ=matched["other_candidates_clean"] != matched["other_candidates_poisoned"],
    )


def _differences(clean: Any, poisoned: Any, where: str) -> Iterator[tuple[str, str, str]]:
    """Field, clean value and poisoned value of everything that is not the same, values as JSON."""
    if isinstance(clean, dict) and isinstance(poisoned, dict):
        for key in sorted(clean.keys() | poisoned.keys()):
            yield from _differences(clean.get(key), poisoned.get(key), f"{where}.{key}")
    elif clean != poisoned:
        yield where, json.dumps(clean), json.dumps(poisoned)


def _own_columns(run: Results, side: str) -> pd.DataFrame:
    """What one run says of its rows, columns named for its side; text that both say alike comes from the clean one."""
    twice = run.rows.duplicated(list(IDENTITY))
    if twice.any():
        row = run.rows.loc[twice.idxmax()]
        identity = plain(", ".join(f"{part} {row[part]}" for part in IDENTITY if part != "history_ids"), LINE // 2)
        raise DataError(
            f"{run.folder / ROWS}: row {row['sample_idx']} stands twice. Got {identity} again, expected each once."
        )
    own = {f"{side}_sample_idx": run.rows["sample_idx"], f"{side}_score": run.scores.astype(np.float64)}
    own |= {f"{side}_{part}": _part(run, part) for part in PARTS}
    shared = {*IDENTITY} if side == "poisoned" else {*IDENTITY, "title", "label"}
    columns = [c for c in run.rows.columns if c in shared] + ["other_candidates"]
    return run.rows[columns].assign(**own)


def _part(run: Results, part: str) -> np.ndarray:
    """Q or leverage of each row, NaN where rows.csv has no such column."""
    if part not in run.rows.columns:
        return np.full(len(run.rows), np.nan)
    values = pd.to_numeric(run.rows[part], errors="coerce").to_numpy(dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(
            f"{run.folder / ROWS}: `{part}` of row {bad[0]}. Got {quoted(run.rows[part].iloc[bad[0]])}, expected a "
            "finite number. Run scripts/score.py again."
        )
    return values


def _ranks(matched: pd.DataFrame, what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Percentiles (n,) in both runs of a ranking by `what`, and their shift; NaN where a side has no values."""
    columns = [matched[f"{side}_{what}"].to_numpy() for side in SIDES]
    if any(np.isnan(values).any() for values in columns):
        return (np.full(len(matched), np.nan),) * 3
    before, after = (percentiles(values) for values in columns)
    # equal shifts are to compare as equal, and fall back on the rows' order
    return before.round(6), after.round(6), (before - after).round(6)
