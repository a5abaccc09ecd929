"""Sketches of sums of outer products as products of Fourier transforms (TensorSketch), and when that is cheaper.

Entry (i, j) of left' right goes to bucket (i stride + j + offset) mod K, so that the sketch is a circular convolution
of `left`, its numbers `stride` apart, with `right`; what is summed over places is summed before it is turned back. Not
here: matrix products with the same numbers, maps, gradients.

Source: Pham and Pagh 2013 (TensorSketch).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rec_trak.gradients.factors import Outer
from rec_trak.sketch.hashing import MatrixMap

STEP = 120.0  # of the K log2 K steps that a place costs, both sides, in multiply-adds of a matrix product
SHARED = 10.0  # the same where one side serves many directions, and a product is laid out, signed and folded for each
FOLD = 60.0  # of an entry of such a product
PRIMES = 2, 3, 5, 7  # factors of K with which a transform is a fast one
AT_ONCE = 1 << 17  # numbers that are transformed together: what a processor's own memory holds
ON_A_GPU = 1 << 24  # the same where each call costs more than its numbers


def cheaper(table: MatrixMap) -> bool:
    """Whether transforms of both sides at a place cost less than the place's share of a matrix product."""
    return STEP * _steps(table) < _size(table)


def cheaper_for_directions(table: MatrixMap, places: int, products: int) -> bool:
    """Whether transforms of one side at `places` places cost less than `products` matrix products over them."""
    return _fast(table.proj_dim) and SHARED * _steps(table) * places < _size(table) * (places + FOLD * products)


def _steps(table: MatrixMap) -> float:
    k = table.proj_dim
    return math.prod(-(-side // k) for side in _sides(table)) * k * math.log2(max(k, 2))


def _size(table: MatrixMap) -> int:
    return math.prod(_sides(table))


def _sides(table: MatrixMap) -> tuple[int, int]:
    return table.row_signs.shape[1], table.col_signs.shape[1]


def _fast(k: int) -> bool:
    for prime in PRIMES:
        while k % prime == 0:
            k //= prime
    return k == 1


def add_outer_by_transform(
    out: Tensor, parts: list[Outer], row_signs: Tensor, col_signs: Tensor, stride: int, offset: int
) -> None:
    """Add to `out` (B, K) the sketch of one tile of some factors.

    Args:
        out: (B, K), added to.
        parts: one tile of the factors, (N0, L, r) and (N0, L, c).
        row_signs, col_signs: (r,) and (c,).
        stride, offset: of the map, and of this tile.
    """
    batch, k = out.shape
    order = _order(len(row_signs), stride, offset, k, out.device)
    spectrum = torch.zeros(batch, k // 2 + 1, 2, dtype=out.dtype, device=out.device)
    for part in parts:
        step = _together(part.left.shape[1] * k, out.device)
        pieces = (x.split(step) for x in (part.left, part.right, part.owner))
        for left, right, owner in zip(*pieces, strict=True):
            product = torch.fft.rfft(_placed(left * row_signs, order))
            product *= torch.fft.rfft(right * col_signs, n=k)
            spectrum.index_add_(0, owner, torch.view_as_real(product.sum(dim=1)))
    out += torch.fft.irfft(torch.view_as_complex(spectrum), n=k)


def spectra(right: Tensor, table: MatrixMap) -> list[Tensor]:
    """For each tile, transforms (n, L, K // 2 + 1) of one side (n, L, C) of outer products whose other side varies.

    Buckets are counted in steps of `stride` there, so that the other side stands as it is.
    """
    k = table.proj_dim
    back = pow(table.stride, -1, k)
    found = []
    for _, v, _, col_signs, offset in table.tiles():
        order = _order(len(col_signs), back, back * offset % k, k, right.device)
        found.append(torch.fft.rfft(_placed(right[..., v] * col_signs.to(right.dtype), order)))
    return found


def add_directions(own: Tensor, left: Tensor, first: int, known: list[Tensor], table: MatrixMap) -> None:
    """Add to (n, c, K) the sketches of c outer products whose one side they share.

    Args:
        own: (n, c, K), added to.
        left: (c, n, L, W), the sides that differ.
        first: the parameter's row at which they start.
        known: `spectra` of the side that is shared.
    """
    k, width = table.proj_dim, left.shape[-1]
    order = _order(k, table.stride, 0, k, own.device)
    low, step = 0, _together(left.shape[1] * left.shape[2] * k, own.device)
    for part in left.split(step):
        total = None
        for (u, _, row_signs, _, _), spectrum in zip(table.tiles(), known, strict=True):
            start, stop = max(u.start, first), min(u.stop, first + width)
            if start >= stop:
                continue
            placed = part.new_zeros(*part.shape[:-1], k)
            inside = placed[..., start - u.start : stop - u.start]
            signs = row_signs[start - u.start : stop - u.start].to(part.dtype)
            torch.mul(part[..., start - first : stop - first], signs, out=inside)
            product = torch.fft.rfft(placed)
            product *= spectrum
            summed = product.sum(dim=2)
            total = summed if total is None else total.add_(summed)
        if total is not None:
            found = torch.fft.irfft(total, n=k).transpose(0, 1)
            own[:, low : low + len(part)] += found[..., order]
        low += len(part)


def _together(size: int, device: torch.device) -> int:
    """Blocks of `size` numbers that are transformed in one call."""
    return max(1, (AT_ONCE if device.type == "cpu" else ON_A_GPU) // max(1, size))


def _order(width: int, step: int, start: int, k: int, device: torch.device) -> Tensor:
    """(K,): which of `width` numbers goes to each bucket where number i goes to (start + step i) mod K; `width` where
    none does."""
    at = torch.arange(width, device=device)
    order = torch.full((k,), width, device=device)
    order[(start + step * at) % k] = at
    return order


def _placed(x: Tensor, order: Tensor) -> Tensor:
    """(..., K): the numbers (..., width), at most K, in their buckets."""
    wide = torch.nn.functional.pad(x, (0, 1)).flatten(0, -2)
    return wide.index_select(1, order).unflatten(0, x.shape[:-1])
