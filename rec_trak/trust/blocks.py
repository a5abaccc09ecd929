"""One symmetric matrix factored by blocks, and rows whitened by it. Not here: several ridges of one matrix (bands.py).

    A = L L',  Z = Phi L^-T

Products are faster than solves: the blocks on the diagonal of L are inverted once, for the factor's own panels and for
all rows after.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

WIDTH = 128


@dataclass(frozen=True)
class BlockFactor:
    """L of a matrix (K, K) = L L'.

    Attributes:
        lower: (K, K), L below the blocks on its diagonal; nothing else of it is read.
        inverses: of those blocks, (WIDTH, WIDTH); the last may be smaller.
    """

    lower: Tensor
    inverses: list[Tensor]

    def whitened(self, rows: Tensor) -> Tensor:
        """rows (n, K) @ L^-T."""
        out, start = torch.empty_like(rows), 0
        for inverse in self.inverses:
            end = start + inverse.shape[0]
            part = rows[:, start:end]
            if start:
                part = torch.addmm(part, out[:, :start], self.lower[start:end, :start].T, alpha=-1)
            torch.mm(part, inverse.T, out=out[:, start:end])
            start = end
        return out

    def solved(self, rows: Tensor) -> Tensor:
        """rows (n, K) @ A^-1."""
        out = self.whitened(rows)
        end = out.shape[1]
        for inverse in reversed(self.inverses):
            start = end - inverse.shape[0]
            part = out[:, start:end]
            if end < out.shape[1]:
                part = torch.addmm(part, out[:, end:], self.lower[end:, start:end], alpha=-1)
            out[:, start:end] = part @ inverse
            end = start
        return out


def block_factor(matrix: Tensor) -> BlockFactor | None:
    """The factor of a symmetric matrix (K, K), written over it; None where it is not positive definite."""
    inverses = []
    for start in range(0, len(matrix), WIDTH):
        end = start + WIDTH
        corner, failed = torch.linalg.cholesky_ex(matrix[start:end, start:end])
        if int(failed):
            return None
        one = torch.eye(corner.shape[0], dtype=corner.dtype)
        inverses.append(torch.linalg.solve_triangular(corner, one, upper=False))
        if end < len(matrix):
            below = matrix[end:, start:end] @ inverses[-1].T
            matrix[end:, start:end] = below
            matrix[end:, end:].addmm_(below, below.T, alpha=-1)
    return BlockFactor(matrix, inverses)
