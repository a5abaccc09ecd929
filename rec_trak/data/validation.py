"""The impressions that a model is validated on, whole, as they were shown. Not here: rows to train on, or metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rec_trak.config.reading import Reading, without_blanks
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions, read_slates
from rec_trak.data.parsed import read_parsed_articles
from rec_trak.data.sources import BEHAVIORS, DEFAULT, click_log_path, data_format, read_articles
from rec_trak.data.targets import behavior_slates
from rec_trak.errors import DataError

SLATES = ("pairwise", "mind")
FOLDERS = (
    "dev",
    "val",
    "valid",
    "validation",
)  # beside `train`, or in its place


def read_validation(
    data_path: str | Path, news_items_path: str | Path | None, name: str, reading: Reading = DEFAULT
) -> tuple[Articles, Impressions]:
    """The articles, and one row an impression: clicked candidates before the others, none left out, none drawn.

    Args:
        data_path, news_items_path: as `sources.read_data`.
        name: of the data set, `val_clean` and so on.
        reading: its `data_format` (`auto`, `pairwise` or `mind`), `titles` and `missing_articles` count; what it says
            of rows is of those to train on.

    Raises:
        DataError: a file is missing or malformed, or the format has no impressions to read.
    """
    form = data_format(data_path, name, reading.data_format)
    if form not in SLATES:
        raise DataError(
            f"{data_path}: `data_format` {form} holds rows, not whole impressions. Got no format to validate on, "
            f"expected {' or '.join(SLATES)}. Name a tree or folder of these."
        )
    clicks = click_log_path(data_path, name, form)
    articles = read_articles(data_path, news_items_path, clicks, form, reading)
    return articles, _slates(clicks, articles, form, reading)


def find_validation(
    data_path: str | Path,
    news_items_path: str | Path | None,
    names: Sequence[str],
    form: str,
    reading: Reading = DEFAULT,
) -> tuple[Articles, Impressions, Path] | None:
    """The validation set that belongs to a data tree, and its click log; None where there is none to be found.

    Args:
        data_path, news_items_path: as `sources.read_data`, of the training set.
        names: data sets to look for, the first one that is there counts (`val_clean`, `val_poisoned`).
        form: of the training set: `pairwise`, `mind` or `parsed`.
        reading: as `read_validation`.

    Raises:
        DataError: a file is malformed, or the articles of the set are missing.
    """
    root = Path(data_path)
    clicks = next((path for path in _places(root, names, form) if path.is_file()), None)
    if clicks is None:
        return None
    own = clicks.with_name("news.tsv").is_file()
    if form == "parsed":
        dictionaries = click_log_path(root, "train_clean", form).parent
        articles = read_parsed_articles(clicks.parent, dictionaries, None if own else news_items_path)
    else:
        news = (None if own else news_items_path or root / "news.tsv") if form == "mind" else news_items_path
        articles = read_articles(root, news, clicks, form, reading)
    return articles, _slates(clicks, articles, form, reading), clicks


def _slates(clicks: Path, articles: Articles, form: str, reading: Reading) -> Impressions:
    if form == "pairwise":
        return read_slates(clicks, articles, without_blanks(reading))
    return behavior_slates(clicks, articles, reading)


def _places(root: Path, names: Sequence[str], form: str) -> Iterator[Path]:
    """Where the click log may lie, the likeliest first."""
    if form == "pairwise":
        for name in names:
            yield from (root / "models" / f"{name}.csv", root / f"{name}.csv")
        return
    for name in (*names, *FOLDERS):
        yield root / name / BEHAVIORS
    root = root.resolve()  # so that a `.` has a name too
    for name in FOLDERS if "train" in root.name else ():
        yield root.with_name(root.name.replace("train", name)) / BEHAVIORS
