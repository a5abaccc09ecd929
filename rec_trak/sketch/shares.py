"""A batch's factors cut by rows, a share for each thread. Not here: threads, sketches.

A row's products are too small for two threads of torch to gain much, and rows have nothing to do with one another.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch
from torch import Tensor

from rec_trak.gradients.factors import Entries, Factor, Factors, Outer, Rows

FIELDS = {Outer: ("left", "right", "keys"), Rows: ("ids", "values"), Entries: ("values",)}


def shares(factors: Factors, count: int) -> list[Factors]:
    """The factors of runs of rows with about as many places each, at most `count` of them."""
    places = torch.zeros(len(factors), dtype=torch.int64)
    for owner in {id(part.owner): part.owner for parts in factors.parts.values() for part in parts}.values():
        places += torch.bincount(owner.cpu(), minlength=len(factors))
    total = places.cumsum(0)
    wanted = [int(total[-1]) * i // count for i in range(1, count)] if len(total) else []
    ends = torch.searchsorted(total, torch.tensor(wanted, dtype=torch.int64)).tolist()
    ends = sorted({0, *(end + 1 for end in ends if end + 1 < len(factors)), len(factors)})
    return [_share(factors, first, end) for first, end in itertools.pairwise(ends)]


def _share(factors: Factors, first: int, end: int) -> Factors:
    cuts: dict[int, tuple[slice, Tensor]] = {}  # what merges places knows an owner again by its address

    def cut(part: Factor) -> Factor | None:
        if id(part.owner) not in cuts:
            a, b = torch.searchsorted(part.owner, torch.tensor([first, end], device=part.owner.device)).tolist()
            cuts[id(part.owner)] = slice(a, b), part.owner[a:b] - first
        own, owner = cuts[id(part.owner)]
        if not len(owner):
            return None
        fields = {name: getattr(part, name) for name in FIELDS[type(part)]}
        return replace(part, owner=owner, **{name: x if x is None else x[own] for name, x in fields.items()})

    parts = {name: [own for own in map(cut, given) if own is not None] for name, given in factors.parts.items()}
    return Factors(end - first, factors.shapes, parts)
