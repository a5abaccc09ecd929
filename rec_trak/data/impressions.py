"""The `Impressions` table (one row a training click) and its readers. Not here: tokens, tensors or losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles
from rec_trak.data.pairwise import KNOWN, Lines, read_pairwise_lines
from rec_trak.data.ragged import Ragged, same
from rec_trak.data.tables import Table
from rec_trak.data.texts import taken
from rec_trak.errors import ConfigError, DataError
from rec_trak.words import outline

ROWS = ("as_trained", "per_click")
DEFAULT = Reading()


@dataclass(frozen=True)
class Impressions:
    """N rows in a fixed order; articles are positions in the `Articles` table the rows were read against.

    Attributes:
        user_ids: (N,) object array of str.
        history: N sequences of article positions, oldest first, as in the file (not truncated).
        candidates: N sequences of article positions; the clicked candidate stands first.
        labels: aligned with `candidates`, 1 clicked, 0 not. The first is 0 only in a row that has no click
            (the existing training code keeps those).
        is_fake: (N,) int8, whether the first candidate's content is fake; 1, 0, or -1 where nobody said.
        sources: N strings that say where a row came from: CSV line numbers ("2-6") or an impression id.
        columns: further columns of the file, name -> N strings, taken from the clicked candidate's line
            (for example `poisoned`, `day`); only detection and grouping read them.
        notes: what the reader did that a user should know, one sentence each.
        origin: (N, 2) int64 where rows are clicks of a line: the line's number, and the click's among the line's
            clicks, from 0; None elsewhere.
    """

    user_ids: np.ndarray
    history: Ragged
    candidates: Ragged
    labels: Ragged
    is_fake: np.ndarray
    sources: Sequence[str]
    columns: dict[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origin: np.ndarray | None = None

    __repr__ = outline

    def __len__(self) -> int:
        return len(self.user_ids)

    @property
    def clicked(self) -> np.ndarray:
        """(N,) int32, the article position of each row's first candidate."""
        return self.candidates.values[self.candidates.offsets[:-1]]

    def subset(self, rows: np.ndarray) -> Impressions:
        """The table of the given rows (int positions), in that order."""
        rows = np.asarray(rows)
        return replace(
            self,
            user_ids=self.user_ids[rows],
            history=self.history.subset(rows),
            candidates=self.candidates.subset(rows),
            labels=self.labels.subset(rows),
            is_fake=self.is_fake[rows],
            sources=taken(self.sources, rows),
            columns={name: taken(values, rows) for name, values in self.columns.items()},
            origin=None if self.origin is None else self.origin[rows],
        )


def row_identities(impressions: Impressions, articles: Articles) -> list[tuple]:
    """What makes each row the same click in another data set: N tuples, all different.

    Returns:
        (user id, article ids of the history, clicked article id, occurrence); the occurrence counts, from 0 and in
        table order, rows that are equal so far. Other candidates and positions in the file are no part of it.
    """
    clicked, nth = impressions.clicked, occurrences(impressions).tolist()
    histories = (tuple(articles.ids[a] for a in impressions.history[i]) for i in range(len(impressions)))
    rows = zip(impressions.user_ids, histories, clicked, nth, strict=True)
    return [(str(user), history, articles.ids[article], n) for user, history, article, n in rows]


def user_numbers(impressions: Impressions) -> np.ndarray:
    """(N,) int64, which user each row is of, by name, in order of appearance."""
    users: dict[str, int] = {}
    numbers = (users.setdefault(str(name), len(users)) for name in impressions.user_ids)
    return np.fromiter(numbers, dtype=np.int64, count=len(impressions))


