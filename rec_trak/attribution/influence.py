"""A finished save directory -> influence of every impression. Not here: gradients, files of results, ranks.

Over members, the kernel part and Q are averaged apart and then multiplied, as the paper does; the values of an
impression are summed over its rows, where the loss makes several.

Source: Park et al. 2023, TRAK (arXiv 2303.14186), section 3.3.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from rec_trak.attribution.job import Job
from rec_trak.attribution.needs import FEWER, require_room_for_targets, scores_disk, solved_type
from rec_trak.attribution.session import featurize_targets, require_finished
from rec_trak.attribution.settled import settled
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.disk import replacing
from rec_trak.errors import DataError, NumericalError
from rec_trak.room import take
from rec_trak.scoring.memory import require_systems
from rec_trak.scoring.solve import (
    Diagnostics,
    Kernel,
    diagnose,
    gram,
    kernel_column,
    leverage,
    member_leverage,
    needs_double,
    negligible,
    solve,
)
from rec_trak.scoring.streaming import Best, carrying, extremes, kept, mean_gradient, score_blocks, solve_targets
from rec_trak.store.grams import keep_gram, kept_gram
from rec_trak.store.reading import read_member, read_targets
from rec_trak.store.saver import reserve
from rec_trak.words import outline


@dataclass(frozen=True)
class SelfInfluence:
    """Influence of each impression on itself.

    Attributes:
        scores: (I,) Q h in margin units, or the leverage of the loss gradient where that form was asked for.
        leverage, q: (I,) means over members (summed over the rows of an impression).
        diagnostics: one a member.
        nothing: (I,) bool, impressions whose gradients are rounding alone (`solve.negligible`); their influence is 0.
    """

    scores: np.ndarray
    leverage: np.ndarray
    q: np.ndarray
    diagnostics: tuple[Diagnostics, ...]
    nothing: np.ndarray

    __repr__ = outline


@dataclass(frozen=True)
class TargetInfluence:
    """Influence of each impression on a set of M targets: its mean over the set, and the ends of each target's ranking.

    Targets that carry nothing have influence 0 from every row, and no part in the mean.

    Attributes:
        plain: (I,) Q k, in margin units: > 0 a proponent, < 0 an opponent.
        renormalised: (I,) k / sqrt(h), for finding poison.
        kernel: (I,) k.
        targets: M.
        proponents, opponents: of each target, by Q k; impressions take the place of rows.
        diagnostics: one a member.
        nothing: see `SelfInfluence`.
        nothing_targets: (M,) bool, targets whose gradients are rounding alone.
    """

    plain: np.ndarray
    renormalised: np.ndarray
    kernel: np.ndarray
    targets: int
    proponents: Best
    opponents: Best
    diagnostics: tuple[Diagnostics, ...]
    nothing: np.ndarray
    nothing_targets: np.ndarray

    __repr__ = outline


def self_influence(job: Job, form: str = "self_influence") -> SelfInfluence:
    """Self-influence of every impression, from a finished save directory.

    Args:
        job: the job that was featurized.
        form: `self_influence` (Q h) or `loss_gradient` (leverage of Q phi, averaged over members).

    Raises:
        StoreError: rows are missing, or the directory is another run's.
        NumericalError: no ridge with K >= N, or a score that is not finite.
    """
    job = settled(job)
    h, q, own, diagnostics, nothing = [], [], [], [], np.ones(len(job.inputs), dtype=bool)
    for phi, member_q, kernel, member_h in _systems(job):
        nothing &= negligible(phi, member_h, kernel, job.precision)
        h.append(member_h)
        q.append(member_q)
        diagnostics.append(diagnose(kernel, member_h))
        own.append(member_leverage(phi, job.lambda_rel, weights=member_q)[0] if form == "loss_gradient" else None)
    mean_h, mean_q = np.mean(h, axis=0), np.mean(q, axis=0)
    scores = np.mean(own, axis=0) if form == "loss_gradient" else mean_h * mean_q
    scores[nothing] = 0
    _check_finite(scores, job)
    parts = (_per_impression(job, x) for x in (scores, mean_h, mean_q))
    return SelfInfluence(*parts, tuple(diagnostics), _per_impression(job, ~nothing) == 0)


def target_influence(
    job: Job,
    name: str,
    targets: Impressions,
    top_k: int = 10,
    matrix: Path | None = None,
    articles: Articles | None = None,
) -> TargetInfluence:
    """Influence of every impression on a set of targets: the mean over the set, and the ends of each target's ranking.

    Target gradients are kept in the save directory under `name`, so that a second call computes none; see
    `session.featurize_targets`. Memory is that of a few blocks, of I and N numbers, and of the 2 M top_k that are kept.

    Args:
        job: the job that was featurized.
        name: of the target set.
        targets: M rows, the article to explain first.
        top_k: proponents and opponents kept of each target, at most I.
        matrix: where to write all scores, (I, M) float32 as .npy, block by block; None to keep none.
        articles: the table of the targets where it is more than the job's.

    Raises:
        StoreError: rows are missing, the directory is another run's, another target set has this name, or no room.
        RoomError: there is not enough memory to score with this K.
        DataError: no target carries anything.
        NumericalError: a gradient or score is not finite.
    """
    job = settled(job)
    require_finished(job)
    require_room_for_targets(job, name, len(targets), scores_disk(job, len(targets), matrix))
    count = featurize_targets(job, name, targets, articles=articles)
    phis, kernels, h, q, diagnostics, nothing = [], [], [], [], [], np.ones(len(job.inputs), dtype=bool)
    carries = np.zeros(count, dtype=bool)
    with _scratch(job, (len(job.members), count, job.proj_dim)) as columns:
        for model_id, (phi, member_q, kernel, member_h) in enumerate(_systems(job)):
            gradients = read_targets(job.save_dir, model_id, name)
            solve_targets(kernel, gradients, columns[model_id])
            own = carrying(kernel, gradients, len(phi), job.precision)
            columns[model_id][~own] = 0
            carries |= own
            kernels.append(kernel_column(phi, kernel, mean_gradient(gradients, own)))
            phis.append(phi)
            h.append(member_h)
            q.append(member_q)
            nothing &= negligible(phi, member_h, kernel, job.precision)
            diagnostics.append(diagnose(kernel, member_h))
        k, mean_h, mean_q = (np.mean(x, axis=0, dtype=np.float64) for x in (kernels, h, q))
        k *= share_of_all(carries, name)
        k[nothing], mean_q[nothing] = 0, 0
        renormalised = k / np.sqrt(np.maximum(mean_h, np.finfo(np.float64).tiny))
        _check_finite(renormalised, job)
        starts = np.searchsorted(job.impression_of_row, np.arange(len(job.impressions) + 1))
        blocks = score_blocks(phis, columns, mean_q, starts)
        with nullcontext() if matrix is None else _written(matrix, (len(job.impressions), count)) as array:
            ends = extremes(blocks if array is None else kept(blocks, array), count, min(top_k, len(job.impressions)))
    parts = (_per_impression(job, x) for x in (k * mean_q, renormalised, k))
    return TargetInfluence(*parts, count, *ends, tuple(diagnostics), _per_impression(job, ~nothing) == 0, ~carries)


def share_of_all(carries: np.ndarray, name: str) -> float:
    """What makes a sum over the targets that carry something (`carries`, (M,) bool), divided by M, their mean.

    Raises:
        DataError: there is none.
    """
    if not carries.any():
        raise DataError(
            f"targets {name}: none of them carries anything. Got {len(carries):,} whose gradient is rounding, expected "
            "one that is not: all their candidates look alike to the model, or nothing of them reaches it. Name other "
            "targets, with a history and other candidates."
        )
    return len(carries) / int(carries.sum())


@contextmanager
def _scratch(job: Job, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """An array for solved targets on the disk of the save directory, gone afterwards however the process ends."""
    dtype = solved_type(job)
    with tempfile.TemporaryFile(dir=job.save_dir) as file:
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        take(file.fileno(), size, job.save_dir, "solved targets", FEWER)
        yield np.memmap(file, dtype=dtype, mode="r+", shape=shape)


@contextmanager
def _written(path: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """A float32 .npy of this shape, to be filled; it takes its place only when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        array = open_memmap(temporary, mode="w+", shape=shape, dtype=np.float32)
        reserve(temporary, temporary.stat().st_size)
        yield array
        array.flush()


