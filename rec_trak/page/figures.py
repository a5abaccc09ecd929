"""The figures of the page, one panel each, as inline SVG. Not here: panels, the page, PNG files.

They are small, so that their text can be read on a phone, and take their colours from the page.
"""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rec_trak.page.svg import as_svg
from rec_trak.results.panels import (
    ALL_ROWS,
    Curves,
    class_histogram,
    counted,
    drawable,
    dress_histogram,
    precision_recall,
    rank_scatter,
    roc,
    score_axis,
    sharable,
    shift_histogram,
)
from rec_trak.results.style import screen

DAYS_NAMED, DAY_NAME = 6, 14  # days with a name under their bar, and its characters
WIDE = (5.6, 3.5)  # inches
SQUARE = (5.2, 4.9)


@screen()
def distribution(name: str, scores: np.ndarray, labels: np.ndarray, score_name: str) -> Markup:
    """How the scores (N,) of each class spread; labels (N,) 1 fake, 0 real, -1 unknown."""
    figure, axes = _one_panel(WIDE)
    edges, scale = score_axis(scores)
    y_name = class_histogram(axes, scores, labels, edges, sharable(labels))
    dress_histogram(axes, "", edges, scale, score_name, y_name)
    return as_svg(figure, name, f"Histogram of {score_name} of {counted(labels)} clicks")


@screen()
def scatter(name: str, before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Markup:
    """Ranks of n rows in two runs, as percentiles (n,)."""
    figure, axes = _one_panel(SQUARE)
    rank_scatter(axes, before, after, labels, pixels=True)
    return as_svg(figure, name, f"Ranks of {len(labels):,} clicks in the poisoned run against those in the clean run")


@screen()
def shifts(name: str, shift: np.ndarray, labels: np.ndarray, band: float | None = None) -> Markup:
    """How far n rows moved, in percentile points (n,), dotted lines where the null band ends."""
    figure, axes = _one_panel(WIDE)
    shift_histogram(axes, shift, labels)
    for end in () if band is None else (-band, band):
        axes.axvline(end, color="black", linewidth=1, linestyle=":")
    axes.set(title="", xlabel="change of rank (percentile points; right of 0: rose)")
    return as_svg(figure, name, f"Histogram of the change of rank of {len(labels):,} clicks")


@screen()
def precision_recall_curves(name: str, lines: Curves, base_rate: float) -> Markup:
    """Curves (name, recall, precision), and the precision of a random order."""
    figure, axes = _one_panel(SQUARE)
    precision_recall(axes, lines, base_rate)
    _legend_below(figure)
    return as_svg(figure, name, "Precision against recall of " + ", ".join(line[0] for line in lines))


@screen()
def roc_curves(name: str, lines: Curves) -> Markup:
    """Curves (name, false positive rate, true positive rate), and the diagonal."""
    figure, axes = _one_panel(SQUARE)
    roc(axes, lines)
    _legend_below(figure)
    return as_svg(figure, name, "ROC curves of " + ", ".join(line[0] for line in lines))


@screen()
def over_days(name: str, days: list[str], sums: np.ndarray, rows: np.ndarray, score_name: str) -> Markup:
    """The sum of the scores of each day's clicks, bars in order of the days; `sums`, `rows` (D,)."""
    figure, axes = _one_panel(WIDE)
    axes.bar(range(len(days)), sums, color=ALL_ROWS, width=0.8)
    axes.axhline(0, color="black", linewidth=0.8)
    shown = sorted({round(x) for x in np.linspace(0, len(days) - 1, min(len(days), DAYS_NAMED))})
    names = [f"{drawable(days[i], DAY_NAME) or 'no day'}\n{rows[i]:,} clicks" for i in shown]
    axes.set_xticks(shown, names, fontsize=8)
    axes.set(ylabel=f"sum of {drawable(score_name, DAY_NAME * 3)}")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return as_svg(figure, name, f"Sum of {score_name} by day, {len(days):,} days from {days[0]} to {days[-1]}")


def _one_panel(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def _legend_below(figure: Figure) -> None:
    """A legend of long names, under the panel, so that it covers no curve."""
    figure.legend(loc="outside lower left", ncols=1, frameon=False, fontsize=9)
