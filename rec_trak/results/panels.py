"""The parts of the figures: one panel each, drawn on axes that somebody else made. Not here: figures, files, pyplot.

Fake is vermillion, real blue (Okabe & Ito's colour-blind-safe palette), unknown grey; hatches and markers say the same.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator

from rec_trak.results.fonts import glyphs
from rec_trak.results.ranking import LABELS
from rec_trak.results.ticks import MINUS, apart, score_ticks, set_ticks, short
from rec_trak.words import signed

COLOURS = {1: "#D55E00", 0: "#0072B2", -1: "#7F7F7F"}
HATCHES = {1: "////", 0: "", -1: "...."}
MARKERS = {1: "^", 0: "o", -1: "s"}
ALL_ROWS = "#56708A"
LINES = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # of the same palette, none that means a class
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)))
SHARED_FROM = 20  # rows a class needs before a share of them says more than a count
AXIS_NAME = 90  # characters
Curves = Sequence[tuple[str, Any, Any]]


def score_axis(scores: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Bin edges that are evenly spaced on the page, and the axis scale they are so on.

    A scale is logarithmic where one twentieth of the range holds over 40 % of the rows (a normal sample: about 15 %).
    """
    scores = scores.astype(np.float64)
    low, high, bins = scores.min(), scores.max(), int(np.clip(2 * np.sqrt(len(scores)), 8, 50))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = 0.1 * abs(high) or 1.0
        return np.linspace(low - pad, high + pad, 12), {"value": "linear"}
    if np.histogram(scores, 20, (low, high))[0].max() <= 0.4 * len(scores) or len(scores) < 8:
        return np.linspace(low, high, bins + 1), {"value": "linear"}
    if low > 1e-8 * high:
        edges, scale = np.geomspace(low, high, bins + 1), {"value": "log"}
    else:
        sizes = np.abs(scores[scores != 0])
        width = max(np.quantile(sizes, 0.5 if low < 0 else 0.01), 1e-8 * sizes.max())
        edges = width * np.sinh(np.linspace(np.arcsinh(low / width), np.arcsinh(high / width), bins + 1))
        scale = {"value": "asinh", "linear_width": width}
    edges[0], edges[-1] = low, high  # rounding may have left the outermost rows outside
    return edges, scale


def all_rows_histogram(axes: Axes, scores: np.ndarray, edges: np.ndarray) -> None:
    """All rows, with their median and mean."""
    axes.hist(scores, bins=edges, color=ALL_ROWS, alpha=0.55, edgecolor="white", linewidth=0.4)
    for value, name, style in ((np.median(scores), "median", "-"), (scores.mean(), "mean", "--")):
        axes.axvline(value, ymax=1 / headroom(axes, 2), color="black", linestyle=style, label=f"{name} {short(value)}")


def class_histogram(
    axes: Axes, values: np.ndarray, labels: np.ndarray, edges: np.ndarray, shares: bool, mean: bool = False
) -> str:
    """One outline a class; returns the name of the y axis.

    Args:
        axes: to draw on.
        values, labels: (N,) each.
        edges: of the bins.
        shares: bars in percent of the rows of their class, so that a small class can be seen beside a large one;
            counts otherwise.
        mean: the legend tells means, for values around 0; medians otherwise.
    """
    for label in classes(labels):
        own = values[labels == label]
        middle = f"mean {signed(own.mean())}".replace("-", MINUS) if mean else f"median {short(np.median(own))}"
        word = f"{LABELS[label]}: " if labelled(labels) else ""
        name = f"{word}{len(own):,} row{'s' * (len(own) != 1)}, {middle}"
        weights = np.full(len(own), 100 / len(own) if shares else 1.0)
        look = filled(label, "50") if word else {"facecolor": f"{ALL_ROWS}50", "edgecolor": ALL_ROWS}
        axes.hist(own, bins=edges, weights=weights, histtype="stepfilled", linewidth=1, label=name, **look)
    return "% of the rows of each class" if shares else "rows"


def dress_histogram(
    axes: Axes, title: str, edges: np.ndarray, scale: dict[str, Any], x_name: str, y_name: str = "rows"
) -> None:
    """Title, names of the axes, room for the legend."""
    words = {"linear": "", "log": ", log scale", "asinh": ", log scale away from 0"}
    axes.set_xscale(**scale)
    if scale["value"] != "linear":
        set_ticks(axes, *score_ticks(edges, scale))
    axes.set(title=title, xlabel=fitted(drawable(x_name, AXIS_NAME) + words[scale["value"]], axes), ylabel=y_name)
    axes.set(
        xlim=(edges[0], edges[-1]),
        ylim=(0, headroom(axes, len(axes.get_legend_handles_labels()[0])) * axes.get_ylim()[1]),
    )
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=y_name == "rows"))
    axes.legend(loc="upper left", frameon=False)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def headroom(axes: Axes, lines: int) -> float:
    """How far the y axis goes beyond the highest bar, so that a legend of so many lines stands above all bars."""
    rows = axes.get_subplotspec().get_gridspec().nrows
    size = float(rcParams["legend.fontsize"])
    height = max(
        72 * axes.get_figure(root=True).get_figheight() / rows - 7 * size, 50
    )  # points; names of axes take the rest
    return 1 / (1 - min((1.55 * size * lines + size) / height, 0.7))


