"""Sketches of a span of rows: each row's own factors, and what its often articles add. Not here: either of the two.

Every chunk of articles that is taken by a structure is compared with plain factors, so that a column that no earlier
article touched cannot be lost: where they differ, the chunk is taken again, each direction by itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

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
        out = None
        for positions, factors in grads.rows():
            sketches = super().project(factors, model_id)
            if out is None:
                out = sketches.new_zeros(len(grads), self.proj_dim)
            out[positions] = sketches
        self.add_articles(out, grads)
        return check_finite(out)

    def add_articles(self, out: Tensor, grads: SpanGradients) -> None:
        """Add to sketches (S, K) what the span's often articles add to its rows, whose own pass is done."""
        cotangents, span = grads.cotangents.to(out.dtype), grads.span
        owners = torch.from_numpy(span.owners).to(out.device)
        count = max(1, min(TOGETHER, ROOM // max(1, 4 * self.proj_dim * cotangents.shape[-1])))

        def taken(some: tuple[np.ndarray, dict[str, Tensor]]) -> tuple[np.ndarray, Tensor]:
            return some[0], self.jacobians(grads, some[1])

        with grads.weights_held():
            for at, sketched in side_by_side(taken, grads.articles(count), span.device):
                for article, own in zip(at.tolist(), sketched, strict=True):
                    places = slice(int(span.starts[article]), int(span.starts[article + 1]))
                    out.index_add_(0, owners[places], cotangents[places] @ own)

    def jacobians(self, grads: SpanGradients, views: dict[str, Tensor], most: int | None = None) -> Tensor:
        """S J' (n, D, K) of n articles, compared with plain factors.

        Args:
            grads: of a span, for its structure.
            views: of the articles.
            most: directions that are taken, for a measurement, which compares nothing; None takes all.

        Raises:
            NumericalError: as `project`.
        """
        if grads.structure is not None:
            try:
                sketched = sketch_jacobian(grads.jacobian(views), self.proj_dim, self._map)
                if self._agrees(grads, views, sketched):
                    return sketched
            except CannotCut:
                pass
        sketched = sketch_jacobian(grads.jacobian(views, plain=True, most=most), self.proj_dim, self._map)
        if most is None and not self._agrees(grads, views, sketched):
            raise NumericalError(
                "gradients: an article's vector depends on the articles beside it. Got other gradients for some of "
                "them together, expected each article's own. Set `gradient: factored`."
            )
        return sketched

    def _agrees(self, grads: SpanGradients, views: dict[str, Tensor], sketched: Tensor) -> bool:
        """Whether random cotangents give what plain factors give; what is not finite is left to whoever reads it."""
        draw = np.random.default_rng(0).standard_normal(sketched.shape[:2])
        cotangents = torch.from_numpy(draw).to(sketched)
        wanted = self._project_factors(grads.pulled(views, cotangents))[0]
        got = torch.einsum("nd,ndk->k", cotangents, sketched)
        difference, size = float((got - wanted).norm()), float(wanted.norm())
        return difference <= TOLERANCE * max(size, float(got.norm())) or not np.isfinite(size)
