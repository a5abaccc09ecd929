"""Which clicks on the articles in question look injected, without any label: one fixed rule. Not here: judging it.

Clicks first that are on one of the articles (through histories: rows that have one in their history; against it: rows
that are shown one and click another), and among them

    clicks      co-reading + influence / 2 + w copies + v unbacked       in standardised ranks
    histories   co-reading + w copies + v unbacked
    shown       loss + w copies + v unbacked

with influence the renormalised influence on the targets times root Q (reading.py, copies.py and backing.py have the
others). w is a half, and more where the rows in question stand unusually high by copies in this log: plus twice their
`excess`, about by how much bots and readers are apart if half of these rows are bots'. v is twice their `excess` by
unbacked, MOST at most. Where few of them are bots', the mean says little and the upper end much: copies count their
`crowding` there besides. All articles in question are left out of what rows read: bots that click several of them would
look like each other. Weights were fixed on attacks planted into real clicks, never on labels of the log at hand;
docs/detection.md has the figures on others. Where nobody reads anything else, the order is that of influence alone,
since tied ranks add nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from rec_trak.data.impressions import Impressions
from rec_trak.data.tables import read_csv
from rec_trak.detection.backing import unbacked_rows
from rec_trak.detection.baselines import holds
from rec_trak.detection.copies import near_copies
from rec_trak.detection.labels import read_row_numbers
from rec_trak.detection.reading import co_reading_of, reading_of
from rec_trak.detection.stages import NOTHING, in_question_first, summed
from rec_trak.detection.standing import crowding, excess
from rec_trak.errors import ConfigError, DataError
from rec_trak.results.lines import Lines
from rec_trak.results.ranking import best_first
from rec_trak.runs.finished import FinishedRun
from rec_trak.words import outline

CLICKS, HISTORIES, SHOWN = "clicks", "histories", "shown"
CO_READING, COPIES, UNBACKED = "co_reading", "copies", "unbacked"
INFLUENCE, LOSS, KNOWN = "influence", "loss", "known_rows"
RULES = {
    CLICKS: {CO_READING: 1.0, COPIES: 0.5, UNBACKED: 0.0, INFLUENCE: 0.5},
    HISTORIES: {CO_READING: 1.0, COPIES: 0.5, UNBACKED: 0.0},
    SHOWN: {LOSS: 1.0, COPIES: 0.5, UNBACKED: 0.0},
}
READ = (CO_READING, COPIES, UNBACKED)  # what needs no model
MOST = 1.0  # that UNBACKED counts, as much as co-reading
FIRST = {
    CLICKS: "promoted article clicked",
    HISTORIES: "promoted article in history",
    SHOWN: "promoted article shown, another clicked",
}
SUSPICION, SUSPICIOUS = "suspicion.csv", "suspicion"  # the file, and its column that it is ranked by
COLUMNS = ("sample_idx", "user_id", "article_id", "title", "source_lines")


@dataclass(frozen=True)
class Suspicion:
    """The rows in question and their order.

    Attributes:
        through: CLICKS, HISTORIES or SHOWN.
        among: (N,) bool, the rows in question.
        scores: (N,) in [0, 2], above 1 the rows in question; higher is more suspicious.
        signals: what is told of each row, name -> (N,); the rule adds up those in `weights`.
        weights: what of each, name -> float.
        raised: what is added to that, name of a signal -> (N,).
    """

    through: str
    among: np.ndarray
    scores: np.ndarray
    signals: dict[str, np.ndarray]
    weights: dict[str, float]
    raised: dict[str, np.ndarray]

    __repr__ = outline

    @property
    def order(self) -> np.ndarray:
        """Numbers of the rows in question, the most suspicious first."""
        return best_first(self.scores)[: int(self.among.sum())]


def in_question(rows: Impressions, promoted: list[int], through: str) -> np.ndarray:
    """(N,) bool, the rows that click a promoted article, have one in their history, or are shown one and click none."""
    if through == HISTORIES:
        return holds(rows.history, promoted)
    clicks = np.isin(rows.clicked, promoted)
    return holds(rows.candidates, promoted) & ~clicks if through == SHOWN else clicks


def reading_signals(
    rows: Impressions, count: int, promoted: list[int], through: str
) -> tuple[dict[str, np.ndarray], dict[str, float], np.ndarray]:
    """What needs no model: CO_READING, COPIES and UNBACKED, name -> (N,); what the last two count; the crowding of
    COPIES (N,). Rows not in question have 0, and EVEN by the last two.

    Args:
        rows: N rows.
        count: A, the length of the article table.
        promoted: positions of the articles.
        through: CLICKS, SHOWN; or HISTORIES, for which a row's click is part of its reading.
    """
    read, among = reading_of(rows, count, through == HISTORIES, promoted), in_question(rows, promoted, through)
    groups = [np.flatnonzero(in_question(rows, [a], through)) for a in promoted]
    copies, unbacked = near_copies(read, among), unbacked_rows(read, rows.clicked, among, promoted)
    signals = {CO_READING: co_reading_of(read, groups), COPIES: copies.shares, UNBACKED: unbacked.shares}
    users, crowds = read.users[among], np.zeros(len(among))
    weights = {name: RULES[through][name] + 2 * excess(signals[name][among], users) for name in (COPIES, UNBACKED)}
    crowds[among] = crowding(copies.least[among], users)
    return signals, weights | {UNBACKED: min(MOST, weights[UNBACKED])}, crowds


def suspicion_of(
    rows: Impressions,
    count: int,
    promoted: list[int],
    through: str,
    given: Mapping[str, np.ndarray] = NOTHING,
    explained: bool = True,
) -> Suspicion:
    """The rule.

    Args:
        rows, count, promoted, through: as `reading_signals`.
        given: INFLUENCE and LOSS, name -> (N,); without what no model is at hand for. INFLUENCE ranks the other rows.
        explained: whether INFLUENCE is on recommendations of the promoted articles; on those of others it is no sign.
    """
    among = in_question(rows, promoted, through)
    signals, counted, crowds = reading_signals(rows, count, promoted, through)
    signs = RULES[through].keys() - ({INFLUENCE} if not explained else set())
    signals |= {name: values for name, values in given.items() if name in signs}
    # Of what counts nothing nothing is said.
    weights = {name: weight for name, weight in (RULES[through] | counted).items() if name in signals and weight}
    raised = {COPIES: crowds}
    scores = in_question_first(among, summed(signals, weights, among, raised), given.get(INFLUENCE))
    return Suspicion(through, among, scores, signals, weights, raised)


def rankings_of(found: Suspicion) -> dict[str, np.ndarray]:
    """Two-stage rankings to be judged, name -> (N,): the rule, and its parts that need no model, alone and together."""
    first, reading = FIRST[found.through], [name for name in READ if name in found.weights]
    together = summed(found.signals, {name: found.weights[name] for name in reading}, found.among, found.raised)
    keys = {_named(first, (name,)): found.signals[name] for name in reading} | {_named(first, reading): together}
    rankings = {name: in_question_first(found.among, key) for name, key in keys.items()}
    return rankings if set(found.weights) == set(reading) else rankings | {ranked_by(found): found.scores}


def reordered(found: Suspicion, key: np.ndarray) -> Suspicion:
    """The same rows in question by another second key (N,), which joins the signals as `known_rows`."""
    scores = in_question_first(found.among, key, found.scores)
    return replace(found, scores=scores, signals=found.signals | {KNOWN: key})


def ranked_by(found: Suspicion) -> str:
    """The name among `rankings_of` of what the rule gives."""
    return _named(FIRST[found.through], found.weights)


def _named(first: str, names: Iterable[str]) -> str:
    *others, last = (name.replace("_", "-") for name in names)
    return f"{first}, then {', '.join(others)}{' and ' if others else ''}{last}"


def suspicion_table(found: Suspicion, rows: Lines) -> Lines:
    """A line a row in question, the most suspicious first: rank, COLUMNS of `rows` (N lines), suspicion, signals."""
    order = found.order
    own = {"suspicion": found.scores, **found.signals}

    def make(places: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
        texts = [name for name in COLUMNS if name in names]
        told = rows.take(order[places], texts) if texts else pd.DataFrame(index=range(len(places)))
        numbers = {"rank": places + 1, **{name: values[order[places]] for name, values in own.items() if name in names}}
        return told.assign(**numbers)

    return Lines(("rank", *COLUMNS, *own), len(order), make)


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


def users_table(table: Lines) -> pd.DataFrame:
    """A line a user of `suspicion_table`, by their most suspicious row: user_id, rows, best_rank, suspicion."""
    codes, users = table.codes("user_id")
    _, best = np.unique(codes, return_index=True)  # users are numbered as they appear, the most suspicious first
    held = {"rows": np.bincount(codes, minlength=len(users)), "best_rank": best + 1}
    return pd.DataFrame({"user_id": users, **held, "suspicion": table.numbers("suspicion")[best]})
