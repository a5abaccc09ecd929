"""Where a data tree keeps its files, and which reader they need. Not here: the readers."""

from __future__ import annotations

from pathlib import Path

from rec_trak.data.articles import Articles, read_mind_news, read_news_items
from rec_trak.data.impressions import Impressions, read_mind_behaviors, read_pairwise
from rec_trak.data.parsed import PARSED_BEHAVIORS, read_parsed
from rec_trak.disk import absent
from rec_trak.errors import DataError

BEHAVIORS = "behaviors.tsv"


def data_format(data_path: str | Path, dataset_type: str, wanted: str = "auto") -> str:
    """`mind` where the tree holds a behaviors.tsv for this data set, else `pairwise`; what was asked for goes first."""
    if wanted != "auto":
        return wanted
    return "mind" if any(path.is_file() for path in _mind_places(Path(data_path), dataset_type)) else "pairwise"


def read_data(
    data_path: str | Path,
    news_items_path: str | Path | None,
    dataset_type: str,
    wanted_format: str = "auto",
    rows: str = "as_trained",
    negatives: int = 4,
    seed: int = 0,
) -> tuple[Articles, Impressions]:
    """The articles and the rows of one data set of a tree.

    Args:
        data_path: a pairwise tree (`models/train_clean.csv` or `train_clean.csv`) or a MIND folder (`behaviors.tsv`
            in it, or in a folder named after the data set); for `parsed`, what yusanshi's preprocessing leaves, in it
            or in a folder named after the data set or the first part of its name (`train`).
        news_items_path: the articles; None means news_items.csv in the tree, or news.tsv beside the behaviors.
        dataset_type: `train_clean`, `train_poisoned`, `val_clean` and so on.
        wanted_format: `auto`, `pairwise`, `mind` or `parsed`.
        rows: pairwise only, how lines become rows; see `read_pairwise`.
        negatives: MIND only, other candidates drawn for each row.
        seed: MIND only, of that draw.

    Raises:
        DataError: a file is missing, or does not hold what it should.
    """
    wanted_format = data_format(data_path, dataset_type, wanted_format)
    clicks = click_log_path(data_path, dataset_type, wanted_format)
    if wanted_format == "parsed":
        return read_parsed(clicks.parent, news_items_path)
    if wanted_format == "mind":
        articles = read_mind_news(news_items_path or clicks.with_name("news.tsv"))
        return articles, read_mind_behaviors(clicks, articles, negatives=negatives, seed=seed)
    articles = read_news_items(news_items_path or Path(data_path) / "news_items.csv")
    return articles, read_pairwise(clicks, articles, rows=rows)


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
