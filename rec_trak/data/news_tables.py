"""Article tables of all formats, told apart by what they hold. Not here: who clicked what.

A table need not be of the log's own format: a news_items.csv, which can say what is fake, goes with any log, and a
translated table (xMIND: id, title, abstract) with MIND's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from rec_trak.data.articles import MIND_COLUMNS, Articles, read_mind_news, read_news_items, sound_articles
from rec_trak.data.ebnerd import read_ebnerd_articles
from rec_trak.data.tables import read_lines
from rec_trak.errors import DataError

TRANSLATED = ("id", "title", "abstract")
PREPARED = ("id", "category", "subcategory", "title")
HEADINGS = frozenset({"id", "nid", "news_id", *TRANSLATED, *PREPARED})
SPLITS = ("train", "dev", "test", "validation", "valid", "val")


def read_articles_table(path: str | Path, untranslated: str | Path | None = None) -> Articles:
    """The articles of any table.

    Args:
        path: .csv (item_id, title, text), .parquet (EB-NeRD's), or tab-separated without a header: MIND's 8 columns;
            newsreclib's Adressa, id, category, subcategory, title; xMIND's, id, title, abstract.
        untranslated: MIND's news.tsv, from which a translated table takes categories; None for none.

    Raises:
        DataError: what the readers refuse; another number of columns.
    """
    if Path(path).suffix == ".csv":
        return read_news_items(path)
    if Path(path).suffix == ".parquet":
        return read_ebnerd_articles(path)
    columns = _width(path)
    if columns == len(PREPARED):
        return _table(path, PREPARED)
    if columns != len(TRANSLATED):
        return read_mind_news(path)
    translated = replace(_table(path, TRANSLATED), translated=True)
    same = untranslated is None or Path(untranslated).resolve() == Path(path).resolve()
    if same or not Path(untranslated).is_file() or _width(untranslated) != len(MIND_COLUMNS):
        return translated
    return _with_topics(translated, read_mind_news(untranslated))


def is_translated(path: str | Path) -> bool:
    """Whether a table is a translation, which has neither categories nor a log of its own."""
    return Path(path).suffix == ".tsv" and Path(path).is_file() and _width(path) == len(TRANSLATED)


def translation_for(table: str | Path, folder: str | Path) -> Path | None:
    """The translated table of another split, as xMIND lays them out: `xMINDsmall_train` beside `xMINDsmall_dev`.

    Args:
        table: a translated one.
        folder: of the other split's log, whose name says which split it is.
    """
    own = Path(table).resolve().parent
    now = next((split for split in SPLITS if split in own.name), None)
    wanted = next((split for split in SPLITS if split in Path(folder).resolve().name), None)
    if now is None or wanted is None:
        return None
    found = own.with_name(own.name.replace(now, wanted)) / Path(table).name
    return found if found.is_file() else None


def _width(path: str | Path) -> int:
    """How many columns the first line of a tab-separated file has; 0 where it is empty."""
    for fields in _fields(path):
        return len(fields)
    return 0


def _fields(path: str | Path) -> Iterator[list[str]]:
    for line in read_lines(path, newline="\n"):
        yield line.rstrip("\r\n").split("\t")


def _table(path: str | Path, names: tuple[str, ...]) -> Articles:
    """The articles of a file with these columns; a header line at its head is passed over."""
    records, numbers = [], []
    for number, fields in enumerate(_fields(path), 1):
        if fields == [""] or (number == 1 and {field.strip().lower() for field in fields} <= HEADINGS):
            continue
        if len(fields) != len(names):
            raise DataError(
                f"{path}, line {number}: Got {len(fields)} columns, expected {len(names)} ({', '.join(names)}), as in "
                "line 1. Mend the line."
            )
        records.append(fields)
        numbers.append(number)
    if not records:
        raise DataError(f"{path}: holds no article. Got no line, expected {', '.join(names)}. Give another file.")
    said = dict(zip(names, zip(*records, strict=True), strict=True))
    blank = ("",) * len(records)
    columns = [said.get(name, blank) for name in ("id", "title", "abstract", "category", "subcategory")]
    return sound_articles(path, columns, np.full(len(records), -1, dtype=np.int8), np.array(numbers))


def _with_topics(translated: Articles, own: Articles) -> Articles:
    """The translated articles with the categories that the log's own table gives them."""
    places = [own.position.get(article_id) for article_id in translated.ids]
    topics = {
        name: tuple("" if place is None else getattr(own, name)[place] for place in places)
        for name in ("categories", "subcategories")
    }
    return replace(translated, **topics)
