"""How well a finished run finds poison, next to the baselines that it must beat. Not here: metrics, scores, figures.

Two questions apart: poison against everything, and against genuine clicks on the same (promoted) articles. Where some
poisoned rows have a promoted article in their history and click none, the attack goes through histories, and a third
one: against genuine rows with a promoted article in their history. Of a history counts what the model reads. Asked
about rows that are shown a promoted article and click another (slander), against the genuine ones of them.

Without labels nothing can be measured; which rows look injected can be told all the same (suspicion.py, answer.py).

What `detect_run` gives, and detection.json holds: `answer`, sentences for a reader who decides; `suspicion`, see
`answer.suspicion_record`; `ranked_by`, which of the rankings it is; `known`, what known rows say (`told`), and whether
their model ranks instead (`used`), or None; `verdict`, sentences, a baseline that wins in the
first; `notes`; `of`, the scorings of the run and of the set; `n`, `n_poisoned` (None without labels), `targets`,
`promoted`, `promoted_by` (GIVEN or TARGETS), `labels`, `top_k`; `interval`, its level and draws; `kinds`, ranking ->
kind; and `questions` (none without labels), name -> `rows`, `poisoned`, `missing`, `decided_by` (a metric), `rankings`
(the best first: `ranking`, `kind` and the fields of `Detection`) and `curves` (kind -> `ranking`, `roc`,
`precision_recall` of its best ranking).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.attribution.history import PLACES
from rec_trak.data.ragged import Ragged
from rec_trak.data.tables import one_line, read_csv
from rec_trak.detection.answer import GIVEN, TARGETS, answer_lines, suspicion_record
from rec_trak.detection.baselines import data_baselines
from rec_trak.detection.intervals import LEVEL
from rec_trak.detection.known import Known, learn, read_known
from rec_trak.detection.labels import labels_from_column, labels_from_file
from rec_trak.detection.metrics import detect
from rec_trak.detection.places import place_rankings
from rec_trak.detection.questions import answered, rows_of_questions
from rec_trak.detection.suspicion import (
    CLICKS,
    HISTORIES,
    INFLUENCE,
    LOSS,
    SHOWN,
    SUSPICION,
    Suspicion,
    in_question,
    ranked_by,
    rankings_of,
    reordered,
    suspicion_of,
    suspicion_table,
)
from rec_trak.detection.text import detection_lines, verdict
from rec_trak.errors import ConfigError, DataError, listed
from rec_trak.results.belongs import scoring_digest
from rec_trak.results.files import Results, as_csv, as_json, write_files
from rec_trak.results.lines import Lines
from rec_trak.results.ranking import check_top_k
from rec_trak.runs.aside import own_file
from rec_trak.runs.click_log import ClickLog, history_as_read
from rec_trak.runs.finished import FinishedRun, open_run
from rec_trak.runs.stored import (
    gradient_cosine,
    loss_and_norms,
    stored_self_influence,
    times_root_q,
)
from rec_trak.words import outline

DRAWS = 1000
COLUMN = "poisoned"  # of the click log, where nobody names another
UNLABELLED = "Nobody says which rows are poisoned (no column `poisoned`, no --labels), so no ranking could be measured."
NOT_EXPLAINED = (
    "The targets recommend none of the articles in question, so influence on them is no sign of an injected click. "
    "Score a target set of one of them (score.py --targets) and name it (--targets)."
)
LEARNT = ("loss", "leverage of the loss gradient", "self-influence Q h", "popularity of the clicked article")
ROOT_Q = "renormalised influence times root Q"
ATTRIBUTION, MODEL, NO_MODEL = "attribution", "model", "no model"


@dataclass(frozen=True)
class Found:
    """What `find_poison` found: `content` as the module's docstring lists it, `table` as `suspicion_table` makes it."""

    content: dict[str, Any]
    table: Lines

    __repr__ = outline


def detect_run(*args: Any, **keys: Any) -> dict[str, Any]:
    """The content of what `find_poison` finds; its arguments."""
    return find_poison(*args, **keys).content


