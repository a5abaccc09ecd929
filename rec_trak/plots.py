"""Scores -> figures, the only module that imports matplotlib. Not here: any number that is not also in a CSV or JSON.

Figures are built without pyplot, so nothing is shown, no global state changes, and a notebook's backend is left alone.
Fake is vermillion, real blue (Okabe & Ito's colour-blind-safe palette), unknown grey; hatches and markers say the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rec_trak.errors import DataError
from rec_trak.ranking import LABELS, check_scores, check_top_k, percentiles

SavePath = str | Path | None
SCORE_NAME = "self-influence Q·h (margin units)"
DPI = 150
COLOURS = {1: "#D55E00", 0: "#0072B2", -1: "#7F7F7F"}
HATCHES = {1: "////", 0: "", -1: "...."}
MARKERS = {1: "^", 0: "o", -1: "s"}
NAMED_BARS = 60  # a panel with more bars than this has no room for headlines
HEADLINE, TITLE = 48, 90  # characters
HEADROOM = 1.3  # of the highest bar, so that the legend stands above all bars
NOTE = {"fontsize": 11, "color": "#444444"}


def plot_score_distribution(
    scores: Any, labels: Any, save_path: SavePath = None, title: str = "TRAK scores", score_name: str = SCORE_NAME
) -> Figure:
    """How the scores spread, over all rows and by class.

    Args:
        scores: (N,) scores, all finite. The axis is logarithmic (on both sides of 0) where they are heavily skewed.
        labels: (N,) 1 fake, 0 real, -1 unknown.
        save_path, title, score_name: a PNG written if given; the heading, cut if long; the axis label with its unit.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, or an unknown label.
    """
    scores, labels = check_scores(scores, labels, "plot_score_distribution")
    figure = _figure(13, 4.8, title)
    everything, by_class = figure.subplots(1, 2)
    edges, scale = _score_axis(scores)
    everything.hist(scores, bins=edges, color="#56708A", alpha=0.55, edgecolor="white", linewidth=0.4)
    for value, name, style in ((np.median(scores), "median", "-"), (scores.mean(), "mean", "--")):
        everything.axvline(value, ymax=1 / HEADROOM, color="black", linestyle=style, label=f"{name} {value:.3g}")
    _class_histogram(by_class, scores, labels, edges)
    for axes, name in ((everything, f"All {len(scores):,} rows"), (by_class, "By class of the clicked article")):
        _dress_histogram(axes, name, edges, scale, score_name)
    return _saved(figure, save_path)


def plot_top_influential_samples(
    ranking_results: dict[str, Any], save_path: SavePath = None, top_k: int = 50,
    titles: Sequence[str] | None = None, score_name: str = SCORE_NAME,
) -> Figure:  # fmt: skip
    """Bars for the rows with the highest and the lowest scores, and for the highest of fake and of real clicks.

    Args:
        ranking_results: what `rank_training_samples` returns.
        save_path, score_name: a PNG written if given; the axis label with its unit.
        top_k: bars a panel at most; of the bottom list the lowest are taken.
        titles: N headlines in row order, shown beside the row numbers where at most NAMED_BARS bars share a panel.

    Raises:
        ConfigError: `top_k` is not a whole number of at least 1.
        DataError: fewer titles than rows.
    """
    lists = _bar_lists(ranking_results, check_top_k(top_k))
    titles = _checked_titles(titles, max(rows.max(initial=0) for rows, _, _ in lists.values()))
    longest = max(len(rows) for rows, _, _ in lists.values())
    named = longest <= NAMED_BARS
    height = 0.185 * max(longest, 4) + 1.1 if named else 7
    figure = _figure(16 if named and titles else 13, 2 * height + 0.8, "Rows by influence")
    words = {1: "fake article clicked", 0: "real article clicked", -1: "not known whether fake"}
    for axes, (name, (rows, scores, labels)) in zip(figure.subplots(2, 2).flat, lists.items(), strict=True):
        axes.set(title=name, xlabel=score_name)
        if len(rows) == 0:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "no such row", ha="center", **NOTE)
            continue
        _bars(axes, scores, labels, named)
        if named:
            axes.set_yticks(range(1, len(rows) + 1), [_row_name(row, titles) for row in rows.tolist()], fontsize=7.5)
            axes.tick_params(axis="y", length=0)
        else:
            axes.set_ylabel("place in the list")
    present = _classes(np.concatenate([labels for _, _, labels in lists.values()]))
    handles = [Patch(label=words[label], **_filled(label, "B0")) for label in present]
    figure.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False)
    return _saved(figure, save_path)


def plot_score_comparison(
    clean_scores: Any, clean_labels: Any, poisoned_scores: Any, poisoned_labels: Any,
    save_path: SavePath = None, pairs: tuple[Any, Any] | None = None, score_name: str = SCORE_NAME,
) -> Figure:  # fmt: skip
    """Two runs side by side: the scores of each, and where the rows that stand in both moved.

    Args:
        clean_scores, clean_labels, poisoned_scores, poisoned_labels: (N,) the clean run's, (N',) the poisoned run's.
        save_path, score_name: a PNG written if given; the axis label with its unit.
        pairs: (n,) clean and (n,) poisoned row numbers of the rows that stand in both. None: row i is the same row in
            both if N = N'; else nobody knows which rows belong together, and a sentence takes the panels' place.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, an unknown label, or pairs of unequal length.
    """
    clean = check_scores(clean_scores, clean_labels, "plot_score_comparison, clean run")
    poisoned = check_scores(poisoned_scores, poisoned_labels, "plot_score_comparison, poisoned run")
    if pairs is None and len(clean[0]) == len(poisoned[0]):
        pairs = (np.arange(len(clean[0])),) * 2
    matched = pairs is not None
    figure = _figure(13, 10.4 if matched else 5.6, "Clean run against poisoned run")
    panels = figure.subplots(1 + matched, 2, squeeze=False)
    edges, scale = _score_axis(np.concatenate([clean[0], poisoned[0]]))
    for axes, name, (scores, labels) in zip(panels[0], ("Clean", "Poisoned"), (clean, poisoned), strict=True):
        _class_histogram(axes, scores, labels, edges)
        _dress_histogram(axes, f"{name} run, all {len(scores):,} rows", edges, scale, score_name)
    if not matched:
        counts = f"The runs have {len(clean[0]):,} and {len(poisoned[0]):,} rows, and nothing says which are the same."
        figure.supxlabel(f"{counts}\nscripts/compare.py matches them by user, history and article.", **NOTE)
    else:
        rows, poisoned_rows = _checked_pairs(pairs)
        before, after = percentiles(clean[0][rows]), percentiles(poisoned[0][poisoned_rows])
        _rank_scatter(panels[1, 0], before, after, clean[1][rows])
        _shift_histogram(panels[1, 1], before - after, clean[1][rows])
    return _saved(figure, save_path)


def _checked_pairs(pairs: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    rows, poisoned_rows = np.asarray(pairs[0]), np.asarray(pairs[1])
    if rows.shape != poisoned_rows.shape or rows.ndim != 1 or len(rows) == 0:
        got = f"{rows.shape} and {poisoned_rows.shape}"
        raise DataError(f"plot_score_comparison: `pairs` are no pairs. Got shapes {got}, expected twice (n,), n > 0.")
    return rows, poisoned_rows


def drawable(text: str, width: int) -> str:
    """The text on one line, at most `width` columns, without what the font cannot draw and what `$` would start.

    '' where less than half of its letters can be drawn: the caller has a row number to show instead.
    """
    glyphs, kept = _glyphs(tuple(FontProperties().get_family())), [""]
    for character in unicodedata.normalize("NFC", str(text)):
        kind = unicodedata.category(character)[0]
        if character.isspace():
            kept.append(" ")
        elif ord(character) in glyphs and kind != "C":
            kept.append(character)
        elif kind not in "CM" and kept[-1] != "□":
            kept.append("□")
    line = " ".join("".join(kept).split())
    letters = sum(map(str.isalnum, line))
    if letters == 0 or 2 * letters < sum(map(str.isalnum, str(text))):
        return ""
    columns = np.cumsum([1 + (unicodedata.east_asian_width(c) in "WF") for c in line])
    if columns[-1] > width:
        line = line[: int(np.searchsorted(columns, width - 1, side="right"))].rstrip() + "…"
    return line.replace("$", r"\$")


@lru_cache
def _glyphs(families: tuple[str, ...]) -> frozenset[int]:
    """Code points that at least one of the font families can draw."""
    return frozenset().union(*(get_font(findfont(FontProperties(family=[f]))).get_charmap() for f in families))


def _checked_titles(titles: Sequence[str] | None, last_row: int) -> list[str]:
    titles = [] if titles is None else list(titles)
    if titles and len(titles) <= last_row:
        got = f"{len(titles)} for row {last_row}"
        raise DataError(f"plot_top_influential_samples: too few `titles`. Got {got}, expected one a row, in row order.")
    return titles


def _row_name(row: int, titles: list[str]) -> str:
    headline = drawable(titles[row], HEADLINE) if titles else ""
    return f"{headline}  row {row}" if headline else f"row {row}"


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(drawable(title, TITLE) or "TRAK scores", fontsize=13, fontweight="bold")
    return figure


def _saved(figure: Figure, save_path: SavePath) -> Figure:
    if save_path is not None:
        figure.savefig(save_path, format="png", dpi=DPI)
    return figure


def _score_axis(scores: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
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


def _dress_histogram(axes: Axes, title: str, edges: np.ndarray, scale: dict[str, Any], x_name: str) -> None:
    words = {"linear": "", "log": ", log scale", "asinh": ", log scale away from 0"}
    axes.set_xscale(**scale)
    axes.set(title=title, xlabel=x_name + words[scale["value"]], ylabel="rows")
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, HEADROOM * axes.get_ylim()[1]))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(loc="upper left", fontsize=9, framealpha=0.9)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _classes(labels: np.ndarray) -> list[int]:
    """The classes present, the largest first, so that a small one is drawn over it."""
    return sorted((label for label in COLOURS if np.any(labels == label)), key=lambda c: -np.sum(labels == c))


def _filled(label: int, opacity: str) -> dict[str, Any]:
    return {"facecolor": COLOURS[label] + opacity, "edgecolor": COLOURS[label], "hatch": HATCHES[label]}


def _class_histogram(axes: Axes, values: np.ndarray, labels: np.ndarray, edges: np.ndarray, mean: bool = False) -> None:
    for label in _classes(labels):
        own = values[labels == label]
        middle = f"mean {own.mean():+.1f}" if mean else f"median {np.median(own):.3g}"
        name = f"{LABELS[label]}: {len(own):,} row{'s' * (len(own) != 1)}, {middle}"
        axes.hist(own, bins=edges, histtype="stepfilled", linewidth=1.3, label=name, **_filled(label, "50"))


def _bar_lists(ranking: dict[str, Any], top_k: int) -> dict[str, list[np.ndarray]]:
    """Panel title -> row numbers, scores and labels, highest first."""
    lists = {}
    for key, title, part in (("top", "Highest", slice(top_k)), ("bottom", "Lowest", slice(-top_k, None))):
        lists[f"{title} scores"] = [np.asarray(ranking[f"{key}_k_{n}"])[part] for n in ("indices", "scores", "labels")]
    for label, key in ((1, "fake"), (0, "real")):
        rows, scores = (np.asarray(ranking[f"top_{key}_{what}"])[:top_k] for what in ("indices", "scores"))
        lists[f"Highest scores, {key} article clicked"] = [rows, scores, np.full(len(rows), label)]
    return lists


def _bars(axes: Axes, scores: np.ndarray, labels: np.ndarray, apart: bool) -> None:
    for label in _classes(labels):
        own = np.flatnonzero(labels == label)
        axes.barh(own + 1, scores[own], height=0.8 if apart else 1.0, linewidth=0.6 * apart, **_filled(label, "B0"))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(ylim=(len(scores) + 0.6, 0.4))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _rank_scatter(axes: Axes, before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> None:
    size = float(np.clip(20_000 / len(labels), 1, 45))
    for label in _classes(labels):
        own, style = labels == label, {"color": COLOURS[label], "marker": MARKERS[label]}
        name = f"{LABELS[label]}: {own.sum():,}"
        axes.scatter(before[own], after[own], s=size, alpha=0.5, linewidths=0, label=name, **style)
    axes.plot([1, 100], [1, 100], color="black", linestyle="--", linewidth=1, label="same rank")
    axes.set_title(f"Rank of the {len(labels):,} rows that stand in both runs", pad=24)
    style = {"ncols": 4, "markerscale": (45 / size) ** 0.5, "frameon": False, "fontsize": 9, "borderaxespad": 0.1}
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), **style)
    for place, run in ((axes.xaxis, "clean run"), (axes.yaxis, "poisoned run")):
        place.set_ticks([100, 75, 50, 25, 1])
        place.set_label_text(f"rank in the {run} (percentile, 1 = highest score)")
    axes.set(xlim=(102, -1), ylim=(102, -1))
    axes.grid(alpha=0.3)


def _shift_histogram(axes: Axes, shift: np.ndarray, labels: np.ndarray) -> None:
    edges = np.linspace(-99, 99, 45)
    _class_histogram(axes, shift, labels, edges, mean=True)
    axes.axvline(0, ymax=1 / HEADROOM, color="black", linestyle="--", linewidth=1)
    x_name = "change of rank (percentile points; right of 0: rose in the poisoned run)"
    _dress_histogram(axes, "How far the rows moved", edges, {"value": "linear"}, x_name)
