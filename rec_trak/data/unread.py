"""The usual set of targets for an article: users who have not read it, one impression each. Not here: readers of files.

What an article's promotion changes shows in what users are offered who have not read it; who has read it is not offered
it again. Few targets are a noisy question: on real clicks detection gains until some hundred (docs/detection.md).
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from rec_trak.data.targets import Targets
from rec_trak.errors import DataError, RecTrakWarning

MOST, FEW = 500, 50  # users, at most and before a warning


def unread(targets: Targets, seed: int, where: str) -> Targets:
    """The exposure of an article to up to MOST users who have not read it: one impression of each, both drawn.

    Args:
        targets: the exposure of one article, `targets.exposure`; a user has read it where one of its impressions has
            it in the history or was a click on it.
        seed: of the draw.
        where: for messages.

    Warns:
        RecTrakWarning: there are fewer than FEW such users.

    Raises:
        DataError: every user has read it.
    """
    rows = targets.impressions
    users = np.unique(rows.user_ids.astype(str), return_inverse=True)[1]
    in_history = np.repeat(np.arange(len(rows)), rows.history.lengths)[
        rows.history.values == np.repeat(rows.clicked, rows.history.lengths)
    ]
    read = rows.labels.values[rows.labels.offsets[:-1]] == 1
    read[in_history] = True
    readers = np.zeros(users.max() + 1, dtype=bool)
    readers[users[read]] = True
    order = np.random.default_rng(seed).permutation(len(rows))
    order = order[~readers[users[order]]]
    first = np.sort(np.unique(users[order], return_index=True)[1])  # of each user the first in random order
    if not len(first):
        raise DataError(
            f"{where}: every user has read the article. Got {len(readers)} readers of {len(readers)} users, expected "
            "users who have not. Name other `users`, or a `count` of impressions, whoever's they are."
        )
    if len(first) < FEW:
        warnings.warn(
            f"{where}: few users have not read the article, and so few targets make a noisy ranking. Got {len(first)}, "
            f"expected at least {FEW}. Name more `users`.",
            RecTrakWarning,
            stacklevel=2,
        )
    note = (
        f"{min(len(first), MOST)} of {len(first)} users who have not read the article are asked, one impression each; "
        f"{readers.sum()} who have are not."
    )
    kept = rows.subset(np.sort(order[first[:MOST]]))
    notes = tuple(told for told in rows.notes if "in their history already" not in told)
    return replace(targets, impressions=replace(kept, notes=(*notes, note)))
