"""A finished run as pandas tables, for Python and notebooks: who influenced what, why, how sure, and sums.

Every table names rows by number, user and article with its headline, and tells the units of its columns (`attrs`), in a
notebook too. Not here: computing scores (scripts, api.py), files, the page.
"""

from __future__ import annotations

import dataclasses
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rec_trak.data.tables import DIGITS
from rec_trak.errors import ConfigError, DataError, reason
from rec_trak.frames import MARGIN, UNITS, Table, named_table
from rec_trak.results.files import ROWS, Results
from rec_trak.results.histories import row_read
from rec_trak.results.ranking import HISTORY_READ, best_first
from rec_trak.results.reading import read_table
from rec_trak.runs.finished import FinishedRun
from rec_trak.runs.finished import open_run as opened
from rec_trak.store.manifest import digest
from rec_trak.words import harmless, quoted

if TYPE_CHECKING:
    from rec_trak.attribution.explain import Explanation

NUMBERS = ("renormalised", "kernel", "q", "leverage")
JUDGED = ("predicted", "checkpoint_reliability", "projection_reliability", "mean_leverage", "condition_number")


@dataclasses.dataclass(frozen=True, repr=False)
class Opened(FinishedRun):
    """A finished run with its tables as methods; see the functions of the same names."""

    def influence(self, targets: str | None = None, top: int | None = None) -> Table:
        return influence(self, targets, top)

    def explain(self, row: int, target: str) -> Table:
        return explain(self, row, target)

    def trust(self) -> Table:
        return trust(self)

    def groups(self, by: str = "article", targets: str | None = None) -> Table:
        return groups(self, by, targets)

    def __repr__(self) -> str:
        sets = ", ".join(self.sets) or "none"
        return f"finished run {self.folder}: {len(self.results.scores):,} rows, target sets: {sets}"

    def _repr_html_(self) -> str:
        told = self.metadata
        lines = {
            "folder": self.folder,
            "model": " ".join(str(told[key]) for key in ("model_type", "dataset_type") if told.get(key)),
            "rows": f"{len(self.results.scores):,} by {len(self.results.rows.codes('user_id')[1]):,} users",
            "checkpoints": len(told.get("members") or []),
            "target sets": ", ".join(self.sets) or "none",
            "left aside": " ".join(self.left_aside),
        }
        cells = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(harmless(str(value)))}</td></tr>"
            for name, value in lines.items()
            if value not in ("", 0)
        )
        return f"<table>{cells}</table>"


def open_run(folder: str | Path) -> Opened:
    """The finished run in a results folder, with `influence`, `explain`, `trust` and `groups` as methods.

    Args:
        folder: what scripts/score.py wrote.

    Raises:
        DataError: a file of the run is missing, damaged, or does not fit the others.
        NumericalError: a score is NaN or infinite.
    """
    run = opened(folder)
    return Opened(**{field.name: getattr(run, field.name) for field in dataclasses.fields(run)})


def influence(run: FinishedRun | str | Path, targets: str | None = None, top: int | None = None) -> Table:
    """Training clicks in order of influence, the highest first, with user, article, headline and what was read.

    Args:
        run: opened, or its folder.
        targets: a target set of the run; None for self-influence.
        top: so many rows; None for all.

    Returns:
        `rank`, `row`, `user_id`, `article_id`, `title`, `label` where somebody said it, `influence` or `self_influence`
        (`score` where the run has another form), the numbers that it is made of, and `history_read`, ids with a space
        between.

    Raises:
        ConfigError: no such target set; `top` is not at least 1.
        DataError: files of the run are damaged.
    """
    run = _opened(run)
    results = run.results if targets is None else run.target_set(targets)
    order = best_first(results.scores)
    if top is not None:
        if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
            raise ConfigError(
                f"influence: `top` is no number of rows. Got {quoted(top)}, expected at least 1. Mend it."
            )
        order = order[:top]
    form = (results.metadata.get("score") or {}).get("form")
    name = "influence" if targets is not None else "self_influence" if form == "self_influence" else "score"
    lines = results.rows.take(order)
    columns: dict[str, Any] = {
        "rank": np.arange(1, len(order) + 1),
        "row": order,
        **{key: lines[key].to_numpy() for key in ("user_id", "article_id", "title")},
    }
    if (results.labels != -1).any():
        columns["label"] = lines["label"].to_numpy()
    columns[name] = results.scores[order].astype(np.float64)
    try:
        columns |= {key: lines[key].astype(float).to_numpy() for key in NUMBERS if key in lines}
    except ValueError as error:
        raise DataError(f"{results.folder / ROWS}: no number ({reason(error)}). Run scripts/score.py again.") from None
    columns[HISTORY_READ] = _histories(results, lines)
    what = "self-influence" if targets is None else f"mean influence on {targets}"
    title = f"Training clicks by {what}, the highest first"
    return named_table(columns, title, UNITS | {name: MARGIN if name != "score" else UNITS["score"]})


