"""The impressions that a model is validated on, whole, as they were shown. Not here: rows to train on, or metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rec_trak.config.reading import Reading, without_blanks
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions, read_slates
from rec_trak.data.news_tables import is_translated, translation_for
from rec_trak.data.parsed import read_parsed_articles
from rec_trak.data.places import BEHAVIORS, FILES, click_log_path, data_format
from rec_trak.data.sources import DEFAULT, LINES, article_table, read_articles
from rec_trak.data.targets import behavior_slates
from rec_trak.errors import DataError

SLATES = ("pairwise", *LINES)
FOLDERS = ("dev", "val", "valid", "validation")  # beside `train`, or in its place


def read_validation(
    data_path: str | Path, news_items_path: str | Path | None, name: str, reading: Reading = DEFAULT
) -> tuple[Articles, Impressions]:
    """The articles, and one row an impression: clicked candidates before the others, none left out, none drawn.

    Args:
        data_path, news_items_path: as `sources.read_data`.
        name: of the data set, `val_clean` and so on.
        reading: its `data_format` (`auto` or one of SLATES), `titles` and `missing_articles` count; what it says
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
    if form == "adressa":  # whose events say nothing of what else was shown
        return None
    clicks = next((path for path in _places(root, names, form) if path.is_file()), None)
    if clicks is None:
        return None
    if form == "parsed":
        own = clicks.with_name("news.tsv").is_file()
        dictionaries = click_log_path(root, "train_clean", form).parent
        articles = read_parsed_articles(clicks.parent, dictionaries, None if own else news_items_path)
    else:
        news = news_items_path if form == "pairwise" else _table_beside(clicks, form, root, news_items_path)
        articles = read_articles(root, news, clicks, form, reading)
    return articles, _slates(clicks, articles, form, reading), clicks


def in_its_language(news_items_path: str | Path | None, folder: str | Path) -> str | Path | None:
    """Where the training set's table is a translation, that of another split, or itself; None where it is none."""
    if news_items_path is None or not is_translated(news_items_path):
        return None
    return translation_for(news_items_path, folder) or news_items_path


def _table_beside(clicks: Path, form: str, root: Path, news_items_path: str | Path | None) -> str | Path | None:
    """The articles of a validation log: its own, in the language of the training set's; else the training set's, which
    go first where they were written for the purpose (CSV) or splits share them (EB-NeRD)."""
    if (translated := in_its_language(news_items_path, clicks.parent)) is not None:
        return translated
    shared = news_items_path is not None and (form == "ebnerd" or Path(news_items_path).suffix == ".csv")
    if not shared and article_table(root, clicks, form).is_file():
        return None
    return news_items_path or root / "news.tsv"


def _slates(clicks: Path, articles: Articles, form: str, reading: Reading) -> Impressions:
    if form == "pairwise":
        return read_slates(clicks, articles, without_blanks(reading))
    return behavior_slates(clicks, articles, reading, "mind" if form == "parsed" else form)


def _places(root: Path, names: Sequence[str], form: str) -> Iterator[Path]:
    """Where the click log may lie, the likeliest first."""
    if form == "pairwise":
        for name in names:
            file = f"{name.removesuffix('.csv')}.csv"
            yield from (root / "models" / file, root / file, *([Path(name)] if name == file else []))
        return
    for folder in _folders(root, names):
        yield from [folder / BEHAVIORS] if form == "parsed" else FILES[form](folder)[:1]


def _folders(root: Path, names: Sequence[str]) -> Iterator[Path]:
    yield from (root / name for name in (*names, *FOLDERS))
    root = root.resolve()  # so that a `.` has a name too
    for name in FOLDERS if "train" in root.name else ():
        yield root.with_name(root.name.replace("train", name))
