"""Places of a row that look up the same thing, added up before they are multiplied. Not here: sketches, recording.

A title's words recur within a row's history, and so do its padding and its articles. Where two places of a row have
equal inputs x, their gradient d (x) x + e (x) x is (d + e) (x) x: fewer and larger products, with the same sum. Places
that look up nothing are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rec_trak.gradients.factors import NOWHERE, Factor, Outer, Rows


@dataclass(frozen=True)
class Places:
    """The U different (row, key) pairs of some blocks.

    Attributes:
        owner, keys: (U,) int64, by row.
        of: for each block (N0, L), which of the U its places are, (N0 L,); U where they are none.
        done: what was merged by these places so far, by the address of its first block.
    """

    owner: Tensor
    keys: Tensor
    of: tuple[Tensor, ...]
    done: dict[int, Tensor] = field(default_factory=dict)

    def sums(self, blocks: list[Tensor]) -> Tensor:
        """(U, width): the blocks (N0, L, width) added up by place."""
        return self._done(blocks, torch.zeros, Tensor.index_add_)

    def picks(self, blocks: list[Tensor]) -> Tensor:
        """(U, width): of the blocks (N0, L, width), which are equal at equal places, one for each."""
        return self._done(blocks, torch.empty, Tensor.index_copy_)

    def _done(self, blocks: list[Tensor], start: Callable, put: Callable) -> Tensor:
        first = blocks[0]
        if first.data_ptr() not in self.done:
            out = start(len(self.owner) + 1, first.shape[-1], dtype=first.dtype, device=first.device)
            for block, of in zip(blocks, self.of, strict=True):
                put(out, 0, of, block.flatten(0, 1))
            self.done[first.data_ptr()] = out[:-1]
        return self.done[first.data_ptr()]


def merged(parts: list[Factor], known: dict[tuple, Places]) -> list[Factor]:
    """The same sum of gradients with one place for each different key of a row; as it was where there are no keys.

    Args:
        parts: of one kind and one parameter.
        known: places found so far, kept between parameters that look up by the same keys.
    """
    if isinstance(parts[0], Rows):
        return _merged_rows(parts, known)
    if not isinstance(parts[0], Outer):
        return parts
    if any(part.keys is None for part in parts):
        return _joined(parts)
    if len({(part.first, part.taps) for part in parts}) > 1:
        return parts
    places = _known(known, [part.keys for part in parts], parts)
    left, right = places.sums([part.left for part in parts]), places.picks([part.right for part in parts])
    return [Outer(left[:, None], right[:, None], places.owner, parts[0].first, taps=parts[0].taps)]


def _joined(parts: list[Outer]) -> list[Outer]:
    """Uses with the same blocks, such as the steps of a recurrent layer, as one."""
    alike: dict[tuple, list[Outer]] = {}
    for part in parts:
        alike.setdefault((id(part.owner), part.first, part.taps), []).append(part)
    if len(alike) == len(parts):
        return parts
    return [
        Outer(
            torch.cat([part.left for part in same], dim=1),
            torch.cat([part.right for part in same], dim=1),
            same[0].owner,
            same[0].first,
            taps=same[0].taps,
        )
        for same in alike.values()
    ]


def _merged_rows(parts: list[Rows], known: dict[tuple, Places]) -> list[Rows]:
    alike: dict[tuple, list[Rows]] = {}
    for part in parts:
        through = None if part.through is None else part.through.data_ptr()
        alike.setdefault((through, part.skip), []).append(part)
    sums: dict[int, Rows] = {}
    for same in alike.values():
        places = _known(known, [part.ids for part in same], same)
        values = places.sums([part.values for part in same])[:, None]
        rows = Rows(places.keys[:, None], values, places.owner, same[0].through, same[0].skip)
        before = sums.get(id(places))
        values = rows.finished() if before is None else before.values + rows.finished()
        sums[id(places)] = Rows(rows.ids, values, rows.owner)
    return list(sums.values())


def _known(known: dict[tuple, Places], keys: list[Tensor], parts: list[Factor]) -> Places:
    same = tuple((k.data_ptr(), part.owner.data_ptr()) for k, part in zip(keys, parts, strict=True))
    if same not in known:
        known[same] = _places(keys, [part.owner for part in parts])
    return known[same]


def _places(keys: list[Tensor], owners: list[Tensor]) -> Places:
    span, last = max(int(k.max()) for k in keys) + 1, max(int(owner.max()) for owner in owners) + 1
    pairs = [
        torch.where(k == NOWHERE, last * span, owner[:, None] * span + k).flatten()
        for k, owner in zip(keys, owners, strict=True)
    ]
    different, of = torch.unique(torch.cat(pairs), return_inverse=True)
    if len(different) and int(different[-1]) == last * span:
        different = different[:-1]
    owner = torch.div(different, max(span, 1), rounding_mode="floor")
    return Places(owner, different - owner * span, of.split([len(p) for p in pairs]))