def fitted(text: str, axes: Axes) -> str:
    """The text on as many lines as a panel's width asks for."""
    columns = axes.get_subplotspec().get_gridspec().ncols
    points = 72 * axes.get_figure(root=True).get_figwidth() / columns - 40
    return "\n".join(textwrap.wrap(text, max(20, int(points / (0.52 * float(rcParams["font.size"]))))))


def bars(axes: Axes, scores: np.ndarray, labels: np.ndarray) -> None:
    """One horizontal bar a row, the first on top."""
    for label in classes(labels):
        own = np.flatnonzero(labels == label)
        look = filled(label, "B0") if labelled(labels) else {"facecolor": f"{ALL_ROWS}B0", "edgecolor": ALL_ROWS}
        axes.barh(own + 1, scores[own], height=0.75, linewidth=0.6, **look)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(ylim=(len(scores) + 0.6, 0.4))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def rank_scatter(axes: Axes, before: np.ndarray, after: np.ndarray, labels: np.ndarray, pixels: bool = False) -> None:
    """Percentiles of rank in two runs (n,) each; `pixels` draws the points as a picture, however many there are."""
    size = float(np.clip(20_000 / len(labels), 1, 45))
    for label in classes(labels):
        own, style = labels == label, {"color": COLOURS[label], "marker": MARKERS[label], "rasterized": pixels}
        name = f"{LABELS[label]}: {own.sum():,}" if labelled(labels) else f"{own.sum():,} rows"
        axes.scatter(before[own], after[own], s=size, alpha=0.5, linewidths=0, label=name, **style)
    axes.plot([1, 100], [1, 100], color="black", linestyle="--", linewidth=1, label="same rank")
    style = {"ncols": 2, "markerscale": (30 / size) ** 0.5, "frameon": False, "borderaxespad": 0.1}
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), columnspacing=1, handletextpad=0.3, **style)
    for place, run in ((axes.xaxis, "clean run"), (axes.yaxis, "poisoned run")):
        place.set_ticks([100, 75, 50, 25, 1])
        place.set_label_text(f"rank in the {run} (percentile, 1 highest)")
    axes.set(xlim=(102, -1), ylim=(102, -1))
    axes.grid(alpha=0.3)


def shift_histogram(axes: Axes, shift: np.ndarray, labels: np.ndarray) -> None:
    """How many rows rose or fell how far, in percentile points (n,)."""
    edges = np.linspace(-99, 99, 45)
    y_name = class_histogram(axes, shift, labels, edges, sharable(labels), mean=True)
    axes.axvline(0, ymax=1 / headroom(axes, len(classes(labels))), color="black", linestyle="--", linewidth=1)
    x_name = "change of rank (percentile points; right of 0: rose in the poisoned run)"
    dress_histogram(axes, "", edges, {"value": "linear"}, x_name, y_name)


