"""Where a data tree keeps its files, and which reader they need. Not here: the readers."""

from __future__ import annotations

from pathlib import Path

from rec_trak.config.reading import Reading
from rec_trak.data.agreement import with_blanks
from rec_trak.data.articles import Articles, read_mind_news, read_news_items
from rec_trak.data.impressions import Impressions, read_pairwise
from rec_trak.data.mind import missing_ids
from rec_trak.data.mind_rows import read_mind_behaviors
from rec_trak.data.pairwise import log_articles
from rec_trak.data.parsed import PARSED_BEHAVIORS, read_parsed
from rec_trak.data.trained import only_trained
from rec_trak.disk import absent
from rec_trak.errors import DataError

BEHAVIORS = "behaviors.tsv"
DEFAULT = Reading()


def data_format(data_path: str | Path, dataset_type: str, wanted: str = "auto") -> str:
    """`mind` where the tree holds a behaviors.tsv for this data set, else `pairwise`; what was asked for goes first."""
    if wanted != "auto":
        return wanted
    return "mind" if any(path.is_file() for path in _mind_places(Path(data_path), dataset_type)) else "pairwise"


def read_data(
    data_path: str | Path, news_items_path: str | Path | None, dataset_type: str, reading: Reading = DEFAULT
) -> tuple[Articles, Impressions]:
    """The articles and the rows of one data set of a tree.

    Args:
        data_path: a pairwise tree (`models/train_clean.csv` or `train_clean.csv`) or a MIND folder (`behaviors.tsv`
            in it, or in a folder named after the data set); for `parsed`, what yusanshi's preprocessing leaves, in it
            or in a folder named after the data set or the first part of its name (`train`).
        news_items_path: the articles; None means news_items.csv in the tree, or news.tsv beside the behaviors.
        dataset_type: `train_clean`, `train_poisoned`, `val_clean` and so on.
        reading: how.

    Raises:
        DataError: a file is missing, or does not hold what it should; no row is left.
    """
    form = data_format(data_path, dataset_type, reading.data_format)
    clicks = click_log_path(data_path, dataset_type, form)
    if form == "parsed":
        articles, rows = read_parsed(clicks.parent, news_items_path)
    else:
        articles = read_articles(data_path, news_items_path, clicks, form, reading)
        rows = read_clicks(clicks, articles, form, reading)
    return articles, only_trained(rows, reading)


def read_articles(
    data_path: str | Path, news_items_path: str | Path | None, clicks: Path, form: str, reading: Reading
) -> Articles:
    """The table that a click log is read against, grown by what `reading` says of titles and missing articles."""
    if form == "mind":
        articles = read_mind_news(news_items_path or clicks.with_name("news.tsv"))
        return with_blanks(articles, missing_ids(clicks, articles)) if reading.missing_articles == "blank" else articles
    return log_articles(clicks, read_news_items(news_items_path or Path(data_path) / "news_items.csv"), reading)


def read_clicks(path: Path, articles: Articles, form: str, reading: Reading) -> Impressions:
    """All rows of a click log, whether or not they were trained on."""
    if form == "mind":
        return read_mind_behaviors(path, articles, reading)
    return read_pairwise(path, articles, rows=reading.rows, reading=reading)


def click_log_path(data_path: str | Path, dataset_type: str, wanted_format: str = "auto") -> Path:
    """The file that holds the clicks of one data set of a tree; the arguments are those of `read_data`.

    Raises:
        DataError: there is no such file.
    """
    root = Path(data_path)
    wanted_format = data_format(root, dataset_type, wanted_format)
    if wanted_format == "parsed":
        folders = [root / dataset_type, root / dataset_type.split("_")[0], root]
        return _first_of([folder / PARSED_BEHAVIORS for folder in folders], root)
    if wanted_format == "mind":
        return _first_of(_mind_places(root, dataset_type), root)
    return _first_of([root / "models" / f"{dataset_type}.csv", root / f"{dataset_type}.csv"], root)


def _mind_places(root: Path, dataset_type: str) -> list[Path]:
    return [root / dataset_type / BEHAVIORS, root / BEHAVIORS]


def _first_of(places: list[Path], root: Path) -> Path:
    for path in places:
        if path.is_file():
            return path
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else absent(root)
        raise DataError(f"{root}: {what}. Got no folder with a click log, expected one. Check `data_path`.")
    names = " or ".join(str(path.relative_to(root)) for path in places)
    raise DataError(f"{root}: no click log. Got neither {names}, expected one of them. Check `data_path`.")
