"""Which rows of a click log were trained on, by history length and day. Not here: reading the log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rec_trak.config.reading import Reading
from rec_trak.data.impressions import Impressions
from rec_trak.errors import DataError


def trained_on(impressions: Impressions, reading: Reading) -> np.ndarray:
    """Positions (int64) of the rows that were trained on, by history length and day.

    Raises:
        DataError: a bound in time is given and no row has a day.
    """
    kept = impressions.history.lengths >= reading.least_history
    if reading.since or reading.until:
        told = np.array(impressions.columns.get("day", [""] * len(impressions)))
        if not (told != "").any():
            raise DataError(
                "click log: `since` and `until` need days. Got no column `day` with a date in it, expected ISO dates. "
                "Leave the keys out, or add the column."
            )
        kept &= (told == "") | ((told >= reading.since) & ((told < reading.until) | (not reading.until)))
    return np.flatnonzero(kept)


def only_trained(impressions: Impressions, reading: Reading) -> Impressions:
    """The rows that were trained on, with a note on the others.

    Raises:
        DataError: as `trained_on`, or no row is left.
    """
    kept = trained_on(impressions, reading)
    gone = len(impressions) - len(kept)
    if not gone:
        return impressions
    bounds = [f"history of fewer than {reading.least_history} article(s)"] * (reading.least_history > 0)
    bounds += [f"day before {reading.since}"] * bool(reading.since) + [f"day from {reading.until} on"] * bool(
        reading.until
    )
    if not len(kept):
        raise DataError(
            f"click log: no row is left. Got {gone} row(s), each with a {' or a '.join(bounds)}, expected some that "
            "were trained on. Mend `least_history`, `since` and `until`."
        )
    note = f"{gone} row(s) were not trained on and are left out: a {' or a '.join(bounds)}."
    return replace(impressions.subset(kept), notes=(*impressions.notes, note))
