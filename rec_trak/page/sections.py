"""The page's own rows, sums by group and agreement of members, as plain data. Not here: its other sections, HTML."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from rec_trak.errors import DataError, RecTrakError
from rec_trak.page.figures import distribution, over_days
from rec_trak.page.rows import Titles, strongest, top_share
from rec_trak.page.tables import LINES, Table, read_csv, read_table, shown
from rec_trak.results.files import Results
from rec_trak.results.plots import SCORE_NAME
from rec_trak.results.ranking import LABELS, best_first
from rec_trak.runs.finished import FinishedRun

AFFORDABLE = 1e12  # multiplications that member agreement may cost: some ten seconds
SPREAD_OUT = 0.05  # of all positive influence in the first 1 % of the rows
GROUPS = {
    "by_article.csv": "Articles clicked",
    "by_user.csv": "Users",
    "by_history_article.csv": "Articles in histories",
    "by_day.csv": "Days",
}


def told(results: Results, what: str, those: str) -> list[str]:
    """Which class the first rows click, and how concentrated the positive scores are, a sentence each.

    Args:
        results: of one scoring.
        what: the score, as `influence on NAME`.
        those: rows with much of it, as `strongest proponents`.
    """
    (scores, labels), n = carrying(results), len(results.scores)
    if not (scores > 0).any():
        return [f"No click has a positive {what}."]
    order, known, sentences = best_first(scores)[:100], labels != -1, []
    top = order[scores[order] > 0]
    if np.any(labels == 1) and np.any(labels == 0):
        fake, base = int(np.sum(labels[top] == 1)), 100 * np.mean(labels[known] == 1)
        sentences.append(f"{fake} of the {len(top)} {those} click a fake article; of all clicks {base:.0f} % do.")
    first = max(1, round(n / 100))
    share = top_share(scores, first)
    ending = (
        "it is spread out, no small set of clicks stands out" if share < SPREAD_OUT else "evenly spread it would be 1 %"
    )
    rows = f"{first:,} highest of {n:,} clicks carry" if first > 1 else f"highest of {n:,} clicks carries"
    sentences.append(f"The {rows} {100 * share:.1f} % of all positive {what} ({ending}).")
    return sentences


def carrying(results: Results) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of the rows that carry something: those of figures and of the ends of a ranking."""
    return results.scores[~results.nothing], results.labels[~results.nothing]


def group_tables(run: FinishedRun, key: str, of: Results | None = None, lines: int = LINES) -> list[Table]:
    """The tables of groups of a run or a target set, their names starting with `key`, at most `lines` lines of each."""
    paths = {path.name: path for path in run.files("by_*.csv", of)}
    names = [*(name for name in GROUPS if name in paths), *sorted(paths.keys() - GROUPS.keys())]
    titles = {name: GROUPS.get(name, f"By {shown(name[3:-4].replace('_', ' '), 60)}") for name in names}
    tables = [read_table(paths[name], f"{key}-{name[:-4]}", title, lines, run.folder) for name, title in titles.items()]
    return [table for table in tables if table.total]


def days_figure(run: FinishedRun, key: str, score_name: str, of: Results | None = None) -> Markup | str:
    """Influence over the days of the log, where it tells days; else ''."""
    path = run.file("by_day.csv", of)
    table = None if path is None else read_csv(path)
    if table is None or len(table) < 2 or not {"day", "rows", "sum"} <= set(table.columns):
        return ""
    try:
        rows, sums = table["rows"].astype(int).to_numpy(), table["sum"].astype(float).to_numpy()
    except ValueError as error:
        raise DataError(f"{path}: cannot be read ({shown(error)}). Run scripts/score.py again.") from None
    return over_days(f"{key}-days", [shown(day, 40) for day in table["day"]], sums, rows, score_name)


def own_rows(run: FinishedRun, titles: Titles) -> dict[str, Any]:
    """Self-influence: the first rows, and how it spreads over the classes and days."""
    results = run.results
    name = shown(results.metadata.get("score_name", SCORE_NAME), 90)
    return {
        "name": name,
        "total": len(results.scores),
        "rows": strongest(results, titles),
        "figure": distribution("own", *carrying(results), name),
        "days": days_figure(run, "own", name),
        "sentences": told(results, "self-influence", "most self-influential clicks"),
        "classes": _classes(results),
    }


def _classes(results: Results) -> list[dict[str, Any]]:
    """One line a class that occurs: rows that carry something, and the quartiles of their scores."""
    scores, labels = carrying(results)
    lines = []
    for label, word in LABELS.items():
        own = scores[labels == label].astype(np.float64)
        if len(own):
            low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
            lines.append({"label": word, "rows": len(own), "low": low, "median": middle, "high": high})
    return lines


def agreement(run: FinishedRun) -> dict[str, Any]:
    """Rank correlation of the members' scores: `mean`, `pairs`; or the `reason` why there is none."""
    names = [shown(Path(member.get("checkpoint") or "").name, 80) for member in run.metadata.get("members") or []]
    if len(names) < 2:
        return {"reason": "There is one checkpoint. Give several (`checkpoints:` in the config) to see how much of the "
                "ranking another seed would repeat."}  # fmt: skip
    try:
        members = run.members(affordable=AFFORDABLE)
    except RecTrakError as error:  # the page stands without it, and says why
        return {"reason": shown(error, None)}
    ranks = [pd.Series(members.scores([i])).rank().to_numpy() for i in range(len(names))]
    pairs = [
        {"a": names[a], "b": names[b], "value": float(np.corrcoef(ranks[a], ranks[b])[0, 1])}
        for a, b in combinations(range(len(ranks)), 2)
    ]
    return {"mean": float(np.mean([pair["value"] for pair in pairs])), "pairs": pairs}
