"""Scores -> figures. Not here: any number that is not also in a CSV or JSON, nor the panels that figures are made of.

Figures are built without pyplot, so nothing is shown, no global state changes, and a notebook's backend is left alone.
Each is made for one or two columns of a paper (`columns`; style.py): 8 point type, no heading, how many rows and
members it stands for said in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rec_trak.errors import DataError
from rec_trak.results.bars import BARS, Titles, bar_lists, checked_titles, row_name
from rec_trak.results.fonts import LEFT_OUT, undrawn
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
    fitted,
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
from rec_trak.results.style import POINTS, WIDTHS, paper, save

SavePath = str | Path | None
SCORE_NAME = "self-influence Q·h (margin units)"
TITLE, NAME = 90, {1: 44, 2: 60}  # characters of a heading, and of a name in a legend
BAR, FRAME, NAME_ROOM = 0.152, 0.46, 0.22  # inches of a bar, of what stands around a panel of bars, of the axis name
WORDS = {1: "fake article clicked", 0: "real article clicked", -1: "not known whether fake"}


def plot_score_distribution(
    scores: Any, labels: Any, save_path: SavePath = None, title: str = "", score_name: str = SCORE_NAME,
    nothing: Any = None, members: int | None = None, columns: int = 2,
) -> Figure:  # fmt: skip
    """How the scores spread, over all rows and, where there are several, by class.

    Args:
        scores: (N,) scores, all finite. The axis is logarithmic (on both sides of 0) where they are heavily skewed.
        labels: (N,) 1 fake, 0 real, -1 unknown.
        save_path, title, score_name: a PNG written if given; a heading, none for a paper; the axis label with its unit.
        nothing: (N,) bool, rows that carry nothing, which are left out; None for none.
        members, columns: checkpoints that the scores are the mean of, where known; of a paper, 1 or 2.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, an unknown label, or no row that carries something.
    """
    scores, labels = check_scores(scores, labels, "plot_score_distribution")
    carries = carrying_rows(nothing, len(scores), "plot_score_distribution")
    scores, labels = scores[carries], labels[carries]
    whole = f"All {len(scores):,} rows" if len(scores) > 1 else "The one row"
    which = whole if carries.all() else f"The {len(scores):,} rows that carry something"
    several = len(classes(labels)) > 1  # else a panel of classes would repeat the other
    lines = 1 + several if columns == 1 else 1
    with paper([title, score_name]):
        figure = _figure(columns, 2.5 * lines, title, [score_name])
        everything, *by_class = figure.subplots(lines, 1 + several if columns == 2 else 1, squeeze=False).flat
        edges, scale = score_axis(scores)
        all_rows_histogram(everything, scores, edges)
        dress_histogram(everything, which + _mean_of(members), edges, scale, score_name)
        for panel in by_class:
            y_name = class_histogram(panel, scores, labels, edges, sharable(labels))
            dress_histogram(panel, "By class of the clicked article", edges, scale, score_name, y_name)
    return _saved(figure, save_path)


def plot_top_influential_samples(
    ranking_results: dict[str, Any], save_path: SavePath = None, top_k: int = 50, titles: Titles | None = None,
    score_name: str = SCORE_NAME, members: int | None = None, columns: int = 2,
) -> Figure:  # fmt: skip
    """Bars for the rows with the highest and, where some are below 0, the lowest scores, and for the highest of fake
    and of real clicks where there are both; all on one scale.

    Args:
        ranking_results: what `rank_training_samples` returns.
        save_path, score_name: a PNG written if given; the axis label with its unit.
        top_k: bars a panel at most, and never more than can be read: BARS of one panel, BARS_EACH of several. Of the
            bottom list the lowest are taken.
        titles: N headlines in row order, or row number -> headline of the rows listed, shown beside the row numbers.
        members, columns: as `plot_score_distribution`.

    Raises:
        ConfigError: `top_k` is not a whole number of at least 1.
        DataError: fewer titles than rows.
    """
    top_k = min(check_top_k(top_k), BARS)
    lists = bar_lists(ranking_results, top_k)
    titles = checked_titles(titles, max(rows.max(initial=0) for rows, _, _ in lists.values()))
    told = [score_name, *(titles[row] for rows, _, _ in lists.values() for row in rows.tolist() if titles)]
    sizes = [max(len(rows), 2) * BAR + FRAME for rows, _, _ in lists.values()]
    present = classes(np.concatenate([labels for _, _, labels in lists.values()]))
    with paper(told):
        figure = _figure(columns, sum(sizes) + NAME_ROOM + 0.2 * (present != [-1]), "", told)
        panels = figure.subplots(len(lists), 1, squeeze=False, sharex=True, height_ratios=sizes)[:, 0]
        for axes, (name, (rows, scores, labels)) in zip(panels, lists.items(), strict=True):
            kinds = f" ({counted(labels)})" if labelled(labels) else ""
            places = "" if name.endswith("clicked") else f": {len(rows):,} row{'s' * (len(rows) != 1)}{kinds}"
            axes.set_title(fitted(name + places, axes), loc="right")
            axes.tick_params(labelbottom=True)
            bars(axes, scores, labels)
            axes.xaxis.set_major_locator(MaxNLocator(2 * columns, steps=[1, 2, 5, 10]))
            axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}".replace("-", "\N{MINUS SIGN}"))
            names = [row_name(row, titles, columns) for row in rows.tolist()]
            axes.set_yticks(range(1, len(rows) + 1), names)
            axes.tick_params(axis="y", length=0)
        last = panels[-1]  # of panels that share an axis
        last.set_xlabel(fitted(drawable(score_name, AXIS_NAME) + _mean_of(members), last), loc="right")
        if present != [-1]:
            handles = [Patch(label=WORDS[label], **filled(label, "B0")) for label in present]
            figure.legend(handles=handles, loc="outside upper left", ncols=columns + 1, frameon=False)
    return _saved(figure, save_path)


def plot_score_comparison(
    clean_scores: Any, clean_labels: Any, poisoned_scores: Any, poisoned_labels: Any,
    save_path: SavePath = None, pairs: tuple[Any, Any] | None = None, score_name: str = SCORE_NAME, columns: int = 2,
    members: tuple[int | None, int | None] = (None, None),
) -> Figure:  # fmt: skip
    """Two runs side by side: the scores of each, and where the rows that stand in both moved.

    Args:
        clean_scores, clean_labels, poisoned_scores, poisoned_labels: (N,) the clean run's, (N',) the poisoned run's.
        save_path, score_name: a PNG written if given; the axis label with its unit.
        pairs: (n,) clean and (n,) poisoned row numbers of the rows that stand in both. None: row i is the same row in
            both if N = N'; else nobody knows which rows belong together, and a sentence takes the panels' place.
        columns: of a paper, 1 or 2.
        members: checkpoints that the scores of either run are the mean of, where known.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, an unknown label, or pairs of unequal length.
    """
    clean = check_scores(clean_scores, clean_labels, "plot_score_comparison, clean run")
    poisoned = check_scores(poisoned_scores, poisoned_labels, "plot_score_comparison, poisoned run")
    if pairs is None and len(clean[0]) == len(poisoned[0]):
        pairs = (np.arange(len(clean[0])),) * 2
    matched = pairs is not None
    lines = (1 + matched) * (3 - columns)
    with paper([score_name]):
        figure = _figure(columns, 2.7 * lines + 0.4 * (not matched), "")
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        edges, scale = score_axis(np.concatenate([clean[0], poisoned[0]]))
        for axes, name, (scores, labels), count in zip(
            panels, ("Clean", "Poisoned"), (clean, poisoned), members, strict=False
        ):
            y_name = class_histogram(axes, scores, labels, edges, sharable(clean[1], poisoned[1]))
            which = f"{name} run, all {len(scores):,} rows{_mean_of(count)}"
            dress_histogram(axes, fitted(which, axes), edges, scale, score_name, y_name)
        if not matched:
            counts = f"The runs have {len(clean[0]):,} and {len(poisoned[0]):,} rows, and nothing says which are the"
            figure.supxlabel(f"{counts} same.\nscripts/compare.py matches them by user, history and article.")
        else:
            rows, poisoned_rows = _checked_pairs(pairs)
            before, after = percentiles(clean[0][rows]), percentiles(poisoned[0][poisoned_rows])
            rank_scatter(panels[2], before, after, clean[1][rows], pixels=True)
            panels[2].set_title(f"The {len(rows):,} rows in both runs", pad=28)
            shift_histogram(panels[3], before - after, clean[1][rows])
            panels[3].set_title("How far they moved")
    return _saved(figure, save_path)


def plot_detection_curves(
    questions: Sequence[tuple[str, Curves, Curves, float]], save_path: SavePath = None, columns: int = 2
) -> Figure:
    """How the best rankings find poison, precision-recall and ROC curves, a pair of panels a question.

    Args:
        questions: (title, curves (ranking, recall, precision), curves (ranking, false positive rate, true positive
            rate), share of poisoned rows), at least one.
        save_path: a PNG written if given.
        columns: of a paper, 1 or 2.
    """
    told = [text for title, recall, _, _ in questions for text in (title, *(line[0] for line in recall))]
    with paper(told):
        folds = [sum(len(wrap(line[0], NAME[columns])) or 1 for line in recall) for _, recall, _, _ in questions]
        heights = [(3.0 if columns == 2 else 5.6) + 0.16 * (lines + 2) for lines in folds]
        figure = _figure(columns, sum(heights), "")
        parts = figure.subfigures(len(questions), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, (title, recall, rates, base_rate) in zip(parts, questions, strict=True):
            left, right = part.subplots(3 - columns, columns, squeeze=False).flat
            precision_recall(left, recall, base_rate)
            roc(right, rates)
            left.set_title(fitted(f"{drawable(title, TITLE)}; {base_rate:.3f} at random", left))
            lines, names = left.get_legend_handles_labels()
            folded = ["\n".join(wrap(name, NAME[columns])) for name in names]
            part.legend(lines, folded, loc="outside lower left", frameon=False)
    return _saved(figure, save_path)


def plot_ridge_search(
    curve: Sequence[dict[str, Any]], chosen: dict[str, float], run: dict[str, float], save_path: SavePath = None,
    columns: int = 2,
) -> Figure:  # fmt: skip
    """The score of each ridge, a line for each K, on the half of subsets and targets that it was chosen on.

    Args:
        curve: a dict a setting with `K`, `lambda_rel`, `lds` and `interval`, at least one.
        chosen, run: `K` and `lambda_rel` of the best setting and of the run's own.
        save_path: a PNG written if given.
        columns: of a paper, 1 or 2.
    """
    with paper():
        figure = _figure(columns, 2.6 if columns == 2 else 3.4, "")
        axes = figure.subplots()
        ridge_lines(axes, curve)
        for setting, name, marker in ((chosen, "best here", "*"), (run, "the run's", "o")):
            line = next(line for line in curve if all(line[key] == setting[key] for key in ("K", "lambda_rel")))
            style = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": "black", "linestyle": ""}
            label = f"{name}: K = {setting['K']}, lambda_rel {setting['lambda_rel']:g}"
            axes.plot([line["lambda_rel"]], [line["lds"]], marker=marker, label=label, **style)
        place = "outside right upper" if columns == 2 else "outside lower left"
        figure.legend(loc=place, frameon=False, handlelength=3)  # long enough for dashes to be told apart
    return _saved(figure, save_path)


def _checked_pairs(pairs: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    rows, poisoned_rows = np.asarray(pairs[0]), np.asarray(pairs[1])
    if rows.shape != poisoned_rows.shape or rows.ndim != 1 or len(rows) == 0:
        got = f"{rows.shape} and {poisoned_rows.shape}"
        raise DataError(f"plot_score_comparison: `pairs` are no pairs. Got shapes {got}, expected twice (n,), n > 0.")
    return rows, poisoned_rows


def _mean_of(members: int | None) -> str:
    return f", mean of {members} checkpoints" if members and members > 1 else ""


def _figure(columns: int, height: float, title: str, texts: Sequence[str] = ()) -> Figure:
    """An empty figure; where no font has all letters of the texts that will stand in it, that is said below."""
    lost = undrawn([title, *texts], FontProperties().get_family())
    figure = Figure(figsize=(WIDTHS[columns], height + 0.25 * bool(title) + 0.25 * bool(lost)), layout="constrained")
    if lost:
        figure.supxlabel("\n".join(wrap(LEFT_OUT, 60 * columns)), fontsize=POINTS, x=0.01, ha="left")
    if title:
        figure.suptitle(drawable(title, TITLE), fontsize=POINTS, fontweight="bold")
    return figure


def _saved(figure: Figure, save_path: SavePath) -> Figure:
    if save_path is not None:
        save(figure, save_path)
    return figure
