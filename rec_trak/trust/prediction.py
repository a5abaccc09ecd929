"""How near a ranking comes to the best that its data allow, foretold without retraining. Not here: measuring.

docs/trust.md shows it against measured LDS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

PLAIN, STEEP = 0.15, 6  # fitted, see docs/trust.md
NOISE, FOLLOWING, CURVATURE = "noise", "following single rows", "curvature"


def kept(
    reliability: float | None,
    mean_leverage: float,
    dot_product: float | None = None,
    explained: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """What is left of a ranking after each loss, in [0, 1]; nothing where it has no reliability.

    NOISE: the root of the reliability, which is the correlation with the same ranking from ever more members.
    FOLLOWING: exp(-what a larger ridge would explain in addition of the margins of left-out rows) or, where that is
    not known, 1 - h. Mean leverage is effective dimension over N, the share of the rows that the system spends on
    fitting single rows. That members agree on the outcome does not make it right.
    CURVATURE: exp(-what a smaller ridge would explain in addition), times 1 - PLAIN times a steep power of the
    agreement with plain products of gradients, which is what is left of a ranking when the ridge is too large. Power
    and PLAIN were fitted to measured LDS.

    Args:
        reliability: of sums over rows, for a ranking of targets; of ranks, for self-influence.
        mean_leverage: h.
        dot_product: None for self-influence, to which products of gradients are no loss.
        explained: `own`, `larger`, `smaller`: the share that the run's ridge explains, and the best of that and of
            larger, or smaller, ones; nothing where it is not known.
    """
    if reliability is None:
        return {}
    plain = min(max(dot_product or 0.0, 0.0), 1.0)
    parts = {NOISE: reliability**0.5, FOLLOWING: 1 - min(mean_leverage, 1.0), CURVATURE: 1 - PLAIN * plain**STEEP}
    if explained:
        parts[FOLLOWING] = math.exp(explained["own"] - explained["larger"])
        parts[CURVATURE] *= math.exp(explained["own"] - explained["smaller"])
    return parts


def foretold(parts: dict[str, float]) -> float | None:
    """All losses together; None where there are none.

    What a small ridge lets in is noise too, part of which members disagree on: of NOISE and FOLLOWING the larger loss
    counts, not both.
    """
    return min(parts[NOISE], parts[FOLLOWING]) * parts[CURVATURE] if parts else None
