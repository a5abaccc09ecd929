"""A finished save directory -> influence of every impression. Not here: gradients, files of results, ranks.

Over members, the kernel part and Q are averaged apart and then multiplied, as the paper does; the values of an
impression are summed over its rows, where the loss makes several.

Source: Park et al. 2023, TRAK (arXiv 2303.14186), section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from rec_trak.data.impressions import Impressions
from rec_trak.errors import NumericalError
from rec_trak.job import Job
from rec_trak.scoring import Diagnostics, Kernel, diagnose, kernel_column, member_leverage
from rec_trak.session import featurize_targets, require_finished
from rec_trak.store import read_member


@dataclass(frozen=True)
class SelfInfluence:
    """Influence of each impression on itself.

    Attributes:
        scores: (I,) Q h in margin units, or the leverage of the loss gradient where that form was asked for.
        leverage, q: (I,) means over members (summed over the rows of an impression).
        diagnostics: one a member.
    """

    scores: np.ndarray
    leverage: np.ndarray
    q: np.ndarray
    diagnostics: tuple[Diagnostics, ...]


@dataclass(frozen=True)
class TargetInfluence:
    """Mean influence of each impression on a set of M targets.

    Attributes:
        plain: (I,) Q k, in margin units: > 0 a proponent, < 0 an opponent.
        renormalised: (I,) k / sqrt(h), for finding poison.
        kernel: (I,) k.
        targets: M.
        diagnostics: one a member.
    """

    plain: np.ndarray
    renormalised: np.ndarray
    kernel: np.ndarray
    targets: int
    diagnostics: tuple[Diagnostics, ...]


def self_influence(job: Job, form: str = "self_influence") -> SelfInfluence:
    """Self-influence of every impression, from a finished save directory.

    Args:
        job: the job that was featurized.
        form: `self_influence` (Q h) or `loss_gradient` (leverage of Q phi, averaged over members).

    Raises:
        StoreError: rows are missing, or the directory is another run's.
        NumericalError: no ridge with K >= N, or a score that is not finite.
    """
    h, q, own, diagnostics = [], [], [], []
    for phi, member_q, kernel, member_h in _systems(job):
        h.append(member_h)
        q.append(member_q)
        diagnostics.append(diagnose(kernel, member_h))
        own.append(member_leverage(phi, job.lambda_rel, weights=member_q)[0] if form == "loss_gradient" else None)
    mean_h, mean_q = np.mean(h, axis=0), np.mean(q, axis=0)
    scores = np.mean(own, axis=0) if form == "loss_gradient" else mean_h * mean_q
    _check_finite(scores, job)
    return SelfInfluence(*(_per_impression(job, x) for x in (scores, mean_h, mean_q)), tuple(diagnostics))


def target_influence(job: Job, name: str, targets: Impressions, keep_matrix: bool = False) -> TargetInfluence:
    """Influence of every impression on a set of targets, averaged over the set.

    Target gradients are kept in the save directory under `name`, so that a second call computes none; see
    `session.featurize_targets` for the arguments.

    Raises:
        StoreError: rows are missing, the directory is another run's, or another target set has this name.
        NumericalError: a gradient or score is not finite.
    """
    count = featurize_targets(job, name, targets, keep_matrix)
    kernels, h, q, diagnostics = [], [], [], []
    for model_id, (phi, member_q, kernel, member_h) in enumerate(_systems(job)):
        gradients = np.load(job.save_dir / str(model_id) / f"{name}_grads.mmap", mmap_mode="r")
        mean_target = torch.from_numpy(np.asarray(gradients, dtype=np.float64).mean(axis=0))
        kernels.append(kernel_column(phi, kernel, mean_target))
        h.append(member_h)
        q.append(member_q)
        diagnostics.append(diagnose(kernel, member_h))
    k, mean_h, mean_q = (np.mean(x, axis=0, dtype=np.float64) for x in (kernels, h, q))
    renormalised = k / np.sqrt(np.maximum(mean_h, np.finfo(np.float64).tiny))
    _check_finite(renormalised, job)
    parts = (_per_impression(job, x) for x in (k * mean_q, renormalised, k))
    return TargetInfluence(*parts, count, tuple(diagnostics))


def _systems(job: Job) -> Iterator[tuple[np.ndarray, np.ndarray, Kernel, np.ndarray]]:
    """Per member: projected gradients (N, K), Q (N,), the solved system and the leverages (N,)."""
    require_finished(job)
    for model_id in range(len(job.members)):
        phi, q = read_member(job.save_dir, model_id)
        h, kernel = member_leverage(phi, job.lambda_rel)
        yield phi, q, kernel, h


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
