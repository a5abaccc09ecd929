"""Sketches of a span of rows: each row's own factors, and what its often articles add. Not here: either of the two.

Every chunk of articles that is taken by a structure is compared with plain factors, so that a column that no earlier
article touched cannot be lost: where they differ, the chunk is taken again, each direction by itself. Where there is no
structure, an article is taken along the cotangents of its places, or along all directions if those are fewer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rec_trak.data.pieces import Piece
from rec_trak.errors import NumericalError
from rec_trak.gradients.articles import SpanGradients
from rec_trak.gradients.factors import Factors
from rec_trak.gradients.jacobians import CannotCut
from rec_trak.gradients.threads import side_by_side
from rec_trak.sketch.jacobians import sketch_jacobian
from rec_trak.sketch.projection import SketchProjector, check_finite

TOLERANCE = 1e-4
TOGETHER = 16  # articles whose Jacobians are taken together
ROOM = 1 << 26  # bytes of sketched Jacobians at a time
COMPARED = 32  # cotangents of an article from which on they are compared with plain factors, which cost as one


class SpanProjector(SketchProjector):
    """The sketch, for gradients of a span too."""

    def project(self, grads: SpanGradients | Factors | dict[str, Tensor], model_id: int) -> Tensor:
        """Sketches (B, K), or (S, K) of a span.

        Raises:
            NonFiniteGradient: as `SketchProjector.project`.
            NumericalError: articles of a span change one another, so that no article's Jacobian is its own.
        """
        if not isinstance(grads, SpanGradients):
            return super().project(grads, model_id)
        if model_id != self._model_id:
            self._maps, self._model_id = {}, model_id

        def taken(piece: Piece) -> tuple[Tensor, Tensor]:
            sketches = self._project_factors(grads.of_piece(piece))
            if piece.each > 1 and not torch.isfinite(sketches).all():
                sketches = self._project_factors(grads.of_piece(grads.apart(piece)))
            return piece.positions, sketches

        out = None
        with grads.weights_held():
            for positions, sketches in side_by_side(taken, grads.pieces(), grads.span.device, grads.computer.apart):
                if out is None:
                    # Where the articles alone are wanted, a row's own factors are none, in no precision.
                    precision = torch.promote_types(sketches.dtype, grads.table.dtype)
                    out = sketches.new_zeros(len(grads), self.proj_dim, dtype=precision)
                out[positions] = sketches.to(out.dtype)
        self.add_articles(out, grads)
        return check_finite(out)

    def add_articles(self, out: Tensor, grads: SpanGradients) -> None:
        """Add to sketches (S, K) what the span's often articles add to its rows, whose own pass is done."""
        cotangents, span = grads.cotangents.to(out.dtype), grads.span
        owners = torch.from_numpy(span.owners).to(out.device)
        count = max(1, min(TOGETHER, ROOM // max(1, 4 * self.proj_dim * cotangents.shape[-1])))

        def taken(some: tuple[np.ndarray, dict[str, Tensor]]) -> tuple[np.ndarray, bool, Tensor]:
            at, views = some
            along = grads.along(at)
            return at, along is not None, self.jacobians(grads, at, views, along)

        with grads.weights_held():
            for at, finished, sketched in side_by_side(taken, grads.articles(count), span.device, grads.computer.apart):
                for article, own in zip(at.tolist(), sketched, strict=True):
                    places = slice(int(span.starts[article]), int(span.starts[article + 1]))
                    out.index_add_(0, owners[places], own if finished else cotangents[places] @ own)

    def jacobians(
        self, grads: SpanGradients, at: np.ndarray, views: dict[str, Tensor], along: Tensor | None = None
    ) -> Tensor:
        """S J' (n, D, K) of n articles, or their sketches (n, c, K) along some directions, compared with plain factors.

        Args:
            grads: of a span, whose rows are done.
            at: of the articles, positions among the span's `often`.
            views: of the articles.
            along: (c, n, D), for articles without a structure.

        Raises:
            NumericalError: as `project`.
        """
        if grads.structure is not None and along is None:
            try:
                sketched = sketch_jacobian(grads.jacobian(views), self.proj_dim, self._map)
                if self._agrees(grads, views, sketched):
                    return sketched
            except CannotCut:
                pass
        jacobian = grads.jacobian(views, plain=True, along=along)
        sketched = sketch_jacobian(jacobian, self.proj_dim, self._map)
        compared = along is None or len(along) >= COMPARED
        if not _near(jacobian.vectors, grads.table[torch.from_numpy(at).to(grads.table.device)]) or (
            compared and not self._agrees(grads, views, sketched, along)
        ):
            raise NumericalError(
                "gradients: an article's vector depends on the articles beside it. Got other numbers for some of "
                "them together, expected each article's own. Set `gradient: factored`."
            )
        return sketched

    def _agrees(
        self, grads: SpanGradients, views: dict[str, Tensor], sketched: Tensor, along: Tensor | None = None
    ) -> bool:
        """Whether random cotangents give what plain factors give."""
        draw = np.random.default_rng(0).standard_normal(sketched.shape[:2])
        drawn = torch.from_numpy(draw).to(sketched)
        cotangents = drawn if along is None else torch.einsum("nc,cnd->nd", drawn, along.to(drawn))
        wanted = self._project_factors(grads.pulled(views, cotangents))[0]
        return _near(torch.einsum("nc,nck->k", drawn, sketched), wanted)


def _near(found: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors agree; what is not finite is left to whoever reads it."""
    difference, size = float((found - wanted).norm()), float(wanted.norm())
    return difference <= TOLERANCE * max(size, float(found.norm())) or not np.isfinite(size)
