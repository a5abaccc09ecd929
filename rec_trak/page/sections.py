"""A results folder -> what its page says, section by section, as plain data. Not here: HTML, files, commands.

A section whose file is missing says which command makes it; a file that is there and cannot be read is an error.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.page.figures import distribution
from rec_trak.page.rows import Titles, strongest, top_share
from rec_trak.page.tables import LINES, Table, read_table, shown
from rec_trak.results.files import Results
from rec_trak.results.plots import SCORE_NAME
from rec_trak.results.ranking import LABELS, best_first
from rec_trak.store.manifest import read_manifest, read_member

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
    scores, labels, n = results.scores, results.labels, len(results.scores)
    if not (scores > 0).any():
        return [f"No click has a positive {what}."]
    sentences, top, known = [], best_first(scores)[:100], labels != -1
    if np.any(labels == 1) and np.any(labels == 0):
        fake, base = int(np.sum(labels[top] == 1)), 100 * np.mean(labels[known] == 1)
        sentences.append(f"{fake} of the {len(top)} {those} click a fake article; of all clicks {base:.0f} % do.")
    first = max(1, round(n / 100))
    share = top_share(scores, first)
    ending = "it is spread out, no small set of clicks stands out" if share < SPREAD_OUT else "evenly spread, 1 %"
    rows = f"{first:,} highest of {n:,} clicks carry" if first > 1 else f"highest of {n:,} clicks carries"
    sentences.append(f"The {rows} {100 * share:.1f} % of all positive {what} ({ending}).")
    return sentences


def group_tables(folder: Path, key: str, lines: int = LINES) -> list[Table]:
    """The tables of groups that stand in a folder, their names starting with `key`, at most `lines` lines of each."""
    others = sorted({path.name for path in folder.glob("by_*.csv")} - GROUPS.keys())
    titles = GROUPS | {file: f"By {shown(file[3:-4].replace('_', ' '), 60)}" for file in others}
    tables = (read_table(folder / file, f"{key}-{file[:-4]}", title, lines) for file, title in titles.items())
    return [table for table in tables if table is not None]


def own_rows(results: Results, titles: Titles) -> dict[str, Any]:
    """Self-influence: the first rows, and how it spreads over the classes."""
    name = shown(results.metadata.get("score_name", SCORE_NAME), 90)
    return {
        "name": name,
        "rows": strongest(results, titles),
        "figure": distribution("own", results.scores, results.labels, name),
        "sentences": told(results, "self-influence", "most self-influential clicks"),
        "classes": _classes(results),
    }


def _classes(results: Results) -> list[dict[str, Any]]:
    """One line a class that occurs: rows, and the quartiles of their scores."""
    lines = []
    for label, word in LABELS.items():
        own = results.scores[results.labels == label].astype(np.float64)
        if len(own):
            low, middle, high = np.quantile(own, (0.25, 0.5, 0.75))
            lines.append({"label": word, "rows": len(own), "low": low, "median": middle, "high": high})
    return lines


def agreement(results: Results) -> dict[str, Any]:
    """Rank correlation of the members' scores: `mean`, `pairs`; or the `reason` why there is none."""
    members, score = results.metadata.get("members") or [], results.metadata.get("score") or {}
    if len(members) < 2:
        return {"reason": "There is one checkpoint. Give several (`checkpoints:` in the config) to see how much of the "
                "ranking another seed would repeat."}  # fmt: skip
    save_dir = next((p for p in (Path(results.metadata.get("save_dir", "")), results.folder / "store")
                     if (p / "rec_trak.json").is_file()), None)  # fmt: skip
    if save_dir is None:
        return {"reason": "The save directory with the projected gradients is not there any more."}
    held = (read_manifest(save_dir) or {}).get("models", {})
    if [held.get(str(i)) for i in range(len(members))] != [member["digest"] for member in members]:
        return {"reason": f"The save directory {save_dir} holds other checkpoints by now."}
    loaded = [read_member(save_dir, model_id) for model_id in range(len(members))]
    n, k = loaded[0][0].shape
    if len(members) * (2.0 * n * k**2 + 9.0 * k**3) > AFFORDABLE:
        return {"reason": f"{len(members)} members of {n:,} rows with K = {k:,} would take too long to solve again."}
    return _correlations(loaded, score, [Path(member["checkpoint"]).name for member in members])


def _correlations(loaded: list, score: dict[str, Any], names: list[str]) -> dict[str, Any]:
    from rec_trak.scoring.solve import member_leverage  # brings torch, which a page of one member does without

    ranks = []
    for phi, q in loaded:
        if score.get("form") == "loss_gradient":
            own = member_leverage(phi, score["lambda_rel"], weights=q)[0]
        else:
            own = member_leverage(phi, score["lambda_rel"])[0] * q
        ranks.append(pd.Series(own).rank().to_numpy())
    pairs = [
        {"a": shown(names[a], 80), "b": shown(names[b], 80), "value": float(np.corrcoef(ranks[a], ranks[b])[0, 1])}
        for a, b in combinations(range(len(ranks)), 2)
    ]
    return {"mean": float(np.mean([pair["value"] for pair in pairs])), "pairs": pairs}
