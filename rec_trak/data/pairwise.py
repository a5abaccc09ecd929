"""The lines of a pairwise CSV, checked and gathered into impressions. Not here: how an impression becomes rows."""

from __future__ import annotations

import ast
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rec_trak.config.reading import Reading
from rec_trak.data.agreement import check_fakes, check_titles, titles_told, with_blanks, with_log_titles
from rec_trak.data.articles import Articles
from rec_trak.data.tables import FLAGS, NO_VALUE, Table, read_csv
from rec_trak.errors import DataError
from rec_trak.words import QUOTE, plain, quoted

NEEDED = ("user_id", "history_titles", "candidate_id", "label", "candidate_is_fake")
KNOWN = (*NEEDED, "history_ids", "candidate_title")
DEFAULT = Reading()
STRING = re.compile(r"'[^'\n\r]*'|\"[^\"\n\r]*\"")
Problem = tuple[int, str]  # the first line it is met in, and what to say of it


@dataclass(frozen=True)
class Lines:
    """L checked lines of G impressions, numbered as pandas' groupby(["user_id", "history_titles"]) orders them.

    Attributes:
        table: the lines as read.
        impression: (L,) int64, 0 to G - 1.
        article: (L,) int64, the candidate's position.
        clicked: (L,) bool.
        fake: (L,) int8.
        histories: G sequences of article positions.
        notes: what a user should know of them.
    """

    table: Table
    impression: np.ndarray
    article: np.ndarray
    clicked: np.ndarray
    fake: np.ndarray
    histories: list[Sequence[int]]
    notes: tuple[str, ...]


def read_pairwise_lines(path: str | Path, articles: Articles, reading: Reading = DEFAULT) -> Lines:
    """The lines of a pairwise CSV.

    Lines whose `history_titles` pandas reads as missing are left out and counted: its groupby, by which the existing
    training code makes rows, leaves them out too.

    Raises:
        DataError: what `read_csv` refuses; any value that cannot be meant, an article that `articles` lacks (unless
            `missing_articles` says what to do), or a title that is not the table's (unless `titles` says which
            counts): one message with the first line and the count of each kind of mistake.
    """
    table = read_csv(path, NEEDED)
    table, notes = _with_history(path, table)
    user_ids, histories = table.values["user_id"], table.values["history_titles"]
    users = _as_pandas_reads(user_ids)
    missing = users.isna().to_numpy() | np.array([not user.strip() for user in user_ids])
    labels = np.array([FLAGS.get(label.strip().lower(), -1) for label in table.values["label"]])
    fakes = np.array([FLAGS.get(fake.strip().lower(), -1) for fake in table.values["candidate_is_fake"]])
    read = _histories(table, articles)
    candidates = np.array([articles.position.get(a, -1) for a in table.values["candidate_id"]])
    problems = [
        *_wrong(table, "user_id", missing, "an id that pandas does not read as missing"),
        *_wrong(table, "label", labels < 0, "0 or 1"),
        *_wrong(table, "candidate_is_fake", fakes < 0, "0 or 1"),
        *read.problems,
    ]
    if reading.missing_articles == "refuse":
        problems += _unknown(table, "candidate_id", [[a] for a in table.values["candidate_id"]], candidates, articles)
        problems += _unknown(table, read.column, read.names, read.positions, articles)
    if problems:
        (line, first), *others = sorted(problems)
        rest = "".join(f"; line {number}: {text}" for number, text in others)
        raise DataError(f"{path}, line {line}: {first}{rest}. Mend the file.")
    blanks = reading.missing_articles == "blank"
    notes += (
        *read.notes,
        *check_titles(path, titles_told(table, read.ids, read.titles), articles, reading.titles, blanks),
    )
    user_rank = np.unique(users.to_numpy(), return_inverse=True)[1]
    history_rank = np.argsort(sorted(range(len(histories)), key=histories.__getitem__))
    keys = user_rank[table.codes["user_id"]] * len(histories) + history_rank[table.codes["history_titles"]]
    clicked = labels[table.codes["label"]] == 1
    kept, dropped = _known(table, keys, candidates, clicked, read, reading.missing_articles)
    if not kept.any():
        raise DataError(f"{path}: no row is left. Got articles of another table in each, expected {articles.source}.")
    table, keys, clicked = table.subset(kept), keys[kept], clicked[kept]
    _, heads, impression = np.unique(keys, return_index=True, return_inverse=True)
    article, fake = candidates[table.codes["candidate_id"]], fakes[table.codes["candidate_is_fake"]].astype(np.int8)
    check_fakes(path, table, fake, article, articles)
    told = table.codes[read.column]
    return Lines(
        table=table,
        impression=impression,
        article=article,
        clicked=clicked,
        fake=fake,
        histories=[[a for a in read.positions[code] if a >= 0] for code in told[heads]],
        notes=(*notes, *dropped, *_disagreements(impression, article, told != told[heads][impression])),
    )


