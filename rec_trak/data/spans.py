"""A span: many rows that are differentiated together, so that an article that recurs is read once. Not here: gradients,
or how the rows of a span are passed through the model (pieces.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rec_trak.data.batches import pair_places
from rec_trak.data.inputs import Inputs


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
        alike: rows of one user with one history share the model's forward pass, where so many rows or more of the span
            stand with as many of theirs; None where each row has its own.
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
    alike: int | None

    def __len__(self) -> int:
        return len(self.rows)


def make_span(
    inputs: Inputs,
    rows: np.ndarray,
    least: float,
    batch_size: int,
    device: str,
    most: int | None = None,
    alike: int | None = None,
) -> Span:
    """The rows as one span.

    Args:
        least: places from which on an article counts as often.
        most: so many articles at most, those with the most places; None is no limit.
        alike: see `Span`.

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
        alike=alike,
    )
