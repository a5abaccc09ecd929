"""How figures look, and the files that they become: PNG, and for a paper PDF and SVG of one and two columns. Not here:
what is drawn.

Type is 8 points at the width that a figure is printed at, so a figure goes into a paper unscaled; no heading stands in
it, since its caption says that. Settings hold while a figure is drawn or saved and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO

import matplotlib
from matplotlib.figure import Figure

from rec_trak.results.fonts import families

Writer = Callable[[BinaryIO], object]

DPI = 200
WIDTHS = {1: 3.33, 2: 6.9}  # inches of one and two columns
POINTS = 8
PAPER = {
    "font.size": POINTS,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize"), POINTS),
    **{"legend.fontsize": POINTS, "figure.titlesize": POINTS, "axes.titlelocation": "left", "axes.titlepad": 5},
    **{"axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "grid.linewidth": 0.5},
    **{"hatch.linewidth": 0.5, "lines.linewidth": 1.2, "legend.handlelength": 1.6, "legend.borderaxespad": 0.2},
    **{"xtick.major.size": 2.5, "ytick.major.size": 2.5, "pdf.fonttype": 42, "svg.fonttype": "path"},
    "svg.hashsalt": "rec-trak",
}
SCREEN = {"legend.fontsize": 9}
UNDATED = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "svg": {"Date": None, "Creator": None}}


def paper(texts: Iterable[str] = ()) -> AbstractContextManager:
    """Around drawing: sizes, lines and type of a printed figure, with fonts for the texts that will stand in it."""
    return matplotlib.rc_context(PAPER | {"font.family": families(texts)})


def screen() -> AbstractContextManager:
    """The same for a figure of a page."""
    return matplotlib.rc_context(SCREEN)


def save(figure: Figure, place: object, kind: str = "png") -> None:
    """Write a figure, the same bytes each time."""
    with paper():
        figure.savefig(place, format=kind, dpi=DPI, metadata=UNDATED.get(kind))


def figure_files(name: str, draw: Callable[[int], Figure], vector: bool = False) -> dict[str, Writer]:
    """File name -> writer: `name`.png; with `vector` also .pdf and .svg, and both again one column wide.

    Args:
        name: without an ending.
        draw: makes the figure for one or two columns. That of two is drawn at once, so that what is wrong is told
            before any file is written.
        vector: see above.
    """
    wide = _laid_out(draw(2))
    files: dict[str, Writer] = {f"{name}.png": partial(save, wide)}
    if vector:
        narrow = _laid_out(draw(1))
        for kind in ("pdf", "svg"):
            files[f"{name}.{kind}"] = partial(save, wide, kind=kind)
            files[f"{name}_column.{kind}"] = partial(save, narrow, kind=kind)
    return files


def _laid_out(figure: Figure) -> Figure:
    """The figure with its parts where they are to stand, so that each file does not find their places anew."""
    with paper():
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure
