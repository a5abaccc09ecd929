"""A run's validation.json -> what its page says of retraining, as plain data. Not here: HTML, or any number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rec_trak.arrays import read_array
from rec_trak.errors import DataError
from rec_trak.page.tables import Table, make_table, read_json, shown
from rec_trak.runs.finished import FinishedRun
from rec_trak.store.manifest import digest
from rec_trak.validation.text import bears_out, findings

FILE = "validation.csv"
SINGLE = {
    "drop": "fall of a target's margin without its strongest proponents, 1 % of the rows",
    "random": "mean absolute change by random removal",
    "over_random": "fall over random change",
    "equal_drop": "fall, as many proponents as rows that click its article",
    "same_drop": "fall without these rows that click its article",
    "over_same": "the one over the other",
    "same_rows": "such rows, on average",
}


def validation(run: FinishedRun) -> dict[str, Any] | None:
    """What validation.json says; None where there is none of this scoring, or it says nothing.

    Returns:
        `verdict`; `others`, its other single values as text; `sets`, one dict a target set with `name`, `verdict`,
        `notes`, `tables`, and `stale`, whether the set was scored otherwise since.

    Raises:
        DataError: it cannot be read, or its parts do not go together.
    """
    path = run.file("validation.json")
    if path is None:
        return None
    content = read_json(path)
    simple = {key: value for key, value in content.items() if isinstance(value, str | int | float | bool)}
    values = {shown(key.replace("_", " "), 60): shown(value, None) for key, value in simple.items()}
    try:
        sets = [
            _set(run.folder, str(name), one, f"validation{i}")
            for i, (name, one) in enumerate(sorted((content.get("sets") or {}).items()))
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__} {shown(error)}".rstrip(".")
        raise DataError(
            f"{path}: its parts do not go together. Got {problem}. Run scripts/validate.py again."
        ) from None
    if not values and not sets:
        return None
    return {"verdict": values.pop("verdict", ""), "others": values, "sets": sets}


def _set(folder: Path, name: str, told: dict[str, Any], key: str) -> dict[str, Any]:
    scores = folder / "targets" / name / "trak_scores.npy"
    tables = [
        (f"{key}-lds", "Does the ranking predict retraining? LDS", _lds(told)),
        (f"{key}-single", "Removal of a target's own proponents", _single(told)),
        (f"{key}-set", "Removal for the whole set", _removed(told)),
        (f"{key}-loo", "Exact leave-one-out on a convex head", _left_out(told)),
        (f"{key}-ridge", "Choice of ridge and K, on models of their own", _curve(told)),
    ]
    failed, holds = findings(told)
    return {
        "name": shown(name, 60),
        "plain": shown(_plain(failed, holds, bears_out(told)), None),
        "bears_out": bears_out(told),
        "verdict": shown(told["verdict"], None),
        "notes": [shown(note, None) for note in told.get("notes") or []],
        "stale": not scores.is_file() or digest(read_array(scores)) != told["of"]["scores"],
        "tables": [_table(frame, place, title) for place, title, frame in tables if frame],
    }


def _plain(failed: list[str], holds: list[str], for_it: bool) -> str:
    """What retraining said, in two sentences at most."""
    if not failed:
        return f"Yes, as far as it was checked: {holds[0]}" if holds else "Nothing was measured."
    if not holds:
        return f"No: {failed[0]}"
    lead = "In part" if for_it else "Not clearly"
    against = f"{len(failed)} of {len(failed) + len(holds)} findings are against it or unclear"
    return f"{lead}: {against}, first: {failed[0]} For it: {holds[0]}"


def _table(lines: list[dict[str, Any]], name: str, title: str) -> Table:
    return make_table(pd.DataFrame(lines), name, title, FILE)


def _lds(told: dict[str, Any]) -> list[dict[str, Any]]:
    if "lds" not in told:
        return []
    part, lines = told["lds"], []
    for name, line in part["scores"].items():
        over = ["", "", ""] if not lines else [line["over"], *line["over_interval"]]
        lines.append({
            "ranking": name, "LDS": line["lds"], **_between(line["interval"]), "share of the ceiling": line["ratio"],
            **dict(zip(("the run's exceeds it by", "from", "to"), over, strict=True)),
        })  # fmt: skip
    if part["ceiling"]:
        ceiling = {"LDS": part["ceiling"]["mean"], **_between(part["ceiling"]["mean_interval"])}
        lines.append({"ranking": "noise ceiling"} | ceiling | dict.fromkeys(list(lines[0])[4:], ""))
    return [line | {key: "" for key, value in line.items() if value is None} for line in lines]


def _between(pair: list[float] | None) -> dict[str, Any]:
    low, high = pair or ("", "")
    return {"low": low, "high": high}


def _single(told: dict[str, Any]) -> list[dict[str, Any]]:
    part = (told.get("removal") or {}).get("single")
    if not part:
        return []
    return [
        {"measure": words, "value": part[key], **_between(part.get(f"{key}_interval"))}
        for key, words in SINGLE.items()
        if part.get(key) is not None
    ]


def _removed(told: dict[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for line in (told.get("removal") or {}).get("set") or []:
        number = {"ranking": line["ranking"], "% removed": line["percent"], "rows": line["rows"]}
        number |= {"margin falls by": line["drop"], **_between(line["drop_interval"])}
        for name, share in line["exposure"].items():
            number |= {f"{name} before": share["before"], f"{name} after": share["after"]}
        lines.append(number)
    return lines


def _left_out(told: dict[str, Any]) -> list[dict[str, Any]]:
    lines = (told.get("loo") or {}).get("rungs") or []
    keys = {"rung": "estimate", "K": "K", "members": "members", "lambda_rel": "lambda_rel", "spearman": "Spearman",
            "low": "low", "high": "high", "error": "relative error"}  # fmt: skip
    return [
        {
            word: "" if line.get(key) is None or (key == "K" and not line[key]) else line[key]
            for key, word in keys.items()
        }
        for line in lines
    ]


def _curve(told: dict[str, Any]) -> list[dict[str, Any]]:
    lines = (told.get("ridge") or {}).get("curve") or []
    return [
        {"K": line["K"], "lambda_rel": line["lambda_rel"], "LDS": line["lds"], **_between(line["interval"])}
        for line in lines
    ]
