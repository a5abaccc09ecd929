"""Recommendations to explain, as rows of the same shape as train's. Not here: what is asked of them."""

from __future__ import annotations

from pathlib import Path

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions, read_pairwise


def read_targets(path: str | Path, articles: Articles, rows: str = "per_click") -> Impressions:
    """The targets in one pairwise benchmark CSV; impressions without a click are dropped and counted in the notes.

    Args:
        rows: `per_click` or `as_trained`, see `read_pairwise`.

    Raises:
        ConfigError: `rows` is another word.
        DataError: the file is not a pairwise CSV of these articles, or no impression in it has a click.
    """
    return read_pairwise(path, articles, rows=rows, drop_unclicked=True)
