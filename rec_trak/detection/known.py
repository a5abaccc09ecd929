"""A few rows that a user knows to be injected or genuine: a small model over the signals. Not here: the signals.

Logistic regression over standardised ranks within the rows in question. Its figure is of rows that it was not shown
(cross-validated), and stands beside that of the fixed rule on the same rows: the model takes the rule's place only
where it does better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rec_trak.data.tables import FLAGS, read_csv
from rec_trak.detection.labels import NUMBER, read_row_numbers
from rec_trak.detection.metrics import detect
from rec_trak.detection.stages import standard_ranks
from rec_trak.errors import DataError
from rec_trak.words import outline, quoted

LEAST = 10  # known rows of either kind among those in question; below it nothing is learnt
FOLDS, REPEATS, PENALTY = 5, 10, 1.0


@dataclass(frozen=True)
class Known:
    """What known rows say.

    Attributes:
        told: a sentence for the answer.
        key: (N,) the model's second key for the rows in question; None where the rule stays.
    """

    told: str
    key: np.ndarray | None

    __repr__ = outline


def read_known(path: str | Path, n: int, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of known rows (R,) and their labels (R,) in {0, 1}, from a CSV with `sample_idx` and that column.

    Raises:
        DataError: what `read_row_numbers` refuses; no such column; a label other than 0 and 1.
    """
    rows = read_row_numbers(path, n)
    said = read_csv(path, (NUMBER, column)).column(column)
    labels = np.array([FLAGS.get(value.strip().lower(), -1) for value in said])
    wrong = np.flatnonzero(labels < 0)
    if len(wrong):
        raise DataError(
            f"{path}: `{column}` of row {rows[wrong[0]]} is wrong ({len(wrong)} such). Got {quoted(said[wrong[0]])}, "
            "expected 1 for injected or 0 for genuine. Mend the file."
        )
    return rows, labels


def learn(
    signals: Mapping[str, np.ndarray], among: np.ndarray, rule: np.ndarray, rows: np.ndarray, labels: np.ndarray
) -> Known:
    """A second key from known rows, where they are enough and it is better than the rule.

    Args:
        signals: name -> (N,).
        among: (N,) bool, the rows in question; known rows elsewhere say nothing of them.
        rule: (N,) what the fixed rule ranks by.
        rows, labels: as `read_known` gives them.
    """
    inside = among[rows]
    rows, labels = rows[inside], labels[inside]
    injected = int(labels.sum())
    counts = f"{injected} injected and {len(labels) - injected} genuine known rows are in question"
    if min(injected, len(labels) - injected) < LEAST:
        few = f"too few to learn from (at least {LEAST} of each are needed)"
        return Known(f"Known rows: {counts}, {few}; the fixed rule stays.", None)
    table = np.zeros((len(among), len(signals)))
    table[among] = np.stack([standard_ranks(values[among]) for values in signals.values()], axis=1)
    held_out = _held_out(table[rows], labels)
    draws = {"draws": 1000, "seed": 0}
    mine, fixed = (detect(x, labels, 1, None, "known rows", **draws) for x in (held_out, rule[rows]))
    figures = [f"{one.auroc:.2f} ({one.auroc_interval[0]:.2f}-{one.auroc_interval[1]:.2f})" for one in (mine, fixed)]
    better = mine.auroc > fixed.auroc
    end = "its order is taken" if better else "the fixed rule stays"
    told = (
        f"Known rows: {counts}; a model of {len(signals)} signals, judged on known rows that it was not shown, has an "
        f"AUROC of {figures[0]}, the fixed rule {figures[1]}; {end}."
    )
    return Known(told, _fitted(table[rows], labels).decision_function(table) if better else None)


def _held_out(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(R,) the mean decision of models that did not see the row, over REPEATS seeded splits into FOLDS."""
    from sklearn.model_selection import StratifiedKFold

    found = np.zeros(len(labels))
    for repeat in range(REPEATS):
        for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=repeat).split(table, labels):
            found[test] += _fitted(table[train], labels[train]).decision_function(table[test])
    return found / REPEATS


def _fitted(table: np.ndarray, labels: np.ndarray):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=PENALTY, class_weight="balanced").fit(table, labels)
