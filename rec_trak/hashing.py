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
SIGN_ROWS = 64


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


def permutation(key: str, count: int) -> Tensor:
    """A random order of 0 to count - 1, int64."""
    return torch.from_numpy(np.argsort(hash_uint64(key, count), kind="stable"))


@dataclass(frozen=True)
class VectorMap:
    """Where the entries of a one-dimensional parameter go: bucket (n,) int64 in [0, K) and sign (n,)."""

    bucket: Tensor
    sign: Tensor


@dataclass(frozen=True)
class MatrixMap:
    """Where the entries of a parameter of R rows and C columns go, with tables as long as its sides.

    Rows and columns are put in a random order; the entry at places (u, v) goes to bucket (u * stride + v) mod K, with
    sign row_signs[v // K, u] * col_signs[u // K mod 64, v]. A gradient laid out in that order, `stride` numbers a row,
    is folded every K numbers: no scatter. `stride` has no factor in common with K, so that two entries of one row, or
    of one column, of a K by K tile never meet; each tile has signs of its own. Hence inner products are unbiased, and
    any two entries meet for one in K of the orders.

    Attributes:
        rows, cols: (R,), (C,) int64, the row and the column at each place.
        place: (R,) int64, the place of each row.
        row_signs: (ceil(C / K), R), by place. col_signs: (min(ceil(R / K), 64), C), by place.
        stride: at least min(C, K).
    """

    rows: Tensor
    cols: Tensor
    place: Tensor
    row_signs: Tensor
    col_signs: Tensor
    stride: int
    proj_dim: int

    def tiles(self):
        """(slice of row places, slice of column places, row signs, column signs) of each K by K tile."""
        k = self.proj_dim
        for q, u in enumerate(range(0, len(self.rows), k)):
            for w, v in enumerate(range(0, len(self.cols), k)):
                rows, cols = slice(u, min(u + k, len(self.rows))), slice(v, min(v + k, len(self.cols)))
                yield rows, cols, self.row_signs[w, rows], self.col_signs[q % SIGN_ROWS, cols]


def vector_map(key: str, count: int, proj_dim: int) -> VectorMap:
    """The map of a one-dimensional parameter under `key`."""
    z = hash_uint64(key, count)
    bucket = ((z >> np.uint64(32)) * np.uint64(proj_dim)) >> np.uint64(32)
    return VectorMap(torch.from_numpy(bucket.astype(np.int64)), signs(f"{key}|sign", count))


def matrix_map(key: str, rows: int, cols: int, proj_dim: int) -> MatrixMap:
    """The map of a parameter of `rows` rows and `cols` columns under `key`."""
    order = permutation(f"{key}|rows", rows)
    place = torch.empty_like(order)
    place[order] = torch.arange(rows)
    stride = min(cols, proj_dim)
    while math.gcd(stride, proj_dim) > 1:
        stride += 1
    return MatrixMap(
        rows=order,
        cols=permutation(f"{key}|cols", cols),
        place=place,
        row_signs=signs(f"{key}|row signs", -(-cols // proj_dim), rows),
        col_signs=signs(f"{key}|col signs", min(-(-rows // proj_dim), SIGN_ROWS), cols),
        stride=stride,
        proj_dim=proj_dim,
    )
