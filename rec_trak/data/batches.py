"""Inputs -> tuples of tensors, and the decision which articles are encoded. Not here: weights or losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.errors import DataError

TEXTS = ("title", "body")  # views that are cut to the longest text; all others are as they are


class Batch(NamedTuple):
    """B rows as tensors; `model(batch)` gives their scores (B, C).

    Attributes:
        articles: the encoder's input, view name -> tensor: `title` and `body` (n, T) int64 word ids with 0 for
            padding, `category` and `subcategory` (n,) int64 with 0 for "none". Always cut to the longest text present.
            Views of the user's own (`Further`) are (n, ...) int64 or float32 as they are.
        history: (B, H) int64, positions among the n articles; 0 where `history_mask` is False.
        history_mask: (B, H) bool.
        candidates: (B, C) int64, positions among the n articles, the clicked one first; 0 where masked.
        candidate_mask: (B, C) bool.
        labels: (B, C) float32, 1 clicked; 0 where masked.
        user: (B,) int64, 0 for an unknown user.
    """

    articles: dict[str, Tensor]
    history: Tensor
    history_mask: Tensor
    candidates: Tensor
    candidate_mask: Tensor
    labels: Tensor
    user: Tensor


class Pairs(NamedTuple):
    """B rows for gradients: every real (row, article) pair encoded on its own, in groups of like text length.

    Attributes:
        groups: views of each group's n_g articles; their pairs stand in order of rows.
        owners: (n_g,) int64 for each group, never decreasing: which of the B rows a pair belongs to.
        order: (n,) int64; pair i of `batch` is entry `order[i]` of the groups' articles, one group after another.
        batch: the index fields, over the n pairs; `articles` is empty.
    """

    groups: tuple[dict[str, Tensor], ...]
    owners: tuple[Tensor, ...]
    order: Tensor
    batch: Batch


def unique_batch(inputs: Inputs, rows: Sequence[int] | np.ndarray) -> Batch:
    """The rows with each of their articles encoded once, however many rows share it: for training and evaluation.

    Raises:
        DataError: `rows` is empty or holds a row that is not there.
    """
    rows = _checked(inputs, rows)
    history, history_mask = _padded(inputs.impressions.history, rows)
    candidates, candidate_mask = _padded(inputs.impressions.candidates, rows)
    used, places = np.unique(np.concatenate([history[history_mask], candidates[candidate_mask]]), return_inverse=True)
    history[history_mask], candidates[candidate_mask] = np.split(places, [history_mask.sum()])
    return _batch(inputs, rows, article_views(inputs, used), history, history_mask, candidates, candidate_mask)


def article_views(inputs: Inputs, articles: np.ndarray) -> dict[str, Tensor]:
    """What the encoder reads of n articles (positions in the table): view -> (n, T) or (n,), cut to the longest."""
    views = {name: values[articles] for name, values in inputs.views.items()}
    return {name: _tensor(_shortest(values) if name in TEXTS else values) for name, values in views.items()}


def pair_batch(inputs: Inputs, rows: Sequence[int] | np.ndarray) -> tuple[Batch, Tensor]:
    """The rows with an article of its own for every real place in them, so that each has one owner: for gradients.

    Returns:
        the batch, its n articles row by row (history first, then candidates; an article that stands twice in a row
        is encoded twice); (n,) int64, which of the B rows an article belongs to, never decreasing.

    Raises:
        DataError: `rows` is empty or holds a row that is not there.
    """
    batch, used, owner = pair_places(inputs, rows)
    return batch._replace(articles=article_views(inputs, used)), _tensor(owner)


def pair_places(
    inputs: Inputs, rows: Sequence[int] | np.ndarray, each: int = 1
) -> tuple[Batch, np.ndarray, np.ndarray]:
    """`pair_batch` without reading any article: the index fields, (n,) the article at each place, (n,) its row.

    Args:
        each: so many rows after one another, which share user and history, stand as one with the candidates of all.
    """
    rows = _checked(inputs, rows)
    history, history_mask = _padded(inputs.impressions.history, rows[::each])
    candidates, candidate_mask = (own.reshape(len(history), -1) for own in _padded(inputs.impressions.candidates, rows))
    mask = np.concatenate([history_mask, candidate_mask], axis=1)
    used = np.concatenate([history, candidates], axis=1)[mask]
    places = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, 0)
    history, candidates = np.split(places, [history.shape[1]], axis=1)
    batch = _batch(inputs, rows, {}, history, history_mask, candidates, candidate_mask)
    return batch, used, np.nonzero(mask)[0]


def grouped_pairs(inputs: Inputs, rows: Sequence[int] | np.ndarray, groups: int = 6) -> Pairs:
    """The rows' pairs, split by text length so that little is padded; each group is cut to its own longest text.

    Args:
        inputs, rows: as `pair_batch`.
        groups: at most so many.

    Raises:
        DataError: as `pair_batch`.
    """
    batch, owner = pair_batch(inputs, rows)
    views, owners, order = by_length(batch.articles, owner, groups)
    return Pairs(views, owners, order, batch._replace(articles={}))


def by_length(
    articles: dict[str, Tensor], owner: Tensor, groups: int
) -> tuple[tuple[dict[str, Tensor], ...], tuple[Tensor, ...], Tensor]:
    """`groups`, `owners` and `order` of `Pairs` for n articles (n, ...) and their rows (n,)."""
    texts = [view for name, view in articles.items() if name in TEXTS]
    lengths = sum((view != 0).sum(dim=1) for view in texts) if texts else torch.zeros_like(owner)
    ordered = torch.argsort(lengths, stable=True)
    parts = [part.sort().values for part in ordered.tensor_split(max(1, min(groups, len(owner))))]
    order = torch.empty_like(owner)
    order[torch.cat(parts)] = torch.arange(len(owner))
    views = tuple({name: _trimmed(name, view[part]) for name, view in articles.items()} for part in parts)
    return views, tuple(owner[part] for part in parts), order


def padded_batch(inputs: Inputs, rows: Sequence[int] | np.ndarray, sizes: tuple[int, int] | None = None) -> Batch:
    """The rows side by side in equal boxes, for torch.vmap: every leaf has leading dimension B.

    Views are (B, H + C, T) or (B, H + C), zeros where there is no article; history (B, H) and candidates (B, C) are
    positions among the row's own H + C articles.

    Args:
        sizes: H and C; None means the longest present. With sizes, texts keep their full length too, so that batches
            of equally many rows have equal shapes.

    Raises:
        DataError: `rows` is empty or holds a row that is not there, or one that does not fit `sizes`.
    """
    rows = _checked(inputs, rows)
    history, history_mask = _padded(inputs.impressions.history, rows, sizes and sizes[0])
    candidates, candidate_mask = _padded(inputs.impressions.candidates, rows, sizes and sizes[1])
    width = history.shape[1]
    mask = np.concatenate([history_mask, candidate_mask], axis=1)
    used = np.concatenate([history, candidates], axis=1)
    articles = {}
    for name, values in inputs.views.items():
        boxes = values[used]
        boxes[~mask] = 0
        articles[name] = _tensor(_shortest(boxes) if name in TEXTS and sizes is None else boxes)
    history = np.where(history_mask, np.arange(width), 0)
    candidates = np.where(candidate_mask, width + np.arange(candidates.shape[1]), 0)
    return _batch(inputs, rows, articles, history, history_mask, candidates, candidate_mask)


def moved(value: Any, device: Any) -> Any:
    """Tensors on `device`, in whatever tuples and dictionaries they stand."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(part, device) for key, part in value.items()}
    parts = [moved(part, device) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)


