"""How well a ranking finds poisoned rows, next to rankings that need no model. Not here: where the scores come from.

A poisoned row clicks a promoted article, so "the row clicks a promoted article" alone nearly reaches an AUROC of 1
against all rows. What attribution adds shows in the average precision, and against genuine clicks on the same articles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rec_trak.errors import ConfigError, DataError, NumericalError

COLUMNS = ("found", "top_k", "auroc", "average_precision", "auroc_same_article")


@dataclass(frozen=True)
class Detection:
    """How one ranking finds the poisoned rows; metrics are in [0, 1], and None where they cannot be given.

    Attributes:
        auroc: the chance that a poisoned row stands above a genuine one; a tie counts one half.
        average_precision: mean precision over the poisoned rows; tied rows enter together.
        found: poisoned rows among the first `top_k`; tied rows keep their order in the table.
        top_k, n, n_poisoned: rows looked at, rows, poisoned rows.
        auroc_same_article: `auroc` among the rows that click a promoted article; None also where it was not asked for.
        missing: one sentence for each metric that cannot be given, and why; '' where all can.
    """

    auroc: float | None
    average_precision: float | None
    found: int
    top_k: int
    n: int
    n_poisoned: int
    auroc_same_article: float | None
    missing: str


def detect(
    scores: np.ndarray,
    poisoned: np.ndarray,
    top_k: int,
    clicked: np.ndarray | None = None,
    promoted: Iterable[int] | None = None,
    name: str = "detection",
) -> Detection:
    """How well the scores put poisoned rows first.

    Args:
        scores: (N,), higher is more suspicious; any unit, only their order counts.
        poisoned: (N,) in {0, 1}.
        top_k: 1 to N.
        clicked: (N,) article each row clicks, and
        promoted: the articles that the attack promotes, named likewise; None, both, to leave out the comparison
            among clicks on these.
        name: the ranking's, for messages.

    Raises:
        DataError: no rows, lengths that differ, or labels other than 0 and 1.
        ConfigError: `top_k` out of range, or `clicked` without `promoted`.
        NumericalError: a score is NaN or infinite.

    Source: Fawcett 2006, An introduction to ROC analysis, section 7 (AUROC as a chance, ties one half).
    """
    scores, labels = _checked(scores, poisoned, top_k, name)
    first = np.argsort(-scores, kind="stable")[:top_k]
    auroc, precision, missing = None, None, []
    if 0 < labels.sum() < len(labels):
        auroc, precision = _auroc(scores, labels), _average_precision(scores, labels)
    else:
        which = f"all {len(labels)} rows are" if labels.any() else f"none of the {len(labels)} rows is"
        missing.append(f"AUROC and average precision cannot be given: {which} poisoned.")
    same = None
    if clicked is not None or promoted is not None:
        among = _clicks_promoted(clicked, promoted, len(labels), name)
        if 0 < labels[among].sum() < among.sum():
            same = _auroc(scores[among], labels[among])
        else:
            which = "all" if labels[among].any() else "none"
            which = f"of the {among.sum()} rows that click a promoted article, {which} are poisoned"
            missing.append(f"AUROC on the same articles cannot be given: {which}.")
    n, n_poisoned = len(labels), int(labels.sum())
    return Detection(auroc, precision, int(labels[first].sum()), int(top_k), n, n_poisoned, same, " ".join(missing))


def detection_table(
    rankings: Mapping[str, np.ndarray],
    poisoned: np.ndarray,
    top_k: int,
    clicked: np.ndarray | None = None,
    promoted: Iterable[int] | None = None,
) -> pd.DataFrame:
    """One line a ranking, the best average precision first.

    Args:
        rankings: name -> (N,) scores.
        poisoned, top_k, clicked, promoted: as `detect`.

    Returns:
        Columns `ranking`, `found`, `top_k`, `auroc`, `average_precision`, `auroc_same_article`; NaN where a metric
        cannot be given. `attrs["missing"]` says why.

    Raises:
        ConfigError, DataError, NumericalError: as `detect`; also ConfigError where there is no ranking.
    """
    if not rankings:
        raise ConfigError("detection_table: there is no ranking. Got 0, expected at least 1. Give name -> scores.")
    promoted = None if promoted is None else list(promoted)
    found = {name: detect(scores, poisoned, top_k, clicked, promoted, name) for name, scores in rankings.items()}
    lines = [[name, *(getattr(detection, column) for column in COLUMNS)] for name, detection in found.items()]
    table = pd.DataFrame(lines, columns=["ranking", *COLUMNS])
    table = table.astype(dict.fromkeys(("auroc", "average_precision", "auroc_same_article"), float))
    table = table.sort_values("average_precision", ascending=False, kind="stable", ignore_index=True)
    table.attrs["missing"] = next(iter(found.values())).missing  # it depends on the labels alone
    return table


def baselines(clicked: np.ndarray, promoted: Iterable[int], seed: int = 0) -> dict[str, np.ndarray]:
    """Rankings that need no model, name -> (N,) float64 scores.

    `random`; `clicks promoted article`: 1 where the row clicks one, else 0; `popularity of the clicked article`: how
    many of the rows click the same.

    Args:
        clicked: (N,) article each row clicks.
        promoted: the articles that the attack promotes.
        seed: of `random`.

    Raises:
        DataError: `clicked` is not one article a row.
    """
    clicked = np.asarray(clicked)
    indicator = _clicks_promoted(clicked, promoted, clicked.size, "baselines")
    _, article, clicks = np.unique(clicked, return_inverse=True, return_counts=True)
    return {
        "random": np.random.default_rng(seed).random(len(clicked)),
        "clicks promoted article": indicator.astype(float),
        "popularity of the clicked article": clicks[article].astype(float),
    }


def format_table(table: pd.DataFrame, width: int = 100) -> str:
    """The table as text for a terminal: words to the left, numbers to the right, `-` for what cannot be given.

    Args:
        table: any; `detection_table` makes one.
        width: columns of text, at most. What is wider gets its headings stacked, word over word; then the longest
            words, and at last whole lines, are cut and end in `...`.
    """
    names = [str(name) for name in table.columns]
    cells = [list(map(_cell, table[name])) for name in table.columns]
    words = [i for i, name in enumerate(table.columns) if not pd.api.types.is_numeric_dtype(table[name])]
    headings = [[name] for name in names]
    if _width(_widths(headings, cells)) > width:
        headings = [name.split("_") for name in names]
    widths = _widths(headings, cells)
    excess = _width(widths) - width
    if excess > 0 and words:
        longest = max(words, key=lambda i: widths[i])
        widths[longest] = max(widths[longest] - excess, 8)
    height = max(map(len, headings), default=0)
    columns = [[""] * (height - len(h)) + h + c for h, c in zip(headings, cells, strict=True)]
    lines = []
    for row in zip(*columns, strict=True):
        fitted = zip(row, widths, strict=True)
        parts = [_cut(c, w).ljust(w) if i in words else c.rjust(w) for i, (c, w) in enumerate(fitted)]
        lines.append(_cut("  ".join(parts).rstrip(), width))
    return "\n".join(lines)


def _widths(headings: list[list[str]], cells: list[list[str]]) -> list[int]:
    return [max(map(len, heading + column)) for heading, column in zip(headings, cells, strict=True)]


def _width(widths: list[int]) -> int:
    """Characters of a line, two spaces between columns."""
    return sum(widths) + 2 * (len(widths) - 1)


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN is the one number that differs from itself
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score  # costs a second, and `import rec_trak` should not

    return float(roc_auc_score(labels, scores))


def _average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores))


def _checked(scores: np.ndarray, poisoned: np.ndarray, top_k: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The scores as float64 and the labels as int, both (N,)."""
    scores, poisoned = np.asarray(scores, dtype=np.float64), np.asarray(poisoned)
    if scores.ndim != 1 or scores.shape != poisoned.shape or not scores.size:
        raise DataError(
            f"{name}: not one score and one label a row. Got scores of shape {scores.shape} and labels of shape "
            f"{poisoned.shape}, expected (N,) both, N at least 1. Rank the rows that the labels are of."
        )
    written = poisoned.astype(str)  # booleans, numbers, or a table's strings
    labels = np.isin(written, ("1", "1.0", "True"))
    wrong = np.flatnonzero(~labels & ~np.isin(written, ("0", "0.0", "False")))
    if len(wrong):
        raise DataError(
            f"{name}: row {wrong[0]} is neither poisoned nor genuine. Got {poisoned.tolist()[wrong[0]]!r}, expected 0 "
            f"or 1. Mend the label (and {len(wrong) - 1} more)."
        )
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise NumericalError(
            f"{name}: the score of row {wrong[0]} is not finite. Got {scores[wrong[0]]} (and {len(wrong) - 1} more), "
            "expected finite numbers. Score these rows again."
        )
    if not 1 <= top_k <= len(scores):
        raise ConfigError(f"{name}: `top_k` is out of range. Got {top_k}, expected 1 to {len(scores)}. Change it.")
    return scores, labels.astype(np.int64)


def _clicks_promoted(clicked: np.ndarray | None, promoted: Iterable[int] | None, n: int, name: str) -> np.ndarray:
    """(N,) bool, whether a row clicks a promoted article."""
    if clicked is None or promoted is None:
        absent = "clicked" if clicked is None else "promoted"
        raise ConfigError(
            f"{name}: `clicked` and `promoted` go together. Got no `{absent}`, expected both. Give it too."
        )
    clicked = np.asarray(clicked)
    if clicked.shape != (n,):
        raise DataError(
            f"{name}: not one clicked article a row. Got shape {clicked.shape}, expected ({n},). Give one for each row."
        )
    return np.isin(clicked, list(promoted))