def _with_history(path: str | Path, table: Table) -> tuple[Table, tuple[str, ...]]:
    """The lines whose history is not missing as pandas reads it, and a note on the others."""
    absent = np.array([value.strip() in NO_VALUE - {"[]"} for value in table.values["history_titles"]])
    gone = absent[table.codes["history_titles"]]
    if not gone.any():
        return table, ()
    if gone.all():
        raise DataError(f"{path}: no row is left. Got an empty `history_titles` in each line, expected Python lists.")
    note = (
        f"{gone.sum()} line(s) with an empty `history_titles` (the first is line {table.first[gone][0]}) are left out, "
        "as pandas' groupby leaves them out of training; a history without articles is []."
    )
    return table.subset(~gone), (note,)


def _known(
    table: Table, keys: np.ndarray, candidates: np.ndarray, clicked: np.ndarray, read: _Histories, missing: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(L,) bool, the lines that stay where articles are missing, and a note on what went."""
    no_candidate = candidates[table.codes["candidate_id"]] < 0
    gap = np.array([min(value, default=0) < 0 for value in read.positions])[table.codes[read.column]]
    if not (no_candidate.any() or gap.any()):
        return np.ones(len(keys), dtype=bool), ()
    of_row = np.unique(keys, return_inverse=True)[1]
    wrong = no_candidate | gap if missing == "drop_row" else no_candidate & clicked
    lost, left = (np.bincount(of_row, weights=lines) for lines in (no_candidate, ~no_candidate))
    rows_gone = (np.bincount(of_row, weights=wrong) > 0) | ((lost > 0) & (left < 2))
    kept = ~rows_gone[of_row] & ~no_candidate
    ids = {name for name, a in zip(table.values["candidate_id"], candidates, strict=True) if a < 0}
    ids |= {
        n
        for names, value in zip(read.names, read.positions, strict=True)
        for n, a in zip(names, value, strict=True)
        if a < 0
    }
    touched = len(np.unique(of_row[no_candidate | gap])) - int(rows_gone.sum())
    what = f"{len(ids)} article(s) are missing from the table: {int(rows_gone.sum())} row(s) are left out"
    return kept, (f"{what}, {touched} more lose those places.",)


def _as_pandas_reads(user_ids: Sequence[str]) -> pd.Series:
    """The ids with the type that pandas.read_csv gives such a column: groupby orders by it, so 9 goes before 10."""
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([["user_id"], *([user] for user in user_ids)])
    buffer.seek(0)
    column = pd.read_csv(buffer, low_memory=False)["user_id"]
    return column if column.dtype.kind in "iufb" else column.astype(object)


def _wrong(table: Table, name: str, wrong: np.ndarray, expected: str) -> list[Problem]:
    """The problem of a column, of which the distinct values marked in `wrong` cannot be meant; or none."""
    lines = np.flatnonzero(wrong[table.codes[name]])
    if not len(lines):
        return []
    got = table.values[name][table.codes[name][lines[0]]]
    return [
        (
            int(table.first[lines[0]]),
            f"`{name}` is wrong in {len(lines)} line(s). Got {quoted(got)}, expected {expected}",
        )
    ]


def _unknown(
    table: Table, column: str, names: list[list[str]], positions: Sequence, articles: Articles
) -> list[Problem]:
    """The problem of a column whose distinct values name articles without a position (-1), or none."""
    missing = np.array([np.min(value, initial=0) < 0 for value in positions])
    lines = np.flatnonzero(missing[table.codes[column]])
    if not len(lines):
        return []
    unknown = list(dict.fromkeys(name for value in names for name in value if name not in articles.position))
    if column == "history_titles":
        unknown = [name for name in unknown if name not in articles.titles]
    named = ", ".join(f"`{plain(name, QUOTE)}`" for name in unknown[:3]) + (", …" if len(unknown) > 3 else "")
    rows = len(
        np.unique(
            table.codes["user_id"][lines] * len(table.values["history_titles"]) + table.codes["history_titles"][lines]
        )
    )
    what = f"{len(unknown)} unknown article(s) in `{column}`, in {len(lines)} line(s) of {rows} row(s)"
    advice = "(`missing_articles` says what else can be done)"
    return [(int(table.first[lines[0]]), f"{what}. Got {named}, expected articles of {articles.source} {advice}")]


@dataclass(frozen=True)
class _Histories:
    """The histories that the distinct values of `column` tell.

    Attributes:
        column: `history_ids`, or `history_titles` where there is no such column.
        names, positions: of each value, what it names and the article positions, -1 of an article that is not there.
        ids, titles: the lists that both columns spell; ids None without such a column.
        notes, problems: on all of them.
    """

    column: str
    names: list[list[str]]
    positions: list[list[int]]
    ids: list[list[str]] | None
    titles: list[list[str]]
    notes: tuple[str, ...]
    problems: list[Problem]


def _histories(table: Table, articles: Articles) -> _Histories:
    titles, problems = _lists(table, "history_titles")
    if "history_ids" not in table.values:
        first_of = {title: i for i, title in reversed(list(enumerate(articles.titles)))}
        positions = [[first_of.get(title, -1) for title in value] for value in titles]
        shared = {title for title, count in Counter(articles.titles).items() if count > 1}
        ambiguous = len(shared.intersection(title for value in titles for title in value))
        words = f"{ambiguous} title(s) in histories belong to several articles; the first of each is taken."
        notes = (words,) if ambiguous else ()
        return _Histories("history_titles", titles, positions, None, titles, notes, problems)
    ids, mistaken = _lists(table, "history_ids")
    positions = [[articles.position.get(name, -1) for name in value] for value in ids]
    problems += mistaken
    if not problems:
        of_titles = np.array([len(value) for value in titles])[table.codes["history_titles"]]
        of_ids = np.array([len(value) for value in ids])[table.codes["history_ids"]]
        lines = np.flatnonzero(of_titles != of_ids)
        if len(lines):
            i = lines[0]
            got = f"Got {of_titles[i]} and {of_ids[i]} entries, expected equally many"
            what = f"`history_titles` and `history_ids` differ in length in {len(lines)} line(s)"
            problems = [(int(table.first[i]), f"{what}. {got}")]
    return _Histories("history_ids", ids, positions, ids, titles, (), problems)


def _lists(table: Table, column: str) -> tuple[list[list[str]], list[Problem]]:
    """The lists that the distinct values of a column spell (empty where they spell none), and the problem of those."""
    lists = [parse_list(string) for string in table.values[column]]
    wrong = np.array([value is None for value in lists])
    return [value or [] for value in lists], _wrong(table, column, wrong, "a Python list of strings")


def parse_list(string: str) -> list[str] | None:
    """The strings of a Python list literal (numbers as strings), None where it is no such list."""
    strings = STRING.findall(string)
    if "\\" not in string and f"[{', '.join(strings)}]" == string:  # as str(list) writes most lists; much the faster
        return [entry[1:-1] for entry in strings]
    try:
        entries = ast.literal_eval(string)
        if not isinstance(entries, list) or not all(type(entry) in (str, int) for entry in entries):
            return None
        return [str(entry) for entry in entries]  # which Python refuses of a number of thousands of digits
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _disagreements(impression: np.ndarray, article: np.ndarray, differs: np.ndarray) -> list[str]:
    """Notes on repeated candidates, and on impressions of which some lines tell another history than the first."""
    notes = []
    repeats = len(article) - len(np.unique(impression * (article.max() + 1) + article))
    if repeats:
        notes.append(f"{repeats} line(s) repeat a candidate of their impression; all are kept, as in training.")
    torn = len(np.unique(impression[differs]))
    if torn:
        notes.append(f"{torn} impression(s) have lines with different `history_ids`; those of the first line count.")
    return notes


def log_articles(path: str | Path, articles: Articles, reading: Reading) -> Articles:
    """The table that a pairwise CSV is to be read against: with the log's titles, or with blanks for what is missing.

    Raises:
        DataError: what `read_csv` refuses; the log gives an article two titles.
    """
    if reading.titles != "log" and reading.missing_articles != "blank":
        return articles
    table = read_csv(path, NEEDED)
    titles = [parse_list(value) or [] for value in table.values["history_titles"]]
    ids = [parse_list(value) or [] for value in table.values["history_ids"]] if "history_ids" in table.values else None
    if reading.titles == "log":
        articles = with_log_titles(path, titles_told(table, ids, titles), articles)
    if reading.missing_articles == "blank":
        named = [*table.values["candidate_id"], *(name for value in ids or [] for name in value)]
        articles = with_blanks(articles, [n for n in dict.fromkeys(named) if n.strip() and n not in articles.position])
    return articles
