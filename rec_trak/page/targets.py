"""Target sets as a page tells them: the whole set, single targets of it, rows that were explained. Not here: HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rec_trak.attribution.history import PLACES
from rec_trak.errors import DataError
from rec_trak.page.figures import distribution
from rec_trak.page.reasons import Asked, asked_in, asked_of
from rec_trak.page.rows import Titles, card, headline, strongest
from rec_trak.page.sections import carrying, days_figure, group_tables, told
from rec_trak.page.tables import Table, read_csv, read_table, shown
from rec_trak.results.files import Results
from rec_trak.runs.aside import own_file
from rec_trak.runs.finished import FinishedRun

SETS = 6  # target sets told in full
SINGLE = 3  # targets told one by one
ENDS = 5  # rows listed at each end of a single target
EXPLAINED = 6  # rows whose parts are shown
EXPLAIN_FILE = re.compile(r"explain_(\d+)_(\d+)\.csv")
AGAIN = "Run scripts/score.py with --targets again."


def target_sets(run: FinishedRun, sets: Sequence[Results], titles: Titles) -> tuple[list[dict[str, Any]], list[str]]:
    """What is to be said of each of the first SETS target sets of a run, and the names of the others.

    Raises:
        DataError: a set's files are damaged, or do not go together.
    """
    told_of = [_target_set(run, one, titles, f"set{i}") for i, one in enumerate(sets)]
    return told_of, [shown(name, 60) for name in run.sets[len(sets) :]]


def _target_set(run: FinishedRun, results: Results, titles: Titles, key: str) -> dict[str, Any]:
    name, score = shown(results.folder.name, 60), results.metadata.get("score") or {}
    asked = asked_in(results, run.results)
    return {
        "name": name,
        "folder": shown(results.folder.name, None),
        "explained": bool(run.files("explain_*.csv", results)),
        "count": score.get("target_count"),
        "file": shown(results.metadata.get("targets_file", ""), None),
        "notes": [shown(note, None) for note in results.metadata.get("targets_notes") or []],
        "command": results.metadata.get("command", ""),
        "sentences": told(results, f"influence on {name}", "strongest proponents"),
        "asked": [] if asked is None else _asked(asked, titles),
        "proponents": strongest(results, titles, asked=asked),
        "opponents": strongest(results, titles, lowest=True, asked=asked),
        "figure": distribution(key, *carrying(results), f"mean influence on {name} (margin units)"),
        "days": days_figure(run, key, f"mean influence on {name} (margin units)", results),
        "single": single_targets(results, titles),
        "tables": [
            *group_tables(run, key, results),
            *_places(run.file(PLACES, results), key, run.folder),
            *_explained(run.files("explain_*.csv", results), key, run.folder),
        ],
    }


def _asked(asked: Asked, titles: Titles) -> list[dict[str, Any]]:
    """The articles that are explained, those of the most targets first."""
    order = sorted(asked.explained.items(), key=lambda one: -one[1])
    return [
        {
            "id": a,
            "title": shown(titles.get(a, ("", ""))[0]) or shown(a, 60),
            "label": titles.get(a, ("", ""))[1],
            "count": n,
        }
        for a, n in order
    ]


def single_targets(results: Results, titles: Titles) -> list[dict[str, Any]]:
    """The SINGLE targets that one row influences most, each with its own ENDS proponents and opponents.

    Args:
        results: of the set, with targets.csv, proponents.csv and opponents.csv of its scoring in its folder; without
            them, none.
        titles: see `rows.known_titles`.

    Raises:
        DataError: a file is damaged, or names rows that the run does not have.
    """
    names = ("targets", "proponents", "opponents")
    tables = {name: read_csv(own_file(results, f"{name}.csv")) for name in names}
    if any(table is None for table in tables.values()):
        return []
    try:
        targets = tables["targets"].assign(target=tables["targets"]["target"].astype(int)).set_index("target")
        ends = {
            name: tables[name].astype({"target": int, "rank": int, "sample_idx": int, "score": float})
            for name in ("proponents", "opponents")
        }
        first = ends["proponents"].sort_values("score", ascending=False, kind="stable")["target"]
        return [
            {
                "number": target,
                "title": headline(targets.loc[target, "title"]),
                "label": targets.loc[target, "label"],
                "user": shown(targets.loc[target, "user_id"], 60),
                "margin": float(targets.loc[target, "margin"]),
                **{
                    name: _end(table[table["target"] == target], results, titles, asked_of(targets.loc[[target]]))
                    for name, table in ends.items()
                },
            }
            for target in first.drop_duplicates().head(SINGLE).tolist()
        ]
    except (KeyError, ValueError, IndexError) as error:
        problem = f"{type(error).__name__} {shown(error)}".rstrip(".")
        raise DataError(f"{results.folder}: its files do not go together. Got {problem}. {AGAIN}") from None


def _end(lines: pd.DataFrame, results: Results, titles: Titles, asked: Asked | None) -> list[dict[str, Any]]:
    lines = lines.sort_values("rank", kind="stable").head(ENDS)
    largest = float(lines["score"].abs().max()) if len(lines) else 1.0
    return [
        card(results, row, score, largest, titles, asked=asked)
        for row, score in zip(lines["sample_idx"].tolist(), lines["score"].tolist(), strict=True)
    ]


def _places(path: Path | None, key: str, root: Path) -> list[Table]:
    """What articles in training histories did, where that was looked at."""
    title = "Articles in training histories, and what they did"
    return [] if path is None else [read_table(path, f"{key}-history", title, root=root)]


def _explained(paths: list[Path], key: str, root: Path) -> list[Table]:
    """The rows that were explained, one table each, the first EXPLAINED by number."""
    found = [(path, EXPLAIN_FILE.fullmatch(path.name)) for path in paths]
    numbered = sorted((int(match[1]), int(match[2]), path) for path, match in found if match)[:EXPLAINED]
    return [
        read_table(
            path, f"{key}-{path.stem}", f"Row {row} on target {target}: which of its articles it comes from", root=root
        )
        for row, target, path in numbered
    ]
