"""A table as text for a terminal. Not here: what stands in it."""

from __future__ import annotations

import pandas as pd

from rec_trak.words import plain


def format_table(table: pd.DataFrame, width: int = 100) -> str:
    """The table as text for a terminal: words to the left, numbers to the right, `-` for what cannot be given.

    Args:
        table: any.
        width: columns of text, at most. What is wider gets its headings stacked, word over word; then the longest
            words, and at last whole lines, are cut and end in `...`.
    """
    names = [plain(str(name), mark=" ") for name in table.columns]
    cells = [list(map(_cell, table[name])) for name in table.columns]
    words = [i for i, name in enumerate(table.columns) if not pd.api.types.is_numeric_dtype(table[name])]
    headings = [[name] for name in names]
    if _width(_widths(headings, cells)) > width:
        headings = [name.split("_") for name in names]
    widths = _widths(headings, cells)
    excess = _width(widths) - width
    if excess > 0 and words:
        longest = max(words, key=lambda i: widths[i])
        widths[longest] = max(widths[longest] - excess, 8)
    height = max(map(len, headings), default=0)
    columns = [[""] * (height - len(h)) + h + c for h, c in zip(headings, cells, strict=True)]
    lines = []
    for row in zip(*columns, strict=True):
        fitted = zip(row, widths, strict=True)
        parts = [_cut(c, w).ljust(w) if i in words else c.rjust(w) for i, (c, w) in enumerate(fitted)]
        lines.append(_cut("  ".join(parts).rstrip(), width))
    return "\n".join(lines)


def _widths(headings: list[list[str]], cells: list[list[str]]) -> list[int]:
    return [max(map(len, heading + column)) for heading, column in zip(headings, cells, strict=True)]


def _width(widths: list[int]) -> int:
    """Characters of a line, two spaces between columns."""
    return sum(widths) + 2 * (len(widths) - 1)


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN is the one number that differs from itself
        return "-"
    text = _number(value) if isinstance(value, float) else str(value)
    return plain(text, mark=" ")  # a headline must not steer the terminal


def _number(value: float) -> str:
    """Three digits behind the point, or three that count where those would be zeros."""
    return f"{value:.2e}" if 0 < abs(value) < 0.0005 else f"{value + 0.0:.3f}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
