"""The questions that rankings are measured by: which rows each looks at, and its answer. Not here: the rankings."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rec_trak.data.ragged import Ragged
from rec_trak.detection.baselines import holds
from rec_trak.detection.metrics import Detection, curves
from rec_trak.detection.suspicion import SHOWN, in_question
from rec_trak.detection.text import DECIDES
from rec_trak.runs.click_log import ClickLog


def rows_of_questions(
    log: ClickLog, history: Ragged, promoted: list[int], poisoned: np.ndarray, through: str
) -> dict[str, np.ndarray]:
    """The rows (N,) bool that each question looks at."""
    clicks, read = np.isin(log.rows.clicked, promoted), holds(history, promoted)
    among = {"everything": np.ones(len(poisoned), dtype=bool), "same_article": clicks}
    if (poisoned[read & ~clicks] == 1).any():
        among["same_history"] = read
    if through == SHOWN:
        among["shown"] = in_question(log.rows, promoted, SHOWN)
    return among


def answered(
    question: str,
    found: dict[str, Detection],
    kinds: dict[str, str],
    rankings: dict[str, np.ndarray],
    poisoned: np.ndarray,
    among: np.ndarray,
) -> dict[str, Any]:
    """One question's answer: rankings by the metric that decides it, and curves of the best of each kind."""
    metric = DECIDES[question]
    order = sorted(found, key=lambda name: -(getattr(found[name], metric) or 0.0))
    best = {kind: next((name for name in order if kinds[name] == kind), None) for kind in dict.fromkeys(kinds.values())}
    drawn = {kind: (name, curves(rankings[name], poisoned, among)) for kind, name in best.items()}
    first = next(iter(found.values()))  # counts, and what is missing, depend on the labels alone
    lines = [{"ranking": name, "kind": kinds[name], **dataclasses.asdict(found[name])} for name in order]
    return {
        "rows": first.n,
        "poisoned": first.n_poisoned,
        "decided_by": metric,
        "missing": first.missing,
        "rankings": lines,
        "curves": {kind: {"ranking": name, **curve} for kind, (name, curve) in drawn.items() if curve},
    }
