"""Which columns of a layer's output a direction of an article's vector touches. Not here: gradients, sketches.

An article's Jacobian has D directions, but a direction of a head reaches that head's queries and keys alone, and one of
a filter that filter. Directions that share no column of any output are differentiated in one pass, and fall apart
again afterwards.

Source: Curtis, Powell and Reid 1974, On the estimation of sparse Jacobian matrices, J. Inst. Maths Applics 13.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Columns:
    """Blocks of a gradient's columns: block g, of `width` columns, is touched by `each` directions, from
    `first + g * each` on, and by no other."""

    first: int
    each: int
    width: int


@dataclass(frozen=True)
class Structure:
    """How the Jacobian of an article is taken.

    Attributes:
        colours: passes; direction d belongs to colour d mod `colours`.
        columns: for each recorded use, its blocks; None where every direction touches all.
        cut: whether weights of places are cut: directions are taken with them held, and each of them once.
    """

    colours: int
    columns: tuple[Columns | None, ...]
    cut: bool


def structure_of(touched: list[np.ndarray | None], cut: bool) -> Structure | None:
    """The structure that what was seen agrees with; None where there is none that saves anything.

    Args:
        touched: for each use (D, W) bool, whether a direction was seen to touch a column; None where it reaches
            nothing.
        cut: whether weights were held.
    """
    columns = [Columns(0, 1, 1) if seen is None else columns_of(seen) for seen in touched]
    directions = max((len(seen) for seen in touched if seen is not None), default=0)
    if not directions or any(found is None for found in columns):
        return None
    colours = max(found.each for found in columns)
    return Structure(colours, tuple(columns), cut) if colours < directions else None


def columns_of(touched: np.ndarray) -> Columns | None:
    """The narrowest blocks that hold all that was seen, for the fewest directions each; None where there are none.

    A column that no direction was seen to touch (a filter that no article tried answers) belongs where its blocks'
    order puts it.

    Args:
        touched: (D, W) bool.
    """
    direction, column = np.nonzero(touched)
    count, width = touched.shape
    if not len(direction):
        return Columns(0, 1, 1) if count == width else None
    for each in (n for n in range(1, count) if count % n == 0):
        for block in (w for w in range(1, width + 1) if width % w == 0):
            blocks = width // block
            first = direction[0] // each * each - column[0] // block * each
            if first < 0 or first + blocks * each > count or blocks == 1:
                continue
            if ((direction - first) // each == column // block).all():
                return Columns(int(first), each, block)
    return None
