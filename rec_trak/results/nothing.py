"""Rows and targets that carry nothing, as metadata.json names them and as a reader is told. Not here: which they are.

Their gradient is rounding, so their influence is 0 for no reason of their own: figures, both ends of a ranking and
means over targets go without them. Tables of all rows keep them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rec_trak.errors import DataError
from rec_trak.words import quoted

KEY = "carry_nothing"  # in metadata.json: `rows`, and of a set `targets`, by number


def carry_nothing(rows: np.ndarray, targets: np.ndarray | None = None) -> dict[str, Any]:
    """What metadata.json says of the rows (I,) bool, and the targets (M,) bool, that carry nothing; {} of none."""
    found = {"rows": rows, "targets": targets}
    numbers = {what: np.flatnonzero(mask).tolist() for what, mask in found.items() if mask is not None and mask.any()}
    return {KEY: numbers} if numbers else {}


def named(metadata: dict[str, Any], what: str, count: int, where: str) -> np.ndarray:
    """Numbers of the rows, or of the targets, that metadata.json names among those that carry nothing, int64.

    Args:
        metadata: its content; of an earlier build it names none.
        what: `rows` or `targets`.
        count: how many there are.
        where: the file, for the message.

    Raises:
        DataError: it names some that are not there.
    """
    told = metadata.get(KEY, {})
    numbers = told.get(what, []) if isinstance(told, dict) else None
    if not isinstance(numbers, list) or not all(type(number) is int and 0 <= number < count for number in numbers):
        raise DataError(
            f"{where}: `{KEY}` is damaged. Got {quoted(told)}, expected lists of numbers, {what} below {count}. Run "
            "scripts/score.py again."
        )
    return np.array(numbers, dtype=np.int64)


def nothing_notes(nothing: np.ndarray) -> list[str]:
    """A sentence on the rows that carry nothing, where there are any; `nothing` (I,) bool."""
    count = int(nothing.sum())
    rows = ", ".join(str(row) for row in np.flatnonzero(nothing)[:5]) + (" and others" if count > 5 else "")
    return [
        f"{count} row(s) carry nothing (sample_idx {rows}): their candidates look alike to the model, or nothing of "
        "them reaches it, so their gradient is rounding and their influence is 0. They are left out of the figures and "
        "of both ends of the ranking; ranking_full.csv has them as `carries_nothing`."
    ] * (count > 0)


def nothing_targets_notes(nothing: np.ndarray) -> list[str]:
    """The same of the targets of a set; `nothing` (M,) bool."""
    count = int(nothing.sum())
    numbers = ", ".join(str(t) for t in np.flatnonzero(nothing)[:5]) + (" and others" * (count > 5))
    return [
        f"{count} of {len(nothing):,} target(s) carry nothing (target {numbers}): their candidates look alike to the "
        "model, or nothing of them reaches it, so no row has influence on them. They are left out of the means over "
        "targets."
    ] * (count > 0)
