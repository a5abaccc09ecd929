"""Text cells that a spreadsheet would compute, and how they are kept from it. Not here: which files are written.

A spreadsheet takes a cell for a formula by its first character, whoever wrote it. A CSV holds what the data say, since
programs read it; `--spreadsheet_safe` puts an apostrophe before such a cell, which a spreadsheet takes for "text".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `--help` does without
    import pandas as pd

COMPUTED = re.compile(r"'*[=+\-@\t\r]")  # apostrophes too, so that they can be taken off again
GUARDED = re.compile(r"'+[=+\-@\t\r]")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")

_safe = False


def set_spreadsheet_safe(safe: bool) -> None:
    """Guard the tables that this process writes from now on (`--spreadsheet_safe`), or leave them as they are."""
    global _safe
    _safe = safe


def spreadsheet_safe() -> bool:
    """Whether tables are guarded."""
    return _safe


def guard(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would compute it; a number stays one."""
    return f"'{text}" if COMPUTED.match(text) and not NUMBER.fullmatch(text) else text


def unguard(text: str) -> str:
    """What `guard` was given."""
    return text[1:] if GUARDED.match(text) else text


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its headings and text cells guarded if this process is to; else the table itself."""
    return _each_text(table, guard) if _safe else table


def unguarded(table: pd.DataFrame) -> pd.DataFrame:
    """The table that `guarded` was given, read as text."""
    return _each_text(table, unguard)


def _each_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    changed = table.copy()
    for i in range(table.shape[1]):
        column = table.iloc[:, i]
        if column.dtype.kind not in "biufc":
            cells = column.astype(object)
            texts = cells.map(lambda cell: isinstance(cell, str)).to_numpy(dtype=bool)
            cells[texts] = [change(cell) for cell in cells[texts]]
            changed.isetitem(i, cells)
    changed.columns = [change(name) if isinstance(name, str) else name for name in table.columns]
    return changed
