"""trust.json -> what a page says of how far each ranking can be trusted. Not here: the numbers, the verdicts, HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rec_trak.arrays import read_array
from rec_trak.errors import DataError
from rec_trak.page.tables import make_table, read_json, shown
from rec_trak.results.files import SCORES, Results
from rec_trak.runs.finished import FinishedRun
from rec_trak.store.manifest import digest

MARKS = {"stable": "\u25cf", "indicative": "\u25d0", "do not use": "\u25cb"}
COLUMNS = {
    "predicted": "predicted quality",
    "kept_noise": "left after noise",
    "kept_following": "left after following single rows",
    "kept_curvature": "left after losing curvature",
    "checkpoint_sums": "sums from as many other members agree by",
    "projection_sums": "sums from another sketch agree by",
    "checkpoint_reliability": "ranks from as many other members agree by",
    "projection_reliability": "ranks from another sketch agree by",
    "smaller_ridge": "agreement with a third of the ridge",
    "larger_ridge": "agreement with three times the ridge",
    "explained": "share of left-out margins explained",
    "explained_larger": "the same with larger ridges, at best",
    "explained_smaller": "the same with smaller ridges, at best",
    "dot_product": "agreement with plain gradient products",
    "other_target": "agreement between different targets",
    "null": "agreement after shuffling",
    "members_for_80": "members for an agreement of 0.8",
    "effective_dimension": "effective dimension",
    "condition_number": "condition number",
    "mean_leverage": "mean leverage",
    "max_leverage": "max leverage",
    "top_share": "share of the first 1 %",
}


def trust(run: FinishedRun) -> dict[str, Any] | None:
    """What is to be said of trust.json in a results folder; None where there is none, or it is of other scores.

    Raises:
        DataError: it is not what scripts/trust.py writes.
    """
    path, results = run.file("trust.json"), run.results
    if path is None:
        return None
    content = read_json(path)
    try:
        current = [one for one in content["rankings"] if _is_current(results, one)]
        return _told(content, current) if current else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read (missing or misplaced: {shown(error)}). Run scripts/trust.py again."
        ) from None


def _is_current(results: Results, one: dict[str, Any]) -> bool:
    """Whether a verdict is on the scores that stand there now."""
    if not one["folder"]:
        return one["scores"] == digest(results.scores)
    path = results.folder / Path(one["folder"]) / SCORES
    return path.is_file() and one["scores"] == digest(read_array(path))


def _told(content: dict[str, Any], rankings: list[dict[str, Any]]) -> dict[str, Any]:
    lines = [
        {
            "ranking": shown(one["ranking"], 120),
            "folder": one["folder"],
            "word": shown(one["verdict"], 20),
            "mark": MARKS.get(one["verdict"], ""),
            "reason": shown(one["reason"], None),
            "improvement": shown(one["improvement"], None),
            "cost": shown(one["cost"], None),
            "notes": [shown(note, None) for note in one["notes"]],
        }
        for one in rankings
    ]
    frame = pd.DataFrame(
        [{"ranking": one["ranking"]} | {name: one[key] for key, name in COLUMNS.items()} for one in rankings]
    )
    table = make_table(frame.dropna(axis=1, how="all"), "trust", "What the verdicts rest on", "trust.csv")
    law = content["law"]
    checked = "not checked: " if law is None else f"off by at most {law:.1e} of its norm, "
    rows = content["dominating"]
    by_heart = [row for row in rows if row["learnt_by_heart"]]
    return {
        "lines": lines,
        "tables": [table],
        "law": checked + shown(content["law_told"], None),
        "rows": [{"title": shown(row["title"], 120), "row": row["sample_idx"], "user": shown(row["user_id"], 60),
                  "leverage": float(row["leverage"])} for row in rows],
        "by_heart": len(by_heart),
        "unseen": shown(content["unseen"], None),
    }  # fmt: skip
