"""The article path beside plain autograd, sketch by sketch. Not here: tests."""

from __future__ import annotations

import numpy as np
import torch

from rec_trak.clicks import ClickOutput, margin
from rec_trak.data.batches import article_views, unique_batch
from rec_trak.data.spans import make_span
from rec_trak.gradients.articles import ArticleComputer
from rec_trak.gradients.computers import row_gradient, select_parameters
from rec_trak.gradients.structures import find_structure
from rec_trak.sketch.spans import SpanProjector

K = 24


def article_path(model, inputs, loss="softmax", names=None, plain=False, k=K):
    """A computer that knows the model's structure, or takes each direction by itself, and its projector."""
    computer = ArticleComputer(model, ClickOutput(loss), grad_wrt=names or select_parameters(model, None))
    if not plain:
        views = article_views(inputs, np.unique(inputs.impressions.candidates.values)[:8])
        computer.structure, _ = find_structure(model, views, computer.parameters)
    return computer, SpanProjector(0, k, 0)


def span_sketches(computer, projector, inputs, rows=None, least=1, batch_size=4, most=None):
    """Sketches (S, K) and Q (S,) of the rows as one span."""
    rows = np.arange(len(inputs)) if rows is None else np.asarray(rows)
    span = make_span(inputs, rows, least, batch_size, "cpu", most)
    return projector.project(computer.compute_per_sample_grad(span), 0), computer.compute_loss_grad(span)[:, 0]


def exact_sketches(computer, projector, inputs, rows=None):
    """The same of plain autograd, one row after the other, each alone."""
    sketches, q = [], []
    for row in range(len(inputs)) if rows is None else rows:
        batch = unique_batch(inputs, [row])
        grads = in_own_precision(computer, batch)
        sketches.append(projector.project({name: grad[None] for name, grad in grads.items()}, 0)[0])
        q.append(computer.modelout_fn.get_out_to_loss_grad(computer.model, None, None, batch)[0, 0])
    return torch.stack(sketches), torch.stack(q)


def in_own_precision(computer, batch):
    """Plain autograd of a row's margin, without the rounding of float64 scores that `ClickOutput` makes."""
    if next(computer.model.parameters()).dtype == torch.float32:
        return row_gradient(computer.model, computer.modelout_fn, batch, computer.parameters)
    f = margin(computer.modelout_fn.loss, computer.model(batch), batch)[0]
    names, parameters = zip(*computer.parameters.items(), strict=True)
    return dict(zip(names, torch.autograd.grad(f, parameters, materialize_grads=True, allow_unused=True), strict=True))


def worst(found, expected):
    """The largest difference of a row, in units of its norm, or of a thousandth of the longest row's."""
    sizes = expected.norm(dim=1)
    return float(((found - expected).norm(dim=1) / sizes.clamp(min=1e-3 * float(sizes.max()))).max())