def curves(axes: Axes, lines: Curves, steps: bool) -> None:
    """Curves in the unit square, each (name, x, y) told apart by colour and dashes; `steps` for precision.

    Each recall is reached with the precision given for it, as the average precision counts it.
    """
    for place, (name, x, y) in enumerate(lines):
        style = {"color": LINES[place % len(LINES)], "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.4}
        axes.plot(x, y, drawstyle="steps-pre" if steps else "default", label=drawable(name, 80), **style)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def precision_recall(axes: Axes, lines: Curves, base_rate: float) -> None:
    """Curves (name, recall, precision), and the precision of a random order."""
    curves(axes, lines, steps=True)
    axes.axhline(base_rate, color=COLOURS[-1], linewidth=0.7, label="random order")
    axes.set(xlabel="recall (share of the poisoned clicks found)", ylabel="precision (share of the found that are)")


def roc(axes: Axes, lines: Curves) -> None:
    """Curves (name, false positive rate, true positive rate), and the diagonal."""
    curves(axes, lines, steps=False)
    axes.plot([0, 1], [0, 1], color=COLOURS[-1], linewidth=0.7, label="random order")
    axes.set(xlabel="false positive rate (share of the genuine clicks)", ylabel="true positive rate (recall)")


def ridge_lines(axes: Axes, curve: Sequence[dict[str, Any]]) -> None:
    """A line a K over the relative ridge, with bars for intervals; each setting has `K`, `lambda_rel`, `lds`,
    `interval`."""
    sizes = sorted({line["K"] for line in curve})
    for place, k in enumerate(sizes):
        own = sorted((line for line in curve if line["K"] == k), key=lambda line: line["lambda_rel"])
        x, y = (np.array([line[key] for line in own]) for key in ("lambda_rel", "lds"))
        low, high = np.array([line["interval"] for line in own]).T
        shift = 1.04 ** (place - (len(sizes) - 1) / 2)  # bars of one ridge side by side
        style = {"color": LINES[place % len(LINES)], "linestyle": DASHES[place % len(DASHES)], "capsize": 3}
        spread = np.maximum([y - low, high - y], 0)
        axes.errorbar(x * shift, y, yerr=spread, marker=".", elinewidth=0.8, label=f"K = {k}", **style)
    least = min((line["lambda_rel"] for line in curve if line["lambda_rel"] > 0), default=1.0)
    axes.set_xscale("symlog", linthresh=least)  # a ridge of 0 has its place too
    ridges = sorted({line["lambda_rel"] for line in curve})
    set_ticks(axes, *apart(ridges, ridges[0], ridges[-1] or 1.0, lambda x: max(x, 0) and 1 + np.log10(x / least)))
    axes.set(
        xlabel="lambda_rel (ridge relative to trace / min(K, N))",
        ylabel="LDS on the half that chooses,\n95 % intervals",
    )
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def classes(labels: np.ndarray) -> list[int]:
    """The classes present, the largest first, so that a small one is drawn over it."""
    return sorted((label for label in COLOURS if np.any(labels == label)), key=lambda c: -np.sum(labels == c))


def labelled(labels: np.ndarray) -> bool:
    """Whether somebody said of any row what it clicks; else there are no classes to draw or to speak of."""
    return bool(np.any(labels != -1))


def sharable(*labels: np.ndarray) -> bool:
    """Whether shares of each class say more than counts: several classes, and enough rows in each."""
    sizes = [np.sum(own == label) for own in labels for label in classes(own)]
    return len(sizes) > 1 and min(sizes) >= SHARED_FROM


def counted(labels: np.ndarray) -> str:
    """`45 real, 5 fake`, the largest first; `50` where nobody said which; '' without rows."""
    if len(labels) and not labelled(labels):
        return f"{len(labels):,}"
    return ", ".join(f"{np.sum(labels == label):,} {LABELS[label]}" for label in classes(labels))


def filled(label: int, opacity: str) -> dict[str, Any]:
    """How an area of a class looks; `opacity` is two hex digits."""
    return {"facecolor": COLOURS[label] + opacity, "edgecolor": COLOURS[label], "hatch": HATCHES[label]}


def drawable(text: str, width: int) -> str:
    """The text on one line, at most `width` columns, without what no font can draw and what `$` would start.

    '' where less than half of its letters can be drawn: the caller has a row number to show instead.
    """
    drawn, kept = glyphs(tuple(FontProperties().get_family())), [""]
    for character in unicodedata.normalize("NFC", str(text)):
        kind = unicodedata.category(character)[0]
        if character.isspace():
            kept.append(" ")
        elif ord(character) in drawn and kind != "C":
            kept.append(character)
    line = " ".join("".join(kept).split())
    letters = sum(map(str.isalnum, line))
    if letters == 0 or 2 * letters < sum(map(str.isalnum, str(text))):
        return ""
    columns = np.cumsum([1 + (unicodedata.east_asian_width(c) in "WF") for c in line])
    if columns[-1] > width:
        line = line[: int(np.searchsorted(columns, width - 1, side="right"))].rstrip() + "…"
    return line.replace("$", r"\$")


def within(text: str, points: float) -> str:
    """The text, drawable, cut so that it is at most so many points wide in the font of this moment."""
    size, widths = float(rcParams["font.size"]), _advances(tuple(FontProperties().get_family()))
    ends = np.cumsum([size * widths.get(ord(c), 1.0) for c in text])
    if not len(ends) or ends[-1] <= points:
        return text
    return text[: int(np.searchsorted(ends, points - size, side="right"))].rstrip(" \\…") + "…"


@lru_cache
def _advances(families: tuple[str, ...]) -> dict[int, float]:
    """Code point -> width of its glyph, in sizes of the font, of Latin, Greek and Cyrillic letters."""
    font = get_font(findfont(FontProperties(family=list(families[:1]))))
    known = [code for code in range(0x20, 0x530) if code in font.get_charmap()]
    font.set_size(100, 72)
    return {code: font.load_char(code).linearHoriAdvance / 65536 / 100 for code in known}
