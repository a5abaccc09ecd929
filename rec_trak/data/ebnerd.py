"""EB-NeRD: behaviors.parquet with a user's history in history.parquet, articles.parquet. Not here: rows or models.

The columns are those of the published data (ebnerd-benchmark, src/ebrec/utils/_constants.py). Ids are whole numbers
that pandas turns into floats beside nulls; `article_id` of an impression is the page it was shown on, null on the front
page, and is not read. A user's history is one list for all impressions, oldest first, the most recent at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.data.articles import Articles, sound_articles
from rec_trak.data.mind import BehaviorLine, Met, known_lines
from rec_trak.data.parquet import identifier, identifiers, read_records
from rec_trak.data.tables import FLAGS
from rec_trak.errors import DataError
from rec_trak.words import quoted

BEHAVIORS, HISTORY, ARTICLES = "behaviors.parquet", "history.parquet", "articles.parquet"
CLICKED, SHOWN, PAST = "article_ids_clicked", "article_ids_inview", "article_id_fixed"
NO_HISTORY = f"impression(s) are of users whom {HISTORY} lacks, and have an empty history."
NULLS = "id(s) in lists are null and left out."
UNSEEN = "click(s) are on articles that the impression does not show; they are rows like any other."


def read_ebnerd_articles(path: str | Path) -> Articles:
    """The articles of articles.parquet; bodies are `body`, categories `category_str` or else the number in `category`,
    subcategories the first of the list; `is_fake`, which the published file lacks, is read where it is there.

    Raises:
        DataError: what `read_records` refuses; no article; an empty or repeated id, an id that is none, a wrong fake.
    """
    optional = ("body", "category_str", "category", "subcategory", "is_fake")
    columns: list[list[str]] = [[] for _ in range(5)]
    fakes = []
    for number, record in enumerate(read_records(path, ("article_id", "title"), optional, f"EB-NeRD's {ARTICLES}"), 1):
        where = f"{path}, row {number}"
        topic = record["category_str"] if record["category_str"] is not None else _id(record, "category", where)
        below = next(iter(_ids(record, "subcategory", where)), "") if record["subcategory"] is not None else ""
        cells = (_id(record, "article_id", where), record["title"], record["body"], topic, below)
        for column, cell in zip(columns, cells, strict=True):
            column.append("" if cell is None else str(cell))
        fakes.append(_fake(record["is_fake"], where))
    if not fakes:
        raise DataError(f"{path}: holds no article. Got 0 rows, expected EB-NeRD's {ARTICLES}. Give that file.")
    numbers = np.arange(1, len(fakes) + 1)
    return sound_articles(path, [tuple(column) for column in columns], np.array(fakes, dtype=np.int8), numbers)


def _fake(value: Any, where: str) -> int:
    if value is None or value == "":
        return -1
    said = FLAGS.get(str(value).strip().lower())
    if said is None:
        raise DataError(f"{where}: `is_fake` is wrong. Got {quoted(value)}, expected 0, 1 or nothing. Mend it.")
    return said


def read_ebnerd_lines(path: str | Path, articles: Articles, missing_articles: str, met: Met) -> Iterator[BehaviorLine]:
    """The impressions of a behaviors.parquet, numbered by row from 1, with history.parquet beside it joined by user.

    What was shown and not clicked are the other candidates. The arguments are those of `mind.read_behavior_lines`.

    Raises:
        DataError: what `read_records` and `known_lines` refuse; an empty user id, an id that is none, a user twice in
            history.parquet; no column of clicks, as in the test set.
    """
    return known_lines(_lines(Path(path), met), path, articles, missing_articles, met)


def _lines(path: Path, met: Met) -> Iterator[BehaviorLine]:
    names: dict[str, str] = {}  # one object for each different id, since histories repeat them
    history = _histories(path.with_name(HISTORY), names, met)
    optional = ("impression_id", "impression_time", CLICKED)
    for number, record in enumerate(read_records(path, ("user_id", SHOWN), optional, f"EB-NeRD's {BEHAVIORS}"), 1):
        where = f"{path}, row {number}"
        if number == 1:
            _check_labelled(path, record)
        user = _id(record, "user_id", where)
        if user is None:
            raise DataError(f"{where}: the user id is empty. Got null, expected an id. Mend the row.")
        clicked, shown = (_real(_ids(record, name, where), met, names) for name in (CLICKED, SHOWN))
        if user not in history:
            met.counts[NO_HISTORY] += 1
        gone = set(clicked)
        if gone - set(shown):
            met.counts[UNSEEN] += sum(a not in shown for a in clicked)
        others = [a for a in shown if a not in gone]
        when = record["impression_time"]
        yield BehaviorLine(
            number,
            _id(record, "impression_id", where) or "",
            user,
            "" if when is None else str(when),
            history.get(user, []),
            clicked,
            others,
        )


def _check_labelled(path: Path, record: dict[str, Any]) -> None:
    import pyarrow.parquet as pq

    if record[CLICKED] is None and CLICKED not in pq.read_schema(path).names:
        raise DataError(
            f"{path}: no column `{CLICKED}`, as in EB-NeRD's test set. Got impressions without clicks, expected "
            "those of its `train` or `validation` folder. Give one of these."
        )


def _histories(path: Path, names: dict[str, str], met: Met) -> dict[str, list[str]]:
    """User -> articles, oldest first."""
    held: dict[str, list[str]] = {}
    for number, record in enumerate(read_records(path, ("user_id", PAST), (), f"EB-NeRD's {HISTORY}"), 1):
        where = f"{path}, row {number}"
        user = _id(record, "user_id", where)
        if user is None or user in held:
            what = "the user id is empty" if user is None else "a second history for one user"
            raise DataError(f"{where}: {what}. Got {quoted(user)}, expected each user once. Mend the file.")
        held[user] = _real(_ids(record, PAST, where), met, names)
    return held


def _real(ids: list[str | None], met: Met, names: dict[str, str]) -> list[str]:
    real = [names.setdefault(one, one) for one in ids if one is not None]
    if len(real) < len(ids):
        met.counts[NULLS] += len(ids) - len(real)
    return real


def _id(record: dict[str, Any], name: str, where: str) -> str | None:
    return _read(identifier, record, name, where)


def _ids(record: dict[str, Any], name: str, where: str) -> list[str | None]:
    return _read(identifiers, record, name, where)


def _read(how: Callable[[Any], Any], record: dict[str, Any], name: str, where: str) -> Any:
    try:
        return how(record[name])
    except (ValueError, TypeError):
        raise DataError(
            f"{where}: `{name}` does not hold an id. Got {quoted(record[name])}, expected whole numbers or text. "
            "Mend it."
        ) from None
