"""Gradients of a span of rows, in which an article that recurs is differentiated once. Not here: sketches, plans.

With the weights fixed, an article's share of a row's gradient is linear in the cotangent that reaches its vector. So
the rows' own pass looks such an article up and keeps its cotangents, and the article's Jacobian, taken once, serves all
its places. All other articles go with their row, as in the factored path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rec_trak.data.batches import TEXTS, article_views, moved
from rec_trak.data.spans import Piece, Span, pieces
from rec_trak.gradients.colouring import Structure
from rec_trak.gradients.computers import FactoredComputer, without_gradient
from rec_trak.gradients.factors import Factors, Recorder
from rec_trak.gradients.jacobians import Jacobian, take_jacobian
from rec_trak.gradients.recurrent import FOLLOWERS
from rec_trak.gradients.takers import TAKERS
from rec_trak.models.passes import as_trained, values_only

TOGETHER = 64  # articles that are encoded together for the table of vectors


@dataclass
class SpanGradients:
    """Gradients of S rows that only `sketch.spans` reads: first `rows`, to its end, then `articles`.

    Attributes:
        table: (F, D), the vectors of the span's `often`; filled in by `rows`.
        cotangents: (n, D), one for each of the span's `owners`; filled in by `rows`.
        q: (S,), filled in by `rows`.
    """

    span: Span
    computer: ArticleComputer
    structure: Structure | None
    table: Tensor = field(init=False)
    cotangents: Tensor = field(init=False)
    q: Tensor = field(init=False)

    def __len__(self) -> int:
        return len(self.span)

    def rows(self) -> Iterator[tuple[Tensor, Factors]]:
        """Positions (B,) of some rows, and factors of their gradients but for what their often articles add."""
        span, computer = self.span, self.computer
        self.table = table = computer.vectors(span)
        self.cotangents = table.new_zeros(len(span.owners), table.shape[-1])
        for piece in pieces(span):
            piece = moved_piece(piece, span.device)
            factors, cotangents, q = computer.piece_gradients(piece, table)
            if not hasattr(self, "q"):
                self.q = q.new_zeros(len(span))
            self.q[piece.positions] = q
            if cotangents is not None:
                self.cotangents[piece.slots] = cotangents
            yield piece.positions, factors

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
    """Takes a `Span` for a batch. Nothing is computed before its gradients are read, part by part, by the sketch."""

    def __init__(
        self, model, task, grad_dim=None, dtype=torch.float32, device="cpu", grad_wrt=None, structure=None
    ) -> None:
        super().__init__(model, task, grad_dim, dtype, device, grad_wrt)
        self.structure: Structure | None = structure

    def compute_per_sample_grad(self, batch: Span) -> SpanGradients:
        """Gradients of f, to be read once."""
        self._span = SpanGradients(batch, self, self.structure)
        return self._span

    def compute_loss_grad(self, batch: Span) -> Tensor:
        """Q (S, 1) of the pass that the sketch made of the same span."""
        gradients = getattr(self, "_span", None)
        if gradients is None or gradients.span is not batch or not hasattr(gradients, "q"):
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

    def piece_gradients(self, piece: Piece, table: Tensor) -> tuple[Factors, Tensor | None, Tensor]:
        """Factors of a piece's rows, the cotangents (k, D) of the places that were looked up, and Q (B,).

        Raises:
            NotTakenApart: as `FactoredComputer.compute_per_sample_grad`.
        """
        looked_up = [table[piece.known].requires_grad_()] if len(piece.known) else []

        def scores(recorder: Recorder) -> Tensor:
            vectors = list(looked_up)
            for views, owner in zip(piece.groups, piece.owners, strict=True):
                recorder.owner = owner
                vectors.append(self.model.encode(views))
            recorder.owner = None
            return self.model.score(F.embedding(piece.order, torch.cat(vectors)), piece.batch)

        factors, cotangents, q = self.taken_apart(piece.batch, scores, looked_up)
        return factors, cotangents[0] if looked_up else None, q


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
    return Piece(**{name: moved(value, device) for name, value in vars(piece).items()})