def explain(run: FinishedRun | str | Path, row: int, target: str) -> Table:
    """What one click's influence on one target comes from: the articles of its history, its candidates, its user.

    Where score.py --explain has said it, that is read; else it is computed, for which the run's data, checkpoints and
    save directory must be where they were. Nothing is written.

    Args:
        run: opened, or its folder.
        row: the click's number.
        target: a target set, a colon and the target's number, as in targets.csv: `promoted:3`.

    Returns:
        `part`, `article_id`, `title`, `kernel`, `influence`; the influences add up to that of the click.

    Raises:
        ConfigError: no such row, set or target.
        DataError, StoreError, CheckpointError: an input is gone or changed.
    """
    run = _opened(run)
    name, number = _target(target)
    results = run.target_set(name)
    path = run.file(f"explain_{row}_{number}.csv", results)
    if path is not None:
        parts, total = _read(path), None
    else:
        found = _explained(run, name, row, number)
        parts, total = found.parts, found.unsplit
    line = results.rows.take([int(row)]).iloc[0]
    title = f"Row {row}, user {line['user_id']} on “{line['title']}”: its influence on target {name}:{number}"
    table = named_table(parts, title, {"kernel": UNITS["kernel"], "influence": MARGIN})
    if total:
        table.attrs["note"] = f"not taken apart: {total}"
    return table


def trust(run: FinishedRun | str | Path) -> Table:
    """How far each ranking of a run can be trusted: a word, the reason, what would help.

    What trust.py wrote of these scores is read; else it is computed from the save directory. Nothing is written.

    Args:
        run: opened, or its folder.

    Returns:
        `ranking`, `verdict` (stable, indicative, do not use), `reason`, `improvement`, `cost`, and the numbers that
        they rest on.

    Raises:
        DataError, StoreError: the run's gradients are gone, or files are damaged.
    """
    from rec_trak.config.documents import read_json

    run = _opened(run)
    path = run.file("trust.json")
    try:
        content = None if path is None else read_json(path)
        current = content is not None and any(_current(run, one) for one in content["rankings"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read ({type(error).__name__}). Run scripts/trust.py again.") from None
    if not current:
        from rec_trak.trust.run import trust_run

        content = trust_run(run.folder)
    rankings = [one for one in content["rankings"] if _current(run, one)]
    names = ("ranking", "verdict", "reason", "improvement", "cost", *JUDGED)
    columns = {key: [one.get(key) for one in rankings] for key in names}
    units = {
        "predicted": "0 to 1, predicted quality",
        "checkpoint_reliability": "correlation of ranks with as many other members",
        "projection_reliability": "correlation of ranks with another sketch",
        "mean_leverage": UNITS["leverage"],
        "condition_number": "no unit",
    }
    return named_table(columns, f"How far the rankings of {run.folder.name} can be trusted", units)


def groups(run: FinishedRun | str | Path, by: str = "article", targets: str | None = None) -> Table:
    """Influence summed by article, history_article, user, day, or a column that score.py --group_by named.

    Args:
        run: opened, or its folder.
        by: what to sum by.
        targets: a target set of the run; None for self-influence.

    Returns:
        The group's ids and headline, `rows`, `sum`, `mean`; the largest sum first, days in their order.

    Raises:
        ConfigError: no such target set, or no such table, with those there are.
    """
    run = _opened(run)
    results = run.results if targets is None else run.target_set(targets)
    path = run.file(f"by_{by}.csv", results)
    if path is None:
        there = ", ".join(one.stem.removeprefix("by_") for one in run.files("by_*.csv", results))
        raise ConfigError(
            f"groups: no such sums in {results.folder}. Got {quoted(by)}, expected one of {there or 'none'}. "
            "Run scripts/score.py with --group_by COLUMN."
        )
    what = "self-influence" if targets is None else f"mean influence on {targets}"
    table = _read(path)
    if "label" in table and set(table["label"]) <= {"unknown"}:
        table = table.drop(columns="label")
    return named_table(table, f"{what} by {by}", {key: UNITS[key] for key in ("rows", "sum", "mean")})


def _opened(run: FinishedRun | str | Path) -> FinishedRun:
    return run if isinstance(run, FinishedRun) else open_run(run)


def _histories(results: Results, lines: pd.DataFrame) -> list[str | None]:
    """`history_read` of these rows; None where the run does not say."""
    model = results.metadata.get("model")
    found = [row_read(line, model) for line in lines.to_dict("records")]
    return [None if ids is None else " ".join(ids) for ids in found]


def _target(target: str) -> tuple[str, int]:
    name, colon, number = str(target).rpartition(":")
    if not (colon and name and number.isdecimal() and len(number) < DIGITS):
        raise ConfigError(
            f"explain: not a target. Got {quoted(target)}, expected its set, a colon and its number, as `promoted:3`. "
            "Name it so."
        )
    return name, int(number)


def _explained(run: FinishedRun, name: str, row: int, target: int) -> Explanation:
    """The influence taken apart anew."""
    from rec_trak.attribution.explain import explain as take_apart
    from rec_trak.attribution.job import Run
    from rec_trak.attribution.target_sets import named_targets

    job, config = run.job(), run.settings()
    told = (run.target_set(name).metadata.get("targets_definition") or {}).get("csv")
    wanted = name if name in config.targets or not told else told
    targets = named_targets(Run(config, run.metadata["dataset_type"], run.metadata["model_type"]), job, wanted)
    return take_apart(job, name, targets.impressions, int(row), target, targets.articles)


def _current(run: FinishedRun, one: dict[str, Any]) -> bool:
    """Whether a verdict is on scores that stand there now."""
    name = Path(one["folder"]).name if one["folder"] else None
    if name is not None and name not in run.sets:
        return False
    return one["scores"] == digest((run.results if name is None else run.target_set(name)).scores)


def _read(path: Path) -> pd.DataFrame:
    table = read_table(path)
    numbers = [name for name in ("kernel", "influence", "sum", "mean") if name in table]
    try:
        return table.astype(dict.fromkeys(numbers, float) | ({"rows": int} if "rows" in table else {}))
    except ValueError as error:
        raise DataError(
            f"{path}: not the numbers of a run ({reason(error)}). Run the script that writes it again."
        ) from None
