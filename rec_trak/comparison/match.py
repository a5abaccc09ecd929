"""The rows that stand in two runs: their scores, Q and leverage, and how the rank of each moved. Not here: statistics.

Rows are matched by what they are (user, history, clicked article, occurrence), never by where they stand. Ranks are
taken among the matched rows alone, so that rows which stand in one run only move nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.errors import DataError
from rec_trak.results.files import METADATA, ROWS, Results
from rec_trak.results.lines import AT_ONCE, Lines
from rec_trak.results.ranking import IDENTITY, label_words, percentiles
from rec_trak.words import LINE, plain

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
        n lines with those of SHIFT_COLUMNS that are numbers but the last, `label`, and `diff`, the poisoned score less
        the clean one. `clean_rank` and `poisoned_rank` are percentiles among the n rows, 1 the highest score and 100
        the lowest; `shift` is clean less poisoned. `q_shift` and `leverage_shift` are the same of rankings by Q and by
        leverage alone; NaN where a run does not tell them.

    Raises:
        DataError: a row stands twice in a run, no row stands in both, or a Q or leverage is no number.
    """
    matched = _pairs(clean, poisoned)
    if matched.empty:
        raise DataError(
            f"{clean.folder} and {poisoned.folder}: no row stands in both. Got {len(clean.rows)} and "
            f"{len(poisoned.rows)} rows, expected some with equal user, history and clicked article. Compare runs on "
            "data sets that share users and article ids."
        )
    for side, run in zip(SIDES, (clean, poisoned), strict=True):
        rows = matched[f"{side}_sample_idx"].to_numpy()
        matched[f"{side}_score"] = run.scores[rows].astype(np.float64)
        for part in PARTS:
            matched[f"{side}_{part}"] = _part(run, part)[rows]
    matched["label"] = label_words(clean.labels[matched["clean_sample_idx"].to_numpy()])
    matched["clean_rank"], matched["poisoned_rank"], matched["shift"] = _ranks(matched, "score")
    for part in PARTS:
        matched[f"{part}_shift"] = _ranks(matched, part)[2]
    return matched.assign(diff=matched["poisoned_score"] - matched["clean_score"])


def shift_table(matched: pd.DataFrame, clean: Results) -> Lines:
    """The content of rank_shift.csv: a line a matched row with SHIFT_COLUMNS, texts as the clean run says them."""
    texts = ("user_id", "article_id", "title", "label")

    def make(places: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
        own = matched.iloc[places].reset_index(drop=True)
        told = [name for name in names if name in texts]
        theirs = clean.rows.take(own["clean_sample_idx"].to_numpy(), told) if told else own[[]]
        return pd.concat([own[[name for name in names if name not in told]], theirs], axis=1)

    return Lines(SHIFT_COLUMNS, len(matched), make)


def _differences(clean: Any, poisoned: Any, where: str) -> Iterator[tuple[str, str, str]]:
    """Field, clean value and poisoned value of everything that is not the same, values as JSON."""
    if isinstance(clean, dict) and isinstance(poisoned, dict):
        for key in sorted(clean.keys() | poisoned.keys()):
            yield from _differences(clean.get(key), poisoned.get(key), f"{where}.{key}")
    elif clean != poisoned:
        yield where, json.dumps(clean), json.dumps(poisoned)


def _pairs(clean: Results, poisoned: Results) -> pd.DataFrame:
    """The numbers of the rows that stand in both, by identity, and whether their other candidates differ.

    Only rows of one user can be the same, so that users are gone through some at a time, in order of their names.
    """
    runs, users = (clean, poisoned), [run.rows.codes("user_id") for run in (clean, poisoned)]
    place = {user: i for i, user in enumerate(sorted({*users[0][1], *users[1][1]}))}
    own = [np.array([place[name] for name in names], dtype=np.int64)[codes] for codes, names in users]
    orders = [np.argsort(one, kind="stable") for one in own]
    ends = [np.concatenate([[0], np.cumsum(np.bincount(one, minlength=len(place)))]) for one in own]
    found, twice = [], [len(run.rows) for run in runs]
    for first, last in _some_at_a_time(sum(ends)):
        parts = []
        for side, run in enumerate(runs):
            rows = np.sort(orders[side][ends[side][first] : ends[side][last]])
            part = run.rows.take(rows, [*IDENTITY, "other_candidates"]).assign(**{f"{SIDES[side]}_sample_idx": rows})
            again = rows[part.duplicated(list(IDENTITY)).to_numpy()]
            twice[side] = min(twice[side], *again.tolist(), len(run.rows))
            parts.append(part.drop_duplicates(list(IDENTITY)))
        both = parts[0].merge(parts[1], on=list(IDENTITY), suffixes=("_clean", "_poisoned"))
        both = both.sort_values(list(IDENTITY), ignore_index=True)
        both["other_candidates_differ"] = both["other_candidates_clean"] != both["other_candidates_poisoned"]
        found.append(both[[*(f"{side}_sample_idx" for side in SIDES), "other_candidates_differ"]])
    for row, run in zip(twice, runs, strict=True):
        _check_once(run, row)
    return pd.concat(found, ignore_index=True)


def _some_at_a_time(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last + 1 of users, so many that they have some AT_ONCE rows; `ends` (U + 1,), the rows before each."""
    first = 0
    while first < len(ends) - 1:
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + AT_ONCE, side="right")) - 1)
        yield first, last
        first = last


def _check_once(run: Results, row: int) -> None:
    """Refuse a run in which `row` is another row again; it is none where there are not so many."""
    if row < len(run.rows):
        line = run.rows.take([row]).iloc[0]
        identity = plain(", ".join(f"{part} {line[part]}" for part in IDENTITY if part != "history_ids"), LINE // 2)
        raise DataError(
            f"{run.folder / ROWS}: row {line['sample_idx']} stands twice. Got {identity} again, expected each once."
        )


def _part(run: Results, part: str) -> np.ndarray:
    """Q or leverage of each row, NaN where rows.csv has no such column."""
    if part not in run.rows:
        return np.full(len(run.rows), np.nan)
    return run.numbers(part)


def _ranks(matched: pd.DataFrame, what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Percentiles (n,) in both runs of a ranking by `what`, and their shift; NaN where a side has no values."""
    columns = [matched[f"{side}_{what}"].to_numpy() for side in SIDES]
    if any(np.isnan(values).any() for values in columns):
        return (np.full(len(matched), np.nan),) * 3
    before, after = (percentiles(values) for values in columns)
    # equal shifts are to compare as equal, and fall back on the rows' order
    return before.round(6), after.round(6), (before - after).round(6)
