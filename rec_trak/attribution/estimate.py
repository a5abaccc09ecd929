"""What featurizing and scoring a job will cost, from a few rows tried in memory. Not here: writing anything."""

from __future__ import annotations

import dataclasses
import resource
import time
from dataclasses import dataclass

import numpy as np
import torch
from trak.gradient_computers import AbstractGradientComputer
from trak.projectors import AbstractProjector

from rec_trak.attribution.job import Job
from rec_trak.attribution.needs import features_disk, scores_disk
from rec_trak.attribution.ways import Way, choose_way
from rec_trak.clicks import ClickOutput
from rec_trak.gradients.preflight import GradientChoice
from rec_trak.room import available_memory, free_disk
from rec_trak.scoring.memory import SMALL, scoring_memory
from rec_trak.sketch.projectors import make_projector

TRIED_BATCHES = 3


@dataclass(frozen=True)
class Estimate:
    """What to expect.

    Attributes:
        rows, members, parameters: N, checkpoints, numbers differentiated.
        gradient: the path that will be taken, and why.
        articles: how articles are taken once each, or why not, with the times by either path where they were measured.
        seconds: for all rows of all members, by the rate of the tried rows.
        disk: bytes that the save directory is still to take.
        free: bytes free on its disk.
        threads: by which that is.
        memory: bytes of a process at its peak, pages of the save directory aside: `held`, which it had taken with the
            rows read and a batch of the longest tried, and a span where articles are taken once each.
        target_disk: bytes that each target to be explained takes of that disk; target_scratch: more, while scoring.
        scoring_memory: bytes beyond the libraries at scoring, whatever N is.
        available_memory: bytes that there are; None where the system does not say.
    """

    rows: int
    members: int
    parameters: int
    gradient: GradientChoice
    articles: str
    seconds: float
    threads: int
    disk: int
    free: int
    held: int
    memory: int
    target_disk: int
    target_scratch: int
    scoring_memory: int
    available_memory: int | None


def estimate(job: Job) -> Estimate:
    """The cost of `featurize(job)`, measured on a few batches of rows of short and of long histories, and of scoring.

    Raises:
        ConfigError, NumericalError: as `gradients.choose_gradient`.
    """
    way = choose_way(job, job.inputs, job.loss)
    computer = way.computer(job.precision)(
        job.model, ClickOutput(job.loss), job.parameter_count, torch.float32, job.device, grad_wrt=job.grad_wrt
    )
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, job.device)
    seconds, span = _tried(job, way, computer, projector)
    rows, members, p = len(job.inputs), len(job.members), job.parameter_count
    held = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Estimate(
        rows=rows,
        members=members,
        parameters=p,
        gradient=way.choice,
        articles=str(way.plan or way.untaken),
        seconds=seconds * members,
        threads=torch.get_num_threads(),
        disk=sum(features_disk(job).values()),
        free=free_disk(job.save_dir),
        held=held,
        memory=held + span,
        target_disk=members * 4 * (job.proj_dim + 1),
        target_scratch=sum(scores_disk(job, 1).values()),
        scoring_memory=max(SMALL, scoring_memory(job.proj_dim)),  # blocks of rows take some, whatever K is
        available_memory=available_memory(),
    )


def _tried(job: Job, way: Way, computer: AbstractGradientComputer, projector: AbstractProjector) -> tuple[float, int]:
    """Seconds for all rows of a member, and bytes of a span; a batch of the longest rows has been held."""
    order = np.argsort(job.inputs.impressions.history.lengths, kind="stable")
    size = min(job.batch_size, len(order))
    if way.plan is not None:  # which measured it
        pairs = dataclasses.replace(way, choice=GradientChoice("factored", ""), plan=None)
        given = (job.model, ClickOutput(job.loss), job.parameter_count, torch.float32, job.device)
        _featurize(pairs, pairs.computer("float32")(*given, grad_wrt=job.grad_wrt), projector, job, order[-size:])
        return way.plan.article_seconds, way.plan.memory
    starts = np.linspace(0, len(order) - size, min(TRIED_BATCHES, len(order) // size)).astype(int)
    _featurize(way, computer, projector, job, order[:size])  # what a run pays once is not a row's cost
    begin = time.perf_counter()
    for start in starts:
        _featurize(way, computer, projector, job, order[start : start + size])
    return (time.perf_counter() - begin) / (len(starts) * size) * len(order), 0


def _featurize(way: Way, computer, projector, job: Job, rows: np.ndarray) -> None:
    """Try one batch."""
    batch = way.batch(job, job.inputs, rows)
    projector.project(computer.compute_per_sample_grad(batch), model_id=0)
    computer.compute_loss_grad(batch)
