"""A convex head on a trained model: its rows, as features of a linear softmax. Not here: the fit, influence.

Articles and users are encoded once by the trained model, whose score of a candidate is the dot product of a user
vector u and an article vector n. The head scores s = sum_d w_d u_d n_d with weights w of its own, so that w = 1 is the
model; a row's features are the products u_d n_d of its candidates. Only w is fitted, so leave-one-out is exact for the
head, and says nothing about how encoders would change.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rec_trak.data.batches import Batch, moved, unique_batch
from rec_trak.data.inputs import Inputs
from rec_trak.errors import ConfigError, told
from rec_trak.models.passes import values_only
from rec_trak.validation import glm

BATCH = 256
CLOSE = 1e-3  # of the largest score: how far u . n may be from the model's own score


def head_rows(model: nn.Module, inputs: Inputs, device: str = "cpu") -> glm.Rows:
    """The rows of the softmax head: features (N, C, D), the clicked candidate first.

    Args:
        model: in eval mode on `device`, with `encode` and `score`.
        inputs: N rows, each with another candidate.

    Raises:
        ConfigError: the model has no `encode` and `score`, they raise, or its scores are no dot products.
        NumericalError: a vector is not finite.
    """
    methods = (getattr(model, name, None) for name in ("encode", "score"))
    if not all(callable(method) and not isinstance(method, nn.Module) for method in methods):
        raise ConfigError(
            "leave-one-out: the model cannot be cut into vectors and a head. Got no `encode` and `score`, expected "
            "both as methods. Give it them, or leave this check out."
        )
    widest = int(inputs.impressions.candidates.lengths.max())
    if getattr(model, "across", False):
        raise ConfigError(
            "leave-one-out: the model's articles have no vectors of their own. Got one whose candidates attend to each "
            "other, expected a user's and an article's vector. Leave this check out."
        )
    parts = [
        _features(model, inputs, np.arange(start, min(start + BATCH, len(inputs))), widest, device)
        for start in range(0, len(inputs), BATCH)
    ]
    features, mask = (torch.cat(tensors).cpu() for tensors in zip(*parts, strict=True))
    return glm.make_rows("softmax", features, mask)


def _features(model: nn.Module, inputs: Inputs, rows: np.ndarray, widest: int, device: str) -> tuple[Tensor, Tensor]:
    """Features (b, widest, D) float64 and mask (b, widest) of some rows."""
    batch = moved(unique_batch(inputs, rows), device)
    try:
        with values_only():
            vectors = model.encode(batch.articles)
            scores, users = model.score(vectors, batch), _users(model, vectors, batch)
    except Exception as error:  # whatever a user's own model raises
        raise ConfigError(
            f"leave-one-out: the model cannot be cut into vectors and a head. Got {told(error)}, expected vectors of "
            "`encode` that `score` takes with other candidates. Leave this check out."
        ) from error
    features = vectors.double()[batch.candidates] * users.double().unsqueeze(1) * batch.candidate_mask.unsqueeze(-1)
    apart = ((features.sum(dim=-1) - scores) * batch.candidate_mask).abs().max()
    if float(apart) > CLOSE * max(1.0, float(scores.abs().max())):
        raise ConfigError(
            f"leave-one-out: the model's scores are no dot products of a user and an article vector. Got scores that "
            f"differ from them by {float(apart):.2g}, expected none. Leave this check out."
        )
    missing = widest - features.shape[1]
    return F.pad(features, (0, 0, 0, missing)), F.pad(batch.candidate_mask, (0, missing))


def _users(model: nn.Module, vectors: Tensor, batch: Batch) -> Tensor:
    """User vectors (b, D): the scores of D candidates that are the unit vectors, whatever the user encoder is."""
    width = vectors.shape[1]
    units = len(vectors) + torch.arange(width, device=vectors.device).expand(len(batch.user), -1)
    probe = batch._replace(candidates=units, candidate_mask=torch.ones_like(units, dtype=torch.bool))
    return model.score(torch.cat([vectors, torch.eye(width, dtype=vectors.dtype, device=vectors.device)]), probe)
