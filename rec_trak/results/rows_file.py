"""rows.csv of a finished run: its lines, known to be the rows that were scored. Not here: reading a CSV in parts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.errors import DataError, reason
from rec_trak.results.lines import Lines
from rec_trak.results.ranking import LABELS, ROW_COLUMNS, label_words
from rec_trak.results.records import Change, open_lines

SCORES, LABELS_FILE, ROWS = "trak_scores.npy", "trak_labels.npy", "rows.csv"
AGAIN = "Run scripts/score.py again."
HELD = 3  # a run, a set of it, and another run
_held: dict[tuple, Lines] = {}


def read_or_refuse(path: Path, reader: Callable[[Path], Any]) -> Any:
    """What `reader` reads of a file of a run.

    Raises:
        DataError: it cannot be read, with the reason.
    """
    try:
        return reader(path)
    except DataError:
        raise
    except (ValueError, OSError, EOFError) as error:  # pandas' and JSON's own errors are ValueErrors
        raise DataError(f"{path}: cannot be read ({reason(error)}). {AGAIN}") from None


def read_rows(path: Path, labels: np.ndarray, change: Change | None = None, known: str | None = None) -> Lines:
    """The lines of rows.csv, text but for `sample_idx`, if they are the rows of the other files, in order.

    Args:
        path: of the file; it is read once from end to end, and again where lines are asked for.
        labels: (N,) of the other files.
        change: what is done to what is read; None for nothing.
        known: the check sum of the file's bytes, where it was just made. A command opens a run several times: the lines
            of the same bytes, of the last HELD files, are those of before, with what was asked of them.

    Raises:
        DataError: it cannot be read, or holds other rows.
    """
    if known is None:
        return _read_rows(path, labels, change)
    key = (str(path.resolve()), known, change is None, hashlib.blake2b(labels.tobytes()).digest())
    if key not in _held:
        rows = _read_rows(path, labels, change)
        while len(_held) >= HELD:
            _held.pop(next(iter(_held)))
        _held[key] = rows
    return _held[key]


def _read_rows(path: Path, labels: np.ndarray, change: Change | None) -> Lines:
    check = partial(_check_part, path, labels)
    rows = read_or_refuse(path, lambda path: open_lines(path, change or (lambda part: part), check))
    if len(rows) != len(labels):
        raise DataError(f"{path}: not the rows of {SCORES}. Got {len(rows)} lines, expected {len(labels)}. {AGAIN}")

    def make(places: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
        told = rows.take(places, names)
        return told.assign(sample_idx=places) if "sample_idx" in names else told

    return Lines(rows.columns, len(rows), make)


def _check_part(path: Path, labels: np.ndarray, first: int, part: pd.DataFrame) -> None:
    """Refuse lines, from line `first` on, that are not the rows of the other files, in order."""
    absent = [name for name in ROW_COLUMNS if name not in part.columns]
    if absent:
        raise DataError(
            f"{path}: columns missing. Got {', '.join(part.columns)}, expected also {', '.join(absent)}. {AGAIN}"
        )
    part = part.head(max(len(labels) - first, 0))  # how many there are is told once all are counted
    numbers = np.arange(first, first + len(part))
    moved = np.flatnonzero(part["sample_idx"].to_numpy() != numbers.astype(str))
    if len(moved):
        got, i = part["sample_idx"].iloc[moved[0]], numbers[moved[0]]
        raise DataError(f"{path}: not in row order. Got `sample_idx` {got} in line {i + 2}, expected {i}. {AGAIN}")
    other = np.flatnonzero(part["label"].to_numpy() != label_words(labels[numbers]))
    if len(other):
        got, i = part["label"].iloc[other[0]], numbers[other[0]]
        expected = LABELS[int(labels[i])]
        raise DataError(f"{path}: not the rows of {LABELS_FILE}. Got row {i} {got}, expected {expected}. {AGAIN}")
