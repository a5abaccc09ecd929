"""Sketches of articles' Jacobians: K numbers for each direction of an article's vector, (n, D, K). Not here: rows.

Where a direction touches a block of a layer's rows alone, one matrix product a colour gives the gradients of all its
directions, and each block is folded by itself. The numbers are those that `projection.py` gives each direction alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.gradients.colouring import Columns
from rec_trak.gradients.factors import Outer
from rec_trak.gradients.jacobians import Bundle, Jacobian
from rec_trak.sketch.hashing import MatrixMap, VectorMap
from rec_trak.sketch.projection import add_outer
from rec_trak.sketch.transforms import add_directions, cheaper_for_directions, spectra

Map = VectorMap | MatrixMap
TILE = 1 << 18  # numbers of dense gradient at a time: what a processor's own memory holds


def sketch_jacobian(jacobian: Jacobian, proj_dim: int, table_of: Callable[[str, torch.Size], Map]) -> Tensor:
    """The sketches of c directions of n articles, (n, c, K): for all D of them S J', so that a cotangent (D,) times an
    article's is that cotangent's sketch.

    Args:
        table_of: the map of a parameter by name and shape.
    """
    width = jacobian.vectors.shape[1]
    sketcher = _Sketcher(jacobian, proj_dim, table_of)
    parts = [sketcher.sketched(bundles, own) for own, bundles in jacobian.directions]
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1) if parts else sketcher.sketched([], width)
    if jacobian.slopes is None:
        return out
    weights = sketcher.sketched(jacobian.weights, sum(jacobian.sizes))
    first = 0
    for size in jacobian.sizes:  # those of a later layer also move those of earlier ones
        if first:
            own = slice(first, first + size)
            weights[:, own] += jacobian.chain[:, own, :first] @ weights[:, :first]
        first += size
    return out.baddbmm_(jacobian.slopes.to(out.dtype), weights)


@dataclass(frozen=True)
class _Sketcher:
    """What the parts of a Jacobian's sketch share.

    Attributes:
        spectra: of a layer's inputs, by the id of its use.
    """

    jacobian: Jacobian
    proj_dim: int
    table_of: Callable[[str, torch.Size], Map]
    spectra: dict[int, list[Tensor]] = field(default_factory=dict)

    def sketched(self, bundles: list[Bundle], width: int) -> Tensor:
        """(n, width, K), of so many directions."""
        like = next((bundle.grads for bundle in bundles), self.jacobian.vectors)
        out = like.new_zeros(len(self.jacobian.vectors), width, self.proj_dim)
        looked_up: dict[tuple, list[Bundle]] = {}
        for bundle in bundles:
            table, use = self._table(bundle.name), bundle.use
            if use.kind == "rows":
                looked_up.setdefault((bundle.name, use.value.data_ptr(), use.skip), []).append(bundle)
            elif use.kind == "entries":
                _add_entries(out, bundle, table)
            elif use.turned:
                _add_turned(out, bundle, table)
            elif bundle.columns is None and cheaper_for_directions(table, use.value[..., 0].numel(), len(out)):
                self._add_alone(out, bundle, table)
            else:
                _add_outer(out, bundle, table)
        for same in looked_up.values():
            _add_rows(out, same, self._table(same[0].name))
        return out

    def _table(self, name: str) -> Map:
        return self.table_of(name, self.jacobian.shapes[name])

    def _add_alone(self, out: Tensor, bundle: Bundle, table: MatrixMap) -> None:
        """Layers of which every direction touches all rows: their inputs are transformed once for all directions."""
        use = bundle.use
        if id(use) not in self.spectra:
            self.spectra[id(use)] = spectra(use.value.to(out.dtype), table)
        add_directions(out, bundle.grads.to(out.dtype), use.first, self.spectra[id(use)], table)


def _blocks(out: Tensor, bundle: Bundle) -> tuple[Tensor, int]:
    """`out` (n, D, K) as (n, G, c, K): direction j of block g; and the columns of a block."""
    width, blocks = bundle.grads.shape[-1], bundle.columns
    if blocks is None:
        return out.unsqueeze(1), width
    count = width // blocks.width
    own = out[:, blocks.first : blocks.first + count * blocks.each]
    return own.unflatten(1, (count, blocks.each)), blocks.width


def _add_outer(out: Tensor, bundle: Bundle, table: MatrixMap) -> None:
    """Layers: left' right of each direction, with rows in its own block alone."""
    use, (own, block) = bundle.use, _blocks(out, bundle)
    right, stride = use.value.to(out.dtype), table.stride
    for u, v, row_signs, col_signs, offset in table.tiles():
        wide = F.pad(right[..., v] * col_signs.to(out.dtype), (0, stride - (v.stop - v.start)))
        for rows in _pieces(use.first, bundle.grads.shape[-1], block, u):
            inside = slice(rows.start - use.first, rows.stop - use.first)
            left = bundle.grads[..., inside] * row_signs[rows.start - u.start : rows.stop - u.start].to(out.dtype)
            first, count = inside.start // block, max(1, (inside.stop - inside.start) // block)
            start = (rows.start - u.start) * stride + offset
            _add_products(
                own[:, first : first + count], left, wide, min(block, inside.stop - inside.start), stride, start
            )


