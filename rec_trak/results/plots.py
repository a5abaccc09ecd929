"""Scores -> figures. Not here: any number that is not also in a CSV or JSON, nor the panels that figures are made of.

Figures are built without pyplot, so nothing is shown, no global state changes, and a notebook's backend is left alone.
`panels.py` and this module are the only ones that import matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rec_trak.errors import DataError
from rec_trak.results.panels import (
    AXIS_NAME,
    Curves,
    all_rows_histogram,
    bars,
    class_histogram,
    classes,
    counted,
    drawable,
    dress_histogram,
    filled,
    labelled,
    precision_recall,
    rank_scatter,
    ridge_lines,
    roc,
    score_axis,
    sharable,
    shift_histogram,
)
from rec_trak.results.ranking import carrying_rows, check_scores, check_top_k, percentiles

SavePath = str | Path | None
SCORE_NAME = "self-influence Q·h (margin units)"
DPI = 150
NAMED_BARS = 60  # a panel with more bars than this has no room for headlines
HEADLINE, TITLE = 60, 90  # characters
NOTE = {"fontsize": 11, "color": "#444444"}


def plot_score_distribution(
    scores: Any, labels: Any, save_path: SavePath = None, title: str = "TRAK scores", score_name: str = SCORE_NAME,
    nothing: Any = None,
) -> Figure:  # fmt: skip
    """How the scores spread, over all rows and, where there are several, by class.

    Args:
        scores: (N,) scores, all finite. The axis is logarithmic (on both sides of 0) where they are heavily skewed.
        labels: (N,) 1 fake, 0 real, -1 unknown.
        save_path, title, score_name: a PNG written if given; the heading, cut if long; the axis label with its unit.
        nothing: (N,) bool, rows that carry nothing, which are left out; None for none.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, an unknown label, or no row that carries something.
    """
    scores, labels = check_scores(scores, labels, "plot_score_distribution")
    carries = carrying_rows(nothing, len(scores), "plot_score_distribution")
    scores, labels = scores[carries], labels[carries]
    which = f"All {len(scores):,} rows" if carries.all() else f"The {len(scores):,} rows that carry something"
    several = len(classes(labels)) > 1  # else a panel of classes would repeat the other
    figure = _figure(13 if several else 8, 4.8, title)
    everything, *by_class = figure.subplots(1, 1 + several, squeeze=False)[0]
    edges, scale = score_axis(scores)
    all_rows_histogram(everything, scores, edges)
    dress_histogram(everything, which, edges, scale, score_name)
    for panel in by_class:
        y_name = class_histogram(panel, scores, labels, edges, sharable(labels))
        dress_histogram(panel, "By class of the clicked article", edges, scale, score_name, y_name)
    return _saved(figure, save_path)


def plot_top_influential_samples(
    ranking_results: dict[str, Any], save_path: SavePath = None, top_k: int = 50,
    titles: Sequence[str] | None = None, score_name: str = SCORE_NAME,
) -> Figure:  # fmt: skip
    """Bars for the rows with the highest and, where some are below 0, the lowest scores, and for the highest of fake
    and of real clicks where there are both.

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
    lines, columns = (len(lists) + 1) // 2, min(len(lists), 2)
    width = (9 if named and titles else 6.5) * columns
    figure = _figure(width, lines * height + 0.8, "Rows by influence")
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes in panels.flat[len(lists) :]:
        axes.remove()
    words = {1: "fake article clicked", 0: "real article clicked", -1: "not known whether fake"}
    for axes, (name, (rows, scores, labels)) in zip(panels.flat, lists.items(), strict=False):
        kinds = f" ({counted(labels)})" if labelled(labels) else ""
        places = "" if name.endswith("clicked") else f": {len(rows):,} row{'s' * (len(rows) != 1)}{kinds}"
        axes.set(title=name + places, xlabel=drawable(score_name, AXIS_NAME))
        bars(axes, scores, labels, named)
        if named:
            axes.set_yticks(range(1, len(rows) + 1), [_row_name(row, titles) for row in rows.tolist()], fontsize=7.5)
            axes.tick_params(axis="y", length=0)
        else:
            axes.set_ylabel("place in the list")
    present = classes(np.concatenate([labels for _, _, labels in lists.values()]))
    if present != [-1]:
        handles = [Patch(label=words[label], **filled(label, "B0")) for label in present]
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
    edges, scale = score_axis(np.concatenate([clean[0], poisoned[0]]))
    for axes, name, (scores, labels) in zip(panels[0], ("Clean", "Poisoned"), (clean, poisoned), strict=True):
        y_name = class_histogram(axes, scores, labels, edges, sharable(clean[1], poisoned[1]))
        dress_histogram(axes, f"{name} run, all {len(scores):,} rows", edges, scale, score_name, y_name)
    if not matched:
        counts = f"The runs have {len(clean[0]):,} and {len(poisoned[0]):,} rows, and nothing says which are the same."
        figure.supxlabel(f"{counts}\nscripts/compare.py matches them by user, history and article.", **NOTE)
    else:
        rows, poisoned_rows = _checked_pairs(pairs)
        before, after = percentiles(clean[0][rows]), percentiles(poisoned[0][poisoned_rows])
        rank_scatter(panels[1, 0], before, after, clean[1][rows])
        panels[1, 0].set_title(f"Rank of the {len(rows):,} rows that stand in both runs", pad=24)
        shift_histogram(panels[1, 1], before - after, clean[1][rows])
    return _saved(figure, save_path)


