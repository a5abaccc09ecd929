"""A span: many rows that are differentiated together, so that an article that recurs is read once. Not here: gradients.

A row's places are of two kinds. Those of an article that the span holds *often* are looked up in a table of article
vectors; all others are encoded where they stand, as in `batches.grouped_pairs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rec_trak.data.batches import Batch, article_views, by_length, pair_places
from rec_trak.data.inputs import Inputs

GROUPS = 6  # of like text length, see `batches.grouped_pairs`
WIDER = 4  # batches of rows that go together where hardly an article is encoded with them


@dataclass(frozen=True)
class Span:
    """S rows, and which of their articles are differentiated once for all their places.

    Attributes:
        inputs: the rows' own.
        rows: (S,) int64, their numbers.
        often: (F,) int64, positions in the table of articles.
        owners: (n,) int64: the row, 0 to S - 1, of each place of an article of `often`, article by article.
        starts: (F + 1,) int64: article i of `often` stands at places `starts[i]` to `starts[i + 1]`.
        article, slot: for each place of the rows, row by row: which of `often` stands there, and which of `owners` it
            is; -1 for all others.
        offsets: (S + 1,) int64: where each row's places begin.
        batch_size: rows that the factored path would take together.
        device: of the tensors.
    """

    inputs: Inputs
    rows: np.ndarray
    often: np.ndarray
    owners: np.ndarray
    starts: np.ndarray
    article: np.ndarray
    slot: np.ndarray
    offsets: np.ndarray
    batch_size: int
    device: str

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Piece:
    """Some rows of a span, as one pass takes them.

    Attributes:
        positions: (B,) int64, which of the span's rows.
        known: (k,) int64, which of the span's `often` stand at the places that are looked up, row by row.
        slots: (k,) int64, which of the span's `owners` those places are.
        groups, owners: as `batches.Pairs`, of the other places.
        order: (n,) int64: place i is entry `order[i]` of the k looked up and the groups' articles behind them.
        batch: the index fields over the n places; `articles` is empty.
    """

    positions: Tensor
    known: Tensor
    slots: Tensor
    groups: tuple[dict[str, Tensor], ...]
    owners: tuple[Tensor, ...]
    order: Tensor
    batch: Batch


def make_span(
    inputs: Inputs, rows: np.ndarray, least: float, batch_size: int, device: str, most: int | None = None
) -> Span:
    """The rows as one span.

    Args:
        least: places from which on an article counts as often.
        most: so many articles at most, those with the most places; None is no limit.

    Raises:
        DataError: `rows` is empty or holds a row that is not there.
    """
    _, used, owner = pair_places(inputs, rows)
    often, inverse, counts = np.unique(used, return_inverse=True, return_counts=True)
    kept = counts >= least
    if most is not None:
        kept[np.argsort(-counts, kind="stable")[most:]] = False
    article = np.where(kept, np.cumsum(kept) - 1, -1)[inverse.reshape(-1)]
    places = np.flatnonzero(article >= 0)
    places = places[np.argsort(article[places], kind="stable")]
    slot = np.full(len(used), -1, dtype=np.int64)
    slot[places] = np.arange(len(places))
    return Span(
        inputs=inputs,
        rows=np.asarray(rows),
        often=often[kept],
        owners=owner[places],
        starts=np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64),
        article=article,
        slot=slot,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(rows)))]).astype(np.int64),
        batch_size=batch_size,
        device=device,
    )


def pieces(span: Span) -> Iterator[Piece]:
    """The span's rows in pieces of like history length: with no more places to encode than `batch_size` rows have, and
    a few times as many rows at most."""
    order = np.argsort(span.inputs.impressions.history.lengths[span.rows], kind="stable")
    rare = np.add.reduceat(span.article < 0, span.offsets[:-1])[order]  # a row has a candidate, so that none is empty
    most = max(1.0, span.batch_size * len(span.article) / len(span))
    start = 0
    while start < len(order):
        within = int(np.searchsorted(np.cumsum(rare[start : start + WIDER * span.batch_size]), most, side="right"))
        end = start + max(within, min(span.batch_size, len(order) - start))
        yield piece(span, order[start:end])
        start = end


def piece(span: Span, positions: np.ndarray) -> Piece:
    """The span's rows at `positions` (B,)."""
    batch, used, owner = pair_places(span.inputs, span.rows[positions])
    first = span.offsets[positions]
    counts = span.offsets[positions + 1] - first
    place = np.arange(len(used)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    known, rare = np.flatnonzero(span.article[place] >= 0), np.flatnonzero(span.article[place] < 0)
    order = torch.empty(len(used), dtype=torch.int64)
    order[torch.from_numpy(known)] = torch.arange(len(known))
    groups, owners = (), ()
    if len(rare):
        views = article_views(span.inputs, used[rare])
        groups, owners, within = by_length(views, torch.from_numpy(owner[rare]), GROUPS)
        order[torch.from_numpy(rare)] = len(known) + within
    return Piece(
        positions=torch.from_numpy(positions),
        known=torch.from_numpy(span.article[place][known]),
        slots=torch.from_numpy(span.slot[place][known]),
        groups=groups,
        owners=owners,
        order=order,
        batch=batch,
    )
