"""The click losses: a row's margin f, its residual Q, its loss L, and the rows a loss makes of an impression.

Not here: gradients of them, or training. For every loss here L = -log sigmoid(f) and Q = sigmoid(-f), so that
Q . grad f = - grad L row by row; what differs is the margin.

Source: Park et al. 2023 (TRAK), section 3, for f and Q: softmax and BCE are its multi-class and logistic cases. BPR is
Rendle et al. 2009; marginal is -log of the clicked candidates' share of the softmax.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trak.modelout_functions import AbstractModelOutput

from rec_trak.data.batches import Batch
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged, offsets_of
from rec_trak.errors import ConfigError, DataError
from rec_trak.models.passes import as_trained, values_only

LOSSES = ("softmax", "bce", "bpr", "marginal")
WIDTHS = {"bce": 1, "bpr": 2}


def margin(loss: str, scores: Tensor, batch: Batch) -> Tensor:
    """f (B,) of each row; candidate 0 is the clicked one whatever its label says.

    softmax: s_0 - logsumexp of all others, clicked or not. bce: (2y - 1) s. bpr: s_0 - s_1. marginal: logsumexp of
    the clicked minus logsumexp of the others, where a row without a click counts its first candidate as clicked.

    Args:
        loss: one of LOSSES.
        scores: (B, C).
        batch: for its `candidate_mask` and `labels`.

    Raises:
        ConfigError: an unknown loss.
        DataError: rows that `expand` has not cut for this loss.
    """
    check_loss(loss)
    width = scores.shape[-1]
    if loss in WIDTHS and width != WIDTHS[loss]:
        raise DataError(
            f"loss {loss}: rows have the wrong number of candidates. Got {width}, expected {WIDTHS[loss]}. "
            f"Pass the rows through `expand` first."
        )
    if loss == "bce":
        return (2 * batch.labels[:, 0] - 1) * scores[:, 0]
    if loss == "bpr":
        return scores[:, 0] - scores[:, 1]
    first = torch.arange(width, device=scores.device) == 0
    if loss == "softmax":
        return scores[:, 0] - _logsumexp(scores, batch.candidate_mask & ~first)
    clicked = (batch.labels > 0.5) & batch.candidate_mask
    clicked = clicked | (first & ~clicked.any(dim=-1, keepdim=True))
    return _logsumexp(scores, clicked) - _logsumexp(scores, batch.candidate_mask & ~clicked)


def residual(loss: str, scores: Tensor, batch: Batch) -> Tensor:
    """Q (B,) of each row, in [0, 1]: one minus the probability that the model gives to what happened.

    It is sigmoid(-f) for every loss here, which keeps its digits where 1 - p would round to 0.

    Raises:
        ConfigError, DataError: as `margin`.
    """
    return torch.sigmoid(-margin(loss, scores, batch))


def row_loss(loss: str, scores: Tensor, batch: Batch) -> Tensor:
    """L (B,) of each row, minus the log of the probability that the model gives to what happened.

    Raises:
        ConfigError, DataError: as `margin`.
    """
    return -F.logsigmoid(margin(loss, scores, batch))


def check_loss(loss: str) -> None:
    """Refuse a loss that is not known.

    Raises:
        ConfigError: `loss` is not one of LOSSES.
    """
    if loss not in LOSSES:
        raise ConfigError(f"`loss` is not known. Got {loss!r}, expected one of {', '.join(LOSSES)}.")


def _logsumexp(scores: Tensor, mask: Tensor) -> Tensor:
    """(B,) over the candidates in `mask`; -inf, and NaN gradients, for a row without any, which `expand` refuses."""
    return torch.logsumexp(scores.masked_fill(~mask, -torch.inf), dim=-1)


def expand(impressions: Impressions, loss: str) -> tuple[Impressions, np.ndarray]:
    """The rows that `loss` is a sum over, and the impression (N,) int64 that each of them belongs to.

    softmax and marginal: the impressions themselves. bce: a row for each candidate. bpr: a row for each pair of a
    clicked and another candidate, where an impression without a click counts its first candidate as clicked.
    `is_fake` speaks of the first candidate only, so it is -1 in a row that puts another article first.

    Raises:
        ConfigError: an unknown loss.
        DataError: an impression that has no other candidate to tell the clicked one from (softmax: at least two
            candidates; bpr and marginal: one that was not clicked; bce: one candidate).
    """
    owner = owners(impressions, loss)
    if loss not in WIDTHS:
        return impressions, owner
    none = Ragged(np.zeros(0, dtype=np.int32), np.zeros(len(impressions) + 1, dtype=np.int64))
    rows = replace(impressions, candidates=none, labels=none).subset(owner)  # whole slates would be made for nothing
    places = _places(impressions, loss)
    ends = np.arange(len(places) + 1) * WIDTHS[loss]
    candidates, labels = (
        Ragged(table.values[places].ravel().astype(np.int32, copy=False), ends)
        for table in (impressions.candidates, impressions.labels)
    )
    same_first = places[:, 0] == impressions.candidates.offsets[owner]
    is_fake = np.where(same_first, rows.is_fake, -1).astype(np.int8)
    return replace(rows, candidates=candidates, labels=labels, is_fake=is_fake), owner


def owners(impressions: Impressions, loss: str) -> np.ndarray:
    """(N,) int64, the impression that each row of `expand` belongs to, without making the rows.

    Raises:
        ConfigError, DataError: as `expand`.
    """
    check_loss(loss)
    _check_others(impressions, loss)
    every = np.arange(len(impressions), dtype=np.int64)
    if loss not in WIDTHS:
        return every
    count = impressions.candidates.lengths
    clicked = np.maximum(_clicks(impressions), 1)
    return np.repeat(every, count if loss == "bce" else clicked * (count - clicked))


def _check_others(impressions: Impressions, loss: str) -> None:
    """Refuse an impression in which nothing stands against the clicked candidate."""
    count = impressions.candidates.lengths
    clicked = _clicks(impressions)
    others = {"bce": count, "softmax": count - 1}.get(loss, count - np.maximum(clicked, 1))
    bad = np.flatnonzero(others < 1)
    if len(bad):
        i = int(bad[0])
        raise DataError(
            f"{impressions.sources[i]}: the row has no other candidate. Got {count[i]} candidates, {clicked[i]} of "
            f"them clicked, expected one more for the loss {loss} to tell the clicked one from; {len(bad)} rows are "
            f"like this. Drop them or add candidates that were shown and not clicked."
        )


def _clicks(impressions: Impressions) -> np.ndarray:
    """(I,) int64, clicked candidates of each impression."""
    offsets = impressions.candidates.offsets
    so_far = offsets_of(impressions.labels.values == 1)
    return so_far[offsets[1:]] - so_far[offsets[:-1]]


def _places(impressions: Impressions, loss: str) -> np.ndarray:
    """(N, width) int64, where in the candidates' flat array those of each row stand that bce or bpr makes."""
    offsets, count, clicked = impressions.candidates.offsets, impressions.candidates.lengths, _clicks(impressions)
    if loss == "bce":
        return np.arange(offsets[-1])[:, None]
    is_clicked = impressions.labels.values == 1
    is_clicked[offsets[:-1][clicked == 0]] = True
    clicked = np.maximum(clicked, 1)
    others, starts = count - clicked, offsets[:-1]
    order = np.argsort(2 * np.repeat(np.arange(len(count)), count) + ~is_clicked, kind="stable")  # the clicked first
    ends = offsets_of(clicked * others)
    of_row = np.repeat(np.arange(len(count)), clicked * others)
    nth = np.arange(ends[-1]) - ends[of_row]
    first, second = starts[of_row] + nth // others[of_row], (starts + clicked)[of_row] + nth % others[of_row]
    return np.stack([order[first], order[second]], axis=1)


