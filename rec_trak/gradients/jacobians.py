"""The Jacobians of articles as coloured factors: what a direction of an article's vector does to each layer.

`weights` that a layer gives to places (a softmax over an article's words or views, one number a place) are cut where a
structure says so: with v = sum of w_t c_t, all directions of v are taken with w held, and each w_t once. Not here:
sketches, which structure a model has, rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from rec_trak.errors import told
from rec_trak.gradients.colouring import Columns, Structure
from rec_trak.gradients.factors import Use, blocks
from rec_trak.gradients.followed import ArticleRecorder

ROOM = 1 << 28  # bytes of gradients of directions that are held at a time
AT_ONCE = 32  # directions that share one backward pass, where each is taken by itself


class CannotCut(Exception):
    """An article's weights cannot be held apart from the rest; the message says why."""


@dataclass(frozen=True)
class Bundle:
    """Coloured gradients of one use of a parameter.

    Attributes:
        name: the parameter.
        use: what it was multiplied with.
        grads: (c, n, L, W), of n articles.
        columns: direction `columns.first + g * each + j` is block g of colour j; None: colour j is a direction.
    """

    name: str
    use: Use
    grads: Tensor
    columns: Columns | None


@dataclass(frozen=True)
class Jacobian:
    """The Jacobians of n articles: `directions` plus `slopes` times (1 - `chain`)^-1 `weights`.

    Attributes:
        vectors: (n, D), what is differentiated.
        shapes: of the parameters.
        directions: of all directions, with the weights held: in parts, made one after the other, of so many each.
        weights: of the Z weights that were cut, each a direction.
        slopes: (n, D, Z), of the vector by the weights.
        chain: (n, Z, Z), of the weights by those of earlier layers.
        sizes: how the Z weights fall into layers, the earliest first.
    """

    vectors: Tensor
    shapes: dict[str, torch.Size]
    directions: Iterable[tuple[int, list[Bundle]]]
    weights: list[Bundle] = field(default_factory=list)
    slopes: Tensor | None = None
    chain: Tensor | None = None
    sizes: tuple[int, ...] = ()


def take_jacobian(
    model: nn.Module,
    views: dict[str, Tensor],
    parameters: dict[str, Tensor],
    structure: Structure | None,
    along: Tensor | None = None,
) -> Jacobian:
    """The Jacobians of n articles.

    Args:
        model: with `encode`; its weights take no gradient during the pass.
        views: of the n articles.
        parameters: those to differentiate.
        structure: how; None takes each direction by itself.
        along: (c, n, D), the directions to take by themselves; None is each of the D in turn.

    Raises:
        CannotCut: the pass cannot be taken apart, or not in this way.
    """
    first = next(iter(views.values()))
    recorder = ArticleRecorder(parameters, len(first), structure is not None and structure.cut, first.device)
    with torch.enable_grad(), recorder:
        vectors = model.encode(views)
    recorder.find_changed()
    if recorder.unknown:
        raise CannotCut(", ".join(sorted(set(recorder.unknown))[:3]))
    uses = recorder.uses
    if structure is None:
        return Jacobian(vectors.detach(), recorder.shapes, _alone(vectors, uses, along))
    if len(structure.columns) != len(uses):
        raise CannotCut("articles differ in the layers that they pass")
    directions = _coloured(vectors, uses, structure)
    if not recorder.cuts:
        return Jacobian(vectors.detach(), recorder.shapes, directions)
    leaves = [leaf for _, leaf in recorder.cuts]
    weights, chain = _weights(recorder, uses)
    sizes = tuple(leaf[0].numel() for leaf in leaves)
    return Jacobian(vectors.detach(), recorder.shapes, directions, weights, _slopes(vectors, leaves), chain, sizes)


