"""The impressions that a model is validated on, whole, as they were shown. Not here: rows to train on, or metrics."""

from __future__ import annotations

from pathlib import Path

from rec_trak.data.articles import Articles, read_mind_news, read_news_items
from rec_trak.data.impressions import Impressions, read_slates
from rec_trak.data.sources import click_log_path, data_format
from rec_trak.data.targets import behavior_slates
from rec_trak.errors import DataError

SLATES = ("pairwise", "mind")


def read_validation(
    data_path: str | Path, news_items_path: str | Path | None, name: str, wanted_format: str = "auto"
) -> tuple[Articles, Impressions]:
    """The articles, and one row an impression: clicked candidates before the others, none left out, none drawn.

    Args:
        data_path, news_items_path: as `sources.read_data`.
        name: of the data set, `val_clean` and so on.
        wanted_format: `auto`, `pairwise` or `mind`.

    Raises:
        DataError: a file is missing or malformed, or the format has no impressions to read.
    """
    kind = data_format(data_path, name, wanted_format)
    if kind not in SLATES:
        raise DataError(
            f"{data_path}: `data_format` {kind} holds rows, not whole impressions. Got no format to validate on, "
            f"expected {' or '.join(SLATES)}. Name a tree or folder of these."
        )
    clicks = click_log_path(data_path, name, kind)
    if kind == "mind":
        articles = read_mind_news(news_items_path or clicks.with_name("news.tsv"))
        return articles, behavior_slates(clicks, articles)
    articles = read_news_items(news_items_path or Path(data_path) / "news_items.csv")
    return articles, read_slates(clicks, articles)
