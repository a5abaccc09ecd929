"""How good a ranking of candidates is, per impression and on average, and how exposed given articles are.

Not here: where the scores come from. Nothing here knows of torch.

Ties: candidates with equal scores stand in no order, so each metric is its expected value over a random order of them.
For AUC that is the usual half point a tied pair. (A stable sort would put the clicked candidate first, because rows are
stored that way, and give a model that scores everything alike a perfect MRR.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rec_trak.errors import DataError, NumericalError


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of (clicked, other) pairs in which the clicked candidate scores higher; a tie counts half.

    Args:
        scores, labels: (C,); a label of 1 is clicked, 0 not. Both must occur.

    Source: Mann and Whitney 1947, through average ranks.
    """
    return _auc(_ranked(scores), np.asarray(labels) == 1)


def mrr(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the clicked candidates of 1 / rank (so MIND's own evaluation counts several clicks).

    Args:
        scores, labels: (C,), as in `auc`.
    """
    return _mrr(_ranked(scores), np.asarray(labels) == 1)


def ndcg(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Normalised discounted cumulative gain of the first k places, with gain 1 a click and discount 1 / log2(1 + rank).

    Args:
        scores, labels: (C,), as in `auc`.
        k: how many places count.

    Source: Järvelin and Kekäläinen 2002; ties as in McSherry and Najork 2008, section 3.
    """
    return _ndcg(_ranked(scores), np.asarray(labels) == 1, k)


def ranking_quality(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> dict[str, float]:
    """Means of the metrics over the impressions that have both a clicked and another candidate.

    Args:
        scores, labels: one array (C_i,) an impression.

    Returns:
        `auc`, `mrr`, `ndcg@5`, `ndcg@10` (NaN where no impression counts) and `impressions`, how many counted.

    Raises:
        DataError: an impression has more or fewer scores than labels.
        NumericalError: a score is NaN or Inf.
    """
    values = []
    for i, (row, label) in enumerate(zip(scores, labels, strict=True)):
        row, label = np.asarray(row), np.asarray(label)
        if row.shape != label.shape:
            raise DataError(f"metrics: impression {i} does not fit. Got {row.shape} scores, expected {label.shape}.")
        if not np.isfinite(row).all():
            raise NumericalError(
                f"metrics: impression {i} has a score that is NaN or Inf. Check the weights of the model."
            )
        clicked = label == 1
        if 0 < clicked.sum() < len(label):
            ranks = _ranked(row)
            values.append((_auc(ranks, clicked), _mrr(ranks, clicked), *(_ndcg(ranks, clicked, k) for k in (5, 10))))
    means = np.mean(values, axis=0) if values else np.full(4, np.nan)
    return {
        **dict(zip(("auc", "mrr", "ndcg@5", "ndcg@10"), map(float, means), strict=True)),
        "impressions": len(values),
    }


def exposure(scores: np.ndarray, articles: np.ndarray, top: Sequence[int] = (5, 10)) -> dict[str, float]:
    """Share of users in whose top-k list at least one of the given articles stands.

    Args:
        scores: (U, A), one list a user over the same A articles; -inf for an article the user is not offered.
        articles: positions in [0, A) of the articles looked for.
        top: the lengths k.

    Returns:
        `exposure@k` for each k. One of the articles that ties with others at the border of a list stands outside it.

    Raises:
        DataError: no scores, no articles, or an article position outside the lists.
        NumericalError: a score is NaN.
    """
    scores, articles = np.asarray(scores), np.asarray(articles, dtype=np.int64)
    if scores.ndim != 2 or not len(scores):
        raise DataError(f"exposure: scores have the wrong shape. Got {scores.shape}, expected (users, articles).")
    count = scores.shape[1]
    if not len(articles) or articles.min() < 0 or articles.max() >= count:
        raise DataError(
            f"exposure: articles cannot be looked for. Got positions {articles.tolist()[:5]}, "
            f"expected at least one, each from 0 to {count - 1}."
        )
    if np.isnan(scores).any():
        raise NumericalError("exposure: a score is NaN. Check the weights of the model.")
    looked_for = np.zeros(count, dtype=bool)
    looked_for[articles] = True
    best = scores[:, looked_for].max(axis=1)
    before = (scores[:, ~looked_for] >= best[:, None]).sum(axis=1)
    offered = best > -np.inf
    return {f"exposure@{k}": float(np.mean(offered & (before < k))) for k in top}


class _Ranks(NamedTuple):
    """Candidates by falling score: the group of equal scores (C,) each is in, and each group's first rank and size."""

    group: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def worth(self, weights: np.ndarray) -> np.ndarray:
        """(C,) what each candidate's rank is worth by `weights` (C,) of rank 1, 2, ...; equal scores share the mean."""
        return (np.add.reduceat(weights, self.starts) / self.counts)[self.group]


def _ranked(scores: np.ndarray) -> _Ranks:
    _, group, counts = np.unique(-np.asarray(scores), return_inverse=True, return_counts=True)
    return _Ranks(group, np.cumsum(counts) - counts, counts)


def _auc(ranks: _Ranks, clicked: np.ndarray) -> float:
    count, positives = len(clicked), int(clicked.sum())
    places = ranks.worth(np.arange(count, 0, -1, dtype=np.float64))
    wins = places[clicked].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (count - positives)))


def _mrr(ranks: _Ranks, clicked: np.ndarray) -> float:
    return float(ranks.worth(1 / np.arange(1, len(clicked) + 1))[clicked].mean())


def _ndcg(ranks: _Ranks, clicked: np.ndarray, k: int) -> float:
    discounts = 1 / np.log2(np.arange(2, len(clicked) + 2))
    discounts[k:] = 0
    return float(ranks.worth(discounts)[clicked].sum() / discounts[: int(clicked.sum())].sum())