def _pieces(first: int, width: int, block: int, tile: slice) -> list[slice]:
    """The parameter's rows of a tile in runs of whole blocks, and the parts of blocks at its ends."""
    start, stop = max(tile.start, first), min(tile.stop, first + width)
    if start >= stop:
        return []
    whole = first + -(-(start - first) // block) * block, first + (stop - first) // block * block
    if whole[0] >= whole[1]:
        edges = sorted({start, *(x for x in whole if start < x < stop), stop})
    else:
        edges = sorted({start, *whole, stop})
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _add_products(own: Tensor, left: Tensor, wide: Tensor, rows: int, stride: int, start: int) -> None:
    """Add the folded products of each direction.

    Args:
        own: (n, G, c, K), added to.
        left: (c, n, L, G rows), signed.
        wide: (n, L, stride), signed, zero behind the columns.
        rows: of a block.
        start: bucket of the first row's first column.
    """
    (count, blocks, colours, k), size = own.shape, rows * stride
    most = max(1, TILE // (blocks * size))
    whole, rest = divmod(size, k)
    folded = own.new_empty(count, colours, blocks, k)
    for a in range(count):
        for low in range(0, colours, most):
            part = left[low : low + most, a].transpose(1, 2).flatten(0, 1)  # (c G rows, L)
            flat, into = (part @ wide[a]).view(-1, blocks, size), folded[a, low : low + most]
            if whole:
                torch.sum(flat[..., : whole * k].unflatten(-1, (whole, k)), dim=-2, out=into)
            else:
                into[..., rest:] = 0
                into[..., :rest] = flat
            if whole and rest:
                into[..., :rest] += flat[..., whole * k :]
    # Each block is rolled by its own shift, for all articles together: it is what has no larger product.
    for g in range(blocks):
        shift = (start + g * size) % k
        own[:, g, :, shift:] += folded[:, :, g, : k - shift]
        if shift:
            own[:, g, :, :shift] += folded[:, :, g, k - shift :]


def _add_turned(out: Tensor, bundle: Bundle, table: MatrixMap) -> None:
    """Layers whose inputs give the parameter's rows: every direction by itself, zero outside its block."""
    own, block = _blocks(out, bundle)
    value = bundle.use.value.to(out.dtype)
    for g in range(own.shape[1]):
        right = torch.zeros_like(bundle.grads)
        right[..., g * block : (g + 1) * block] = bundle.grads[..., g * block : (g + 1) * block]
        colours, count = right.shape[:2]
        flat = out.new_zeros(colours * count, out.shape[-1])
        owner = torch.arange(colours * count, device=out.device)
        left = value.expand(colours, *value.shape).flatten(0, 1)
        add_outer(flat, [Outer(left, right.flatten(0, 1), owner, 0)], table)
        own[:, g] += flat.view(colours, count, -1).transpose(0, 1)


def _add_entries(out: Tensor, bundle: Bundle, table: VectorMap) -> None:
    """Single entries: each goes to its direction's own bucket."""
    grads, value, blocks = bundle.grads, bundle.use.value, bundle.columns
    sums = (grads if value is None else grads * value).sum(dim=2) * table.sign.to(out.dtype)  # (c, n, W)
    column = torch.arange(sums.shape[-1], device=out.device)
    colour = torch.arange(len(sums), device=out.device)[:, None]
    blocks = blocks or Columns(0, len(sums), sums.shape[-1])
    direction = blocks.first + torch.div(column, blocks.width, rounding_mode="floor") * blocks.each + colour
    place = (direction * out.shape[-1] + table.bucket).flatten()
    out.flatten(1).index_add_(1, place, sums.transpose(0, 1).flatten(1))


def _add_rows(out: Tensor, bundles: list[Bundle], table: MatrixMap) -> None:
    """Looked-up rows: each direction's gradient of every word, put where the word's row lies."""
    ids, k = bundles[0].use.value, out.shape[-1]
    cols = table.col_signs.shape[1]
    reach = -(-cols // k) * k + k
    for a, words in enumerate(ids.tolist()):
        values = out.new_zeros(out.shape[1], len(words), cols)
        for bundle in bundles:
            _add_values(values, bundle, a)
        wide = out.new_zeros(out.shape[1], reach)
        for place, word in enumerate(words):
            if word == bundles[0].use.skip:
                continue
            block, signs = word // k, table.row_signs[:, word]
            for w, v in enumerate(range(0, cols, k)):
                part = values[:, place, v : v + k]
                signed = table.col_signs[block % len(table.col_signs), v : v + k] * signs[w]
                start = (word * table.stride + int(table.offsets[block, w])) % k
                wide[:, start : start + part.shape[1]].addcmul_(part, signed.to(out.dtype))
        out[a] += wide.view(len(wide), -1, k).sum(dim=1)


def _add_values(values: Tensor, bundle: Bundle, a: int) -> None:
    """Add to (D, L, cols) what a bundle gives to article a's words."""
    grads, use = bundle.grads[:, a], bundle.use  # (c, L, W)
    own, block = _blocks(values.flatten(1).unsqueeze(0), bundle)
    own = own[0].unflatten(-1, values.shape[1:])  # (G, c, L, cols)
    if use.through is None:
        for g in range(own.shape[0]):
            columns = slice(g * block, (g + 1) * block)
            own[g, :, :, columns] += grads[..., columns]
        return
    left = grads.unflatten(-1, (-1, block)).movedim(2, 0).flatten(1, 2)  # (G, c L, block)
    through = use.through.to(values.dtype).unflatten(0, (-1, block))
    own.flatten(1, 2).baddbmm_(left, through)
