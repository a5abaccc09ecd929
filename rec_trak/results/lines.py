"""Tables of many lines, made for the lines that are asked for, some at a time. Not here: what any column says, files.

A run of a million rows has a million histories; as Python objects they take gigabytes. Whoever needs them takes them
in parts, and what is written is made in parts, whether it comes from a click log, from a file or from another table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

AT_ONCE = 20_000  # lines that are made, read or written together
Make = Callable[[np.ndarray, Sequence[str]], pd.DataFrame]


@dataclass(frozen=True)
class Lines:
    """N lines of a table.

    Attributes:
        columns: their names, in order.
        count: N.
        make: makes lines: (n,) int64 places, names of columns -> a frame with these columns, in any order; more of them
            do no harm.
        held: what was found before about whole columns.
    """

    columns: tuple[str, ...]
    count: int
    make: Make
    held: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, table: pd.DataFrame | Lines) -> Lines:
        """The lines of a frame, which is held; of lines, themselves."""
        if isinstance(table, Lines):
            return table
        return cls(tuple(table.columns), len(table), lambda places, names: table[[*names]].iloc[places])

    def __repr__(self) -> str:
        return f"Lines({self.count:,}: {', '.join(map(str, self.columns))})"

    def __len__(self) -> int:
        return self.count

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str | list[str]) -> Any:
        """One column whole, or a frame of those named; see `codes` and `numbers` for columns of long tables."""
        return self.whole([name] if isinstance(name, str) else name)[name]

    def take(self, places: Any, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The lines at these places (n,), in that order, numbered from 0; all columns, or those named."""
        names = list(self.columns if columns is None else columns)
        return self.make(np.asarray(places, dtype=np.int64), names)[names].reset_index(drop=True)

    def at(self, places: np.ndarray) -> Lines:
        """The table of the lines at these places (n,), in that order."""
        return Lines(self.columns, len(places), lambda own, names: self.take(places[own], names))

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """All lines in order, AT_ONCE at a time; of a table without lines one part, for its headings."""
        for start in range(0, max(self.count, 1), AT_ONCE):
            yield self.take(np.arange(start, min(start + AT_ONCE, self.count)), columns)

    def whole(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All lines in one frame."""
        parts = list(self.parts(columns))
        return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def numbers(self, name: str) -> np.ndarray:
        """(N,) float64 of a column, NaN where a cell is no number; not to be written to."""
        if ("numbers", name) not in self.held:
            found = (pd.to_numeric(part[name], errors="coerce") for part in self.parts([name]))
            self.held["numbers", name] = np.concatenate([one.to_numpy(dtype=np.float64) for one in found])
        return self.held["numbers", name]

    def codes(self, name: str) -> tuple[np.ndarray, list[Any]]:
        """(N,) int32, which of a column's different values each line has, and these, in order of appearance; not to be
        written to."""
        if ("codes", name) not in self.held:
            self.held["codes", name] = self._codes(name)
        return self.held["codes", name]

    def _codes(self, name: str) -> tuple[np.ndarray, list[Any]]:
        known: dict[Any, int] = {}
        parts = []
        for part in self.parts([name]):
            own, values = pd.factorize(part[name])
            places = np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int32)
            parts.append(places[own] if len(places) else np.zeros(0, dtype=np.int32))
        return np.concatenate(parts), list(known)


@dataclass(frozen=True)
class Made:
    """A column of N cells that are made for the places asked for.

    Attributes:
        count: N.
        make: (n,) int64 places -> n cells.
    """

    count: int
    make: Callable[[np.ndarray], Sequence[Any]]

    def __len__(self) -> int:
        return self.count


def cells(column: Any, places: np.ndarray) -> Any:
    """The cells of a column (an array, `Made`, or any sequence) at these places (n,)."""
    if isinstance(column, Made):
        return column.make(places)
    return column[places] if isinstance(column, np.ndarray) else [column[i] for i in places.tolist()]
