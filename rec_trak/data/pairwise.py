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

from rec_trak.data.articles import Articles
from rec_trak.data.tables import FLAGS, Table, read_csv
from rec_trak.errors import DataError
from rec_trak.words import QUOTE, plain, quoted

NEEDED = ("user_id", "history_titles", "candidate_id", "label", "candidate_is_fake")
KNOWN = (*NEEDED, "history_ids", "candidate_title")
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


def read_pairwise_lines(path: str | Path, articles: Articles) -> Lines:
    """The lines of a pairwise CSV.

    Raises:
        DataError: what `read_csv` refuses; any value that cannot be meant, or an article that `articles` lacks: one
            message with the first line and the count of each kind of mistake.
    """
    table = read_csv(path, NEEDED)
    user_ids, histories = table.values["user_id"], table.values["history_titles"]
    users = _as_pandas_reads(user_ids)
    missing = users.isna().to_numpy() | np.array([not user.strip() for user in user_ids])
    labels = np.array([FLAGS.get(label.strip().lower(), -1) for label in table.values["label"]])
    fakes = np.array([FLAGS.get(fake.strip().lower(), -1) for fake in table.values["candidate_is_fake"]])
    candidates, unknown = _look_up(
        table, "candidate_id", [[a] for a in table.values["candidate_id"]], articles.position, articles
    )
    column, positions, ambiguous, mistaken = _histories(table, articles)
    problems = [
        *_wrong(table, "user_id", missing, "an id that pandas does not read as missing"),
        *_wrong(table, "label", labels < 0, "0 or 1"),
        *_wrong(table, "candidate_is_fake", fakes < 0, "0 or 1"),
        *unknown,
        *mistaken,
    ]
    if problems:
        (line, first), *others = sorted(problems)
        rest = "".join(f"; line {number}: {text}" for number, text in others)
        raise DataError(f"{path}, line {line}: {first}{rest}. Mend the file.")
    user_rank = np.unique(users.to_numpy(), return_inverse=True)[1]
    history_rank = np.argsort(sorted(range(len(histories)), key=histories.__getitem__))
    keys = user_rank[table.codes["user_id"]] * len(histories) + history_rank[table.codes["history_titles"]]
    _, heads, impression = np.unique(keys, return_index=True, return_inverse=True)
    article = np.array(candidates)[:, 0][table.codes["candidate_id"]]
    told = table.codes[column]
    return Lines(
        table=table,
        impression=impression,
        article=article,
        clicked=labels[table.codes["label"]] == 1,
        fake=fakes[table.codes["candidate_is_fake"]].astype(np.int8),
        histories=[positions[code] for code in told[heads]],
        notes=(*ambiguous, *_disagreements(impression, article, told != told[heads][impression])),
    )


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


def _look_up(
    table: Table, column: str, names: list[list[str]], position: dict[str, int], articles: Articles
) -> tuple[list[list[int]], list[Problem]]:
    """The positions of the articles that each distinct value of a column names, and the problem of those unknown."""
    found = [[position.get(name, -1) for name in value] for value in names]
    lines = np.flatnonzero(np.array([-1 in value for value in found])[table.codes[column]])
    if not len(lines):
        return found, []
    unknown = list(dict.fromkeys(name for value in names for name in value if name not in position))
    named = ", ".join(f"`{plain(name, QUOTE)}`" for name in unknown[:3]) + (", …" if len(unknown) > 3 else "")
    what = f"{len(unknown)} unknown article(s) in `{column}`, in {len(lines)} line(s)"
    return found, [(int(table.first[lines[0]]), f"{what}. Got {named}, expected articles of {articles.source}")]


def _histories(table: Table, articles: Articles) -> tuple[str, list[list[int]], list[str], list[Problem]]:
    """The column that tells the histories, the article positions of its distinct values, notes, problems."""
    titles, problems = _lists(table, "history_titles")
    if "history_ids" not in table.values:
        first_of = {title: i for i, title in reversed(list(enumerate(articles.titles)))}
        positions, unknown = _look_up(table, "history_titles", titles, first_of, articles)
        shared = {title for title, count in Counter(articles.titles).items() if count > 1}
        ambiguous = len(shared.intersection(title for value in titles for title in value))
        words = f"{ambiguous} title(s) in histories belong to several articles; the first of each is taken."
        return "history_titles", positions, [words] if ambiguous else [], problems + unknown
    ids, mistaken = _lists(table, "history_ids")
    positions, unknown = _look_up(table, "history_ids", ids, articles.position, articles)
    problems += mistaken + unknown
    if not problems:
        of_titles = np.array([len(value) for value in titles])[table.codes["history_titles"]]
        of_ids = np.array([len(value) for value in ids])[table.codes["history_ids"]]
        lines = np.flatnonzero(of_titles != of_ids)
        if len(lines):
            i = lines[0]
            got = f"Got {of_titles[i]} and {of_ids[i]} entries, expected equally many"
            what = f"`history_titles` and `history_ids` differ in length in {len(lines)} line(s)"
            problems = [(int(table.first[i]), f"{what}. {got}")]
    return "history_ids", positions, [], problems


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
