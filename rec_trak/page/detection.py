"""detection.json -> what a page says of the poison found: verdict, curves, one table a question. Not here: metrics."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rec_trak.detection.answer import QUESTION, WHAT, why_first
from rec_trak.detection.suspicion import CO_READING, COPIES, INFLUENCE, LOSS, UNBACKED
from rec_trak.errors import DataError
from rec_trak.page.figures import precision_recall_curves, roc_curves
from rec_trak.page.rows import Titles, card
from rec_trak.page.tables import make_table, read_json, shown
from rec_trak.results.belongs import scoring_digest
from rec_trak.results.files import Results
from rec_trak.results.panels import Curves
from rec_trak.runs.finished import FinishedRun

QUESTIONS = {
    "everything": "Poisoned clicks against all others",
    "same_article": "Poisoned clicks against genuine clicks on the same articles",
    "same_history": "Poisoned clicks against genuine clicks with a promoted article in the history",
    "shown": "Poisoned clicks against genuine clicks on others beside a promoted article",
}
SIGNALS = {
    CO_READING: "co-reading",
    COPIES: "near copies of histories",
    UNBACKED: "unbacked",
    INFLUENCE: "influence",
    LOSS: "loss",
}
NOT_SAID = "Nobody said which are injected, and some or none may be: an order to look in, no proof."
ATTRIBUTION = "attribution"  # a kind of rankings, as detection.json has it
CARDS = 10  # rows listed as those that look most injected
METRICS = {"average_precision": "average precision", "auroc": "AUROC"}


def detection(run: FinishedRun, primary: Results, titles: Titles) -> dict[str, Any] | None:
    """What is to be said of detection.json in a results folder; None where there is none of this scoring.

    Args:
        run: the finished run.
        primary: its scoring that rows are told by, see `naming.people`.
        titles: see `rows.known_titles`.

    Raises:
        DataError: it is not what scripts/detect.py writes.
    """
    path = run.file("detection.json")
    if path is None:
        return None
    content = read_json(path)
    name, of = content.get("targets"), content.get("of")
    if of is not None and (name not in run.sets or of[-1] != scoring_digest(run.target_set(name).metadata)):
        return None  # of other targets under the same name
    try:
        told = _told(content)
        return told | {"cards": _cards(told["suspicion"], primary, titles)}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"{path}: cannot be read (missing or misplaced: {shown(error)}). Run scripts/detect.py again."
        ) from None


def _told(content: dict[str, Any]) -> dict[str, Any]:
    answer = [shown(line, None) for line in content.get("answer", ())]
    sentences, level = [shown(line, None) for line in content["verdict"]], content["interval"]["level"]
    tables, figures, panels = [], [], []
    for place, (name, question) in enumerate(content["questions"].items()):
        if not question["rows"]:
            continue
        title = QUESTIONS.get(name, shown(name.replace("_", " "), 80))
        frame = pd.DataFrame([_line(found) for found in question["rankings"]])
        counts = f"{question['poisoned']:,} of {question['rows']:,} rows are poisoned"
        tables.append(make_table(frame, f"detection{place}", f"{title} ({counts})", "detection.csv"))
        if question["curves"]:
            panel = _panel(title, question)
            panels.append(panel)
            figures += _figures(place, *panel)
    sentences += [shown(note, None) for note in content["notes"]]
    if content["labels"] is not None:
        sentences.append(f"Labels: {shown(content['labels'], None)}. Intervals: bootstrap, {100 * level:.0f} %.")
    parts = {"tables": tables, "figures": figures, "panels": panels}
    plain = _plain(content, sentences[0]) if content["labels"] is not None else NOT_SAID
    told, why = _suspicion(content.get("suspicion"))
    if told and not told["rows"] and answer:
        plain = answer[0]
    whole = {"answer": answer, "suspicion": told, "why": why, "verdict": sentences[0], "plain": plain}
    whole |= {"measured": content["labels"] is not None, "promoted": _promoted(content)}
    lines = answer[:-1] if told and told["first_rows"] else answer  # what to do says the first screen, of this folder
    return whole | {"sentences": [*lines, *sentences], **parts}


def _suspicion(told: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str]:
    """What looks injected, and why, where the file tells it apart from its sentences."""
    if not told:
        return None, ""
    rows = [
        {
            "sample_idx": int(row["sample_idx"]),
            "user_id": str(row["user_id"]),
            "poisoned": row.get("poisoned"),  # files of earlier builds have neither
            "places": {SIGNALS[name]: int(place) for name, place in row.get("places", {}).items() if name in SIGNALS},
        }
        for row in told["first_rows"]
    ]
    articles = [{"id": str(one["id"]), "title": str(one["title"])} for one in told["articles"]]
    kept = {"rows": int(told["rows"]), "through": WHAT[told["through"]], "articles": articles, "first_rows": rows}
    return kept, shown(why_first(told), None)


def _promoted(content: dict[str, Any]) -> dict[str, Any]:
    """The `articles` (ids) in question; who says so (`by`, '' where the file does not tell); where rows are known to be
    injected, how many there are (`injected`) and how many of them are in question (`among`), else None."""
    told = content.get("suspicion") or {}
    question = content["questions"].get(QUESTION.get(told.get("through"), ""))
    counts = {"injected": content.get("n_poisoned"), "among": question and question["poisoned"]}
    return {
        "articles": [str(a) for a in content.get("promoted", ())],
        "by": str(content.get("promoted_by", "")),
    } | counts


def _cards(told: dict[str, Any] | None, primary: Results, titles: Titles) -> list[dict[str, Any]]:
    """The first CARDS rows that look most injected: which they are, and why."""
    found = []
    for i, row in enumerate((told or {"first_rows": []})["first_rows"][:CARDS]):
        number = row["sample_idx"]
        made = card(primary, number, float(primary.scores[number]), 1.0, titles, own=True)
        marked = made["poisoned"] or {1: "1", 0: "0"}.get(row["poisoned"], "")
        why = [f"{name} {place:,}" for name, place in row["places"].items()]
        places = f"Of the {told['rows']:,} rows in question its place is, by {', by '.join(why)}." if why else ""
        width = round(100 * (1 - i / told["rows"]), 1)
        found.append(made | {"place": f"{i + 1}.", "poisoned": marked, "why": [places] * bool(why), "width": width})
    return found


def _plain(content: dict[str, Any], verdict: str) -> str:
    """How well the order of the rule tells known injected rows from others of the question, in one sentence."""
    told = content.get("suspicion") or {}
    question = content["questions"].get(QUESTION.get(told.get("through"), "everything")) or {"rankings": []}
    lines = [line for line in question["rankings"] if line["auroc"] is not None]
    ours = next((line for line in lines if line["ranking"] == content.get("ranked_by")), None)
    others = [line for line in lines if line["kind"] != ATTRIBUTION and line is not ours]
    if ours is None or not others:
        return verdict
    other = max(others, key=lambda line: line["auroc"])
    name, which = shown(other["ranking"].rsplit(", then ", 1)[-1], 60), "other rule" * (ours["kind"] != ATTRIBUTION)
    return (
        f"Of these rows {question['poisoned']:,} are known to be injected: this order sets one above a genuine one in "
        f"{100 * ours['auroc']:.0f} of 100 pairs, the best {which or 'rule'} without influence, “{name}”, in "
        f"{100 * other['auroc']:.0f}; by chance 50."
    )


def _line(found: dict[str, Any]) -> dict[str, Any]:
    """A line of a question's table: the ranking, its metrics with their intervals, precision at the cuts."""
    line = {"ranking": found["ranking"], "kind": found["kind"]}
    for metric, name in METRICS.items():
        between = found[f"{metric}_interval"]
        line[name] = found[metric]
        line[f"{name} interval"] = "" if between is None else f"{between[0]:.3f}–{between[1]:.3f}"
    for cut in found["cuts"]:
        name = f"{cut['rows']:,}" if cut["name"] == "k" else cut["name"].replace("%", " %")
        line[f"precision at {name}"] = cut["precision"]
    return line


def _panel(title: str, question: dict[str, Any]) -> tuple[str, Curves, Curves, float]:
    """Title, precision-recall curves, ROC curves and base rate of a question."""
    drawn = [(shown(found["ranking"], 80), found["precision_recall"], found["roc"])
             for found in question["curves"].values()]  # fmt: skip
    recall = [(name, curve["recall"], curve["precision"]) for name, curve, _ in drawn]
    rates = [(name, curve["false_positive_rate"], curve["true_positive_rate"]) for name, _, curve in drawn]
    counted = f"{title}, {question['poisoned']:,} of {question['rows']:,} rows"
    return counted, recall, rates, question["poisoned"] / question["rows"]


def _figures(place: int, title: str, recall: Curves, rates: Curves, base_rate: float) -> list[dict[str, Any]]:
    left, right = precision_recall_curves(f"pr{place}", recall, base_rate), roc_curves(f"roc{place}", rates)
    best = f"{title}: the best ranking of each kind."
    return [{"svg": left, "caption": best}, {"svg": right, "caption": f"{title}: the same rankings."}]
