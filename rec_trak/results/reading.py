"""Tables of a results folder as text, read back whole or some lines at a time. Not here: rows.csv, or writing any."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rec_trak.errors import DataError, reason
from rec_trak.results.cells import unguarded
from rec_trak.results.lines import Lines
from rec_trak.results.records import open_lines
from rec_trak.store.manifest import read_whole

METADATA = "metadata.json"
GUARD = "spreadsheet_safe"  # in metadata.json: text cells of rows.csv have an apostrophe that is not the data's


def read_table(path: Path) -> pd.DataFrame:
    """A CSV of a results folder as text, without the apostrophes of `--spreadsheet_safe`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path}: cannot be read ({reason(error)}). Run the script that writes it again.") from None
    told = read_whole(path.parent / METADATA) or {}
    return unguarded(table) if told.get(GUARD) is True else table


def read_lines(path: Path) -> Lines:
    """The same as lines that are read when they are asked for, for tables that are long.

    Raises:
        DataError: it cannot be read.
    """
    told = read_whole(path.parent / METADATA) or {}
    try:
        return open_lines(path, unguarded if told.get(GUARD) is True else lambda part: part, lambda first, part: None)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}). Run the script that writes it again.") from None
