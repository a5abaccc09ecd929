"""Strict reading of text tables: UTF-8 lines, and CSV with true line numbers. Not here: what any column means."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rec_trak.errors import DataError
from rec_trak.words import LINE, QUOTE, outline, plain

FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}  # the last four: as pandas writes mixed columns
DIGITS = 19  # of a number in a table that 64 bits may not hold any more
NO_VALUE = frozenset(("", "nan", "NaN", "NAN", "null", "NULL", "None", "none", "NA", "N/A", "n/a", "<NA>", "[]"))
LINE_BREAK = re.compile(r"[\r\n\0]+")


@dataclass(frozen=True)
class Table:
    """L records of a CSV file, every distinct value of a column kept once.

    Attributes:
        values: column name -> its distinct strings, in order of appearance.
        codes: column name -> (L,) int64 places in `values`.
        first, last: (L,) int64, the lines a record spans, counted from 1 with the header; they differ where a quoted
            field holds a newline.
    """

    values: dict[str, list[str]]
    codes: dict[str, np.ndarray]
    first: np.ndarray
    last: np.ndarray

    __repr__ = outline

    def column(self, name: str) -> tuple[str, ...]:
        """The L strings of a column; '' throughout where the file has no such column."""
        if name not in self.values:
            return ("",) * len(self.first)
        return tuple(np.array(self.values[name], dtype=object)[self.codes[name]])

    def subset(self, lines: np.ndarray) -> Table:
        """The given records (a mask or positions), every distinct value still known."""
        codes = {name: places[lines] for name, places in self.codes.items()}
        return Table(self.values, codes, self.first[lines], self.last[lines])


def read_lines(path: str | Path, newline: str = "") -> Iterator[str]:
    """The lines of a UTF-8 text file, ends included; `newline` as in `open`.

    Raises:
        DataError: the file is missing, is not UTF-8, or holds a NUL byte.
    """
    try:
        with open(path, encoding="utf-8-sig", newline=newline) as file:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise DataError(f"{path}, line {number}: holds a NUL byte, so the file is damaged. Write it anew.")
                yield line
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Give the path of an existing file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Give the path of a readable file.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}, line {_undecodable(path)}: not UTF-8. Save the file as UTF-8.") from None


def _undecodable(path: str | Path) -> int:
    """The first line that is not UTF-8; the decoder itself knows only its block."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return number


def read_csv(path: str | Path, required: Sequence[str], delimiter: str = ",") -> Table:
    """The records of a CSV file (or one with tabs) with a header; columns without a name are left out.

    Raises:
        DataError: what `read_lines` refuses; an empty file, missing or repeated columns, no record, a record with too
            few or too many fields, broken quoting.
    """
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    header, end = None, 0
    first: list[int] = []
    last: list[int] = []
    try:
        for fields in reader:
            start, end = end + 1, reader.line_num
            if not fields:
                continue
            if header is None:
                header = _header(path, fields, required)
                known: list[dict[str, int]] = [{} for _ in header]
                codes: list[list[int]] = [[] for _ in header]
                continue
            if len(fields) != len(header):
                raise DataError(
                    f"{path}, line {start}: Got {len(fields)} fields, expected {len(header)}. Mend the line."
                )
            first.append(start)
            last.append(end)
            for value, places, column in zip(fields, known, codes, strict=True):
                column.append(places.setdefault(value, len(places)))
    except csv.Error as error:
        raise DataError(f"{path}, line {end + 1}: not valid CSV ({error}). Mend the quotes from there on.") from None
    if not first:
        state = "empty" if header is None else "only a header, no rows"
        raise DataError(f"{path}: the file is {state}. Give a file with {', '.join(required)}.")
    places = {name: i for i, name in enumerate(header) if name}
    return Table(
        {name: list(known[i]) for name, i in places.items()},
        {name: np.array(codes[i], dtype=np.int64) for name, i in places.items()},
        np.array(first, dtype=np.int64),
        np.array(last, dtype=np.int64),
    )


def _header(path: str | Path, header: list[str], required: Sequence[str]) -> list[str]:
    got = plain(", ".join(f"`{name}`" for name in header), LINE // 2)
    missing = [f"`{name}`" for name in required if name not in header]
    if missing:
        raise DataError(f"{path}: missing column(s) {', '.join(missing)}. Got {got}. Add or rename them.")
    repeated = [f"`{plain(name, QUOTE)}`" for name, times in Counter(header).items() if name and times > 1]
    if repeated:
        raise DataError(f"{path}: column(s) {', '.join(repeated)} stand twice. Got {got}. Keep one of each.")
    return header


def one_line(text: str) -> str:
    """The text with spaces for line breaks, so that it stays on one line of a file; for a terminal see `words`."""
    return LINE_BREAK.sub(" ", text)
