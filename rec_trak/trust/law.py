"""Whether Q grad f = - grad L holds on real rows, with the Q that a store holds. Not here: how gradients are stored."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from rec_trak.attribution.job import Job
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import ClickOutput
from rec_trak.gradients.computers import gradients_of, row_batch, row_margin

ROWS = 16
ROUNDING = 1e-3  # of the longest gradient looked at: what a shorter one is measured by


def law_error(job: Job, q: np.ndarray, rows: int = ROWS, seed: int = 0) -> float:
    """The largest |Q grad f + grad L| / |grad L| over some rows, by plain autograd with the first checkpoint.

    A row whose gradient is shorter than ROUNDING of the longest one is held to that length: it may be rounding alone.
    L is the loss that the job names. A Q of another loss, of other weights or of other rows breaks the law.

    Args:
        job: what was featurized; its model has the first checkpoint's weights afterwards.
        q: (N,) that the store holds for the first checkpoint.
        rows: how many rows are looked at.
        seed: of which.

    Source: Park et al. 2023, TRAK (arXiv 2303.14186), section 3.
    """
    load_into(job.model, job.members[0].state_dict(), job.members[0].name)
    parameters = {name: p for name, p in job.model.named_parameters() if name in set(job.grad_wrt)}
    chosen = np.random.default_rng(seed).permutation(len(job.inputs))[:rows]
    found = np.array([_error(job, row, float(q[row]), parameters) for row in chosen]).reshape(-1, 2)
    least = ROUNDING * found[:, 1].max(initial=0.0)
    return max((off / max(size, least) for off, size in found if size > 0), default=0.0)


def _error(job: Job, row: int, q: float, parameters: dict[str, torch.nn.Parameter]) -> tuple[float, float]:
    """|Q grad f + grad L| and |grad L| of a row."""
    f = row_margin(job.model, ClickOutput(job.loss), row_batch(job.inputs, row, job.device))
    of_loss = gradients_of(-F.logsigmoid(f), parameters, keep=True).values()
    of_f = gradients_of(f, parameters).values()
    pairs = [(a.double(), b.double()) for a, b in zip(of_f, of_loss, strict=True)]
    off = sum(float((q * a + b).square().sum()) for a, b in pairs)
    size = sum(float(b.square().sum()) for _, b in pairs)
    return off**0.5, size**0.5
