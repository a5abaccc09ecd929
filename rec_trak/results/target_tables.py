"""The tables that tell of a target set: its targets, and the ends of each one's ranking. Not here: scores, files."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.results.lines import Lines
from rec_trak.results.ranking import rows_table
from rec_trak.scoring.streaming import Best

ROW = ("label", "user_id", "article_id", "title", "source_lines")
TARGET_ROWS = ("history_ids", "other_candidates", "source_lines")


def targets_table(targets: Impressions, articles: Articles, margins: np.ndarray) -> pd.DataFrame:
    """The content of targets.csv: a line a target with its number, user, article to explain, and (M,) margins."""
    rows = rows_table(targets, articles).whole().rename(columns={"sample_idx": "target"})
    rows.insert(1, "margin", margins)
    return rows[["target", "user_id", "article_id", "title", "label", "margin", *TARGET_ROWS]]


def ends_table(best: Best, sign: int, rows: Lines) -> pd.DataFrame:
    """The content of proponents.csv (`sign` 1) or opponents.csv (-1): for each target its rows, most extreme first.

    Args:
        best: one end of each target's ranking; rows whose score has not the sign are left out, since they are neither.
        sign: see above.
        rows: a line an impression, as `rows_table` makes them.
    """
    target, rank = np.nonzero(sign * best.scores > 0)
    places, scores = best.rows[target, rank], best.scores[target, rank]
    told = rows.take(places, ["sample_idx", *ROW])
    told.insert(1, "score", scores)
    return pd.concat([pd.DataFrame({"target": target, "rank": rank + 1}), told], axis=1)
