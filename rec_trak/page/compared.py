"""What scripts/compare.py wrote -> what the page says of clean against poisoned. Not here: comparing, HTML."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.comparison.match import SIDES
from rec_trak.comparison.text import alone_lines, class_parts, null_lines, parts_lines
from rec_trak.errors import DataError, RecTrakError
from rec_trak.page.figures import scatter, shifts
from rec_trak.page.rows import LISTED, Titles, card, headline
from rec_trak.page.tables import read_json, shown
from rec_trak.results.files import Results
from rec_trak.results.lines import Lines
from rec_trak.results.ranking import LABELS
from rec_trak.results.reading import read_lines
from rec_trak.store.manifest import digest

RANKS = ("shift", "clean_rank", "poisoned_rank")
PARTS = ("q_shift", "leverage_shift")
KINDS = {word: label for label, word in LABELS.items()}
MARKS = {"True": "yes", "False": "no"}  # as pandas writes them
AGAIN = "Run scripts/compare.py on this run first, then scripts/report.py again."


def compared(compare_dir: Path | None, results: Results, titles: Titles) -> dict[str, Any] | None:
    """What moved between the clean and the poisoned run; None where no folder is given.

    Raises:
        DataError: the folder holds no comparison, or one of other runs.
    """
    if compare_dir is None:
        return None
    path, stats = compare_dir / "rank_shift.csv", read_json(compare_dir / "comparison_stats.json")
    if not path.is_file() or stats is None:
        raise DataError(f"{compare_dir}: no comparison. Got no rank_shift.csv and comparison_stats.json. {AGAIN}")
    try:
        ours = _our_side(stats, results)
        if ours:
            return _section(read_lines(path), stats, ours, results, titles)
    except RecTrakError:
        raise
    except (KeyError, TypeError, ValueError, IndexError) as error:  # whatever stands in two files that do not fit
        raise DataError(f"{compare_dir}: no comparison. Got {type(error).__name__} {shown(error)}. {AGAIN}") from None
    mean = float(results.scores.astype(np.float64).mean())
    raise DataError(f"{compare_dir}: of other runs. Got no side with this run's scores, of mean {mean:g}. {AGAIN}")


def _our_side(stats: dict[str, Any], results: Results) -> str:
    """Which of the two runs is this one; '' where neither is."""
    mean, scores = float(results.scores.astype(np.float64).mean()), digest(results.scores)
    runs = {side: stats[f"{side}_model"] for side in SIDES}
    ours = [
        side
        for side, run in runs.items()
        if run["n_samples"] == len(results.scores)
        and (run["scores"] == scores if "scores" in run else np.isclose(run["score_mean"], mean, rtol=1e-6, atol=1e-12))
    ]
    return ours[0] if ours else ""


def _section(shift: Lines, stats: dict[str, Any], ours: str, results: Results, titles: Titles) -> dict[str, Any]:
    """What the template is given."""
    numbers = stats["comparison"]
    ranks = {name: _numbers(shift, name) for name in RANKS}
    codes, words = shift.codes("label")
    labels = np.array([KINDS.get(word, -1) for word in words], dtype=int)[codes]
    rose, fell = (np.flatnonzero(sign * ranks["shift"] > 0) for sign in (1, -1))
    movers = partial(_movers, sample_idx=f"{ours}_sample_idx", results=results, titles=titles)
    parts, null = numbers["parts"], numbers["null_band"]
    return {
        "folders": {side: stats[f"{side}_model"].get("folder", "...") for side in SIDES},
        "matched": numbers["matched_rows"],
        "alone": {side: numbers[f"unmatched_{side}_rows"] for side in SIDES},
        "alone_lines": [shown(line, None) for line in alone_lines(numbers)],
        "others": numbers["matched_with_other_candidates"],
        "spearman": numbers["spearman"],
        "moved": numbers["rank_shift"]["mean_absolute"],
        "by_label": numbers["rank_shift"]["by_label"],
        "class_parts": {label: class_parts(parts, label) for label in numbers["rank_shift"]["by_label"]},
        "parts": [shown(line, None) for line in parts_lines(parts)],
        "null": [shown(line, None) for line in null_lines(null, numbers["matched_rows"])],
        "banded": null["reason"] is None,
        "scatter": scatter("ranks", ranks["clean_rank"], ranks["poisoned_rank"], labels),
        "shifts": shifts("shifts", ranks["shift"], labels, null.get("band")),
        "lists": [
            movers("Rose most in the poisoned run", "No click rose.", shift.take(rose[:LISTED])),
            movers("Fell most in the poisoned run", "No click fell.", shift.take(fell[-LISTED:][::-1])),
        ],
    }


def _numbers(shift: Lines, name: str) -> np.ndarray:
    """(n,) a column that must hold numbers.

    Raises:
        ValueError: it does not.
    """
    values = shift.numbers(name)
    if np.isnan(values).any():
        raise ValueError(f"`{name}` that is no number")
    return values


def _movers(
    heading: str, empty: str, first: pd.DataFrame, sample_idx: str, results: Results, titles: Titles
) -> dict[str, Any]:
    """Some matched rows, as the lines of a table and as cards with what their users had read."""
    first = first.astype(dict.fromkeys(RANKS, float) | {sample_idx: int})
    largest = float(first["shift"].abs().max()) if len(first) else 1.0
    lines, cards = [], []
    for _, line in first.iterrows():
        ranks = {"from": round(line["clean_rank"]), "to": round(line["poisoned_rank"])}
        cards.append(card(results, int(line[sample_idx]), line["shift"], largest, titles) | ranks)
        about = {part: float(line[part]) if line[part] else None for part in PARTS}
        lines.append(ranks | about | {
            "title": headline(line["title"]),
            "article": shown(line["article_id"], 60),
            "label": line["label"],
            "user": shown(line["user_id"], 60),
            "shift": line["shift"],
            "beyond": MARKS.get(line["beyond_null"], ""),
            "other": MARKS[line["other_candidates_differ"]] == "yes",
        })  # fmt: skip
    return {"heading": heading, "empty": empty, "lines": lines, "cards": cards}
