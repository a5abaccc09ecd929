"""A row's gradient split over its articles for a model that is one function, by what each use of a parameter saw.

A parameter is used many times in a pass, and its gradient is the sum over uses. A use whose outcome changes with one
article alone belongs to that article; uses that see several articles, or none, are a part of their own, and so is the
whole gradient of a parameter whose uses cannot be taken apart. Which articles a use sees is found by changing the
articles one after the other. Not here: models with `encode` and `score`, whose halves say it; kernel parts, tables.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from rec_trak.attribution.job import Job
from rec_trak.clicks import ClickOutput, margin
from rec_trak.data.batches import Batch
from rec_trak.gradients.computers import FOLLOWERS, TAKERS, row_batch, row_gradient, without_gradient
from rec_trak.gradients.factors import Factors, Recorder, Use
from rec_trak.models.passes import as_trained

CHANGES = 2  # of each article: a use at which one leaves no trace is seen by another


def factors_by_article(job: Job, row: int) -> tuple[Factors, dict[str, Tensor]]:
    """The gradient of a row's margin as that of 1 + n rows: the rest, then each article, history first; and the dense
    gradients (shape of the parameter) of parameters that cannot be taken apart, which belong to the rest.

    Raises:
        Exception: whatever a user's model raises on a row by itself, or where uses cannot be followed.
    """
    batch = row_batch(job.inputs, row, job.device)
    parameters = {name: job.model.get_parameter(name) for name in job.grad_wrt}
    recorder, f = _recorded(job, batch, parameters)
    lost = {words.split("`")[1] for words in recorder.unknown}
    places = torch.cat([batch.history_mask[0], batch.candidate_mask[0]]).nonzero().flatten().tolist()
    before = [use.arrange(use.output.detach()) for _, use in recorder.uses]
    seen = [torch.zeros((len(places), *values.shape[:2]), dtype=torch.bool) for values in before]
    for i, place in enumerate(places):
        for change in range(CHANGES):
            other, _ = _recorded(job, _changed(job, batch, place, change), parameters)
            after = [use.arrange(use.output.detach()) for _, use in other.uses]
            if [values.shape for values in after] != [values.shape for values in before]:
                raise ValueError("the model takes another way with other articles")
            for found, old, new in zip(seen, before, after, strict=True):
                found[i] |= (old != new).any(dim=-1).cpu()
    recorder.batch = 1 + len(places)
    recorder.uses = [
        (name, _by_owner(use, found, values))
        for (name, use), found, values in zip(recorder.uses, seen, before, strict=True)
        if name not in lost
    ]
    whole = {name: parameters[name] for name in parameters if name in lost}
    factors = recorder.factors(f)
    if not whole:
        return factors, {}
    return factors, row_gradient(job.model, ClickOutput(job.loss), batch, whole)


def _recorded(job: Job, batch: Batch, parameters: dict[str, Tensor]) -> tuple[Recorder, Tensor]:
    recorder = Recorder(parameters, 1, TAKERS, FOLLOWERS)
    with without_gradient(job.model), torch.enable_grad(), as_trained(), recorder:
        f = margin(job.loss, job.model(batch).float(), batch)
    recorder.find_changed()
    return recorder, f


def _by_owner(use: Use, seen: Tensor, values: Tensor) -> Use:
    """The use with each of its entries as a block of its own, owned by the one article that it sees, else by 0."""
    flat = seen.flatten(1)
    owner = torch.where(flat.sum(dim=0) == 1, 1 + flat.int().argmax(dim=0), 0)
    order = torch.argsort(owner, stable=True).to(values.device)
    value = use.value
    if value is not None:
        value = value.expand(*values.shape[:2], *value.shape[2:]).flatten(0, 1)[order].unsqueeze(1)
    arrange = use.arrange
    return dataclasses.replace(
        use,
        value=value,
        arrange=lambda grad: arrange(grad).flatten(0, 1)[order].unsqueeze(1),
        owner=owner.to(values.device)[order],
        keys=None,
    )


def _changed(job: Job, batch: Batch, place: int, change: int) -> Batch:
    """The batch of one row with another article, everywhere other, at one place."""
    articles = {}
    for name, view in batch.articles.items():
        view = view.clone()
        own = view[place]
        if view.is_floating_point():
            view[place] = change + 1 - own
        else:
            pool = np.unique(job.inputs.views[name])
            pool = torch.from_numpy((pool[pool != 0] if (pool != 0).any() else pool).astype(np.int64)).to(view.device)
            at = torch.searchsorted(pool, own.contiguous()).clamp(max=len(pool) - 1)
            view[place] = pool[(at + 1 + change) % len(pool)]
        articles[name] = view
    return batch._replace(articles=articles)
