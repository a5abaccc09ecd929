"""How good a ranking of candidates is, per impression and on average, and how exposed given articles are.

Not here: where the scores come from. Nothing here knows of torch.

Ties: candidates with equal scores stand in no order, so each metric is its expected value over a random order of them.
For AUC that is the usual half point a tied pair. (A stable sort would put the clicked candidate first, because rows are
stored that way, and give a model that scores everything alike a perfect MRR.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rec_trak.errors import DataError, NumericalError


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of (clicked, other) pairs in which the clicked candidate scores higher; a tie counts half.

    Args:
        scores, labels: (C,); a label of 1 is clicked, 0 not. Both must occur.

    Source: Mann and Whitney 1947, through average ranks.
    """
    count, clicked = len(labels), np.asarray(labels) == 1
    ranks = _by_rank(scores, np.arange(count, 0, -1, dtype=np.float64))
    positives = int(clicked.sum())
    wins = ranks[clicked].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (count - positives)))


def mrr(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the clicked candidates of 1 / rank (so MIND's own evaluation counts several clicks).

    Args:
        scores, labels: (C,), as in `auc`.
    """
    gains = _by_rank(scores, 1 / np.arange(1, len(labels) + 1))
    return float(gains[np.asarray(labels) == 1].mean())


def ndcg(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Normalised discounted cumulative gain of the first k places, with gain 1 a click and discount 1 / log2(1 + rank).

    Args:
        scores, labels: (C,), as in `auc`.
        k: how many places count.

    Source: Järvelin and Kekäläinen 2002; ties as in McSherry and Najork 2008, section 3.
    """
    clicked = np.asarray(labels) == 1
    discounts = 1 / np.log2(np.arange(2, len(clicked) + 2))
    discounts[k:] = 0
    return float(_by_rank(scores, discounts)[clicked].sum() / discounts[: int(clicked.sum())].sum())


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
        if 0 < (label == 1).sum() < len(label):
            values.append((auc(row, label), mrr(row, label), ndcg(row, label, 5), ndcg(row, label, 10)))
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


def _by_rank(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(C,) what each candidate's rank is worth; candidates with equal scores share the mean over their ranks.

    Args:
        scores: (C,), the higher the earlier.
        weights: (C,), what rank 1, 2, ... is worth.
    """
    _, group, counts = np.unique(-np.asarray(scores), return_inverse=True, return_counts=True)
    starts = np.cumsum(counts) - counts
    return (np.add.reduceat(weights, starts) / counts)[group]
