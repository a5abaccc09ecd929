"""Rows of unequal length in two flat arrays. Not here: what the values mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rec_trak.words import outline


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
        starts, lengths = self.offsets[rows], self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Ragged(self.values[places].astype(np.int32, copy=False), offsets)
