"""Gradients of a span of rows, in which an article that recurs is differentiated once. Not here: sketches, plans.

With the weights fixed, an article's share of a row's gradient is linear in the cotangent that reaches its vector. So
the rows' own pass looks such an article up and keeps its cotangents, and the article's Jacobian, taken once, serves all
its places. All other articles go with their row, as in the factored path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.clicks import residual
from rec_trak.data.batches import TEXTS, article_views, moved
from rec_trak.data.pieces import Encoded, Piece, pieces
from rec_trak.data.pieces import piece as piece_of
from rec_trak.data.spans import Span
from rec_trak.gradients.colouring import Structure
from rec_trak.gradients.computers import FactoredComputer, without_gradient
from rec_trak.gradients.factors import Factor, Factors, Recorder
from rec_trak.gradients.jacobians import Jacobian, take_jacobian
from rec_trak.gradients.takers import FOLLOWERS, TAKERS
from rec_trak.models.passes import as_trained, values_only

TOGETHER = 64  # articles that are encoded together for the table of vectors


@dataclass
class SpanGradients:
    """Gradients of S rows that only `sketch.spans` reads: first all `pieces`, then `articles`.

    Attributes:
        table: (F, D), vectors of the span's `often`; made by `pieces`.
        cotangents: (n, D), one for each of the span's `owners`; filled in by `of_piece`.
        found: positions and Q of the rows of each piece, by its first position.
    """

    span: Span
    computer: ArticleComputer
    structure: Structure | None
    table: Tensor = field(init=False)
    cotangents: Tensor = field(init=False)
    found: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.span)

    @property
    def q(self) -> Tensor:
        """(S,), where all pieces were taken."""
        positions, q = (torch.cat(parts) for parts in zip(*self.found.values(), strict=True))
        return torch.empty_like(q).index_copy_(0, positions, q)

    @property
    def taken(self) -> bool:
        """Whether all pieces were."""
        return sum(len(positions) for positions, _ in self.found.values()) == len(self.span)

    def pieces(self) -> Iterator[Piece]:
        """The rows in pieces, each of which `of_piece` takes, from any thread."""
        self.table = self.computer.vectors(self.span)
        self.cotangents = self.table.new_zeros(len(self.span.owners), self.table.shape[-1])
        self.found.clear()
        for piece in pieces(self.span):
            yield moved_piece(piece, self.span.device)

    def of_piece(self, piece: Piece) -> Factors:
        """Factors of the gradients of a piece's rows, but for what their often articles add."""
        factors, cotangents, q = self.computer.piece_gradients(piece, self.table)
        for slots, own in cotangents:
            self.cotangents[slots] = own
        self.found[int(piece.positions[0])] = piece.positions, q
        return factors

    def apart(self, piece: Piece) -> Piece:
        """The piece with each row by itself."""
        return moved_piece(piece_of(self.span, piece.positions.cpu().numpy()[:, None]), self.span.device)

    def rows(self) -> Iterator[tuple[Tensor, Factors]]:
        """Positions (B,) and factors of one piece after the other."""
        for piece in self.pieces():
            yield piece.positions, self.of_piece(piece)

    def articles(self, count: int) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """Positions among the span's `often`, up to `count`, of articles of like length, and their views; one by one
        where each direction is taken by itself, those that take longest first."""
        yield from like_length(self.span, count) if self.structure else longest_first(self.span, self.table.shape[-1])

    def along(self, at: np.ndarray) -> Tensor | None:
        """Directions (c, 1, D) to take the one article of `articles` along: its own cotangents, where it has no
        structure and they are fewer than D; else None."""
        if self.structure:
            return None
        (article,) = at
        own = self.cotangents[self.span.starts[article] : self.span.starts[article + 1]]
        return None if len(own) >= own.shape[1] else own.unsqueeze(1)

    @contextmanager
    def weights_held(self) -> Iterator[None]:
        """Around passes of several threads, which otherwise would change the model's flags under one another."""
        with without_gradient(self.computer.model), as_trained():
            yield

    def jacobian(self, views: dict[str, Tensor], plain: bool = False, along: Tensor | None = None) -> Jacobian:
        """The Jacobians of some articles; `plain` takes every direction by itself, or those of `along`.

        Raises:
            CannotCut: they cannot be taken in the way that is known.
        """
        with self.weights_held():
            structure = None if plain else self.structure
            return take_jacobian(self.computer.model, views, self.computer.parameters, structure, along)

    def pulled(self, views: dict[str, Tensor], cotangents: Tensor) -> Factors:
        """Plain factors of the sum, as one row's, of what cotangents (n, D) of n articles add."""
        recorder = Recorder(self.computer.parameters, 1, TAKERS, FOLLOWERS)
        recorder.owner = torch.zeros(len(cotangents), dtype=torch.int64, device=cotangents.device)
        with self.weights_held(), torch.enable_grad(), recorder:
            f = (self.computer.model.encode(views) * cotangents).sum().unsqueeze(0)
        return recorder.factors(f)