def find_poison(
    results_dir: str | Path,
    targets: str | None = None,
    promoted: Iterable[str] | None = None,
    poison_column: str | None = None,
    labels: str | Path | None = None,
    top_k: int | None = None,
    data_path: str | Path | None = None,
    news_items_path: str | Path | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    further: Mapping[str, np.ndarray] | None = None,
    through: str = CLICKS,
    known: str | Path | None = None,
) -> Found:
    """Which rows look injected, and all rankings of a run measured against labels.

    Args:
        results_dir: what scripts/score.py wrote, with at least one target set below it.
        targets: the target set; None for the only one.
        promoted: ids of the articles under suspicion; None for the one whose exposure the target set explains.
        poison_column, labels: a column of the click log, or of the CSV `labels`; see `labels`. None for COLUMN where
            the log or the CSV has it, else for no labels.
        top_k, seed, draws: of precision and recall (None for the run's); of the random ranking and the bootstrap.
        data_path, news_items_path: where the data are now, see `click_log.read_click_log`.
        further: attribution rankings from elsewhere, name -> (N,) scores.
        through: CLICKS; HISTORIES to ask about rows with a promoted article in their history, SHOWN about those that
            are shown one and click another.
        known: a CSV of a few rows that the user knows, see `known.read_known`; None for none.

    Raises:
        ConfigError: no such target set, unknown articles, `top_k` out of range.
        DataError: the run is not finished, its click log changed, or the labels are wrong.
        StoreError: the run's gradients are gone.
    """
    run = open_run(results_dir)
    told = _target_results(run, targets)
    log = run.click_log(data_path, news_items_path)
    read = history_as_read(run.results, log)
    where, (poisoned, notes) = _promoted(log, told, promoted), _labels(log, poison_column, labels)
    rankings, kinds, left_out = _rankings(run, told, log, read, where, seed, further or {})
    as_read = replace(log.rows, history=read)
    given, explained = {INFLUENCE: rankings[ROOT_Q], LOSS: rankings[LOSS]}, _explained(told, log, where)
    ways = {
        way: suspicion_of(as_read, len(log.articles), where, way, given, explained)
        for way in (CLICKS, HISTORIES, SHOWN)
        if way == through or (poisoned is not None and way != SHOWN and in_question(as_read, where, way).any())
    }
    found = ways[through]
    for name, scores in {name: scores for one in ways.values() for name, scores in rankings_of(one).items()}.items():
        rankings[name], kinds[name] = scores, _kind(name)
    learnt = None if known is None else _learnt(found, rankings, read_known(known, len(log.rows), COLUMN))
    found = found if learnt is None or learnt.key is None else reordered(found, learnt.key)
    top_k = check_top_k(run.metadata.get("top_k")) if top_k is None else top_k
    aside = [line for line in run.left_aside if line.startswith("targets/")]
    questions = {}
    looked_at = {} if poisoned is None else rows_of_questions(log, read, where, poisoned, through)
    for question, among in looked_at.items():
        measured = {name: detect(s, poisoned, top_k, among, name, draws, seed) for name, s in rankings.items()}
        questions[question] = answered(question, measured, kinds, rankings, poisoned, among)
    table = suspicion_table(found, run.results.rows)
    content = {
        "verdict": [UNLABELLED] if poisoned is None else verdict(questions),
        "notes": [
            *log.rows.notes,
            *notes,
            *([] if explained or through != CLICKS else [NOT_EXPLAINED]),
            *left_out,
            *aside,
        ],
        "of": [run.scoring, scoring_digest(told.metadata)],
        **{"n": len(log.rows), "n_poisoned": None if poisoned is None else int(poisoned.sum())},
        "targets": told.folder.name,
        "promoted": [log.articles.ids[a] for a in where],
        "promoted_by": TARGETS if promoted is None else GIVEN,
        "labels": None if poisoned is None else _said_by(log, poison_column, labels),
        "top_k": top_k,
        "interval": {"level": LEVEL, "draws": draws, "method": "bootstrap of rows, each class apart, percentiles"},
        "kinds": kinds,
        "questions": questions,
        "suspicion": suspicion_record(found, table, _named(log, where), poisoned),
        "ranked_by": ranked_by(found),
        "known": None if learnt is None else {"told": learnt.told, "used": learnt.key is not None},
        "results_dir": str(results_dir),
    }
    content = {"answer": answer_lines(content), **content}
    return Found(content, table)


def write_detection(folder: str | Path, content: dict[str, Any], table: Lines | None = None) -> list[Path]:
    """Write detection.csv (a line a question and ranking), detection.json and, where the table is given, suspicion.csv
    beside the scores; their paths.

    Raises:
        StoreError: a file cannot be written.
    """
    files = {"detection.csv": as_csv(detection_lines(content)), "detection.json": as_json(content)}
    files |= {} if table is None else {SUSPICION: as_csv(table)}
    return write_files(folder, files, content["of"][0])


