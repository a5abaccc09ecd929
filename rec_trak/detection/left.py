"""Whether a cleaned click log still makes the rows that were to stay. Not here: cleaning it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rec_trak.data.impressions import Impressions
from rec_trak.data.sources import read_clicks
from rec_trak.data.trained import only_trained
from rec_trak.errors import DataError
from rec_trak.runs.click_log import ClickLog


def check_left(log: ClickLog, left: np.ndarray, path: Path) -> None:
    """Refuse a cleaned file from which other rows are read than those that were to stay.

    Args:
        log: the click log that was cleaned.
        left: rows of `log.everything` that were to stay.
        path: the cleaned file.

    Raises:
        DataError: says how many rows changed, and what to do.
    """
    if log.form == "parsed":
        return  # a line is a row there, whatever stands around it
    again = only_trained(read_clicks(path, log.articles, log.form, log.reading), log.reading)
    if _alike(log.everything, left, again):
        return
    wanted, got = Counter(_contents(log.everything.subset(left))), Counter(_contents(again))
    changed = sum((wanted - got).values())
    if wanted != got:
        raise DataError(
            f"{log.path}: without the chosen rows, others would be read differently. Got {changed} of {len(left)} "
            f"rows changed, expected none. Choose the rows beside them too, or {_why_changed(log)}."
        )


def _why_changed(log: ClickLog) -> str:
    """What to mend so that rows do not hang on each other."""
    if log.form == "mind":
        return "give repeated impressions ids of their own: negatives are drawn by impression id and occurrence"
    if log.form == "adressa_newsreclib":
        return "leave the first of a user's repeated clicks: negatives are drawn by user, click and occurrence"
    return "mend the user ids that differ in spelling alone"


def _alike(rows: Impressions, left: np.ndarray, other: Impressions) -> bool:
    """Whether some rows of a table are those of another one, in the same order; compared column by column, since a copy
    of all of them takes as much memory as reading them."""
    if not np.array_equal(rows.user_ids[left], other.user_ids):
        return False
    for ours, theirs in (
        (rows.history, other.history),
        (rows.candidates, other.candidates),
        (rows.labels, other.labels),
    ):
        stay = ours.subset(left)
        if not (np.array_equal(stay.offsets, theirs.offsets) and np.array_equal(stay.values, theirs.values)):
            return False
    return True


def _contents(rows: Impressions) -> Iterator[tuple]:
    """All that a row is, row by row."""
    for i, user in enumerate(rows.user_ids):
        yield user, *(part[i].tobytes() for part in (rows.history, rows.candidates, rows.labels))