def plot_detection_curves(questions: Sequence[tuple[str, Curves, Curves, float]], save_path: SavePath = None) -> Figure:
    """How the best rankings find poison, precision-recall and ROC curves side by side, a line of panels a question.

    Args:
        questions: (title, curves (ranking, recall, precision), curves (ranking, false positive rate, true positive
            rate), share of poisoned rows), at least one.
        save_path: a PNG written if given.
    """
    figure = _figure(13, 5.6 * len(questions), "How well each ranking finds the poisoned clicks")
    panels = figure.subplots(len(questions), 2, squeeze=False)
    for (left, right), (title, recall, rates, base_rate) in zip(panels, questions, strict=True):
        precision_recall(left, recall, base_rate)
        roc(right, rates)
        for axes in (left, right):
            axes.set_title(drawable(title, TITLE), fontsize=11)
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), fontsize=9, frameon=False)
    return _saved(figure, save_path)


def plot_ridge_search(
    curve: Sequence[dict[str, Any]], chosen: dict[str, float], run: dict[str, float], save_path: SavePath = None
) -> Figure:
    """The score of each ridge, a line for each K, on the half of subsets and targets that it was chosen on.

    Args:
        curve: a dict a setting with `K`, `lambda_rel`, `lds` and `interval`, at least one.
        chosen, run: `K` and `lambda_rel` of the best setting and of the run's own.
        save_path: a PNG written if given.
    """
    figure = _figure(8, 5, "Which ridge and K predict retraining best")
    axes = figure.subplots()
    ridge_lines(axes, curve)
    for setting, name, marker in ((chosen, "best here", "*"), (run, "the run's", "o")):
        line = next(line for line in curve if all(line[key] == setting[key] for key in ("K", "lambda_rel")))
        style = {"markersize": 13, "markerfacecolor": "none", "markeredgecolor": "black", "linestyle": ""}
        label = f"{name}: K = {setting['K']}, lambda_rel {setting['lambda_rel']:g}"
        axes.plot([line["lambda_rel"]], [line["lds"]], marker=marker, label=label, **style)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9, frameon=False)
    return _saved(figure, save_path)


def _checked_pairs(pairs: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    rows, poisoned_rows = np.asarray(pairs[0]), np.asarray(pairs[1])
    if rows.shape != poisoned_rows.shape or rows.ndim != 1 or len(rows) == 0:
        got = f"{rows.shape} and {poisoned_rows.shape}"
        raise DataError(f"plot_score_comparison: `pairs` are no pairs. Got shapes {got}, expected twice (n,), n > 0.")
    return rows, poisoned_rows


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


def _bar_lists(ranking: dict[str, Any], top_k: int) -> dict[str, list[np.ndarray]]:
    """Panel title -> row numbers, scores and labels, highest first."""
    lists = {}
    for key, title, part in (("top", "Highest", slice(top_k)), ("bottom", "Lowest", slice(-top_k, None))):
        rows, scores, labels = (np.asarray(ranking[f"{key}_k_{n}"])[part] for n in ("indices", "scores", "labels"))
        opponents = " (below 0: opponents)" if key == "bottom" and len(scores) and scores[-1] < 0 else ""
        if key == "top" or opponents:  # low self-influence is none, and there is nothing to draw of it
            lists[f"{title} scores{opponents}"] = [rows, scores, labels]
    of_classes = {}
    for label, key in ((1, "fake"), (0, "real")):
        rows, scores = (np.asarray(ranking[f"top_{key}_{what}"])[:top_k] for what in ("indices", "scores"))
        if len(rows):
            of_classes[f"Highest scores, {key} article clicked"] = [rows, scores, np.full(len(rows), label)]
    return lists | (of_classes if len(of_classes) > 1 else {})
