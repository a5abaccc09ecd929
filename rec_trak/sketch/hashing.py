"""Integer hashes and the tables of a sketch, the same on every machine. Not here: gradients, or applying a table."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
SIGN_ROWS = 1024
LAYOUT = 65_536  # numbers up to which a gradient is laid out more widely, for more strides to choose from


def hash_uint64(key: str, count: int) -> np.ndarray:
    """`count` well-mixed 64-bit numbers for the indices 0, 1, ... under `key`; the same on every machine.

    Source: the output function of SplitMix64 (Steele, Lea and Flood 2014), started from a hash of `key`.
    """
    start = np.uint64(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little"))
    with np.errstate(over="ignore"):
        z = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        for shift, factor in MIXERS:
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return z ^ (z >> np.uint64(31))


def signs(key: str, *shape: int) -> Tensor:
    """Random signs of the given shape, float32."""
    bits = hash_uint64(key, math.prod(shape)) & np.uint64(1)
    return torch.from_numpy(1.0 - 2.0 * bits.astype(np.float32)).view(*shape)


@dataclass(frozen=True)
class VectorMap:
    """Where the entries of a one-dimensional parameter go: bucket (n,) int64 in [0, K) and sign (n,)."""

    bucket: Tensor
    sign: Tensor


@dataclass(frozen=True)
class MatrixMap:
    """Where the entries of a parameter of R rows and C columns go, with tables as long as its sides.

    Entry (i, j) goes to bucket (i * stride + j + offsets[i // K, j // K]) mod K, with sign
    row_signs[j // K, i] * col_signs[i // K mod 1024, j]. A gradient laid out with `stride` numbers a row is then folded
    every K numbers: no scatter. `stride` is random and has no factor in common with K, so that two entries of one row,
    or of one column, of a K by K tile never meet, and others meet for about one in K of the strides; entries of two
    tiles meet for one in K of the offsets. Signs make inner products unbiased.

    Attributes:
        row_signs: (ceil(C / K), R) float32.
        col_signs: (min(ceil(R / K), 1024), C) float32.
        offsets: (ceil(R / K), ceil(C / K)) int64 in [0, K); 0 for the first tile.
        stride: at least min(C, K).
        proj_dim: K.
    """

    row_signs: Tensor
    col_signs: Tensor
    offsets: Tensor
    stride: int
    proj_dim: int

    def tiles(self):
        """(rows, columns, row signs, column signs, offset) of each K by K tile; rows and columns are slices."""
        k, (rows, cols) = self.proj_dim, (self.row_signs.shape[1], self.col_signs.shape[1])
        for q, i in enumerate(range(0, rows, k)):
            for w, j in enumerate(range(0, cols, k)):
                u, v = slice(i, min(i + k, rows)), slice(j, min(j + k, cols))
                yield u, v, self.row_signs[w, u], self.col_signs[q % SIGN_ROWS, v], int(self.offsets[q, w])


def vector_map(key: str, count: int, proj_dim: int) -> VectorMap:
    """The map of a one-dimensional parameter under `key`."""
    z = hash_uint64(key, count)
    bucket = ((z >> np.uint64(32)) * np.uint64(proj_dim)) >> np.uint64(32)
    return VectorMap(torch.from_numpy(bucket.astype(np.int64)), signs(f"{key}|sign", count))


def matrix_map(key: str, rows: int, cols: int, proj_dim: int) -> MatrixMap:
    """The map of a parameter of `rows` rows and `cols` columns under `key`."""
    least = min(cols, proj_dim)
    most = max(least + least // 4 + 64, min(proj_dim, LAYOUT // rows))
    fit = [stride for stride in range(least, most) if math.gcd(stride, proj_dim) == 1]
    shape = -(-rows // proj_dim), -(-cols // proj_dim)
    offsets = (hash_uint64(f"{key}|offsets", math.prod(shape)) >> np.uint64(33)).astype(np.int64) % proj_dim
    offsets[0] = 0
    return MatrixMap(
        row_signs=signs(f"{key}|row signs", -(-cols // proj_dim), rows),
        col_signs=signs(f"{key}|col signs", min(-(-rows // proj_dim), SIGN_ROWS), cols),
        offsets=torch.from_numpy(offsets).view(*shape),
        stride=fit[int(hash_uint64(f"{key}|stride", 1)[0] % np.uint64(len(fit)))],
        proj_dim=proj_dim,
    )
