"""Variants of the estimator on stored sketches: which Q, which curvature, which denominator. Not here: LDS, training.

Every variant is (N, M) scores of all rows on all targets, few enough here to be held in memory. With phi_i the sketch
of row i's margin gradient and means over the members:

    plain           mean k * mean Q, k = phi' (Phi'Phi + ridge)^-1 phi_t
    out-of-bag Q    Q only from the members that were not trained on the row
    denominator     plain / (1 - mean r h), r = Q (1 - Q): what a Newton step without the row has beyond the influence
    loss gradient   psi = Q phi in the place of phi: mean of psi' (Psi'Psi + ridge)^-1 phi_t
    softmax         the exact curvature of the rows' losses, the sum over their candidates c of
                    p_c (s_c - mean s)(s_c - mean s)', in the place of Phi'Phi; s_c are sketches of the score gradients

Source: Park et al. 2023, TRAK (arXiv 2303.14186), section 3; Rad and Maleki 2020 for the denominator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from worlds import Features

from rec_trak.attribution.job import Job, make_job
from rec_trak.attribution.session import featurize
from rec_trak.data.ragged import Ragged
from rec_trak.models.build import build_model
from rec_trak.scoring.solve import gram, relative_ridge
from rec_trak.store.reading import read_member

PLAIN = "plain TRAK"


@dataclass(frozen=True)
class Parts:
    """What the variants of E members are made of.

    Attributes:
        plain, loss: (E, N, M) k; with loss gradients, Q included.
        softmax: k with the exact curvature, without Q, of the first members alone.
        leverage, q: (E, N).
        seen: (E, N) bool, rows that a member was trained on.
    """

    plain: np.ndarray
    loss: np.ndarray
    softmax: np.ndarray
    leverage: np.ndarray
    q: np.ndarray
    seen: np.ndarray

    def of(self, members: slice) -> Parts:
        """These members alone."""
        parts = (self.plain, self.loss, self.softmax, self.leverage, self.q, self.seen)
        return Parts(*(part[members] for part in parts))


def make_parts(found: Features, exact: int, lambda_rel: float = 1.0) -> Parts:
    """Everything at the full K; the softmax curvature, which needs a sketch of every candidate, of `exact` members."""
    parts = []
    for phi, q, targets in zip(found.phis, found.qs, found.targets, strict=True):
        phi = np.array(phi)
        factor = _factor(gram(phi, lambda_rel=lambda_rel), len(phi), lambda_rel)
        loss = _columns(phi * q[:, None], _factor(gram(phi, q, lambda_rel), len(phi), lambda_rel), targets)
        parts.append((_columns(phi, factor, targets), loss, _leverage(phi, factor)))
    plain, loss, leverage = map(np.stack, zip(*parts, strict=True))
    return Parts(plain, loss, _exact(found, exact, lambda_rel), leverage, np.stack(found.qs), found.seen)


def kernels(found: Features, proj_dim: int, lambda_rel: float) -> np.ndarray:
    """(E, N, M) k; a smaller K by adding up equal parts of the buckets, which is a sketch with so many."""
    values = []
    for pair in zip(found.phis, found.targets, strict=True):
        phi, targets = (np.array(part).reshape(len(part), -1, proj_dim).sum(axis=1) for part in pair)
        values.append(_columns(phi, _factor(gram(phi, lambda_rel=lambda_rel), len(phi), lambda_rel), targets))
    return np.stack(values)


def variants(parts: Parts, bag_q: np.ndarray) -> dict[str, np.ndarray]:
    """Name -> (N, M) scores, plain TRAK first.

    Args:
        parts: of the members.
        bag_q: (N,) out-of-bag Q, of `out_of_bag`.
    """
    k, q = parts.plain.mean(axis=0), parts.q.mean(axis=0)[:, None]
    bag = bag_q[:, None]
    short = (parts.q * (1 - parts.q) * parts.leverage).mean(axis=0)[:, None]
    found = {
        PLAIN: k * q,
        "no Q": k,
        "root Q": k * np.sqrt(q),
        "out-of-bag Q": k * bag,
        "root of out-of-bag Q": k * np.sqrt(bag),
        "Q k of each member averaged": (parts.plain * parts.q[:, :, None]).mean(axis=0),
        "leave-one-out denominator": k * q / (1 - short),
        "loss-gradient kernel": parts.loss.mean(axis=0),
    }
    if len(parts.softmax) == len(parts.plain):
        exact = parts.softmax.mean(axis=0)
        found |= {"softmax curvature": exact * q, "softmax curvature, root Q": exact * np.sqrt(q)}
    return found


def out_of_bag(q: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N,) mean Q over the members that were not trained on a row; over all of them where every one was.

    Args:
        q: (E, N).
        seen: (E, N) bool.
    """
    count = (~seen).sum(axis=0)
    return np.where(count, (q * ~seen).sum(axis=0) / np.maximum(count, 1), q.mean(axis=0))


