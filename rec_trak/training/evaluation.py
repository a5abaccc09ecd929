"""A model's scores of whole impressions, and how good they are. Not here: the metrics, or where impressions come from.

Where a model has `encode` and `score`, each article is encoded once for all impressions, however often it was shown.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from rec_trak.data.batches import article_views, moved, unique_batch
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import distinct
from rec_trak.models.passes import values_only
from rec_trak.training.metrics import ranking_quality

ENCODED = 256  # articles at once


def evaluate(model: nn.Module, inputs: Inputs, batch_size: int = 256) -> dict[str, float]:
    """`auc`, `mrr`, `ndcg@5`, `ndcg@10` and `impressions` of the model on all rows, as `metrics.ranking_quality`.

    Args:
        model: any that takes a `Batch`.
        inputs: a row an impression, with all the candidates that were shown.
        batch_size: rows at once; it changes no result.

    Raises:
        NumericalError: a score is NaN or Inf.
    """
    scores = impression_scores(model, inputs, batch_size)
    return ranking_quality(scores, [inputs.impressions.labels[i] for i in range(len(inputs))])


def impression_scores(
    model: nn.Module, inputs: Inputs, batch_size: int = 256, blank: int | None = None
) -> list[np.ndarray]:
    """The scores (C_i,) that the model, in evaluation mode, gives to each row's candidates.

    Args:
        model, inputs, batch_size: as `evaluate`; the model's mode stays what it was.
        blank: an article whose vector is taken to be zero, whatever the encoder gives; only where the model has
            `encode` and `score`.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    scores: list[np.ndarray] = []
    with values_only():
        score = _from_vectors(model, inputs, device, blank) or (lambda batch, _: model(batch))
        for start in range(0, len(inputs), batch_size):
            rows = np.arange(start, min(start + batch_size, len(inputs)))
            batch = moved(unique_batch(inputs, rows), device)
            real = batch.candidate_mask.cpu().numpy()
            found = score(batch, rows).float().cpu().numpy()
            scores += [row[mask] for row, mask in zip(found, real, strict=True)]
    model.train(was_training)
    return scores


def _from_vectors(
    model: nn.Module, inputs: Inputs, device: torch.device, blank: int | None
) -> Callable[..., Tensor] | None:
    """Scores of a batch and its rows, by article vectors that are made here; None for a model in one piece."""
    encode, score = (getattr(model, name, None) for name in ("encode", "score"))
    if not callable(encode) or isinstance(encode, nn.Module) or not callable(score):
        return None
    used = _articles_of(inputs, np.arange(len(inputs)))
    parts = [used[start : start + ENCODED] for start in range(0, len(used), ENCODED)]
    vectors = torch.cat([encode(moved(article_views(inputs, part), device)) for part in parts])
    if blank is not None:
        vectors[torch.from_numpy(used == blank).to(vectors.device)] = 0

    def scores(batch, rows: np.ndarray) -> Tensor:
        places = torch.from_numpy(np.searchsorted(used, _articles_of(inputs, rows)))
        return score(vectors[places.to(vectors.device)], batch)

    return scores


def _articles_of(inputs: Inputs, rows: np.ndarray) -> np.ndarray:
    """The different articles of some rows in the table's order, which is the order in which a batch has them."""
    tables = (inputs.impressions.history, inputs.impressions.candidates)
    return distinct(np.concatenate([table.subset(rows).values for table in tables]))