def occurrences(impressions: Impressions) -> np.ndarray:
    """(N,) int64, how many rows before each have its user, history and clicked article."""
    keys = np.stack([impressions.clicked, same(impressions.history), user_numbers(impressions)])
    order = np.lexsort(keys)  # stable: rows that are equal stay in table order
    new = np.r_[True, (np.diff(keys[:, order], axis=1) != 0).any(axis=0)][: len(order)]
    starts = np.flatnonzero(new)
    nth = np.empty(len(order), dtype=np.int64)
    nth[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    return nth


def read_pairwise(
    path: str | Path,
    articles: Articles,
    rows: str = "as_trained",
    drop_unclicked: bool = False,
    reading: Reading = DEFAULT,
) -> Impressions:
    """The rows of a pairwise CSV; lines that share (user_id, history_titles) are one impression.

    Args:
        rows: `as_trained`: one row an impression, as the existing training code makes them. Clicked candidates go
            first, then the others, each in file order; the first is the target, further clicked ones compete with it.
            In an impression without a click the second candidate is the target; here it stands first, with label 0.
            `per_click`: one row a clicked candidate, against the candidates of its impression that were not clicked;
            impressions without a click are dropped.
            Either way rows stand in the order of pandas' groupby over both columns, which is not the file's.
        drop_unclicked: drop impressions without a click in `as_trained` too, and rows without another candidate.
        reading: its `titles` and `missing_articles` count.

    Raises:
        ConfigError: `rows` is another word.
        DataError: what `read_pairwise_lines` refuses; a row without another candidate that is not to be dropped; no
            row left.
    """
    if rows not in ROWS:
        raise ConfigError(f"rows: unknown way to make rows. Got {rows!r}, expected {' or '.join(ROWS)}.")
    lines = read_pairwise_lines(path, articles, reading)
    sizes = np.bincount(lines.impression)
    clicks = np.bincount(lines.impression[lines.clicked], minlength=len(sizes))
    dropping = drop_unclicked or rows == "per_click"
    order = np.lexsort((~lines.clicked, lines.impression))  # stable: file order within clicked and others
    notes = [*lines.notes, *_click_notes(clicks, rows, dropping)]
    if dropping:
        if not clicks.any():
            raise DataError(f"{path}: no row is left. Got no line with label 1, expected one in each impression.")
        order = order[clicks[lines.impression[order]] > 0]
        sizes, clicks = sizes[clicks > 0], clicks[clicks > 0]
    starts = np.cumsum(sizes) - sizes
    if rows == "per_click":
        order, sizes = _one_row_a_click(order, starts, sizes, clicks)
    else:
        swapped = starts[(clicks == 0) & (sizes > 1)]
        order[swapped], order[swapped + 1] = order[swapped + 1], order[swapped]
    alone = sizes < 2
    if drop_unclicked and alone.any():
        if alone.all():
            raise DataError(f"{path}: no row is left. Got no click beside another candidate, expected at least one.")
        order, sizes = order[np.repeat(~alone, sizes)], sizes[~alone]
        notes.append(f"{alone.sum()} row(s) without another candidate are dropped.")
    return _rows(path, lines, order, np.concatenate([[0], np.cumsum(sizes)]), tuple(notes))


def read_slates(path: str | Path, articles: Articles, reading: Reading = DEFAULT) -> Impressions:
    """The impressions of a pairwise CSV whole, as shown: one row each, clicked candidates before the others, each in
    file order. Impressions without a click, or with one candidate alone, are rows like any other; these are not rows
    to train on.

    Raises:
        DataError: what `read_pairwise_lines` refuses.
    """
    lines = read_pairwise_lines(path, articles, reading)
    order = np.lexsort((~lines.clicked, lines.impression))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(lines.impression))])
    return _rows(path, lines, order, offsets, lines.notes, fewest=1)


def _click_notes(clicks: np.ndarray, rows: str, dropping: bool) -> list[str]:
    without, several = int((clicks == 0).sum()), int((clicks > 1).sum())
    notes = []
    if without and dropping:
        notes.append(f"{without} impression(s) without a click are dropped.")
    elif without:
        notes.append(
            f"{without} impression(s) without a click are kept with their second candidate as the target, "
            "as in the existing training code."
        )
    if several and rows == "as_trained":
        notes.append(
            f"{several} impression(s) have several clicks: the first is the target, the others count against it, "
            "as in the existing training code."
        )
    return notes


def _one_row_a_click(
    order: np.ndarray, starts: np.ndarray, sizes: np.ndarray, clicks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each clicked line followed by the lines of its impression that were not clicked; the rows' sizes."""
    of_row = np.repeat(np.arange(len(sizes)), clicks)
    nth = np.arange(len(of_row)) - np.repeat(np.cumsum(clicks) - clicks, clicks)
    lengths = 1 + (sizes - clicks)[of_row]
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    clicked, others = starts[of_row] + nth, (starts + clicks)[of_row]
    places = np.where(within == 0, np.repeat(clicked, lengths), np.repeat(others, lengths) + within - 1)
    return order[places], lengths


def _rows(
    path: str | Path, lines: Lines, flat: np.ndarray, offsets: np.ndarray, notes: tuple[str, ...], fewest: int = 2
) -> Impressions:
    """The table whose row i has the lines `flat[offsets[i]:offsets[i + 1]]` as candidates, at least `fewest`."""
    table, heads = lines.table, flat[offsets[:-1]]
    sources = _sources(table, flat, offsets)
    alone = np.flatnonzero(np.diff(offsets) < fewest)
    if len(alone):
        raise DataError(
            f"{path}, line(s) {sources[alone[0]]}: no other candidate to compete with ({len(alone)} such row(s)). "
            "Got 1 candidate, expected at least 2. Add candidates or drop the line."
        )
    columns = {name: values for name, values in table.values.items() if name not in KNOWN}
    return Impressions(
        user_ids=np.array(table.values["user_id"], dtype=object)[table.codes["user_id"][heads]],
        history=Ragged.of([lines.histories[i] for i in lines.impression[heads]]),
        candidates=Ragged(lines.article[flat].astype(np.int32), offsets),
        labels=Ragged(lines.clicked[flat].astype(np.int32), offsets),
        is_fake=lines.fake[heads],
        sources=sources,
        columns={name: tuple(values[code] for code in table.codes[name][heads]) for name, values in columns.items()},
        notes=notes,
    )


def _sources(table: Table, flat: np.ndarray, offsets: np.ndarray) -> tuple[str, ...]:
    """The CSV lines of each row in file order, adjacent ones joined: "2-6" or "2-4,9"."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    records = flat[np.lexsort((flat, row))]
    first, last = table.first[records], table.last[records]
    heads = np.flatnonzero(np.r_[True, (row[1:] != row[:-1]) | (first[1:] != last[:-1] + 1)])
    tails = np.r_[heads[1:], len(row)] - 1
    spans = zip(first[heads].tolist(), last[tails].tolist(), strict=True)
    texts = [f"{a}-{b}" if b > a else str(a) for a, b in spans]
    bounds = np.searchsorted(row[heads], np.arange(len(offsets))).tolist()
    return tuple(",".join(texts[a:b]) for a, b in pairwise(bounds))
