"""Scores -> rows in order of influence: the ranking table and its top and bottom lists. Not here: files, figures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions, occurrences
from rec_trak.data.ragged import Ragged
from rec_trak.data.tables import one_line
from rec_trak.data.texts import taken
from rec_trak.errors import ConfigError, DataError, NumericalError
from rec_trak.results.lines import Lines, cells
from rec_trak.words import quoted

LABELS = {1: "fake", 0: "real", -1: "unknown"}
TOP, BOTTOM, NOTHING = "top_influential", "bottom_influential", "carries_nothing"
ABOUT = ("user_id", "article_id", "title", "source_lines")
RANKING_COLUMNS = ("rank", "sample_idx", "score", "label", "category", *ABOUT)
IDENTITY = ("user_id", "history_ids", "article_id", "occurrence")
ROW_COLUMNS = ("sample_idx", *IDENTITY, "other_candidates", "label", "title", "source_lines")
HISTORY_READ = "history_read"  # a further column of rows.csv alone: the part of `history_ids` that the model reads


def rank_training_samples(
    scores: Any, labels: Any, top_k: int = 100, nothing: Any = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """The most and least influential rows, and the most influential fake and real ones.

    Args:
        scores: (N,) scores, all finite.
        labels: (N,) 1 where the clicked article is fake, 0 real, -1 unknown.
        top_k: length of each list; beyond N it is cut to N with a warning.
        nothing: (N,) bool, rows that carry nothing, whose score is 0 for no reason of their own: they are in no list.
            None for none.

    Returns:
        `top_k_indices`, `top_k_scores`, `top_k_labels`, the same three for `bottom_k`, and `top_fake_indices`,
        `top_fake_scores`, `top_real_indices`, `top_real_scores`. Every list runs from high to low, so the least
        influential row is the last of `bottom_k`; equal scores keep the order of the rows. Indices are row numbers.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, an unknown label, or no row that carries something.
        ConfigError: `top_k` is not a whole number of at least 1.
    """
    scores, labels = check_scores(scores, labels, "rank_training_samples")
    top_k, carries = clip_top_k(top_k, len(scores)), carrying_rows(nothing, len(scores), "rank_training_samples")
    order = best_first(scores)
    order = order[carries[order]]
    lists = {
        "top_k": order[:top_k],
        "bottom_k": order[-top_k:],
        "top_fake": order[labels[order] == 1][:top_k],
        "top_real": order[labels[order] == 0][:top_k],
    }
    result = {}
    for name, rows in lists.items():
        result[f"{name}_indices"], result[f"{name}_scores"] = rows, scores[rows]
        if name.endswith("_k"):
            result[f"{name}_labels"] = labels[rows]
    return result


def rows_table(impressions: Impressions, articles: Articles, extra: dict[str, Any] | None = None) -> Lines:
    """All that is to be said of each row but its score, in row order: the content of rows.csv.

    Args:
        impressions: N rows.
        articles: the table they were read against.
        extra: further columns, name -> (N,) values, or `lines.Made`.

    Returns:
        N lines with ROW_COLUMNS and the extra ones. `history_ids` (oldest first) and `other_candidates` (all but the
        first, sorted) are article ids with a space between; `label` is fake, real or unknown; line breaks in a text
        became spaces, so that one row is one line of a CSV.

    Raises:
        DataError: an extra column has another length or a name that is taken.
    """
    n, extra = len(impressions), extra or {}
    for name, values in extra.items():
        if name in {*ROW_COLUMNS, *RANKING_COLUMNS}:
            raise DataError(f"extra column `{name}`: the ranking table has a column of that name. Choose another.")
        if len(values) != n:
            raise DataError(f"extra column `{name}`: wrong length. Got {len(values)} values, expected {n}, one a row.")
    rows = replace(impressions, columns={}, notes=(), origin=None)
    columns = _columns(rows, articles) | {
        name: lambda places, values=values: _one_lines(cells(values, places)) for name, values in extra.items()
    }

    def make(places: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame({name: columns[name](places) for name in names}, index=range(len(places)))

    return Lines((*ROW_COLUMNS, *extra), n, make)


def _columns(rows: Impressions, articles: Articles) -> dict[str, Callable[[np.ndarray], Any]]:
    """Name -> what makes the cells of each of ROW_COLUMNS at some places (n,)."""
    names, titles = articles.ids, {}
    nth = occurrences(rows)

    def others(places: np.ndarray) -> list[str]:
        part = rows.candidates.subset(places)
        bounds, values = pairwise(part.offsets.tolist()), part.values
        return [" ".join(sorted([names[c] for c in values[a + 1 : b].tolist()])) for a, b in bounds]

    def title(article: int) -> str:
        if article not in titles:
            titles[article] = one_line(articles.titles[article])
        return titles[article]

    clicked = rows.clicked
    return {
        "sample_idx": lambda places: places,
        "user_id": lambda places: [str(user) for user in rows.user_ids[places]],
        "history_ids": lambda places: _spelled(rows.history.subset(places), names),
        "article_id": lambda places: [names[a] for a in clicked[places].tolist()],
        "occurrence": lambda places: nth[places],
        "other_candidates": others,
        "label": lambda places: label_words(rows.is_fake[places]),
        "title": lambda places: [title(a) for a in clicked[places].tolist()],
        "source_lines": lambda places: list(taken(rows.sources, places)),
    }


def _spelled(history: Ragged, names: Sequence[str]) -> list[str]:
    """The ids of each history with a space between; one string for all rows that have the same."""
    known: dict[bytes, str] = {}
    told = []
    for a, b in pairwise(history.offsets.tolist()):
        key = history.values[a:b].tobytes()
        if key not in known:
            known[key] = " ".join([names[article] for article in history.values[a:b].tolist()])
        told.append(known[key])
    return told


def ranking_table(scores: Any, rows: Lines | pd.DataFrame, top_k: int = 100, nothing: Any = None) -> Lines:
    """All rows, most influential first.

    Args:
        scores: (N,) scores, all finite.
        rows: N lines in row order, as `rows_table` makes them.
        top_k: how many rows each end of the table names in its `category`; beyond N it is cut with a warning.
        nothing: as for `rank_training_samples`.

    Returns:
        RANKING_COLUMNS, then the extra columns of `rows` but `history_read`. `rank` 1 is the highest score, equal
        scores keep the order of the rows. `category` is carries_nothing in the lines of such rows; of the others,
        top_influential in the first `top_k` lines, bottom_influential in the last `top_k` that are not among those,
        and '' between.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, or no row that carries something.
        ConfigError: `top_k` is not a whole number of at least 1.
    """
    scores = check_scores(scores, np.zeros(len(rows)), "ranking_table")[0]
    rows, n, top_k = Lines.of(rows), len(scores), clip_top_k(top_k, len(scores))
    order, carries = best_first(scores), carrying_rows(nothing, n, "ranking_table")
    kinds = np.array([NOTHING, "", TOP, BOTTOM], dtype=object)
    kind, ends = np.zeros(n, dtype=np.int8), np.flatnonzero(carries[order])
    kind[ends] = 1
    kind[ends[max(top_k, len(ends) - top_k) :]] = 3
    kind[ends[:top_k]] = 2
    own = {
        "rank": lambda places: places + 1,
        "score": lambda places: scores[order[places]],
        "category": lambda places: kinds[kind[places]],
    }

    def make(places: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
        theirs = [name for name in names if name not in own]
        told = rows.take(order[places], theirs) if theirs else pd.DataFrame(index=range(len(places)))
        return told.assign(**{name: values(places) for name, values in own.items() if name in names})

    further = (name for name in rows.columns if name not in (*ROW_COLUMNS, HISTORY_READ))
    return Lines((*RANKING_COLUMNS, *further), n, make)


def carrying_rows(nothing: Any, n: int, where: str) -> np.ndarray:
    """(N,) bool, the rows that are not among `nothing` (N,), those that carry nothing; None is none of them.

    Raises:
        DataError: another length, or no row is left.
    """
    nothing = np.zeros(n, dtype=bool) if nothing is None else np.asarray(nothing)
    if nothing.shape != (n,) or nothing.dtype != bool or nothing.all():
        got = f"{nothing.dtype} of shape {nothing.shape}, {np.count_nonzero(nothing):,} of them true"
        raise DataError(
            f"{where}: `nothing` does not say which rows carry nothing. Got {got}, expected ({n},) of true or false, "
            "some of them false. Give what `compute_trak_scores` gave as `nothing`, or leave it out."
        )
    return ~nothing


def best_first(scores: np.ndarray) -> np.ndarray:
    """(N,) row numbers from the highest score to the lowest; equal scores keep the order of the rows."""
    return np.argsort(-scores.astype(np.float64), kind="stable")


def percentiles(scores: np.ndarray) -> np.ndarray:
    """(N,) place of each row among all, from 1 (highest score) to 100 (lowest); equal scores share the mean place."""
    places = pd.Series(np.asarray(scores, dtype=np.float64)).rank(ascending=False).to_numpy()
    return 1 + 99 * (places - 1) / max(1, len(scores) - 1)


def label_words(labels: np.ndarray) -> np.ndarray:
    """(N,) fake, real or unknown for 1, 0 and -1."""
    return np.array([LABELS[0], LABELS[1], LABELS[-1]], dtype=object)[np.asarray(labels, dtype=np.int64)]


def check_scores(scores: Any, labels: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels as (N,) arrays, labels int64; refused where a ranking of them would mean nothing.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, another shape, unequal lengths, or a label other than 0, 1 and -1.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or len(scores) == 0 or scores.dtype.kind not in "biuf":
        got = f"{scores.dtype} of shape {scores.shape}"
        raise DataError(f"{where}: `scores` must be one number a row. Got {got}, expected (N,) numbers, N > 0.")
    if labels.shape != scores.shape:
        got = f"{len(scores)} scores for labels of shape {labels.shape}"
        raise DataError(f"{where}: scores and labels do not go together. Got {got}, expected one label a row.")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        more = f" and {len(bad) - 1:,} more rows" if len(bad) > 1 else ""
        raise NumericalError(
            f"{where}: the score of row {bad[0]}{more} is not finite. Got {scores[bad[0]]}, expected a finite number. "
            "Look for NaN in the checkpoint, or score again with a larger `lambda_rel`."
        )
    bad = np.flatnonzero(~np.isin(labels, list(LABELS)))
    if len(bad):
        got = labels[bad[0]]
        raise DataError(f"{where}: label of row {bad[0]}. Got {got}, expected 1 (fake), 0 (real) or -1 (unknown).")
    return scores, labels.astype(np.int64)


def check_top_k(top_k: Any) -> int:
    """`top_k` as an int.

    Raises:
        ConfigError: it is not a whole number of at least 1.
    """
    if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or top_k < 1:
        raise ConfigError(
            f"`top_k`: not the length of a list. Got {quoted(top_k)}, expected a whole number of at least 1."
        )
    return int(top_k)


def clip_top_k(top_k: Any, n: int) -> int:
    """`top_k`, or `n` with a warning where there are not so many rows.

    Raises:
        ConfigError: it is not a whole number of at least 1.
    """
    top_k = check_top_k(top_k)
    if top_k > n:
        warnings.warn(f"`top_k`: there are not so many rows. Got {top_k}, using all {n}.", stacklevel=3)
    return min(top_k, n)


def _one_lines(values: Any) -> Any:
    """The values, texts among them on one line each."""
    numeric = isinstance(values, np.ndarray) and values.dtype.kind in "biuf"
    return values if numeric else [one_line(v) if isinstance(v, str) else v for v in values]
