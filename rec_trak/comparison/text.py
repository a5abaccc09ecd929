"""A comparison's numbers in words, for a terminal and the page. Not here: measuring."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rec_trak.results.lines import Lines
from rec_trak.results.text_table import format_table
from rec_trak.words import signed

PART_NAMES = {"q": "Q", "leverage": "leverage"}
SHOWN = 5  # rows that rose, and fell, in a terminal


def summary_lines(numbers: dict[str, Any]) -> list[str]:
    """What happened, a sentence a line, from what stands under `comparison` in comparison_stats.json."""
    alone = [f"{numbers[f'unmatched_{run}_rows']:,} only in the {run} one" for run in ("clean", "poisoned")]
    n, others = numbers["matched_rows"], numbers["matched_with_other_candidates"]
    lines = [f"{n:,} rows stand in both runs; {', '.join(alone)}.", *alone_lines(numbers)]
    if others:
        lines.append(
            f"{others:,} of them have other candidates in the two runs, so their Q differs for that reason too."
        )
    spearman = "" if numbers["spearman"] is None else f"; rank correlation {numbers['spearman']:.3f}"
    moved = f"{numbers['rank_shift']['mean_absolute']:.1f} percentile points"
    lines.append(f"On average a row's rank changed by {moved} (unrelated rankings: 33.3){spearman}.")
    lines += parts_lines(numbers["parts"])
    for label, shift in numbers["rank_shift"]["by_label"].items():
        if shift["n_rows"] < n:  # the mean over all matched rows is 0 by construction
            rows = "row that clicks" if shift["n_rows"] == 1 else "rows that click"
            rows = f"The {shift['n_rows']:,} matched {rows} a {label} article"
            parts = class_parts(numbers["parts"], label)
            lines.append(f"{rows} {direction(shift['mean'], ' percentile points')} on average{parts}.")
    return lines + null_lines(numbers["null_band"], n)


def alone_lines(numbers: dict[str, Any]) -> list[str]:
    """Whose the rows are that stand in one run only, a sentence a run with some; none of an earlier build's file."""
    lines = []
    for side, of in numbers.get("alone", {}).items():
        if not of["users"]:
            continue
        known = [f"{of[label]:,} on {label} articles" for label in ("fake", "real") if of[label]]
        by, other = f"{of['users']:,} user{'s' * (of['users'] != 1)}", "poisoned" if side == "clean" else "clean"
        line = (
            f"Only in the {side} one: {', '.join([*known, ''])}by {by}, {of['new_users']:,} of them not in the {other}"
        )
        lines.append(f"{line} one at all" + ("; what was injected is among these." if side == "poisoned" else "."))
    return lines


def parts_lines(parts: dict[str, Any]) -> list[str]:
    """How much of the rows' movement is Q's and how much leverage's, or why that cannot be told."""
    told = []
    for part, name in PART_NAMES.items():
        if part in parts:
            moved, along = f"by {parts[part]['mean_absolute']:.1f}", parts[part]["spearman_with_shift"]
            along = "" if along is None else f" (rank correlation with the shift {along:.2f})"
            told.append(f"{'one' if told else 'A ranking'} by {name} alone {'' if told else 'changes '}{moved}{along}")
    lines = [f"{', '.join(told)}."] if told else []
    if parts["reason"]:
        lines.append(f"What Q and leverage have to do with it cannot be told apart: {parts['reason']} Score again.")
    return lines


def class_parts(parts: dict[str, Any], label: str) -> str:
    """How one class moved in rankings by Q and by leverage alone, in brackets; '' where that is not known."""
    told = [
        f"by {name} alone {direction(parts[part]['by_label'][label]['mean'])}"
        for part, name in PART_NAMES.items()
        if part in parts
    ]
    return f" ({', '.join(told)})" if told else ""


def null_lines(null: dict[str, Any], matched: int) -> list[str]:
    """What seeds alone do to ranks, and how many rows moved more; or why there is no null band."""
    if null["reason"] is not None:
        return [f"No null band: {null['reason']}"]
    single = null["member_shift"]
    kinds = [f"two {side} ones {single[side]:.1f}" for side in ("clean", "poisoned") if single[side] is not None]
    across = [] if single["across"] is None else [f"a clean and a poisoned one {single['across']:.1f}"]
    lines = [f"Between single checkpoints a rank changes on average: {', '.join([*kinds, *across])} percentile points."]
    by_chance, known = 100 * (1 - null["level"]), [label for label in ("fake", "real") if label in null["by_label"]]
    shares = [f"{label} {_share(**null['by_label'][label])}" for label in known]
    shares = f" ({', '.join(shares)})" if len(shares) > 1 else ""
    lines.append(
        f"{null['rows_beyond']:,} of {matched:,} rows, {_share(matched, null['rows_beyond'])}, moved by more than "
        f"{null['band']:.1f} points, the null band{shares}; about {by_chance:.0f} % would if the two differed by their "
        "seeds alone."
    )
    if len(null["halves"]) == 1:
        why = "".join(f" {note}" for note in null["notes"])
        lines.append(f"The null band is from the {next(iter(null['halves']))} checkpoints alone.{why}")
    return lines


def movers_text(table: Lines | pd.DataFrame, count: int = SHOWN) -> str:
    """The rows that rose and fell most, as two tables for a terminal.

    Args:
        table: all matched rows, those that rose most first, with SHIFT_COLUMNS.
        count: rows of each.
    """
    parts = []
    table = Lines.of(table)
    shift = table["shift"].to_numpy()
    known = set(table.codes("label")[1]) - {"unknown"}
    ends = np.flatnonzero(shift > 0)[:count], np.flatnonzero(shift < 0)[-count:][::-1]
    for word, places in zip(("rose", "fell"), ends, strict=True):
        rows = table.take(places)
        if rows.empty:
            parts.append(f"No row {word} in the poisoned run.")
            continue
        shown = pd.DataFrame({
            "shift": [signed(x) for x in rows["shift"]],
            "beyond_null": ["-" if pd.isna(x) else "yes" if x else "no" for x in rows["beyond_null"]],
            "candidates": ["other" if x else "same" for x in rows["other_candidates_differ"]],
            "class": rows["label"].to_numpy(),
            "user": rows["user_id"].to_numpy(),
            "headline": rows["title"].to_numpy(),
        }).drop(columns=[] if known else "class")  # fmt: skip
        head = "The row" if len(rows) == 1 else f"The {len(rows)} rows"
        parts.append(f"{head} that {word} most in the poisoned run, percentile points:\n{format_table(shown, 120)}")
    return "\n\n".join(parts)


def direction(mean: float, unit: str = "") -> str:
    """`rose by 3.1`, `fell by 3.1`, or `stayed` where the number would read 0.0."""
    size = f"{abs(mean):.1f}"
    return "stayed" if float(size) == 0 else f"{'rose' if mean > 0 else 'fell'} by {size}{unit}"


def _share(n_rows: int, beyond: int) -> str:
    return f"{100 * beyond / n_rows:.0f} %"
