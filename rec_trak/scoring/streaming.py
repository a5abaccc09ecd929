"""Scores of all rows on all targets, made block by block, and what is kept of them. Not here: solving, files, names.

Memory is that of one block and of what is kept, whatever N and M are; no (N, M) array is ever made. With phi_i the
projected gradient of row i and c_t = (Phi'Phi + ridge I)^-1 phi_t, the score of an impression on a target is the sum
over its rows of Q_i c_t' phi_i, averaged over members. The sum over rows is taken before the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rec_trak.errors import NumericalError
from rec_trak.scoring.solve import Kernel, shortest

ROWS, TARGETS = 2048, 1024  # of one block: its scores stay in the processor's cache
BLOCK_BYTES = 256 << 20  # of the gradients of one block, all members together
CHUNK = 64  # rows that are passed over together
MANY = 2  # with more than one in so many chunks beyond the bar, the block's own k best raise it first

Block = tuple[slice, slice, Tensor]


@dataclass(frozen=True)
class Best:
    """The k rows at one end of the ranking of each of M targets.

    Attributes:
        rows: (M, k) int64, the most extreme first; equal scores keep the order of the rows.
        scores: (M, k) float32.
    """

    rows: np.ndarray
    scores: np.ndarray


def solve_targets(kernel: Kernel, gradients: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (M, K), float32 or float64, with (Phi'Phi + ridge I)^-1 phi_t for each projected gradient (M, K)."""
    for start in range(0, len(gradients), TARGETS):
        targets = slice(start, start + TARGETS)
        block = torch.from_numpy(np.array(gradients[targets], dtype=np.float64))
        out[targets] = torch.cholesky_solve(block.T, kernel.factor).T.numpy()


def carrying(kernel: Kernel, gradients: np.ndarray, n_rows: int, precision: str = "float32") -> np.ndarray:
    """(M,) bool: targets whose projected gradient (M, K) is more than rounding; see `solve.negligible`.

    Args:
        kernel: one member's solved system.
        gradients: of the targets; a memory map stays on disk.
        n_rows: N, the rows that the system is of: their gradients say what is short.
        precision: in which the gradients were taken.
    """
    floor, found = shortest(kernel, n_rows, precision), np.empty(len(gradients), dtype=bool)
    for start in range(0, len(gradients), TARGETS):
        part = np.array(gradients[start : start + TARGETS], dtype=np.float64)
        found[start : start + TARGETS] = np.linalg.norm(part, axis=1) > floor
    return found


def mean_gradient(gradients: np.ndarray, carries: np.ndarray) -> Tensor:
    """(K,) float64: the sum of the targets' gradients (M, K) over those that carry something, divided by M."""
    total = gradients.mean(axis=0, dtype=np.float64)
    if not carries.all():
        total = total - np.asarray(gradients[~carries], dtype=np.float64).sum(axis=0) / len(gradients)
    return torch.from_numpy(total)


def score_blocks(
    phis: Sequence[np.ndarray], columns: Sequence[np.ndarray], weights: np.ndarray, starts: np.ndarray
) -> Iterator[Block]:
    """Consecutive blocks of impressions, each with blocks of targets: both as slices, and scores (rows, targets).

    The scores stand in one buffer that the next block overwrites.

    Args:
        phis: for each of E members, projected gradients (N, K); memory maps stay on disk.
        columns: for each member, the solved targets c_t (M, K), in the precision in which they are multiplied: float64
            where `solve.needs_double` of the ridge.
        weights: (N,) mean Q.
        starts: (I + 1,) int64; impression i has the rows from `starts[i]` to `starts[i + 1]`.
    """
    members, (count, k), dtype = len(phis), columns[0].shape, columns[0].dtype
    wide = min(TARGETS, count)
    tall = min(ROWS, max(CHUNK, BLOCK_BYTES // (8 * members * k) // CHUNK * CHUNK))
    weights = (np.asarray(weights, dtype=np.float64) / members).astype(dtype)
    buffer = torch.from_numpy(np.empty(0, dtype=dtype))
    last = 0
    while last < len(starts) - 1:
        first = last
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + tall, side="right")) - 1)
        parts = [_summed(phi, weights, starts[first : last + 1]) for phi in phis]
        if len(buffer) < (last - first) * wide:
            buffer = buffer.new_empty((last - first) * wide)
        for left in range(0, count, wide):
            targets = slice(left, min(left + wide, count))
            scores = buffer[: (last - first) * (targets.stop - left)].view(last - first, -1)
            for member, (part, column) in enumerate(zip(parts, columns, strict=True)):
                block = torch.from_numpy(np.array(column[targets]))
                torch.addmm(scores, part, block.T, beta=min(member, 1), out=scores)
            yield slice(first, last), targets, scores.float()


