"""What featurizing a job will cost, from a few rows tried in memory. Not here: writing anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from rec_trak.clicks import ClickOutput
from rec_trak.gradients import computer_class, make_batch
from rec_trak.job import Job
from rec_trak.preflight import GradientChoice
from rec_trak.projectors import make_projector
from rec_trak.session import choose

TRIED_BATCHES = 3


@dataclass(frozen=True)
class Estimate:
    """What to expect.

    Attributes:
        rows, members, parameters: N, checkpoints, numbers differentiated.
        gradient: the path that will be taken, and why.
        seconds: for all rows of all members, by the rate of the tried rows.
        disk: bytes in the save directory.
        memory: bytes beyond the libraries: weights, and what a batch was seen to need in tensors.
    """

    rows: int
    members: int
    parameters: int
    gradient: GradientChoice
    seconds: float
    disk: int
    memory: int


def estimate(job: Job) -> Estimate:
    """The cost of `featurize(job)`, measured on a few batches of rows from the whole range of history lengths.

    Raises:
        ConfigError, NumericalError: as `gradients.choose_gradient`.
    """
    choice = choose(job, job.inputs, job.loss)
    computer = computer_class(choice.name, job.precision)(
        job.model, ClickOutput(job.loss), job.parameter_count, torch.float32, job.device, grad_wrt=job.grad_wrt
    )
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, job.device)
    order = np.argsort(job.inputs.impressions.history.lengths, kind="stable")
    size = min(job.batch_size, len(order))
    starts = np.linspace(0, len(order) - size, min(TRIED_BATCHES, len(order) // size)).astype(int)
    _featurize(
        choice.name, computer, projector, job, order[:size]
    )  # first-call costs are paid once a run, not once a batch
    begin = time.perf_counter()
    for start in starts:
        _featurize(choice.name, computer, projector, job, order[start : start + size])
    per_row = (time.perf_counter() - begin) / (len(starts) * size)
    rows, members, p = len(job.inputs), len(job.members), job.parameter_count
    weights = sum(w.numel() for w in job.model.state_dict().values())
    return Estimate(
        rows=rows,
        members=members,
        parameters=p,
        gradient=choice,
        seconds=per_row * rows * members,
        disk=members * rows * (4 * job.proj_dim + 8),
        memory=4 * weights + 2 * 4 * size * p + 12 * p,
    )


def _featurize(path: str, computer, projector, job: Job, rows: np.ndarray) -> None:
    batch = make_batch(path, job.model, job.inputs, rows, job.device)
    projector.project(computer.compute_per_sample_grad(batch), model_id=0)
    computer.compute_loss_grad(batch)
