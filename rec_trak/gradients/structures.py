"""Which structure a model's articles have, seen on a few real ones. Not here: what a structure is, or proof of it.

What is seen is proven afterwards: the preflight compares with plain autograd, and every chunk of articles with plain
factors.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from rec_trak.errors import told
from rec_trak.gradients.colouring import Structure, structure_of
from rec_trak.gradients.computers import without_gradient
from rec_trak.gradients.jacobians import CannotCut, touched
from rec_trak.models.passes import as_trained

FEW = 4  # directions that are looked at before all others


def find_structure(
    model: nn.Module, views: dict[str, Tensor], parameters: dict[str, Tensor]
) -> tuple[Structure | None, str]:
    """The structure that needs the fewest passes, and in words which; None where every direction needs its own.

    Args:
        model: with `encode`, in eval mode.
        views: of some real articles.
        parameters: those to differentiate.
    """
    found = []
    for cut in (False, True):
        try:
            with without_gradient(model), as_trained():
                structure = _tried(model, views, parameters, cut)
        except (CannotCut, RuntimeError, NotImplementedError) as error:  # a user's model may raise what it likes
            return None, f"every direction by itself ({told(error)})"
        if structure is not None:
            found.append(structure)
    if not found:
        return None, "every direction by itself: no direction has columns of its own"
    best = min(found, key=lambda structure: structure.colours)
    held = ", weights of places apart" if best.cut else ""
    return best, f"{best.colours} pass(es) for all directions{held}"


def _tried(model: nn.Module, views: dict[str, Tensor], parameters: dict[str, Tensor], cut: bool) -> Structure | None:
    few = touched(model, views, parameters, cut, FEW)
    if any(_full(seen) for seen in few):
        return None
    return structure_of(touched(model, views, parameters, cut, None), cut)


def _full(seen: np.ndarray | None) -> bool:
    """Whether some direction touches all columns, of which there are several."""
    return seen is not None and seen.shape[1] > 1 and bool(seen.all(axis=1).any())
