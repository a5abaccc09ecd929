"""What `detect_run` found, in words and tables. Not here: measuring."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rec_trak.results.text_table import format_table

QUESTIONS = {
    "everything": "against everything",
    "same_article": "against genuine clicks on the same articles",
    "same_history": "against genuine rows with a promoted article in their history",
    "shown": "against genuine rows that are shown a promoted article and click another",
}
DECIDES = {"everything": "average_precision", "same_article": "auroc", "same_history": "auroc", "shown": "auroc"}
METRICS = {"average_precision": "average precision", "auroc": "AUROC"}


def verdict(questions: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence a question, who wins it by the metric that decides it; the questions that a baseline wins stand first.

    Args:
        questions: as `detect_run` gives them.

    Returns:
        Against everything the average precision decides, since a rule without a model nearly reaches an AUROC of 1
        there; else the AUROC. A baseline that does as well stands first too: it costs less. Where no question can be
        decided, one sentence says so.
    """
    lost, won = [], []
    for question, told in questions.items():
        metric = DECIDES[question]
        ours, theirs = (
            next((line for line in told["rankings"] if (line["kind"] == "attribution") == attribution), None)
            for attribution in (True, False)
        )
        if ours is None or theirs is None or ours[metric] is None:
            continue
        even = f"{theirs[metric]:.3f}" == f"{ours[metric]:.3f}"  # as they are told
        behind = even or theirs[metric] > ours[metric]
        overlap = _overlap(ours, theirs, metric)
        head = "A baseline" if behind else "Attribution"
        head += " does as well" if even else " is ahead, if not clearly," if overlap else " wins"
        first, second = (theirs, ours) if behind else (ours, theirs)
        names = ("the best attribution ranking", "the best baseline")
        text = (
            f"{head} {QUESTIONS[question]}: {METRICS[metric]} {_number(first, metric)} of `{first['ranking']}`; "
            f"{names[not behind]}, `{second['ranking']}`, has {_number(second, metric)}"
            f"{overlap}."
        )
        text += f" Rank by `{theirs['ranking']}` for this." if behind and not even else ""
        (lost if behind else won).append(text)
    return [*lost, *won] or ["Nobody wins: no question has both poisoned and genuine rows."]


def detection_lines(content: dict[str, Any]) -> pd.DataFrame:
    """The numbers of `detect_run` as a table, a line a question and ranking; an interval is two columns."""
    lines = []
    for question, told in content["questions"].items():
        for line in told["rankings"]:
            flat = {"question": question, "ranking": line["ranking"], "kind": line["kind"]}
            flat |= {"rows": line["n"], "poisoned": line["n_poisoned"]}
            for metric in METRICS:
                flat |= _with_interval(metric, line[metric], line[f"{metric}_interval"])
            for cut in line["cuts"]:
                flat |= {f"rows_at_{cut['name']}": cut["rows"], f"found_at_{cut['name']}": cut["found"]}
                for metric in ("precision", "recall"):
                    flat |= _with_interval(f"{metric}_at_{cut['name']}", cut[metric], cut[f"{metric}_interval"])
            lines.append(flat)
    return pd.DataFrame(lines)


def detection_text(content: dict[str, Any], width: int = 120) -> str:
    """What a terminal shows: the answer, the verdict, a table for each question that can be answered, notes."""
    parts = ["\n".join(content["answer"]), "\n".join(content["verdict"])]
    for question, told in content["questions"].items():
        head = f"Poison {QUESTIONS[question]}: {told['poisoned']:,} of {told['rows']:,} rows."
        if 0 < told["poisoned"] < told["rows"]:
            head += "\n" + format_table(pd.DataFrame([_shown(line) for line in told["rankings"]]), width)
        parts.append(f"{head}\n{told['missing']}".rstrip())
    notes = [f"note: {note}" for note in content["notes"]]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    """A ranking's numbers that fit a terminal."""
    shown = {"ranking": line["ranking"], "kind": line["kind"]}
    for metric in METRICS:
        shown |= {metric: line[metric], f"{metric}_interval": _interval(line[f"{metric}_interval"])}
    for cut in line["cuts"]:
        if cut["name"] in ("k", "5%"):
            shown[f"precision_at_{cut['rows'] if cut['name'] == 'k' else cut['name']}"] = cut["precision"]
    return shown


def _with_interval(name: str, value: float | None, interval: Any) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _interval(interval: Any) -> str:
    return "-" if interval is None else f"{interval[0]:.2f}-{interval[1]:.2f}"


def _number(line: dict[str, Any], metric: str) -> str:
    interval = line[f"{metric}_interval"]
    return f"{line[metric]:.3f}" + (f" ({_interval(interval)})" if interval else "")


def _overlap(ours: dict[str, Any], theirs: dict[str, Any], metric: str) -> str:
    """Whether the intervals leave the order open."""
    a, b = ours[f"{metric}_interval"], theirs[f"{metric}_interval"]
    if not a or not b or a[1] < b[0] or b[1] < a[0]:
        return ""
    return ", and the intervals overlap"
