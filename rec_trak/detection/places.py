"""Rankings by what the promoted articles in histories did, from history.csv. Not here: making that file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rec_trak.attribution.history import PLACES
from rec_trak.data.ragged import Ragged
from rec_trak.detection.baselines import holds
from rec_trak.errors import DataError
from rec_trak.results.cells import guard
from rec_trak.runs.click_log import ClickLog

COLUMNS = ("sample_idx", "article_id", "influence", "leverage")
LEVERAGE = "leverage of the promoted article's place in the history"
INFLUENCE = "influence of the promoted article's place in the history"


def place_rankings(
    path: Path | None, log: ClickLog, promoted: list[int], history: Ragged | None = None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Two rankings, name -> (N,), and notes where they cannot be given.

    A row's value is that of the place whose leverage is largest among those that hold a promoted article, and 0 where
    it has none.

    Args:
        path: history.csv of the target set, None where there is none of this scoring.
        log: the run's rows.
        promoted: positions of the articles that the attack promotes.
        history: what the model reads of each row's history, N sequences of positions; None for all of it.

    Raises:
        DataError: history.csv is not what scripts/score.py writes of these rows.
    """
    there = holds(log.rows.history, promoted)
    read = there if history is None else holds(history, promoted)
    if not read.any():
        return {}, []
    if path is None:
        return {}, ["Histories hold a promoted article; what its places did is not known: score.py --history tells."]
    table = _read(path)
    ids = [log.articles.ids[a] for a in promoted]
    table = table[table["article_id"].isin([*ids, *map(guard, ids)])]
    rows = table["sample_idx"].to_numpy()
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(read) and there[rows].all()):
        raise DataError(
            f"{path}: not the places of these rows. Got a `sample_idx` whose history holds no promoted article. Run "
            "scripts/score.py with --history again."
        )
    unknown = len(np.setdiff1d(np.flatnonzero(read), rows))
    notes = [f"{unknown} row(s) whose model reads a promoted article are not in {PLACES}: --history was given others."]
    found = of_rows(rows, table["leverage"].to_numpy(), table["influence"].to_numpy(), len(read))
    return dict(zip((LEVERAGE, INFLUENCE), found, strict=True)), notes if unknown else []


def of_rows(rows: np.ndarray, leverage: np.ndarray, influence: np.ndarray, count: int) -> np.ndarray:
    """(2, count): leverage and influence of each row's place of largest leverage, 0 of rows without a place.

    Args:
        rows, leverage, influence: (n,) of each place, its row's number first.
        count: N.
    """
    order = np.argsort(leverage, kind="stable")  # of a row that stands twice the last one stays
    values = np.zeros((2, count))
    values[:, rows[order]] = leverage[order], influence[order]
    return values


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype={"article_id": str}, keep_default_na=False, encoding="utf-8")
        absent = [name for name in COLUMNS if name not in table.columns]
        if not absent:
            return table.astype({"sample_idx": np.int64, "influence": float, "leverage": float})
        problem = f"no column {', '.join(absent)}"
    except (ValueError, OSError) as error:
        problem = " ".join(str(error).split()).rstrip(".")
    raise DataError(f"{path}: cannot be read ({problem}). Run scripts/score.py with --history again.")
