"""Which rows are poisoned, as a column of the click log or a file of row numbers says. Not here: any score.

A row is poisoned if the line of its click is: what stands in the lines of its other candidates does not count. Rows
where these say otherwise are counted in a note.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rec_trak.data.tables import DIGITS, FLAGS, read_csv
from rec_trak.errors import DataError, listed
from rec_trak.runs.click_log import ClickLog, line_numbers
from rec_trak.words import LINE, plain, quoted

FAKE_COLUMN = "candidate_is_fake"
NUMBER = "sample_idx"


def labels_from_column(log: ClickLog, column: str) -> tuple[np.ndarray, list[str]]:
    """The labels (N,) int64 in {0, 1} that a column of the click log gives the run's rows, and notes.

    Args:
        log: the click log.
        column: a further column of the file, or `candidate_is_fake`: then "poisoned" means a click on a fake article.

    Raises:
        DataError: there is no such column, or a click's value is neither 0 nor 1.
    """
    if column == FAKE_COLUMN:
        unknown = np.flatnonzero(log.rows.is_fake < 0)
        if len(unknown):
            raise DataError(
                f"{log.path}: nobody says whether the article that row {unknown[0]} clicks is fake ({len(unknown)} "
                f"such rows). Got no `{FAKE_COLUMN}`, expected 0 or 1. Give the labels as a file (--labels)."
            )
        return log.rows.is_fake.astype(np.int64), []
    if column not in log.rows.columns:
        there = plain(", ".join(f"`{name}`" for name in (*log.rows.columns, FAKE_COLUMN)), LINE // 2)
        raise DataError(
            f"{log.path}: no column says which rows are poisoned. Got {there}, expected `{column}`. Name another "
            "column (--poison_column), or give the labels as a file (--labels)."
        )
    values = log.rows.columns[column]
    labels = np.array([FLAGS.get(value.strip().lower(), -1) for value in values])
    wrong = np.flatnonzero(labels < 0)
    if len(wrong):
        raise DataError(
            f"{log.path}, line(s) {log.rows.sources[wrong[0]]}: `{column}` is wrong in the click of {len(wrong)} "
            f"row(s). Got {quoted(values[wrong[0]])}, expected 0 or 1. Mend the file."
        )
    return labels, _disagreements(log, column, labels) if log.form == "pairwise" else []


def labels_from_file(path: str | Path, n: int, column: str = "poisoned") -> np.ndarray:
    """The labels (N,) int64 in {0, 1} that a CSV with a column `sample_idx` gives.

    With a column of the given name, each row has a line with 0 or 1 in it; without, the rows listed are the poisoned.

    Raises:
        DataError: what `read_row_numbers` refuses; a value other than 0 and 1; a row without a line.
    """
    rows = read_row_numbers(path, n)
    labels = np.zeros(n, dtype=np.int64)
    table = read_csv(path, (NUMBER,))
    if column not in table.values:
        labels[rows] = 1
        return labels
    said = table.column(column)
    flags = np.array([FLAGS.get(value.strip().lower(), -1) for value in said])
    wrong = np.flatnonzero(flags < 0)
    if len(wrong):
        raise DataError(
            f"{path}, line {table.first[wrong[0]]}: `{column}` is wrong in {len(wrong)} line(s). Got "
            f"{quoted(said[wrong[0]])}, expected 0 or 1. Mend the file."
        )
    if len(rows) < n:
        absent = np.setdiff1d(np.arange(n), rows)
        raise DataError(
            f"{path}: rows without a label. Got {listed('rows missing', map(str, absent))}, expected a line for each "
            f"of the {n}. Add them."
        )
    labels[rows] = flags
    return labels


def read_row_numbers(path: str | Path, n: int) -> np.ndarray:
    """The row numbers (R,) int64 in the column `sample_idx` of a CSV, in the order of its lines.

    Args:
        path: a CSV; ranking CSVs have the column too.
        n: how many rows there are.

    Raises:
        DataError: what `read_csv` refuses; a number that is no row's, or stands twice.
    """
    table = read_csv(path, (NUMBER,))
    texts = table.column(NUMBER)
    numbers = np.array(
        [int(text) if text.isascii() and text.isdigit() and len(text) < DIGITS else -1 for text in texts]
    )
    wrong = np.flatnonzero((numbers < 0) | (numbers >= n))
    if len(wrong):
        raise DataError(
            f"{path}, line {table.first[wrong[0]]}: not the number of a row ({len(wrong)} such line(s)). Got "
            f"{quoted(texts[wrong[0]])}, expected 0 to {n - 1}. Mend the file."
        )
    if len(np.unique(numbers)) < len(numbers):
        twice = np.flatnonzero(np.bincount(numbers) > 1)
        raise DataError(f"{path}: {listed('row(s) stand twice', map(str, twice))}. Expected each once. Mend the file.")
    return numbers


def _disagreements(log: ClickLog, column: str, labels: np.ndarray) -> list[str]:
    """A note on rows whose click is genuine but another line of which is marked."""
    table = read_csv(log.path, (column,))
    marked = np.array([FLAGS.get(value.strip().lower()) == 1 for value in table.values[column]])[table.codes[column]]
    lines = set(table.first[marked].tolist())
    rows = [i for i in np.flatnonzero(labels == 0) if not lines.isdisjoint(line_numbers(log.rows.sources[i]))]
    if not rows:
        return []
    where = log.rows.sources[rows[0]]
    return [
        f"{len(rows)} row(s) have `{column}` 1 in the line of another candidate and 0 in the click's "
        f"(line(s) {where}): the click's counts."
    ]
