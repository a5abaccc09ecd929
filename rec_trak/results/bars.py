"""Which rows stand in a figure of bars, and how a row is named beside its bar. Not here: drawing.

A headline keeps its own direction: it stands in an isolate of Unicode's bidirectional algorithm, so that its ellipsis
is where its reader stops, and the numbers of rows are on one side of all headlines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rec_trak.errors import DataError
from rec_trak.results.panels import drawable, within
from rec_trak.words import headline_text, isolated

Titles = Sequence[str] | Mapping[int, str]  # in row order, or by row number
BARS, BARS_EACH = 20, 10  # of one panel at most, and of each of several: a line of type each
HEADLINE, ROOM = {1: 24, 2: 60}, {1: 105, 2: 270}  # of a headline beside a bar: characters, and points


def bar_lists(ranking: dict[str, Any], top_k: int) -> dict[str, list[np.ndarray]]:
    """Panel title -> row numbers, scores and labels, highest first; fewer of each where there are several panels."""
    lists = _lists(ranking, top_k)
    return lists if len(lists) == 1 else _lists(ranking, min(top_k, BARS_EACH))


def _lists(ranking: dict[str, Any], top_k: int) -> dict[str, list[np.ndarray]]:
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
    if len(of_classes) < 2:
        return lists
    shown = [rows.tolist() for rows, _, _ in lists.values()]
    return lists | {name: one for name, one in of_classes.items() if one[0].tolist() not in shown}


def checked_titles(titles: Titles | None, last_row: int) -> Titles:
    """The headlines by row number, [] for none.

    Raises:
        DataError: there are fewer than the last row needs.
    """
    if isinstance(titles, Mapping):
        return titles
    titles = [] if titles is None else list(titles)
    if titles and len(titles) <= last_row:
        got = f"{len(titles)} for row {last_row}"
        raise DataError(f"plot_top_influential_samples: too few `titles`. Got {got}, expected one a row, in row order.")
    return titles


def row_name(row: int, titles: Titles, columns: int) -> str:
    """`headline  row 7`, or `row 7` without one that can be drawn."""
    headline = within(drawable(headline_text(titles[row]), HEADLINE[columns]), ROOM[columns]) if titles else ""
    headline = isolated(headline)
    return f"{headline}  row {row}" if headline else f"row {row}"