class ArticleComputer(FactoredComputer):
    """Takes a `Span` for a batch. Nothing is computed before its gradients are read, part by part, by the sketch.

    Args:
        structure: of the articles' Jacobians; None takes every direction by itself.
        apart: whether no two passes may run at once, see `steadiness.remembers`.
    """

    def __init__(
        self,
        model,
        task,
        grad_dim=None,
        dtype=torch.float32,
        device="cpu",
        grad_wrt=None,
        structure: Structure | None = None,
        apart: bool = False,
    ) -> None:
        super().__init__(model, task, grad_dim, dtype, device, grad_wrt)
        self.structure, self.apart = structure, apart

    def compute_per_sample_grad(self, batch: Span) -> SpanGradients:
        """Gradients of f, to be read once."""
        self._span = SpanGradients(batch, self, self.structure)
        return self._span

    def compute_loss_grad(self, batch: Span) -> Tensor:
        """Q (S, 1) of the pass that the sketch made of the same span."""
        gradients = getattr(self, "_span", None)
        if gradients is None or gradients.span is not batch or not gradients.taken:
            gradients = self.compute_per_sample_grad(batch)
            for _ in gradients.rows():
                pass
        return gradients.q.unsqueeze(-1)

    def vectors(self, span: Span) -> Tensor:
        """(F, D), the vectors of the span's often articles; (0, 0) where there are none."""
        out = torch.zeros(0, 0, device=span.device)
        for at, views in like_length(span, TOGETHER):
            with values_only():
                found = self.model.encode(views)
            if not out.numel():
                out = found.new_empty(len(span.often), found.shape[-1])
            out[torch.from_numpy(at).to(out.device)] = found
        return out

    def piece_gradients(self, piece: Piece, table: Tensor) -> tuple[Factors, list[tuple[Tensor, Tensor]], Tensor]:
        """Factors of a piece's rows, slots and cotangents of the places that were looked up, and Q (B,).

        Where rows share a pass, a number that is not finite may spread to the user's other rows.

        Raises:
            NotTakenApart: as `FactoredComputer.compute_per_sample_grad`.
        """
        count, users, each = len(piece.positions), len(piece.batch.user), piece.each
        passes = [self.encoded(own, users if own.common else count) for own in piece.encoded]
        vectors = torch.cat([*([table[piece.known]] if len(piece.known) else []), *(own.detach() for _, own in passes)])
        leaves = [vectors.requires_grad_()] if len(piece.known) or any(own.uses for own, _ in passes) else []
        with self.recorded(users) as recorder:
            scores = self.model.score(F.embedding(piece.order, vectors), piece.batch)
            scores, f = self.margins(scores.reshape(count, -1), piece.rows)
        parts, cotangents = _Parts(), []
        apart = {i: torch.zeros_like(out) for i, (_, out) in enumerate(passes) if not piece.encoded[i].common}
        for r in range(each):
            rows = torch.arange(r, count, each, device=f.device)
            own, grads = recorder.pulled(f, torch.zeros_like(f).index_fill_(0, rows, 1), leaves, rows, r + 1 < each)
            parts.add(own)
            if not grads or grads[0] is None:
                continue
            (grad,) = grads
            at, slots = piece.kept[r]
            if len(at):
                cotangents.append((slots, grad[at]))
            for i, (taken, out) in enumerate(passes):
                if i in apart:
                    apart[i] += grad[piece.encoded[i].entries]
                else:
                    parts.add(taken.pulled(out, grad[piece.encoded[i].entries], (), rows, r + 1 < each)[0])
        for i, cotangent in apart.items():
            parts.add(passes[i][0].pulled(passes[i][1], cotangent)[0])
        return Factors(count, recorder.shapes, parts), cotangents, residual(self.modelout_fn.loss, scores, piece.rows)

    def encoded(self, articles: Encoded, count: int) -> tuple[Recorder, Tensor]:
        """The pass over some articles of `count` owners, and their vectors (n, D) in its graph."""
        with self.recorded(count) as recorder:
            vectors = []
            for views, owner in zip(articles.groups, articles.owners, strict=True):
                recorder.owner = owner
                vectors.append(self.model.encode(views))
        return recorder, torch.cat(vectors)


class _Parts(dict[str, list[Factor]]):
    """Factors by parameter, of several passes."""

    def add(self, more: dict[str, list[Factor]]) -> None:
        for name, parts in more.items():
            self.setdefault(name, []).extend(parts)


def like_length(span: Span, count: int) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """The span's often articles in order of length, `count` at a time: positions among them, and views."""
    order = np.argsort(_lengths(span), kind="stable")
    for start in range(0, len(order), count):
        yield _views(span, order[start : start + count])


def longest_first(span: Span, width: int) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """The same one by one, by length times places, of which no more than `width` count: so that those taken side by
    side take as long."""
    cost = np.minimum(np.diff(span.starts), width) * np.maximum(_lengths(span), 1)
    for article in np.argsort(-cost, kind="stable"):
        yield _views(span, np.array([article]))


def _lengths(span: Span) -> np.ndarray:
    texts = [values[span.often] for name, values in span.inputs.views.items() if name in TEXTS]
    return sum((text != 0).sum(axis=1) for text in texts) if texts else np.zeros(len(span.often), dtype=np.int64)


def _views(span: Span, at: np.ndarray) -> tuple[np.ndarray, dict[str, Tensor]]:
    return at, moved(article_views(span.inputs, span.often[at]), span.device)


def moved_piece(piece: Piece, device: str) -> Piece:
    """The piece with its tensors on `device`."""
    encoded = tuple(
        replace(own, groups=moved(own.groups, device), owners=moved(own.owners, device)) for own in piece.encoded
    )
    own = {name: moved(value, device) for name, value in vars(piece).items() if name not in ("each", "encoded")}
    return replace(piece, encoded=encoded, **own)