def self_influence_agreement(parts: Parts, draws: int = 50) -> list[float]:
    """[mean, smallest, largest] rank correlation of Q h between two halves of the members, over random splits.

    Of an odd number of members one is left out.
    """
    from scipy.stats import spearmanr

    members, found = len(parts.q), []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(members)
        halves = (order[: members // 2], order[members // 2 : 2 * (members // 2)])
        scores = [parts.leverage[half].mean(axis=0) * parts.q[half].mean(axis=0) for half in halves]
        found.append(spearmanr(*scores).statistic)
    return [float(value) for value in (np.mean(found), min(found), max(found))]


def _factor(xtx: Tensor, rows: int, lambda_rel: float) -> Tensor:
    """The Cholesky factor that `scoring.solve` gives, without the eigenvalues, which take longer than all else."""
    ridge = relative_ridge(xtx, rows, lambda_rel)
    return torch.linalg.cholesky(xtx + ridge * torch.eye(len(xtx), dtype=torch.float64))


def _columns(phi: np.ndarray, factor: Tensor, targets: np.ndarray) -> np.ndarray:
    solved = torch.cholesky_solve(torch.from_numpy(np.array(targets, dtype=np.float64)).T, factor)
    return (torch.from_numpy(phi.astype(np.float64)) @ solved).numpy()


def _leverage(phi: np.ndarray, factor: Tensor) -> np.ndarray:
    whitened = torch.linalg.solve_triangular(factor, torch.from_numpy(phi.astype(np.float64)).T, upper=False)
    return whitened.square().sum(dim=0).numpy()


def _exact(found: Features, members: int, lambda_rel: float) -> np.ndarray:
    """(members, N, M) k with the exact curvature in the place of Phi'Phi."""
    if not members:
        return np.zeros((0, len(found.phis[0]), len(found.targets[0])))
    candidates = _candidates_job(found.job, members)
    featurize(candidates)
    values = []
    for m in range(members):
        phi = np.array(found.phis[m])
        values.append(_columns(phi, _factor(_curvature(candidates, m), len(phi), lambda_rel), found.targets[m]))
    return np.stack(values)


def _candidates_job(job: Job, members: int) -> Job:
    """The first members, sketched at each candidate of each row: f = s_c, as bce has it where the label is 1."""
    labels = Ragged.of([np.ones(len(row), dtype=int) for row in job.impressions.candidates])
    rows, config = replace(job.impressions, labels=labels), job.model_config
    settings = {"loss": "bce", "proj_dim": job.proj_dim, "projector": job.projector, "seed": job.seed}
    settings |= {"gradient": "factored", "precision": job.precision, "batch_size": 32, "lambda_rel": job.lambda_rel}
    folder = job.save_dir.with_name(f"{job.save_dir.name}_candidates")
    model = build_model(config).eval()
    return make_job(job.articles, rows, model, config, job.members[:members], folder, "cpu", None, **settings)


def _curvature(own: Job, member: int) -> Tensor:
    """(K, K) float64 exact curvature of all rows' losses under a member, from the candidates' sketches."""
    sketches, q = read_member(own.save_dir, member)
    powers = torch.from_numpy(1 / q - 1)  # exp(s), of Q = 1 - sigmoid(s)
    owner = torch.from_numpy(own.impression_of_row)
    chances = powers / torch.zeros(len(own.impressions), dtype=torch.float64).index_add(0, owner, powers)[owner]
    sketches = torch.from_numpy(np.array(sketches, dtype=np.float32))
    middle = torch.zeros(len(own.impressions), sketches.shape[1])
    middle.index_add_(0, owner, sketches * chances.float()[:, None])
    return gram((sketches - middle[owner]) * chances.sqrt().float()[:, None])
