"""The rows of a span in pieces, as one pass through the model takes them. Not here: gradients, or what makes a span.

A row's places are of two kinds. Those of an article that the span holds *often* are looked up in a table of article
vectors; all others are encoded where they stand, as in `batches.grouped_pairs`. Rows of one user with one history stand
as one row with the candidates of all, so that the user's side is passed through once for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rec_trak.data.batches import Batch, article_views, by_length, pair_places
from rec_trak.data.inputs import Inputs
from rec_trak.data.spans import Span

GROUPS = 6  # of like text length, see `batches.grouped_pairs`
CROWD = 32  # articles of a group at least, where there are any
WIDER = 4  # batches of rows that go together where hardly an article is encoded with them
SHARE = 8  # rows of a user that share a pass
ALIKE = 16  # batches that rows of users with as many rows must fill, so that histories of like length stand together


@dataclass(frozen=True)
class Encoded:
    """Articles that are encoded with a piece's rows.

    Attributes:
        groups: views of each group's n_g articles, of like text length.
        owners: (n_g,) int64 for each group, never decreasing: which user of the piece an article belongs to, or which
            row where it is no `common` one.
        entries: which of the piece's vectors they are, one group after another.
        common: whether all rows of a user share them.
    """

    groups: tuple[dict[str, Tensor], ...]
    owners: tuple[Tensor, ...]
    entries: slice
    common: bool


@dataclass(frozen=True)
class Piece:
    """B = U `each` rows of a span, as one pass takes them: U users, or rows by themselves where `each` is 1.

    Attributes:
        positions: (B,) int64, which of the span's rows, user by user.
        each: rows a user.
        known: (k,) int64, which of the span's `often` stand at the places that are looked up: the first k vectors.
        kept: for each of a user's rows, which of those k its places are, and which of the span's `owners`.
        encoded: the articles of all other places.
        order: (n,) int64: place i is entry `order[i]` of the k looked up and the encoded behind them.
        batch: the index fields over the n places, of the U users with all their rows' candidates; `articles` is empty.
        rows: the same with `candidate_mask` and `labels` of each row.
    """

    positions: Tensor
    each: int
    known: Tensor
    kept: tuple[tuple[Tensor, Tensor], ...]
    encoded: tuple[Encoded, ...]
    order: Tensor
    batch: Batch
    rows: Batch


def pieces(span: Span) -> Iterator[Piece]:
    """The span's rows in pieces of like history length: with no more places to encode than `batch_size` rows have, and
    a few times as many rows at most."""
    lengths = span.inputs.impressions.history.lengths[span.rows]
    rare = np.add.reduceat(span.article < 0, span.offsets[:-1])  # a row has a candidate, so that none is empty
    most = max(1.0, span.batch_size * len(span.article) / len(span))
    for users in _users(span):
        users = users[np.argsort(lengths[users[:, 0]], kind="stable")]
        each, own, start = users.shape[1], rare[users].sum(axis=1), 0
        least, wide = (max(1, size // each) for size in (span.batch_size, WIDER * span.batch_size))
        while start < len(users):
            within = int(np.searchsorted(np.cumsum(own[start : start + wide]), most, side="right"))
            end = start + max(within, min(least, len(users) - start))
            yield piece(span, users[start:end])
            start = end


def _users(span: Span) -> Iterator[np.ndarray]:
    """Positions (U, each) of rows that share user and history, for each number of rows that enough users have."""
    if span.alike is None:
        yield np.arange(len(span))[:, None]
        return
    by_size: list[list[list[int]]] = [[] for _ in range(SHARE + 1)]
    for own in rows_by_user(span.inputs, span.rows):
        _cut(by_size, own, -(-len(own) // SHARE))
    for size in range(SHARE, 1, -1):
        if size * len(by_size[size]) < span.alike:
            for own in by_size[size]:
                _cut(by_size, own, 2)
            by_size[size] = []
    yield from (np.array(found) for found in by_size if found)


def rows_by_user(inputs: Inputs, rows: np.ndarray) -> list[list[int]]:
    """Positions among the rows of those that share user and history."""
    history, alike = inputs.impressions.history, {}
    for position, row in enumerate(rows.tolist()):
        alike.setdefault((int(inputs.users[row]), history[row].tobytes()), []).append(position)
    return list(alike.values())


def _cut(by_size: list[list[list[int]]], own: list[int], count: int) -> None:
    """File `count` parts of about equal size."""
    ends = [len(own) * i // count for i in range(count + 1)]
    for start, end in itertools.pairwise(ends):
        by_size[end - start].append(own[start:end])


def piece(span: Span, users: np.ndarray) -> Piece:
    """The span's rows at `users` (U, each), where rows of a user share the history."""
    each, positions = users.shape[1], users.reshape(-1)
    batch, used, user = pair_places(span.inputs, span.rows[positions], each)
    width, shown = batch.history.shape[1], batch.candidates.shape[1] // each
    column = np.nonzero(np.concatenate([batch.history_mask, batch.candidate_mask], axis=1))[1]
    old = column < width
    number = np.where(old, 0, (column - width) // shown)  # of a user's rows, which one's candidate it is
    first = span.offsets[users]
    length = span.inputs.impressions.history.lengths[span.rows[users[:, 0]]]
    within = np.where(old, column, (column - width) % shown + length[user])
    article = span.article[first[user, number] + within]
    known = article >= 0
    entry = np.empty(len(used), dtype=np.int64)
    entry[known] = np.arange(known.sum())
    encoded, count = [], int(known.sum())
    for common, places in ((True, old | (each == 1)), (False, ~old & (each > 1))):
        at = np.flatnonzero(places & ~known)
        if len(at):
            owner = user[at] if common else user[at] * each + number[at]
            groups = max(1, min(GROUPS, len(at) // CROWD))
            views, owners, order = by_length(article_views(span.inputs, used[at]), torch.from_numpy(owner), groups)
            entry[at] = count + order.numpy()
            encoded.append(Encoded(views, owners, slice(count, count + len(at)), common))
            count += len(at)
    kept = []
    for r in range(each):
        own = np.flatnonzero(known & (old | (number == r)))
        kept.append((torch.from_numpy(entry[own]), torch.from_numpy(span.slot[first[user[own], r] + within[own]])))
    return Piece(
        positions=torch.from_numpy(positions),
        each=each,
        known=torch.from_numpy(article[known]),
        kept=tuple(kept),
        encoded=tuple(encoded),
        order=torch.from_numpy(entry),
        batch=batch,
        rows=batch._replace(
            candidate_mask=batch.candidate_mask.view(len(positions), shown), labels=batch.labels.view(-1, shown)
        ),
    )
