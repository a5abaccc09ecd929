"""One symmetric matrix turned into a band, so that ridge after ridge is solved for little more than reading the rows.

    Q' A Q = T, a band of WIDTH to either side of the diagonal;  A + ridge I = Q (T + ridge I) Q'

A turn Q serves every ridge. With T + ridge I = L L', L has two blocks a column, and the whitened rows Z = Phi Q L^-T
give everything: leverages are their squares, kernels their products. Not here: which ridges, agreement.

Source: Householder 1958; compact products of reflectors, Schreiber and Van Loan 1989; bands before tridiagonal
matrices, Bischof and Van Loan 1987.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WIDTH = 64


@dataclass(frozen=True)
class Band:
    """A symmetric matrix (K, K) as Q T Q'.

    Attributes:
        diagonal: blocks (WIDTH, WIDTH) of T; the last may be smaller.
        below: the block under each of them but the last.
        reflectors: for each panel V and V S, of the product I - V S V' whose turn leaves the first columns alone.
    """

    diagonal: list[Tensor]
    below: list[Tensor]
    reflectors: list[tuple[Tensor, Tensor]]

    def turned(self, rows: Tensor) -> Tensor:
        """rows @ Q, (n, K)."""
        rows, size = rows.clone(), rows.shape[1]
        for v, vs in self.reflectors:
            part = rows[:, size - v.shape[0] :]
            part.addmm_(part @ vs, v.T, alpha=-1)
        return rows


@dataclass(frozen=True)
class BandFactor:
    """L of T + ridge I = L L'.

    Attributes:
        inverses: of the blocks on its diagonal. below: the block under each of them but the last.
    """

    inverses: list[Tensor]
    below: list[Tensor]

    def whitened(self, rows: Tensor) -> Tensor:
        """rows @ L^-T for turned rows (n, K)."""
        out, start, before = torch.empty_like(rows), 0, None
        for j, inverse in enumerate(self.inverses):
            end = start + inverse.shape[0]
            part = rows[:, start:end]
            if before is not None:
                part = torch.addmm(part, before, self.below[j - 1].T, alpha=-1)
            before = torch.mm(part, inverse.T)
            out[:, start:end] = before
            start = end
        return out

    def solved(self, rows: Tensor) -> Tensor:
        """rows @ (T + ridge I)^-1 for turned rows (n, K)."""
        sizes = [inverse.shape[0] for inverse in self.inverses]
        parts, before = list(self.whitened(rows).split(sizes, dim=1)), None
        for j in reversed(range(len(parts))):
            if before is not None:
                parts[j] = parts[j] - before @ self.below[j]
            before = parts[j] = parts[j] @ self.inverses[j]
        return torch.cat(parts, dim=1)


def banded(matrix: Tensor) -> Band:
    """The band of a symmetric matrix (K, K), in its own precision."""
    rest, size = matrix.clone(), len(matrix)
    diagonal, below, reflectors = [], [], []
    for start in range(0, size, WIDTH):
        diagonal.append(rest[start : start + WIDTH, start : start + WIDTH].clone())
        end = start + WIDTH
        if end >= size:
            break
        corner, v, vs = _reflected(rest[end:, start:end])
        below.append(corner)
        reflectors.append((v, vs))
        inner = rest[end:, end:]
        y = inner @ vs
        y -= v @ (vs.T @ y) / 2
        inner.addmm_(torch.cat([y, v], dim=1), torch.cat([v, y], dim=1).T, alpha=-1)
    return Band(diagonal, below, reflectors)


def _reflected(panel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a turn leaves of a panel (m, WIDTH), and V (m, c) and V S of the turn I - V S V', c = min(m, WIDTH)."""
    found, tau = torch.geqrf(panel.contiguous())
    count = len(tau)
    v = found[:, :count].tril(-1)
    v.diagonal().fill_(1)
    still = tau == 0  # a column that is 0 below already
    v[:, still] = 0
    inverse = (v.T @ v).triu_(1)
    inverse.diagonal().copy_(torch.where(still, 1.0, 1 / tau))
    return found[:count].triu(), v, torch.linalg.solve_triangular(inverse, v, upper=True, left=False)


def band_factor(band: Band, ridge: float) -> BandFactor | None:
    """The factor of a band with a ridge on its diagonal; None where that is not positive definite."""
    inverses, below, carried = [], [], None
    for j, block in enumerate(band.diagonal):
        system = block if carried is None else block - carried @ carried.T
        system = system + ridge * torch.eye(len(block), dtype=block.dtype)
        corner, failed = torch.linalg.cholesky_ex(system)
        if int(failed):
            return None
        inverses.append(torch.linalg.solve_triangular(corner, torch.eye(len(block), dtype=block.dtype), upper=False))
        if j < len(band.below):
            carried = band.below[j] @ inverses[j].T
            below.append(carried)
    return BandFactor(inverses, below)