def flatten_padded(batch: Batch) -> Batch:
    """The padded form (articles (B, A, ...), positions within a row) as the pair form (articles (B * A, ...)).

    A batch whose articles are flat already comes back as it is.
    """
    dims = {"title": 3, "body": 3, "category": 2, "subcategory": 2}
    padded = [view.dim() == dims[name] for name, view in batch.articles.items() if name in dims]
    boxes = (len(batch.history), batch.history.shape[1] + batch.candidates.shape[1])
    if not any(padded or [view.shape[:2] == boxes for view in batch.articles.values()]):
        return batch
    rows, width = next(iter(batch.articles.values())).shape[:2]
    offset = (torch.arange(rows, device=batch.history.device) * width).unsqueeze(-1)
    return batch._replace(
        articles={name: view.flatten(0, 1) for name, view in batch.articles.items()},
        history=batch.history + offset,
        candidates=batch.candidates + offset,
    )


class ClickOutput(AbstractModelOutput):
    """traker's model output for a click loss: f per row, differentiable, and Q per row."""

    def __init__(self, loss: str) -> None:
        """Remember the loss.

        Raises:
            ConfigError: `loss` is not one of LOSSES.
        """
        check_loss(loss)
        self.loss = loss

    def get_output(
        self,
        model: nn.Module,
        weights: dict[str, Tensor] | None,
        buffers: dict[str, Tensor] | None,
        *batch: Tensor | dict[str, Tensor],
    ) -> Tensor:
        """f (B,); one number for a single row, whose fields lack their first dimension, as vmap hands them over.

        Args:
            model: what build_model made.
            weights: parameter name -> tensor, or None for the model's own.
            buffers: further tensors by name, or None.
            batch: the fields of a `Batch`: one row of the padded form, or B rows of any form.
        """
        batch = Batch(*batch)
        single = batch.history.dim() == 1
        batch = _one_row(batch) if single else flatten_padded(batch)
        f = margin(self.loss, _scores(model, weights, buffers, batch), batch)
        return f[0] if single else f

    def get_out_to_loss_grad(
        self,
        model: nn.Module,
        weights: dict[str, Tensor] | None,
        buffers: dict[str, Tensor] | None,
        batch: Batch,
    ) -> Tensor:
        """Q (B, 1), without a graph, of B rows of any form; the other arguments are those of `get_output`."""
        batch = flatten_padded(Batch(*batch))
        with values_only():
            return residual(self.loss, _scores(model, weights, buffers, batch), batch).unsqueeze(-1)


def _one_row(batch: Batch) -> Batch:
    """A row of the padded form as a batch of one; its articles (A, ...) are the batch's as they are."""
    return Batch(batch.articles, *(leaf.unsqueeze(0) for leaf in batch[1:]))


def _scores(
    model: nn.Module, weights: dict[str, Tensor] | None, buffers: dict[str, Tensor] | None, batch: Batch
) -> Tensor:
    with as_trained():
        if weights is None:
            return model(batch).float()
        return torch.func.functional_call(model, (weights, buffers or {}), (batch,)).float()
