"""Whether the article path holds on a model, tried on real rows. Not here: whether it pays, or the path itself.

Rows of one user with one history may share a pass, in which they stand as one row with the candidates of all, so that a
model in which candidates see each other, or whose user depends on them, gives other gradients.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rec_trak.data.inputs import Inputs
from rec_trak.data.pieces import ALIKE, SHARE, rows_by_user
from rec_trak.data.spans import Span, make_span
from rec_trak.gradients.articles import ArticleComputer
from rec_trak.gradients.computers import row_batch, row_gradient
from rec_trak.gradients.preflight import LEAST, TOLERANCE, unlike_rows
from rec_trak.sketch.spans import SpanProjector

PROVEN = 16  # articles that a structure is proven on
USERS = 4  # whose rows are tried together
SEARCHED = 20_000  # rows among which they are looked for


def disproof(computer: ArticleComputer, projector: SpanProjector, inputs: Inputs, batch_size: int) -> str | None:
    """What is wrong with the article path on rows of unlike lengths among others, beside plain autograd; or None.

    Args:
        computer: of the model, whose weights are loaded.
        batch_size: of the run.
    """
    own = unlike_rows(inputs)
    crowd = np.arange(min(len(inputs), max(batch_size - len(own), 0)))
    most = PROVEN if computer.structure else 1
    span = make_span(inputs, np.concatenate([own, crowd]), 1, batch_size, computer.device, most)
    found = projector.project(computer.compute_per_sample_grad(span), 0)[: len(own)]
    alone = []
    for row in own:
        batch = row_batch(inputs, row, computer.device)
        grads = row_gradient(computer.model, computer.modelout_fn, batch, computer.parameters)
        alone.append(projector.project({name: grad[None] for name, grad in grads.items()}, 0)[0])
    errors = _errors(found, torch.stack(alone))
    worst = int(errors.argmax())
    if not float(errors[worst]) <= TOLERANCE:
        return f"row {own[worst]} differs from plain autograd by {float(errors[worst]):.1e} of its norm"
    return None


def sharing(computer: ArticleComputer, projector: SpanProjector, inputs: Inputs, batch_size: int) -> int | None:
    """`Span.alike` for a run's spans; None where no rows share user and history, or where they may not share a pass.

    Args:
        computer, batch_size: as `disproof`.
    """
    rows = _together(inputs)
    if not len(rows):
        return None
    span = make_span(inputs, rows, np.inf, batch_size, computer.device)
    try:
        (wanted, own_q), (found, q) = (_features(computer, projector, replace(span, alike=n)) for n in (None, 1))
    except Exception:  # whatever a user's model does with more candidates than a row has
        return None
    agree = float(_errors(found, wanted).max()) <= TOLERANCE and float((q - own_q).abs().max()) <= TOLERANCE
    return ALIKE * batch_size if agree else None


def _features(computer: ArticleComputer, projector: SpanProjector, span: Span) -> tuple[Tensor, Tensor]:
    return projector.project(computer.compute_per_sample_grad(span), 0), computer.compute_loss_grad(span)


def _errors(found: Tensor, wanted: Tensor) -> Tensor:
    """Differences of rows in units of their norm, or of what counts as the norm of a small one."""
    sizes = wanted.norm(dim=1)
    return (found - wanted).norm(dim=1) / sizes.clamp(min=max(LEAST * float(sizes.max()), 1e-30))


def _together(inputs: Inputs) -> np.ndarray:
    """Some rows of a few users, as many of each; none where none share user and history."""
    users = sorted(rows_by_user(inputs, np.arange(min(len(inputs), SEARCHED))), key=len, reverse=True)[:USERS]
    users = [own for own in users if len(own) > 1]
    each = min([SHARE, *map(len, users)])
    return np.array([row for own in users for row in own[:each]], dtype=np.int64)
