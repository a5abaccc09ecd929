"""Rows of unequal length in two flat arrays. Not here: what the values mean."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rec_trak.words import outline

AT_ONCE = 50_000  # sequences that are gone through together
COUNTED = 1_000_000  # values that are counted together
SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))


@dataclass(frozen=True)
class Ragged:
    """N sequences of integers, one behind the other.

    Attributes:
        values: (sum of lengths,) int32.
        offsets: (N + 1,) int64; sequence i is `values[offsets[i]:offsets[i + 1]]`.
    """

    values: np.ndarray
    offsets: np.ndarray

    __repr__ = outline

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]]) -> Ragged:
        """The table of the given sequences, in order."""
        sequences = list(sequences)
        offsets = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(s) for s in sequences], out=offsets[1:])
        values = np.fromiter((v for s in sequences for v in s), dtype=np.int32, count=int(offsets[-1]))
        return cls(values, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        if i < 0:
            i += len(self)
        if not 0 <= i < len(self):
            raise IndexError(f"sequence {i} of {len(self)}")
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64, the length of each sequence."""
        return np.diff(self.offsets)

    def subset(self, rows: np.ndarray) -> Ragged:
        """The table of the sequences `rows` (int positions), in that order."""
        rows = np.arange(len(self))[rows]
        values, offsets = gathered(self.values, self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows])
        return Ragged(values.astype(np.int32, copy=False), offsets)


class Growing:
    """Sequences of integers that come one by one, held as `Ragged` holds them."""

    def __init__(self) -> None:
        self.values, self.lengths = array("i"), array("q")

    def add(self, sequence: Sequence[int]) -> None:
        self.values.extend(sequence)
        self.lengths.append(len(sequence))

    def table(self) -> Ragged:
        """The table of what was added, in order; nothing can be added afterwards."""
        return Ragged(np.frombuffer(self.values, dtype=np.int32), offsets_of(np.frombuffer(self.lengths, np.int64)))


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """(N + 1,) int64, where sequences of these lengths (N,) begin and end."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def gathered(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretches of an array one behind the other, and where each begins and ends (n + 1,) int64.

    Made some at a time: an index of each value takes four times the room of the values.

    Args:
        values: (v,) of any type.
        starts, lengths: (n,) of each stretch.
    """
    offsets = offsets_of(lengths)
    found, moves = np.empty(offsets[-1], dtype=values.dtype), starts - offsets[:-1]
    for a in range(0, len(lengths), AT_ONCE):
        own = offsets[a : a + AT_ONCE + 1]
        places = np.arange(own[0], own[-1]) + np.repeat(moves[a : a + AT_ONCE], np.diff(own))
        found[own[0] : own[-1]] = values[places]
    return found, offsets


def same(table: Ragged) -> np.ndarray:
    """(N,) int64, equal for sequences that are equal, and for those alone.

    Sequences are told apart by sums of hashes of their entries, then those with equal sums are compared.
    """
    sums = np.zeros((2, len(table)), dtype=np.uint64)
    for a in range(0, len(table), AT_ONCE):
        ends = table.offsets[a : a + AT_ONCE + 1]
        lengths = np.diff(ends)
        place = np.arange(ends[0], ends[-1]) - np.repeat(ends[:-1], lengths)
        entries = (table.values[ends[0] : ends[-1]].astype(np.uint64) << np.uint64(32)) + place.astype(np.uint64)
        some = lengths > 0
        for row, seed in zip(sums, SEEDS, strict=True):
            if some.any():
                row[a : a + AT_ONCE][some] = np.add.reduceat(_mixed(entries + seed), (ends[:-1] - ends[0])[some])
    _, first, found = np.unique(sums[0] ^ _mixed(sums[1]), return_index=True, return_inverse=True)
    rest = np.flatnonzero(first[found] != np.arange(len(table)))
    if _all_equal(table, rest, first[found[rest]]):
        return found
    known: dict[bytes, int] = {}  # two sums that are one by chance: nobody will see it
    return np.array([known.setdefault(table[i].tobytes(), len(known)) for i in range(len(table))], dtype=np.int64)


def holding(table: Ragged, entries: Iterable[int]) -> np.ndarray:
    """(N,) bool, whether a sequence holds one of the entries."""
    found = np.zeros(len(table), dtype=bool)
    found[np.searchsorted(table.offsets, np.flatnonzero(np.isin(table.values, list(entries))), side="right") - 1] = True
    return found


def distinct(values: np.ndarray) -> np.ndarray:
    """The different ones of integers, ascending, as np.unique gives them: it hashes, which takes a million some twenty
    times as long as a sort."""
    ordered = np.sort(values, axis=None)
    return ordered[np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))] if len(ordered) else ordered


def each_once(table: Ragged) -> Ragged:
    """The different entries of each sequence, which are not negative, ascending."""
    width = int(table.values.max(initial=0)) + 1
    values, offsets = np.empty(len(table.values), dtype=np.int32), np.zeros(len(table) + 1, dtype=np.int64)
    for a in range(0, len(table), AT_ONCE):
        ends = table.offsets[a : a + AT_ONCE + 1]
        keys = np.repeat(np.arange(len(ends) - 1), np.diff(ends)) * width + table.values[ends[0] : ends[-1]]
        owner, found = np.divmod(distinct(keys), width)
        values[offsets[a] : offsets[a] + len(found)] = found
        offsets[a + 1 : a + len(ends)] = offsets[a] + np.cumsum(np.bincount(owner, minlength=len(ends) - 1))
    return Ragged(values[: offsets[-1]], offsets)


def counted(values: np.ndarray, width: int) -> np.ndarray:
    """(width,) int64, how often each number below `width` stands among int32 values (n,), as np.bincount gives it: that
    makes int64 of all of them at once."""
    found = np.zeros(width, dtype=np.int64)
    for a in range(0, len(values), COUNTED):
        found += np.bincount(values[a : a + COUNTED], minlength=width)
    return found


def _all_equal(table: Ragged, rows: np.ndarray, others: np.ndarray) -> bool:
    """Whether the sequences `rows` (n,) are those at `others` (n,), one by one."""
    for a in range(0, len(rows), AT_ONCE):
        one, other = (table.subset(part[a : a + AT_ONCE]) for part in (rows, others))
        if not (np.array_equal(one.offsets, other.offsets) and np.array_equal(one.values, other.values)):
            return False
    return True


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """(n,) uint64 hashes of uint64, each bit depending on every bit.

    Source: splitmix64 (Steele, Lea and Flood 2014).
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
