"""Which clicks on the articles in question look injected, without any label: one fixed rule. Not here: judging it.

Clicks first that are on one of the articles (through histories: rows that have one in their history), and among them

    clicks      co-reading + influence       in standardised ranks
    histories   co-reading

with influence the renormalised influence on the targets times root Q. All articles in question are left out of what
rows read: bots that click several of them would look like each other. Weights were fixed on attacks planted into real
clicks, never on labels of the log at hand; docs/detection.md has the figures on others. A run without co-reading's
answer to give (nobody reads anything else) ranks by influence alone, since tied ranks add nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rec_trak.data.impressions import Impressions
from rec_trak.data.tables import read_csv
from rec_trak.detection.baselines import holds
from rec_trak.detection.labels import read_row_numbers
from rec_trak.detection.reading import co_reading_of, reading_of
from rec_trak.detection.stages import in_question_first, summed
from rec_trak.errors import ConfigError, DataError
from rec_trak.results.ranking import best_first
from rec_trak.runs.finished import FinishedRun
from rec_trak.words import outline

CLICKS, HISTORIES = "clicks", "histories"
CO_READING, INFLUENCE, KNOWN = "co_reading", "influence", "known_rows"
RULES = {CLICKS: {CO_READING: 1.0, INFLUENCE: 1.0}, HISTORIES: {CO_READING: 1.0}}
FIRST = {CLICKS: "promoted article clicked", HISTORIES: "promoted article in history"}
SUSPICION, SUSPICIOUS = "suspicion.csv", "suspicion"  # the file, and its column that it is ranked by
COLUMNS = ("sample_idx", "user_id", "article_id", "title", "source_lines")


@dataclass(frozen=True)
class Suspicion:
    """The rows in question and their order.

    Attributes:
        through: CLICKS or HISTORIES.
        among: (N,) bool, the rows in question.
        scores: (N,) in [0, 2], above 1 the rows in question; higher is more suspicious.
        signals: what the rule adds up, name -> (N,).
    """

    through: str
    among: np.ndarray
    scores: np.ndarray
    signals: dict[str, np.ndarray]

    __repr__ = outline

    @property
    def order(self) -> np.ndarray:
        """Numbers of the rows in question, the most suspicious first."""
        return best_first(self.scores)[: int(self.among.sum())]


def in_question(rows: Impressions, promoted: list[int], through: str) -> np.ndarray:
    """(N,) bool, the rows that click a promoted article, or have one in their history."""
    return holds(rows.history, promoted) if through == HISTORIES else np.isin(rows.clicked, promoted)


def co_reading_among(rows: Impressions, count: int, promoted: list[int], through: str) -> np.ndarray:
    """(N,) co-reading of the rows in question, 0 of others.

    Args:
        rows: N rows.
        count: A, the length of the article table.
        promoted: positions of the articles.
        through: CLICKS; or HISTORIES, for which a row's click is part of its reading.
    """
    read = reading_of(rows, count, through == HISTORIES, promoted)
    return co_reading_of(read, [(a, np.flatnonzero(in_question(rows, [a], through))) for a in promoted])


def suspicion_of(
    rows: Impressions, count: int, promoted: list[int], through: str, influence: np.ndarray | None = None
) -> Suspicion:
    """The rule.

    Args:
        rows, count, promoted, through: as `co_reading_among`.
        influence: (N,); None to go without, where no model is at hand.
    """
    among = in_question(rows, promoted, through)
    signals = {CO_READING: co_reading_among(rows, count, promoted, through)}
    if influence is not None:
        signals[INFLUENCE] = influence
    weights = {name: weight for name, weight in RULES[through].items() if name in signals}
    scores = in_question_first(among, summed(signals, weights, among), influence)
    return Suspicion(through, among, scores, signals)


def rankings_of(rows: Impressions, count: int, promoted: list[int], influence: np.ndarray) -> dict[str, np.ndarray]:
    """Two-stage rankings to be judged, name -> (N,); those through histories where a history holds an article."""
    found = {}
    for through, first in FIRST.items():
        whole = suspicion_of(rows, count, promoted, through, influence)
        if not whole.among.any():
            continue
        alone = summed(whole.signals, {CO_READING: 1.0}, whole.among)
        found[f"{first}, then co-reading"] = in_question_first(whole.among, alone)
        if INFLUENCE in RULES[through]:
            found[ranked_by(through)] = whole.scores
    return found


def reordered(found: Suspicion, key: np.ndarray) -> Suspicion:
    """The same rows in question by another second key (N,), which joins the signals as `known_rows`."""
    scores = in_question_first(found.among, key, found.scores)
    return replace(found, scores=scores, signals=found.signals | {KNOWN: key})


def ranked_by(through: str) -> str:
    """The name among `rankings_of` of what `suspicion_of` gives where there is an influence."""
    return f"{FIRST[through]}, then {' and '.join(RULES[through]).replace('_', '-')}"


def suspicion_table(found: Suspicion, rows: pd.DataFrame) -> pd.DataFrame:
    """A line a row in question, the most suspicious first: rank, COLUMNS of `rows` (N lines), suspicion, signals."""
    order = found.order
    table = rows[[*COLUMNS]].iloc[order].reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(order) + 1))
    return table.assign(suspicion=found.scores[order], **{name: x[order] for name, x in found.signals.items()})


def suspicion_scores(run: FinishedRun) -> np.ndarray:
    """(N,) what suspicion.csv of a run says of its rows; 0 of those that are not in question.

    Raises:
        ConfigError: there is none of this scoring.
        DataError: it is not what scripts/detect.py writes.
    """
    path = run.file(SUSPICION)
    if path is None:
        raise ConfigError(
            f"{run.folder}: no {SUSPICION} of this scoring. Got `--by {SUSPICIOUS}`, expected what scripts/detect.py "
            "writes beside a run's own scores. Run it, and give that folder as --results_dir."
        )
    scores = np.zeros(len(run.results.scores))
    rows = read_row_numbers(path, len(scores))
    try:
        values = np.array([float(text) for text in read_csv(path, (SUSPICIOUS,)).column(SUSPICIOUS)])
    except ValueError:
        values = np.full(1, np.nan)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise DataError(
            f"{path}: `{SUSPICIOUS}` is wrong. Got something else than numbers above 0, expected what "
            "scripts/detect.py writes. Run it again."
        )
    scores[rows] = values
    return scores


def users_table(table: pd.DataFrame) -> pd.DataFrame:
    """A line a user of `suspicion_table`, by their most suspicious row: user_id, rows, best_rank, suspicion."""
    groups = table.groupby("user_id", sort=False)
    found = {"rows": groups.size(), "best_rank": groups["rank"].min(), "suspicion": groups["suspicion"].max()}
    return pd.DataFrame(found).sort_values("best_rank", kind="stable").reset_index()
