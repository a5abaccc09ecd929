"""Per-row gradients -> K numbers a row, by one seeded sketch. Not here: how gradients are made or stored.

The sketch is a count-sketch whose buckets and signs come from tables as long as a parameter's sides (hashing.py). For a
layer it is evaluated from the factors, never from a dense gradient, in whichever of two ways costs less: one matrix
product a row, folded; or a product of Fourier transforms (transforms.py). Both give the same numbers.

Source: Charikar, Chen and Farach-Colton 2002 (count-sketch).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from trak.projectors import AbstractProjector

from rec_trak.errors import NumericalError
from rec_trak.gradients.factors import Entries, Factor, Factors, Outer, Rows
from rec_trak.gradients.threads import MOST, side_by_side
from rec_trak.sketch.hashing import MatrixMap, VectorMap, matrix_map, vector_map
from rec_trak.sketch.merging import Places, merged
from rec_trak.sketch.shares import shares
from rec_trak.sketch.transforms import add_outer_by_transform, cheaper


class NonFiniteGradient(NumericalError):
    """A projected gradient is NaN or Inf; `positions` are the places of the rows in the batch."""

    def __init__(self, positions: list[int]) -> None:
        super().__init__(f"projection: gradients are not finite at batch positions {positions}")
        self.positions = positions


def check_finite(sketches: Tensor) -> Tensor:
    """The sketches (B, K) themselves.

    Raises:
        NonFiniteGradient: some hold NaN or Inf.
    """
    bad = torch.nonzero(~torch.isfinite(sketches).all(dim=1)).flatten()
    if len(bad):
        raise NonFiniteGradient(bad.tolist())
    return sketches


class SketchProjector(AbstractProjector):
    """The sketch of gradients given as factors, or dense as parameter name -> (B, *shape); the same for both.

    The map depends on (seed, model id, parameter name, shape) alone, and a parameter has one, however often and in
    whatever layers it is used.
    """

    def __init__(self, grad_dim: int, proj_dim: int, seed: int, device: str = "cpu") -> None:
        super().__init__(grad_dim, proj_dim, seed, "sketch", device)
        self._maps: dict[str, VectorMap | MatrixMap] = {}
        self._model_id: int | None = None

    def project(self, grads: Factors | dict[str, Tensor], model_id: int) -> Tensor:
        """Sketches (B, K), in the gradients' precision.

        Raises:
            NonFiniteGradient: a row's gradient holds NaN or Inf.
        """
        if model_id != self._model_id:
            self._maps, self._model_id = {}, model_id
        sketches = self._project_factors(grads) if isinstance(grads, Factors) else self._project_dense(grads)
        return check_finite(sketches)

    def free_memory(self) -> None:
        """Drop the maps; the next batch makes them again (traker calls this and then goes on projecting)."""
        self._maps = {}

    def _project_dense(self, grads: dict[str, Tensor]) -> Tensor:
        first = next(iter(grads.values()))
        out = first.new_zeros(len(first), self.proj_dim)
        for name, grad in grads.items():
            table = self._map(name, grad.shape[1:])
            if isinstance(table, VectorMap):
                out.index_add_(1, table.bucket, grad.reshape(len(grad), -1) * table.sign.to(grad.dtype))
                continue
            for b, row in enumerate(grad.flatten(2)):
                for u, v, row_signs, col_signs, offset in table.tiles():
                    tile = row[u, v] * row_signs[:, None] * col_signs
                    out[b] += fold(tile, table.stride, self.proj_dim).roll(offset)
        return out

    def _project_factors(self, factors: Factors) -> Tensor:
        threads = min(torch.get_num_threads(), MOST)
        for name in factors.parts:  # before threads would make them twice
            self._map(name, factors.shapes[name])
        if threads == 1 or len(factors) == 1 or not self.device.startswith("cpu"):
            return self._project_share(factors)
        return torch.cat(list(side_by_side(self._project_share, shares(factors, threads), self.device)))

    def _project_share(self, factors: Factors) -> Tensor:
        places: dict[tuple, Places] = {}
        like = next((_values(part) for parts in factors.parts.values() for part in parts), torch.zeros(()))
        out = like.new_zeros(len(factors), self.proj_dim)
        for name, parts in factors.parts.items():
            table = self._map(name, factors.shapes[name])
            for kind, add in ((Outer, add_outer), (Rows, add_rows), (Entries, add_entries)):
                own = [part for part in parts if isinstance(part, kind)]
                if own:
                    add(out, merged(own, places), table)
        return out

    def _map(self, name: str, shape: torch.Size) -> VectorMap | MatrixMap:
        if name not in self._maps:
            key = f"{self.seed}|{self._model_id}|{name}"
            if len(shape) < 2:
                table = vector_map(key, shape.numel(), self.proj_dim)
            else:
                table = matrix_map(key, shape[0], shape[1:].numel(), self.proj_dim)
            self._maps[name] = type(table)(
                **{k: v.to(self.device) if isinstance(v, Tensor) else v for k, v in vars(table).items()}
            )
        return self._maps[name]


def _values(part: Factor) -> Tensor:
    return part.left if isinstance(part, Outer) else part.values


def fold(tile: Tensor, stride: int, proj_dim: int) -> Tensor:
    """(K,): the tile (r, c <= stride), laid out with `stride` numbers a row, added up every K numbers."""
    rows, cols = tile.shape
    size = rows * stride
    flat = tile.new_zeros(-(-size // proj_dim) * proj_dim)
    flat[:size].view(rows, stride)[:, :cols] = tile
    return flat.view(-1, proj_dim).sum(dim=0)


def add_entries(out: Tensor, parts: list[Entries], table: VectorMap | MatrixMap) -> None:
    """Add the sketch of single entries to `out` (B, K)."""
    rows = out.new_zeros(len(out), parts[0].values.shape[-1])
    for part in parts:
        rows.index_add_(0, part.owner, part.values.sum(dim=1))
    out.index_add_(1, table.bucket, rows * table.sign.to(rows.dtype))


def add_rows(out: Tensor, parts: list[Rows], table: MatrixMap) -> None:
    """Add the sketch of a few rows of a parameter to `out` (B, K); nothing is as large as the parameter."""
    batch, k = out.shape
    cols = parts[0].values.shape[-1]
    # One table of the few sign patterns that a row can have, so that a place costs one look-up and one product.
    patterns = table.col_signs[:, None] * table.col_signs.new_tensor([1.0, -1.0])[:, None]
    width = -(-cols // k) * k + k  # wide enough that no run of columns wraps round
    wide = out.new_zeros(batch, width)
    for part in parts:
        ids, values = part.ids.reshape(-1), part.values.flatten(0, 1)
        block = torch.div(ids, k, rounding_mode="floor")
        pattern = block.remainder(len(table.col_signs)) * 2
        own = part.owner.repeat_interleave(part.ids.shape[1]) * width
        for w, v in enumerate(range(0, cols, k)):
            signed = patterns[..., v : v + k].flatten(0, 1)[pattern + (table.row_signs[w, ids] < 0)]
            signed = signed * values[:, v : v + k]
            start = (ids * table.stride + table.offsets[block, w]).remainder_(k) + own
            bucket = start.to(torch.int32)[:, None] + torch.arange(
                signed.shape[1], dtype=torch.int32, device=out.device
            )
            wide.view(-1).index_add_(0, bucket.view(-1), signed.view(-1))
    out += wide.view(batch, -1, k).sum(dim=1)


def add_outer(out: Tensor, parts: list[Outer], table: MatrixMap) -> None:
    """Add the sketch of sums of outer products to `out` (B, K), in the cheaper of two ways."""
    tapped = [part for part in parts if part.taps > 1]
    if tapped:
        add_taps(out, tapped, table)
    parts = [_whole(part, table.row_signs.shape[1]) for part in parts if part.taps == 1]
    add = add_outer_by_transform if cheaper(table) else add_outer_by_product
    for u, v, row_signs, col_signs, offset in table.tiles() if parts else ():
        cut = [Outer(part.left[..., u], part.right[..., v], part.owner, 0) for part in parts]
        add(out, cut, row_signs, col_signs, table.stride, offset)


def add_outer_by_product(
    out: Tensor, parts: list[Outer], row_signs: Tensor, col_signs: Tensor, stride: int, offset: int
) -> None:
    """One matrix product a row and tile, folded.

    Args:
        out: (B, K), added to.
        parts: one tile of the factors, (N0, L, r) and (N0, L, c).
        row_signs, col_signs: (r,) and (c,).
        stride, offset: of the map, and of this tile.
    """
    batch, k = out.shape
    rows, cols = len(row_signs), len(col_signs)
    places = sum(part.left.shape[0] * part.left.shape[1] for part in parts)
    # The signs go wherever there are fewer numbers to multiply: on the factors, or on the products.
    signs = None if places * (rows + cols) < batch * rows * cols else row_signs[:, None] * col_signs
    if signs is None:
        parts = [Outer(part.left * row_signs, part.right * col_signs, part.owner, 0) for part in parts]
    flat = out.new_zeros(-(-rows * stride // k) * k)
    tile, folds = flat[: rows * stride].view(rows, stride)[:, :cols], flat.view(-1, k)
    for b, left, right in _by_row(parts, batch):
        tile.addmm_(left.t(), right, beta=0)
        if signs is not None:
            tile *= signs
        folded = folds.sum(dim=0)
        out[b] += folded.roll(offset) if offset else folded


def add_taps(out: Tensor, parts: list[Outer], table: MatrixMap) -> None:
    """Add the sketch of a convolution's factors to `out` (B, K): one product a row of all its taps, then folded.

    The product is channels by (tap, row), so that it is the gradient turned round, column c taps + t after the other.
    """
    batch, k = out.shape
    rows, cols = table.row_signs.shape[1], table.col_signs.shape[1]
    product = out.new_empty(cols // parts[0].taps, parts[0].taps * rows)
    gradient, tiles = product.view(cols, rows), []
    for u, v, row_signs, col_signs, offset in table.tiles():
        size = len(row_signs) * table.stride
        flat = out.new_zeros(-(-size // k) * k)
        tile = flat[:size].view(len(row_signs), table.stride)[:, : len(col_signs)]
        signs = (row_signs[:, None] * col_signs).to(out.dtype)
        tiles.append((gradient.t()[u, v], signs, tile, flat.view(-1, k), offset))
    for b, left, right in _by_row(parts, batch):
        torch.mm(right.t(), left, out=product)
        for part, signs, tile, folds, offset in tiles:
            torch.mul(part, signs, out=tile)
            folded = folds.sum(dim=0)
            out[b] += folded.roll(offset) if offset else folded


def _by_row(parts: list[Outer], batch: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """For each row that has any, (places, r) and (places, c) of all parts: a pass over a tile costs more than a few
    places' products."""
    own: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(batch)]
    for part in parts:
        present, counts = torch.unique_consecutive(part.owner, return_counts=True)
        present, counts = present.tolist(), (counts * part.left.shape[1]).tolist()
        pieces = (x.flatten(0, 1).split(counts) for x in (part.left, part.right))
        for b, *piece in zip(present, *pieces, strict=True):
            own[b].append(tuple(piece))
    for b, pieces in enumerate(own):
        if pieces:
            yield b, *(pieces[0] if len(pieces) == 1 else map(torch.cat, zip(*pieces, strict=True)))


def _whole(part: Outer, rows: int) -> Outer:
    """The part with zeros for the parameter's rows that it does not touch."""
    if part.left.shape[-1] == rows:
        return part
    after = rows - part.first - part.left.shape[-1]
    return Outer(torch.nn.functional.pad(part.left, (part.first, after)), part.right, part.owner, 0)
