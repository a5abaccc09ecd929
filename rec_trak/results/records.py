"""A long CSV of ours read where it lies: what is kept of it is where its records begin. Not here: what they say.

Records are found by the bytes of the file, a line break within quotes being none; cells are parsed for those that are
asked for, as `pandas.read_csv` parses the whole file.
"""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rec_trak.results.lines import AT_ONCE, Lines

BYTES = 2**24  # that are looked through at once
QUOTE, BREAK = ord('"'), ord("\n")
AS_TEXT = {"dtype": str, "keep_default_na": False, "encoding": "utf-8"}
Change = Callable[[pd.DataFrame], pd.DataFrame]


def open_lines(path: Path, changed: Change, check: Callable[[int, pd.DataFrame], None]) -> Lines:
    """The lines of a CSV as text, parsed once from end to end to see that they can be, then when they are asked for.

    Args:
        path: of the file, which stays open as long as its lines are held, so that another in its place does no harm.
        changed: what is done to each part of it, headings too (`cells.unguarded`).
        check: is given the number of the first line of each part, and the part.

    Raises:
        ValueError, OSError: it is no CSV, or cannot be read; what `check` raises.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    lines = 0
    try:
        starts, ends = _records(file)
        for part in _parsed_through(path):
            part = changed(part)
            check(lines, part)
            columns, lines = tuple(part.columns), lines + len(part)
    except BaseException:
        os.close(file)
        raise
    if lines != len(starts) - 1:  # of a writer with other line ends than ours
        os.close(file)
        return Lines.of(changed(pd.read_csv(path, **AS_TEXT)))
    records, number = _Records(file, starts, ends), {name: i for i, name in enumerate(columns)}
    return Lines(columns, lines, lambda places, names: records.parsed(places, [number[n] for n in names], changed))


class _Records:
    """The open file, closed with the last who holds it, and where its records are, the heading first."""

    def __init__(self, file: int, starts: np.ndarray, ends: np.ndarray) -> None:
        self.file, self.starts, self.ends = file, starts, ends
        weakref.finalize(self, os.close, file)

    def parsed(self, places: np.ndarray, columns: Sequence[int], changed: Change) -> pd.DataFrame:
        """Some columns, by number, of the records at these places (n,)."""
        content = b"".join([self._bytes(0, 0), *self._spans(places + 1)])
        return changed(pd.read_csv(io.BytesIO(content), usecols=sorted(set(columns)), **AS_TEXT))

    def _spans(self, places: np.ndarray) -> Iterator[bytes]:
        """The bytes of these records; those that stand side by side are read together."""
        if len(places):
            breaks = np.flatnonzero(np.diff(places) != 1) + 1
            firsts, lasts = places[np.r_[0, breaks]], places[np.r_[breaks, 0] - 1]
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
                yield self._bytes(first, last)

    def _bytes(self, first: int, last: int) -> bytes:
        start, end = int(self.starts[first]), int(self.ends[last])
        content = os.pread(self.file, end - start, start)
        while len(content) < end - start:  # more than a call gives
            more = os.pread(self.file, end - start - len(content), start + len(content))
            if not more:
                raise OSError("shorter than it was")
            content += more
        return content if content.endswith(b"\n") else content + b"\n"


def _parsed_through(path: Path) -> Iterator[pd.DataFrame]:
    with pd.read_csv(path, chunksize=AT_ONCE, **AS_TEXT) as parts:
        yield from parts


def _records(file: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each record begins, and ends with its line break, (M,) int64 each; empty lines are none."""
    at, quotes, found, content = 0, 0, [], b""
    while part := os.pread(file, BYTES, at):
        content = np.frombuffer(part, dtype=np.uint8)
        breaks, marks = np.flatnonzero(content == BREAK), np.flatnonzero(content == QUOTE)
        outside = (quotes + np.searchsorted(marks, breaks)) % 2 == 0
        found.append(at + 1 + breaks[outside])
        at, quotes = at + len(part), quotes + len(marks)
    ends = np.concatenate([*found, np.zeros(0, dtype=np.int64)])
    if at and (not len(ends) or ends[-1] < at):
        ends = np.append(ends, at)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends])[: len(ends)]
    short = np.flatnonzero(ends - starts <= 2)
    empty = [i for i in short.tolist() if not os.pread(file, 2, int(starts[i]))[: ends[i] - starts[i]].strip(b"\r\n")]
    return np.delete(starts, empty), np.delete(ends, empty)
