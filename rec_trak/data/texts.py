"""Strings in one buffer of bytes, made into objects for the rows asked for. Not here: files, or what a string says."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import overload

import numpy as np

from rec_trak.data.ragged import gathered, offsets_of

AT_ONCE = 4096  # strings that are made together when all of them are gone through
ENCODING = ("utf-8", "surrogatepass")  # a name in a file's JSON may hold half a pair, which is carried as it is


class Texts(Sequence[str]):
    """N strings, as a tuple of them would be: compared, counted and gone through alike, but without N objects."""

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        """The strings of a buffer, which is not copied.

        Args:
            data: (bytes,) uint8, the strings one behind the other in UTF-8.
            offsets: (N + 1,) int64; string i is `data[offsets[i]:offsets[i + 1]]`.
        """
        self.data, self.offsets = data, offsets

    @classmethod
    def of(cls, strings: Sequence[str]) -> Texts:
        """The given strings, in order."""
        if isinstance(strings, Texts):
            return strings
        joined = "".join(strings)
        ascii_only = joined.isascii()
        encoded = [joined.encode()] if ascii_only else [string.encode(*ENCODING) for string in strings]
        offsets = np.zeros(len(strings) + 1, dtype=np.int64)
        np.cumsum([len(one) for one in (strings if ascii_only else encoded)], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, i: int) -> str: ...

    @overload
    def __getitem__(self, i: slice) -> tuple[str, ...]: ...

    def __getitem__(self, i: int | slice) -> str | tuple[str, ...]:
        if isinstance(i, slice):
            return tuple(self[k] for k in range(*i.indices(len(self))))
        place = int(i) + len(self) * (i < 0)
        if not 0 <= place < len(self):
            raise IndexError(f"string {i} of {len(self)}")
        return self.data[self.offsets[place] : self.offsets[place + 1]].tobytes().decode(*ENCODING)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            ends = self.offsets[start : start + AT_ONCE + 1]
            part = self.data[ends[0] : ends[-1]].tobytes()
            bounds = (ends - ends[0]).tolist()
            if part.isascii():
                text = part.decode("ascii")
                yield from (text[a:b] for a, b in pairwise(bounds))
            else:
                yield from (part[a:b].decode(*ENCODING) for a, b in pairwise(bounds))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Texts, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Texts({len(self):,})"

    def subset(self, rows: np.ndarray) -> Texts:
        """The strings of the given rows (int positions), in that order."""
        rows = np.arange(len(self))[rows]
        return Texts(*gathered(self.data, self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]))


class GrowingTexts:
    """Strings that come one by one, held as `Texts` holds them."""

    def __init__(self) -> None:
        self.data, self.lengths = bytearray(), array("q")

    def add(self, string: str) -> None:
        encoded = string.encode(*ENCODING)
        self.data += encoded
        self.lengths.append(len(encoded))

    def table(self) -> Texts:
        """What was added, in order; nothing can be added afterwards."""
        lengths = np.frombuffer(self.lengths, dtype=np.int64)
        return Texts(np.frombuffer(self.data, dtype=np.uint8), offsets_of(lengths))


def taken(strings: Sequence[str], rows: np.ndarray) -> Sequence[str]:
    """The strings of the given rows: of `Texts` as such, of others a tuple."""
    return strings.subset(rows) if isinstance(strings, Texts) else tuple(strings[int(i)] for i in rows)
