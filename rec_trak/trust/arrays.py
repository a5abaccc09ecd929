"""What cannot be measured is refused here, before any work. Not here: measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from rec_trak.errors import DataError, NumericalError

LEAST_ROWS = 10  # fewer have no rank correlation worth its name
Stack = Sequence[np.ndarray | Tensor]


def check_arrays(phis: Stack, qs: Stack, rankings: Mapping[str, Stack | None], owner: np.ndarray | None) -> None:
    """Refuse what cannot be measured.

    Args:
        phis, qs, rankings, owner: as for `measures.measure_rankings`.

    Raises:
        DataError: fewer than LEAST_ROWS impressions, no member, or arrays that do not fit each other.
        NumericalError: a Q or a target that is not finite.
    """
    if not len(phis) or any(len(part) != len(phis) for part in (qs, *(t for t in rankings.values() if t is not None))):
        raise DataError(f"trust: arrays of every member are needed. Got gradients of {len(phis)}, expected all alike.")
    shapes = {tuple(phi.shape) for phi in phis}
    n, k = phis[0].shape
    widths = {np.asarray(t).shape[-1] for ts in rankings.values() if ts is not None for t in ts}
    if len(shapes) > 1 or {np.size(q) for q in qs} != {n} or widths - {k} or len(owner) != n:
        raise DataError(f"trust: arrays do not fit each other. Got gradients {sorted(shapes)}, expected one shape.")
    if int(owner[-1]) + 1 < LEAST_ROWS or k < 2:
        raise DataError(
            f"trust: too little to compare. Got {int(owner[-1]) + 1} rows and K = {k}, expected at least {LEAST_ROWS} "
            "rows and 2 numbers of each gradient. Score more rows."
        )
    for name, ts in {"Q": qs, **{name or "targets": t for name, t in rankings.items() if t is not None}}.items():
        for member, values in enumerate(ts):
            if not np.isfinite(np.asarray(values)).all():
                raise NumericalError(
                    f"trust: {name} of checkpoint {member} is not finite. Got NaN or Inf, expected finite numbers. "
                    "Featurize again into a new save directory."
                )