def _coloured(vectors: Tensor, uses: list[tuple[str, Use]], structure: Structure) -> Iterator[tuple[int, list[Bundle]]]:
    """Bundles of all colours, in one part."""
    if not vectors.requires_grad:
        return
    outputs, direction = [use.output for _, use in uses], torch.arange(vectors.shape[-1], device=vectors.device)
    colours = structure.colours
    passes = (
        _pulled(vectors, (direction % colours == colour).to(vectors.dtype).expand_as(vectors), outputs)
        for colour in range(colours)
    )
    yield vectors.shape[-1], _bundles(uses, passes, structure.columns, colours)


def _alone(vectors: Tensor, uses: list[tuple[str, Use]], along: Tensor | None) -> Iterator[tuple[int, list[Bundle]]]:
    """Bundles of each direction by itself, as many in a part as share a pass."""
    count, width = vectors.shape
    total = width if along is None else len(along)
    outputs = list({id(use.output): use.output for _, use in uses}.values()) if vectors.requires_grad else []
    size = sum(output.numel() * output.itemsize for output in outputs)
    step = max(1, min(AT_ONCE, ROOM // max(1, size)))
    for first in range(0, total, step):
        taken = min(step, total - first)
        if along is None:
            given = vectors.new_zeros(taken, count, width)
            given[torch.arange(taken), :, first + torch.arange(taken)] = 1
        else:
            given = along[first : first + taken].to(vectors)
        came = {id(out): grad for out, grad in zip(outputs, _pulled_together(vectors, given, outputs), strict=True)}
        arranged: dict[tuple, Tensor] = {}
        bundles = []
        for name, use in uses:
            grad, key = came.get(id(use.output)), (id(use.output), use.arrange)
            if grad is None:
                continue
            if key not in arranged:
                arranged[key] = _arranged(use, grad)
            bundles.append(Bundle(name, use, arranged[key], None))
        yield taken, bundles


def _arranged(use: Use, grads: Tensor) -> Tensor:
    """Gradients of several directions (c, *shape of the output) as (c, n, L, W)."""
    if use.arrange is blocks:
        return grads.reshape(*grads.shape[:2], -1, grads.shape[-1])
    return torch.stack([use.arrange(grad) for grad in grads])


def _pulled_together(result: Tensor, cotangents: Tensor, tensors: list[Tensor]) -> Sequence[Tensor | None]:
    """`_pulled` of several cotangents (c, *shape of the result) at once: (c, *shape) of each tensor."""
    if not tensors:
        return ()
    try:
        return torch.autograd.grad(
            result, tensors, cotangents, retain_graph=True, allow_unused=True, is_grads_batched=True
        )
    except (RuntimeError, NotImplementedError):  # a user's layer may have a backward pass for one cotangent alone
        each = [_pulled(result, cotangent, tensors) for cotangent in cotangents]
        return [None if grads[0] is None else torch.stack(grads) for grads in zip(*each, strict=True)]


def _pulled(result: Tensor, cotangent: Tensor, tensors: list[Tensor]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(result, tensors, cotangent, retain_graph=True, allow_unused=True)


def _bundles(
    uses: list[tuple[str, Use]], passes: Iterable[Sequence[Tensor | None]], columns: tuple, colours: int
) -> list[Bundle]:
    """What the passes, one a colour, gave to each use; a use with narrower blocks needs fewer colours of its own."""
    held: dict[tuple, Tensor] = {}
    for colour, grads in enumerate(passes):
        done = set()
        for (_, use), grad, own in zip(uses, grads, columns, strict=True):
            key = (id(use.output), use.arrange)
            if grad is None or key in done:
                continue
            done.add(key)
            arranged = use.arrange(grad)
            if key not in held:
                held[key] = arranged.new_zeros(own.each if own else colours, *arranged.shape)
            _keep(held[key], arranged, own, colour, colours)
    return [
        Bundle(name, use, held[id(use.output), use.arrange], own)
        for (name, use), own in zip(uses, columns, strict=True)
        if (id(use.output), use.arrange) in held
    ]


def _keep(held: Tensor, grad: Tensor, blocks: Columns | None, colour: int, colours: int) -> None:
    """Put a pass's gradient (n, L, W) where it belongs in `held` (c, n, L, W)."""
    if blocks is None:
        held[colour] = grad
        return
    block = torch.arange(grad.shape[-1] // blocks.width, device=grad.device)
    for j in range(blocks.each):
        own = (blocks.first + block * blocks.each + j) % colours == colour
        if own.all():
            held[j] = grad
        elif own.any():
            kept = own.repeat_interleave(blocks.width)
            held[j][..., kept] = grad[..., kept]


def _weights(recorder: ArticleRecorder, uses: list[tuple[str, Use]]) -> tuple[list[Bundle], Tensor]:
    """Bundles of each cut weight by itself, and how weights depend on those of earlier layers (n, Z, Z)."""
    outputs, leaves = [use.output for _, use in uses], [leaf for _, leaf in recorder.cuts]
    sizes = [leaf[0].numel() for leaf in leaves]
    total = sum(sizes)
    chain = leaves[0].new_zeros(recorder.batch, total, total)

    def passes() -> Iterable[Sequence[Tensor | None]]:
        first = 0
        for i, (out, _) in enumerate(recorder.cuts):
            for t in range(sizes[i]):
                grads = _pulled(out, _one(out, t), outputs + leaves[:i])
                for k, grad in enumerate(grads[len(outputs) :]):
                    if grad is not None:
                        chain[:, first + t, sum(sizes[:k]) : sum(sizes[: k + 1])] = grad.flatten(1)
                yield grads[: len(outputs)]
            first += sizes[i]

    return _bundles(uses, passes(), (None,) * len(uses), total), chain


def _slopes(vectors: Tensor, leaves: list[Tensor]) -> Tensor:
    """(n, D, Z): the derivative of the vectors by each weight, from the derivative of a backward pass.

    A backward pass is linear in its cotangent, so that one derivative of it a weight does for all D directions.
    """
    free = torch.ones_like(vectors).requires_grad_()
    try:
        pulled = torch.autograd.grad(vectors, leaves, free, create_graph=True, allow_unused=True)
        columns = []
        for leaf, grad in zip(leaves, pulled, strict=True):
            for t in range(leaf[0].numel()):
                moved = None
                if grad is not None and grad.requires_grad:
                    (moved,) = _pulled(grad, _one(leaf, t), [free])
                columns.append(torch.zeros_like(vectors) if moved is None else moved)
    except (RuntimeError, NotImplementedError) as error:  # a user's layer may lack a second derivative
        raise CannotCut(told(error)) from error
    return torch.stack(columns, dim=-1)


def _one(like: Tensor, t: int) -> Tensor:
    """Number t of each article is 1, all else 0."""
    out = torch.zeros_like(like)
    out.view(len(out), -1)[:, t] = 1
    return out


def touched(
    model: nn.Module, views: dict[str, Tensor], parameters: dict[str, Tensor], cut: bool, most: int | None
) -> list[np.ndarray | None]:
    """For each use, which columns (D, W) the first `most` directions were seen to touch; None where none reaches it.

    Raises:
        CannotCut: the pass cannot be taken apart.
    """
    recorder = ArticleRecorder(parameters, len(next(iter(views.values()))), cut, next(iter(views.values())).device)
    with torch.enable_grad(), recorder:
        vectors = model.encode(views)
    recorder.find_changed()
    if recorder.unknown:
        raise CannotCut(", ".join(sorted(set(recorder.unknown))[:3]))
    outputs, width = [use.output for _, use in recorder.uses], vectors.shape[-1]
    seen: list[np.ndarray | None] = [None] * len(outputs)
    for d in range(width if most is None else min(width, most)):
        given = torch.zeros_like(vectors)
        given[:, d] = 1
        for i, grad in enumerate(_pulled(vectors, given, outputs)):
            if grad is None:
                continue
            reached = (recorder.uses[i][1].arrange(grad) != 0).flatten(0, 1).any(dim=0).cpu().numpy()
            if seen[i] is None:
                seen[i] = np.zeros((width, len(reached)), dtype=bool)
            seen[i][d] = reached
    return seen
