"""How well a ranking finds poisoned rows: numbers, intervals, curves. Not here: where scores or labels come from.

A poisoned row clicks a promoted article, so "the row clicks a promoted article" alone nearly reaches an AUROC of 1
against all rows. What attribution adds shows in the average precision, and against genuine clicks on the same articles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rec_trak.detection.intervals import Interval, bootstrap, found_in, levels
from rec_trak.errors import ConfigError, DataError, NumericalError

BUDGETS = (1, 5, 10)  # per cent of the rows
CURVE_POINTS = 400  # at most; a curve of more is thinned


@dataclass(frozen=True)
class Cut:
    """What the first `rows` rows of a ranking hold.

    Attributes:
        name: `k`, or the budget in per cent of the rows (`1%`).
        rows: rows looked at.
        found: poisoned rows among them, on average over the orders that tied rows can have.
        precision, recall: `found` over `rows`, and over all poisoned rows (None where there is none).
        precision_interval, recall_interval: see `Detection`.
    """

    name: str
    rows: int
    found: float
    precision: float
    recall: float | None
    precision_interval: Interval | None
    recall_interval: Interval | None


@dataclass(frozen=True)
class Detection:
    """How one ranking finds the poisoned rows; metrics are in [0, 1], and None where they cannot be given.

    Attributes:
        n, n_poisoned: rows looked at, poisoned rows among them.
        auroc: the chance that a poisoned row stands above a genuine one; a tie counts one half.
        average_precision: mean precision over the poisoned rows; tied rows enter together.
        auroc_interval, average_precision_interval: (low, high) bootstrap intervals, see `intervals.bootstrap`; None
            where none were asked for.
        cuts: at `top_k` (left out where there are not so many rows) and at BUDGETS.
        missing: one sentence for each metric that cannot be given, and why; '' where all can.
    """

    n: int
    n_poisoned: int
    auroc: float | None
    average_precision: float | None
    auroc_interval: Interval | None
    average_precision_interval: Interval | None
    cuts: tuple[Cut, ...]
    missing: str

    def cut(self, name: str) -> Cut | None:
        """The cut of that name, None where there is none."""
        return next((cut for cut in self.cuts if cut.name == name), None)


def detect(
    scores: np.ndarray,
    poisoned: np.ndarray,
    top_k: int,
    among: np.ndarray | None = None,
    name: str = "detection",
    draws: int = 0,
    seed: int = 0,
) -> Detection:
    """How well the scores put poisoned rows first.

    Args:
        scores: (N,), higher is more suspicious; any unit, only their order counts.
        poisoned: (N,) in {0, 1}.
        top_k: 1 to N.
        among: (N,) bool, the rows to look at; None for all.
        name: the ranking's, for messages.
        draws, seed: of the bootstrap; 0 draws for no intervals.

    Raises:
        DataError: no rows, lengths that differ, or labels other than 0 and 1.
        NumericalError: a score is NaN or infinite.
        ConfigError: `top_k` out of range.

    Source: Fawcett 2006, An introduction to ROC analysis, section 7 (AUROC as a chance, ties one half).
    """
    scores, labels = _checked(scores, poisoned, top_k, name, among)
    n, n_poisoned = len(labels), int(labels.sum())
    auroc = precision = drawn = None
    missing = _missing(n, n_poisoned, top_k)
    sizes = {"k": top_k} | {f"{percent}%": max(1, n * percent // 100) for percent in BUDGETS}
    sizes = {cut: rows for cut, rows in sizes.items() if rows <= n}
    groups = levels(scores, labels)
    if 0 < n_poisoned < n:
        auroc, precision = _auroc(scores, labels), _average_precision(scores, labels)
        drawn = bootstrap(groups, list(sizes.values()), draws, seed) if draws else None
    found = found_in(*groups, list(sizes.values()))
    between = drawn.found if drawn else [None] * len(sizes)
    return Detection(
        n,
        n_poisoned,
        auroc,
        precision,
        drawn and drawn.auroc,
        drawn and drawn.average_precision,
        tuple(_cut(*cut, n_poisoned) for cut in zip(sizes, sizes.values(), found, between, strict=True)),
        " ".join(missing),
    )


def curves(scores: np.ndarray, poisoned: np.ndarray, among: np.ndarray | None = None) -> dict[str, dict] | None:
    """The ROC and the precision-recall curve as lists of numbers in [0, 1]; None where there is one class only.

    Args:
        scores, poisoned, among: as `detect`.

    Returns:
        `roc` with `false_positive_rate` and `true_positive_rate`, `precision_recall` with `recall` and `precision`,
        each from the strictest threshold to the loosest; points between at most CURVE_POINTS of them are left out.

    Raises:
        DataError, NumericalError: as `detect`.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    scores, labels = _checked(scores, poisoned, 1, "curves", among)
    if not 0 < labels.sum() < len(labels):
        return None
    wrong, right, _ = roc_curve(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores, drop_intermediate=True)
    return {
        "roc": {"false_positive_rate": _thinned(wrong), "true_positive_rate": _thinned(right)},
        "precision_recall": {"recall": _thinned(recall[::-1]), "precision": _thinned(precision[::-1])},
    }


def _missing(n: int, n_poisoned: int, top_k: int) -> list[str]:
    """A sentence for each metric that these counts do not allow."""
    missing = []
    if not 0 < n_poisoned < n:
        which = f"all {n} rows are" if n_poisoned else f"none of the {n} rows is"
        missing.append(f"AUROC and average precision cannot be given: {which} poisoned.")
    if not n_poisoned:
        missing.append("Recall cannot be given: no row is poisoned.")
    if top_k > n:
        missing.append(f"Precision at {top_k} cannot be given: there are {n} rows.")
    return missing


def _cut(name: str, rows: int, found: float, between: Interval | None, n_poisoned: int) -> Cut:
    precision = between and (between[0] / rows, between[1] / rows)
    recall = between and (between[0] / n_poisoned, between[1] / n_poisoned)
    return Cut(name, rows, found, found / rows, found / n_poisoned if n_poisoned else None, precision, recall)


def _auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score  # costs a second, and `import rec_trak` should not

    return float(roc_auc_score(labels, scores))


def _average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores))


def _thinned(points: np.ndarray) -> list[float]:
    """The points, or CURVE_POINTS of them with the first and the last, as JSON's own numbers."""
    if len(points) > CURVE_POINTS:
        points = points[np.linspace(0, len(points) - 1, CURVE_POINTS).round().astype(int)]
    return points.astype(float).tolist()


def _checked(
    scores: np.ndarray, poisoned: np.ndarray, top_k: int, name: str, among: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The scores as float64 and the labels as int of the rows in `among`."""
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
        raise ConfigError(
            f"{name}: `top_k` (--top_k) is out of range. Got {top_k}, expected 1 to {len(scores)}. Change it."
        )
    if among is None:
        return scores, labels.astype(np.int64)
    if np.shape(among) != labels.shape or np.asarray(among).dtype != bool:
        got = f"{np.asarray(among).dtype} of shape {np.shape(among)}"
        raise DataError(f"{name}: `among` must be one bool a row. Got {got}, expected shape {labels.shape}. Give that.")
    return scores[among], labels[among].astype(np.int64)