def _checked(inputs: Inputs, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows) or rows.min() < 0 or rows.max() >= len(inputs):
        got = f"rows {rows.min()} to {rows.max()}" if len(rows) else "no row"
        raise DataError(f"batch: rows that are not there. Got {got}, expected some of 0 to {len(inputs) - 1}.")
    return rows


def _padded(table: Ragged, rows: np.ndarray, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The rows' sequences as (B, width) int64 with zeros behind, and where they are real; width is at least 1."""
    starts = table.offsets[rows]
    lengths = table.offsets[rows + 1] - starts
    longest = int(lengths.max())
    if width is not None and longest > width:
        row = rows[np.argmax(lengths)]
        raise DataError(
            f"batch: row {row} does not fit the given sizes. Got {longest} articles, expected up to {width}."
        )
    places = np.arange(max(longest, 1) if width is None else width)
    mask = places < lengths[:, None]
    values = np.zeros(mask.shape, dtype=np.int64)
    values[mask] = table.values[(starts[:, None] + places)[mask]]
    return values, mask


def _trimmed(name: str, view: Tensor) -> Tensor:
    """The same cut for a tensor: texts (n, T) to the longest one, at least one token; other views as they are."""
    if name not in TEXTS:
        return view
    used = torch.nonzero((view != 0).any(dim=0)).flatten()
    return view[:, : int(used[-1]) + 1 if len(used) else 1]


def _shortest(values: np.ndarray) -> np.ndarray:
    """Texts (..., T) cut to the longest one, at least one token."""
    used = np.flatnonzero(values.reshape(-1, values.shape[-1]).any(axis=0))
    return values[..., : used[-1] + 1 if len(used) else 1]


def _batch(
    inputs: Inputs,
    rows: np.ndarray,
    articles: dict[str, Tensor],
    history: np.ndarray,
    history_mask: np.ndarray,
    candidates: np.ndarray,
    candidate_mask: np.ndarray,
) -> Batch:
    each = len(rows) // len(history)
    labels, _ = _padded(inputs.impressions.labels, rows, candidates.shape[1] // each)
    return Batch(
        articles=articles,
        history=_tensor(history),
        history_mask=torch.from_numpy(history_mask),
        candidates=_tensor(candidates),
        candidate_mask=torch.from_numpy(candidate_mask),
        labels=torch.from_numpy(labels.astype(np.float32)).view(len(history), -1),
        user=_tensor(inputs.users[rows[::each]]),
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32 if values.dtype.kind == "f" else np.int64))