def _summed(phi: np.ndarray, weights: np.ndarray, starts: np.ndarray) -> Tensor:
    """(I, K): the rows `starts[0]` to `starts[-1]`, each times its weight, added up by impression; as the weights."""
    rows = slice(int(starts[0]), int(starts[-1]))
    part = phi[rows] * weights[rows, None]
    if len(starts) <= len(part):
        part = np.add.reduceat(part, starts[:-1] - starts[0], axis=0)
    return torch.from_numpy(np.asarray(part, dtype=weights.dtype))


def kept(blocks: Iterable[Block], matrix: np.ndarray) -> Iterator[Block]:
    """The same blocks, each written to its place in `matrix` (I, M) on the way."""
    for rows, targets, scores in blocks:
        matrix[rows, targets] = scores.numpy()
        yield rows, targets, scores


def extremes(blocks: Iterable[Block], count: int, top_k: int) -> tuple[Best, Best]:
    """The `top_k` rows with the highest scores on each of `count` targets, and those with the lowest.

    Rows are looked at by CHUNK: a chunk whose best score is not beyond a target's k-th best so far is passed over, and
    after a few blocks almost every chunk is.

    Args:
        blocks: as `score_blocks` gives them, all rows of them.
        count: M.
        top_k: at least 1, at most I.

    Raises:
        NumericalError: a score is not finite.
    """
    ends = {sign: _Held(torch.full((count, top_k), -torch.inf), torch.full((count, top_k), -1)) for sign in (1, -1)}
    for rows, targets, scores in blocks:
        whole = len(scores) // CHUNK * CHUNK
        for first, part in ((0, scores[:whole]), (whole, scores[whole:])):
            if len(part):
                chunks = part.view(-1, min(len(part), CHUNK), part.shape[1])
                for sign, held in ends.items():
                    _look_through(held, sign, chunks, rows.start + first, targets)
    proponents, opponents = (Best(held.rows.numpy(), (sign * held.values).numpy()) for sign, held in ends.items())
    return proponents, opponents


@dataclass(frozen=True)
class _Held:
    """The best so far, changed in place: `values` (M, k) from high to low, and their `rows`."""

    values: Tensor
    rows: Tensor


def _look_through(held: _Held, sign: int, chunks: Tensor, first: int, targets: slice) -> None:
    """Let the scores `chunks` (chunks, rows, targets), times `sign`, of the rows from `first` on compete."""
    values = held.values[targets]
    k, length = values.shape[1], chunks.shape[1]
    peaks = chunks.amax(dim=1) if sign > 0 else -chunks.amin(dim=1)
    _check_finite(peaks, targets)
    bar = values[:, -1]
    at, of = torch.nonzero(peaks > bar, as_tuple=True)
    if len(of) > peaks.numel() // MANY:  # only what is among the block's own k best can enter
        own = (sign * chunks.flatten(0, 1).T).topk(min(k, len(chunks) * length), dim=1).values[:, -1]
        bar = torch.maximum(bar, torch.nextafter(own, own.new_tensor(-torch.inf)))
        at, of = torch.nonzero(peaks > bar, as_tuple=True)
    found = sign * chunks[at, :, of]
    hit, place = torch.nonzero(found > bar[of, None], as_tuple=True)
    target, order = of[hit].sort(stable=True)  # by target, then by row
    rows = (at[hit] * length + place + first)[order]
    _merge(held, target + targets.start, rows, found[hit, place][order])


def _merge(held: _Held, targets: Tensor, rows: Tensor, values: Tensor) -> None:
    """Let new rows (n,) and their values compete for the places of their targets (n,), by which they are sorted."""
    if not len(targets):
        return
    different, counts = torch.unique_consecutive(targets, return_counts=True)
    k, width = held.values.shape[1], int(counts.max())
    line = torch.arange(len(counts)).repeat_interleave(counts)
    place = k + torch.arange(len(targets)) - (counts.cumsum(0) - counts)[line]
    all_values = torch.full((len(counts), k + width), -torch.inf)
    all_rows = torch.full((len(counts), k + width), -1)
    all_values[:, :k], all_rows[:, :k] = held.values[different], held.rows[different]
    all_values[line, place], all_rows[line, place] = values, rows
    ordered = all_values.sort(dim=1, descending=True, stable=True)
    held.values[different] = ordered.values[:, :k]
    held.rows[different] = all_rows.gather(1, ordered.indices[:, :k])


def _check_finite(peaks: Tensor, targets: slice) -> None:
    bad = torch.nonzero(~torch.isfinite(peaks).all(dim=0)).flatten()
    if len(bad):
        raise NumericalError(
            f"score: not finite on target {targets.start + int(bad[0])} and {len(bad) - 1} more. Got NaN or Inf, "
            "expected finite numbers. Raise `lambda_rel`."
        )