def _target_results(run: FinishedRun, name: str | None) -> Results:
    """The results of a target set of the run, with what detection needs of them."""
    told = run.target_set(name)
    if "renormalised" not in told.rows:
        raise DataError(f"{told.folder}: no column `renormalised` in rows.csv. Score the targets again.")
    return told


def _promoted(log: ClickLog, told: Results, promoted: Iterable[str] | None) -> list[int]:
    """Positions of the articles under suspicion."""
    explained = told.metadata.get("targets_definition", {}).get("article")
    ids = [str(explained)] * (explained is not None) if promoted is None else list(promoted)
    if not ids:
        raise ConfigError(
            f"{told.folder}: which articles are promoted? Got none, and the targets are not the exposure of one. Name "
            "their ids (--promoted)."
        )
    unknown = [article for article in ids if article not in log.articles.position]
    if unknown:
        raise ConfigError(
            f"--promoted: {listed('unknown article(s)', unknown)}. Expected ids in {log.articles.source}. Mend them."
        )
    return [log.articles.position[article] for article in dict.fromkeys(ids)]


def _explained(told: Results, log: ClickLog, where: list[int]) -> bool:
    """Whether a target recommends one of the articles in question; also where targets.csv is not there to tell."""
    path = own_file(told, "targets.csv")
    ids = {log.articles.ids[a] for a in where}
    return path is None or not ids.isdisjoint(read_csv(path, ("article_id",)).column("article_id"))


def _learnt(found: Suspicion, rankings: dict[str, np.ndarray], known: tuple[np.ndarray, np.ndarray]) -> Known:
    """What known rows (numbers, labels) say, with the signals that every log has."""
    signals = found.signals | {name: rankings[name] for name in LEARNT}
    return learn(signals, found.among, found.scores, *known)


def _named(log: ClickLog, where: list[int]) -> list[dict[str, str]]:
    """Id and title of the articles at these positions."""
    return [{"id": log.articles.ids[a], "title": one_line(log.articles.titles[a])} for a in where]


def _labels(log: ClickLog, column: str | None, path: str | Path | None) -> tuple[np.ndarray | None, list[str]]:
    """The labels, None where nobody says any, and notes."""
    if path is not None:
        return labels_from_file(path, len(log.rows), column or COLUMN), []
    if column is None and COLUMN not in log.rows.columns:
        return None, []
    return labels_from_column(log, column or COLUMN)


def _said_by(log: ClickLog, column: str | None, path: str | Path | None) -> str:
    return f"column `{column or COLUMN}` of {log.path if path is None else path}"


def _rankings(
    run: FinishedRun,
    told: Results,
    log: ClickLog,
    read: Ragged,
    promoted: list[int],
    seed: int,
    further: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, str], list[str]]:
    """All rankings, the kind of each, and notes on those left out."""
    results, stored = run.results, run.stored(log)
    renormalised = told.numbers("renormalised")
    own = {(results.metadata.get("score") or {}).get("form", "score"): results.scores.astype(np.float64)}
    for form in {"self_influence", "loss_gradient"} - own.keys():
        own[form] = stored_self_influence(stored, form)
    attribution = {
        "influence on the targets, renormalised": renormalised,
        ROOT_Q: times_root_q(renormalised, stored),
        "influence on the targets": told.scores.astype(np.float64),
        "self-influence Q h": own["self_influence"],
        "leverage of the loss gradient": own["loss_gradient"],
        **further,
    }
    model = loss_and_norms(stored)
    model["gradient cosine with the targets"] = gradient_cosine(stored, told.folder.name)
    no_model, notes = data_baselines(log.rows, log.articles, promoted, seed, read)
    places, missing = place_rankings(run.file(PLACES, told), log, promoted, read)
    attribution |= places
    notes += missing
    kinds = {name: kind for group, kind in ((attribution, ATTRIBUTION), (model, MODEL), (no_model, NO_MODEL))
             for name in group}  # fmt: skip
    return attribution | model | no_model, kinds, notes


def _kind(name: str) -> str:
    """The kind of one of `rankings_of`, by what stands behind its comma."""
    parts = name.rsplit(", then ", 1)[1]
    return ATTRIBUTION if INFLUENCE in parts else MODEL if LOSS in parts else NO_MODEL
