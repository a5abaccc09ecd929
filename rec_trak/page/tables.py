"""CSV files of a results folder -> tables that a page embeds: bounded, typed, safe to show. Not here: HTML, layout.

Texts come from click logs and article files, so nothing in them is trusted: what could hide or reorder other text is
taken out here, and markup is left to the page, which treats every text as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.config.documents import load_json
from rec_trak.errors import DataError
from rec_trak.page.glossary import place_of
from rec_trak.results.reading import read_table as read_table_of_results
from rec_trak.words import harmless, headline_text

LINES = 1000  # of a table in the page at most; the CSV has the rest
CELL = 240  # characters of a cell
SHORT = 16  # characters that are never wrapped
SPACES = re.compile(r"\s+")
TEXTS = (
    "user_id",
    "article_id",
    "title",
    "label",
    "day",
    "name",
    "ranking",
    "question",
    "group",
    "clicked_id",
    "clicked_title",
)
HEADLINES = ("title", "clicked_title")
HEADINGS = {
    "article_id": "article",
    "user_id": "user",
    "title": "headline",
    "label": "class",
    "sample_idx": "row",
    "clicked_id": "clicked",
    "clicked_title": "clicked headline",
    "auroc": "AUROC",
}


@dataclass(frozen=True)
class Table:
    """What a page shows of one CSV.

    Attributes:
        name: of the table in the page.
        title: what its lines are.
        file: where the whole of it is, from the run's folder.
        columns: one dictionary a column: `heading`, `kind`, one of number, text, short, headline, label, and `term`,
            the place in the page of what the heading means, '' for none.
        lines: the first lists of cells; None where there is no value.
        total: lines of the CSV.
    """

    name: str
    title: str
    file: str
    columns: list[dict[str, str]]
    lines: list[list[Any]]
    total: int


def shown(text: Any, limit: int | None = CELL) -> str:
    """The text on one line, U+FFFD for what is not seen or reorders its neighbours, cut to `limit` characters."""
    line = SPACES.sub(" ", harmless(str(text))).strip()
    return line if limit is None or len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


def read_table(path: Path, name: str, title: str, lines: int = LINES, root: Path | None = None) -> Table | None:
    """The first `lines` lines of a CSV with a header; None where there is no such file.

    Its `file` is told as seen from the folder `root`, by default its own.

    Raises:
        DataError: the file is no CSV.
    """
    frame = read_csv(path)
    return (
        None
        if frame is None
        else make_table(frame, name, title, path.relative_to(root or path.parent).as_posix(), lines)
    )


def read_csv(path: Path | None) -> pd.DataFrame | None:
    """A CSV as text, None where there is no such file, or none was found.

    Raises:
        DataError: it cannot be read.
    """
    return read_table_of_results(path) if path is not None and path.is_file() else None


def read_json(path: Path) -> dict[str, Any] | None:
    """The keys and values of a JSON file, None where there is no such file.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    if not path.is_file():
        return None
    try:
        content = load_json(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({shown(error)}). Run the script that writes it again.") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DataError(f"{path}: no keys and values. Got {kind}. Run the script that writes it again.")
    return content


def make_table(frame: pd.DataFrame, name: str, title: str, file: str, lines: int = LINES) -> Table:
    """A frame's first `lines` lines; a column is numeric where every cell that holds something is a number."""
    if "label" in frame.columns and set(frame["label"]) <= {"unknown", ""}:
        frame = frame.drop(columns="label")  # nobody said of any
    head = frame.head(lines)
    columns, cells = [], []
    for column in frame.columns:
        values, kind = _cells(head[column], str(column))
        heading = shown(HEADINGS.get(str(column), str(column).replace("_", " ")), 60)
        columns.append({"heading": heading, "kind": kind, "term": place_of(heading)})
        cells.append(values)
    return Table(name, title, file, columns, [list(line) for line in zip(*cells, strict=True)], len(frame))


def _cells(values: pd.Series, column: str) -> tuple[list[Any], str]:
    """The cells of a column in JSON's own types, and its kind."""
    if column not in TEXTS:
        numbers = pd.to_numeric(values.replace("", np.nan), errors="coerce").astype(float)
        empty = values.isna() | (values.astype(str) == "")
        if not (numbers.isna() & ~empty).any() and not empty.all() and np.isfinite(numbers[~empty]).all():
            return [_number(x) for x in numbers.tolist()], "number"
    seen = headline_text if column in HEADLINES else str
    texts = ["" if x is None or x != x else shown(seen(x)) for x in values.tolist()]
    if column == "label" and set(texts) <= {"fake", "real", "unknown", ""}:
        return texts, "label"
    if column in HEADLINES:
        return texts, "headline"
    return texts, "short" if max(map(len, texts), default=0) <= SHORT else "text"


def _number(value: float) -> float | int | None:
    """A number as short as four significant digits allow, since the CSV has the rest."""
    if value != value:
        return None
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.4g}")