def _systems(job: Job) -> Iterator[tuple[np.ndarray, np.ndarray, Kernel, np.ndarray]]:
    """Per member: projected gradients (N, K), Q (N,), the solved system and the leverages (N,)."""
    require_finished(job)
    for model_id in range(len(job.members)):
        phi, q = read_member(job.save_dir, model_id)
        kernel = solve(_gram(job, model_id, phi), len(phi), job.lambda_rel)
        yield phi, q, kernel, leverage(phi, kernel)


def _gram(job: Job, model_id: int, phi: np.ndarray) -> Tensor:
    """Phi'Phi of a member, kept for whoever solves it again."""
    require_systems(job.proj_dim)
    double = needs_double(job.lambda_rel)
    kept = kept_gram(job.save_dir, model_id, double, job.proj_dim)
    if kept is not None:
        return torch.from_numpy(kept)
    xtx = gram(phi, lambda_rel=job.lambda_rel)
    keep_gram(job.save_dir, model_id, double, xtx.numpy())
    return xtx


def _per_impression(job: Job, values: np.ndarray) -> np.ndarray:
    """Row values (N,) summed over the rows of each impression (I,)."""
    return np.bincount(job.impression_of_row, weights=values, minlength=len(job.impressions))


def _check_finite(scores: np.ndarray, job: Job) -> None:
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise NumericalError(
            f"score: not finite for row {bad[0]} ({job.inputs.impressions.sources[bad[0]]}) and {len(bad) - 1} more. "
            "Got NaN or Inf, expected finite numbers. Raise `lambda_rel`."
        )
