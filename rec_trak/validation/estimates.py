"""What rankings predict for whole sets of rows: the sum of each row's influence over the set. Not here: retraining.

A sum over rows is linear, so the rows' gradients are added up first and no (N, M) array is ever made. The baselines
that attribution must beat are summed likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.scoring.solve import Kernel, blocks, gram, solve
from rec_trak.scoring.streaming import solve_targets

RUN, NO_Q, DOT = "influence (the run's)", "influence without Q", "gradient dot product"
CHOSEN = "influence, lambda_rel auto = {:g}"  # where the run's is another number
CANDIDATES, ARTICLES, SIGNED, RANDOM = "shared candidates", "shared articles", "shared candidates, signed", "random"
OVERLAPS = (CANDIDATES, ARTICLES, SIGNED)  # baselines that need no model
MemberReader = Callable[[int], tuple[np.ndarray, np.ndarray]]  # model id -> (phi (N, K), Q (N,))
TargetReader = Callable[[int], np.ndarray]  # model id -> projected target gradients (M, K)


def group_scores(
    members: int,
    read: MemberReader,
    read_targets: TargetReader,
    groups: np.ndarray,
    lambda_rel: float,
    further: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """What the run's estimator, the same without Q, and the plain gradient dot product predict for groups of rows.

    The order is the estimator's own: the kernel part and Q are averaged over members apart, then multiplied, then
    summed over each group's rows.

    Args:
        members: E.
        read: gives a member's projected gradients and Q.
        read_targets: gives a member's projected target gradients.
        groups: (J, N), 1 where a row is in a group, else 0.
        lambda_rel: the ridge, as `scoring.solve`.
        further: name -> (N,) weights in the place of the mean Q.

    Returns:
        RUN, NO_Q, DOT and those of `further`, each (J, M) float64; the dot product is the limit of a large ridge,
        without Q.

    Raises:
        NumericalError: as `scoring.solve`.
    """
    mean_q = np.mean([read(m)[1] for m in range(members)], axis=0)
    weights = {RUN: mean_q, **(further or {}), NO_Q: np.ones_like(mean_q)}
    found: dict[str, np.ndarray] = {}
    for m in range(members):
        phi, targets = read(m)[0], read_targets(m)
        columns = np.empty(targets.shape)
        solve_targets(solve(gram(phi, lambda_rel=lambda_rel), len(phi), lambda_rel), targets, columns)
        for name, weight in weights.items():
            sums = group_sums(phi, weight, groups)
            found[name] = found.get(name, 0) + sums @ columns.T / members
        plain = sums @ np.asarray(targets, dtype=np.float64).T / members  # of NO_Q, the last
        found[DOT] = found.get(DOT, 0) + plain
    return found


def group_sums(phi: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(J, K) float64: the rows of `phi` (N, K) times their weights (N,), added up by group (J, N)."""
    total = np.zeros((len(groups), phi.shape[1]))
    for rows, part in blocks(phi):
        total += (np.asarray(groups[:, rows], dtype=np.float64) * weights[rows]) @ part.double().numpy()
    return total


def row_scores(
    members: int, read: MemberReader, read_targets: TargetReader, chosen: np.ndarray, lambda_rel: float
) -> np.ndarray:
    """(N, m) influence of every row on a few targets, `chosen` (m,) among the M.

    Args:
        members, read, read_targets, lambda_rel: as `group_scores`.
        chosen: few; the result is held in memory.
    """
    kernels, residuals = [], []
    for m in range(members):
        phi, q = read(m)
        kernel = solve(gram(phi, lambda_rel=lambda_rel), len(phi), lambda_rel)
        kernels.append(_columns(phi, kernel, np.array(read_targets(m)[chosen], dtype=np.float64)))
        residuals.append(q)
    return np.mean(kernels, axis=0) * np.mean(residuals, axis=0)[:, None]


def _columns(phi: np.ndarray, kernel: Kernel, targets: np.ndarray) -> np.ndarray:
    columns: Tensor = torch.cholesky_solve(torch.from_numpy(targets).T, kernel.factor)
    return np.concatenate([(part.double() @ columns).numpy() for _, part in blocks(phi)])


def baseline_scores(
    rows: Impressions, targets: Impressions, groups: np.ndarray, seed: int = 0
) -> dict[str, np.ndarray]:
    """What rules that need no model predict for groups of rows.

    Args:
        rows: I impressions.
        targets: M; positions of articles mean the same as in `rows`.
        groups: (J, I), as `group_scores`.
        seed: of RANDOM.

    Returns:
        Each (J, M) float64, summed over the rows of a group:
        CANDIDATES: articles that row and target both have among their candidates; ARTICLES: among candidates and
        history; SIGNED: with 1 for the clicked (or explained) candidate and -1 / n for each of the n others, the dot
        product of the two, which knows that a row which shows an article unclicked speaks against it; RANDOM: a
        standard normal number for each row and target.
    """
    count = _articles_of(rows, targets)
    groups = np.asarray(groups, dtype=np.float64)
    kinds: Mapping[str, Callable] = {CANDIDATES: _candidates, ARTICLES: _articles, SIGNED: _signed}
    found = {}
    for name, features in kinds.items():
        summed = features(rows, count).T @ groups.T  # (articles, J)
        found[name] = np.asarray((features(targets, count) @ summed).T)
    random = np.random.default_rng(seed)
    found[RANDOM] = np.column_stack([groups @ random.standard_normal(len(rows)) for _ in range(len(targets))])
    return found


def signed_candidates(rows: Impressions, targets: Impressions):
    """What SIGNED takes inner products of: sparse (I, A) of the rows and (M, A) of the targets, A articles."""
    count = _articles_of(rows, targets)
    return _signed(rows, count), _signed(targets, count)


def _articles_of(rows: Impressions, targets: Impressions) -> int:
    return 1 + max(
        int(table.values.max(initial=0)) for one in (rows, targets) for table in (one.history, one.candidates)
    )


def _candidates(rows: Impressions, count: int):
    return _sparse([rows.candidates], count)


def _articles(rows: Impressions, count: int):
    return _sparse([rows.candidates, rows.history], count)


def _sparse(tables: Sequence[Ragged], count: int):
    """(rows, count) with 1 where a row has the article."""
    from scipy.sparse import csr_array

    lines = np.concatenate([np.repeat(np.arange(len(table)), table.lengths) for table in tables])
    articles = np.concatenate([table.values for table in tables])
    table = csr_array((np.ones(len(lines)), (lines, articles)), shape=(len(tables[0]), count))
    table.data = np.minimum(table.data, 1.0)
    return table


def _signed(rows: Impressions, count: int):
    from scipy.sparse import csr_array

    table = rows.candidates
    lines, others = np.repeat(np.arange(len(table)), table.lengths), np.maximum(table.lengths - 1, 1)
    values = -1.0 / others[lines]
    values[table.offsets[:-1]] = 1.0
    return csr_array((values, (lines, table.values)), shape=(len(table), count))
