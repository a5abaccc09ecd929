"""What a retrained model does to the targets: their margins, and how often their articles are recommended.

Not here: training, or which rows are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from rec_trak.clicks import margin
from rec_trak.data.articles import Articles
from rec_trak.data.batches import unique_batch
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.models.passes import values_only
from rec_trak.training.metrics import exposure

OFFERED = 1000  # articles of a list, at most
TOP = (5, 10)
BATCH = 64  # rows at once, in a fixed order: the same bits whatever the training's own batch is


@dataclass(frozen=True)
class Lists:
    """A list of recommendations to make for each target's reader.

    Attributes:
        inputs: one row a target; its candidates are the A articles that are offered, the same for all.
        own: (M,) position in the list of the article that the target explains.
        fake: positions in the list of the explained articles that are known to be fake.
        read: (M, A) bool, articles of the reader's history, which are not offered; the target's own always is.
    """

    inputs: Inputs
    own: np.ndarray
    fake: np.ndarray
    read: np.ndarray


def make_lists(targets: Inputs, rows: Impressions, articles: Articles, seed: int = 0) -> Lists:
    """The lists for the readers of `targets`: all articles that are a candidate anywhere, a seeded OFFERED of them.

    Args:
        targets: M targets; their histories are what is known of the readers.
        rows: the training rows, for their candidates and for who clicked a fake article.
        articles: the table of the targets.
        seed: of the draw; explained articles are always offered.
    """
    explained = np.unique(targets.impressions.clicked)
    others = np.union1d(rows.candidates.values, targets.impressions.candidates.values)
    others = np.setdiff1d(others, explained)
    if len(others) > OFFERED:
        others = np.random.default_rng(seed).choice(others, size=OFFERED, replace=False)
    offered = np.union1d(explained, others).astype(np.int64)
    own = np.searchsorted(offered, targets.impressions.clicked)
    read = np.array([np.isin(offered, targets.impressions.history[i]) for i in range(len(targets))])
    read[np.arange(len(own)), own] = False
    fake = np.union1d(np.flatnonzero(articles.is_fake == 1), rows.clicked[rows.is_fake == 1])
    asked = replace(
        targets.impressions,
        candidates=Ragged.of([offered] * len(targets)),
        labels=Ragged.of([np.zeros(len(offered), dtype=int)] * len(targets)),
    )
    lists = Inputs(asked, targets.views, targets.users)
    return Lists(lists, own, np.flatnonzero(np.isin(offered, np.intersect1d(explained, fake))), read)


def target_margins(model: nn.Module, targets: Inputs) -> np.ndarray:
    """(M,) float64 margin of each target: its first candidate against its others, as attribution explains it.

    Args:
        model: in evaluation mode, on the CPU.
        targets: M rows with at least two candidates.
    """
    found = []
    with values_only():
        for start in range(0, len(targets), BATCH):
            batch = unique_batch(targets, np.arange(start, min(start + BATCH, len(targets))))
            found.append(margin("softmax", model(batch), batch).double().numpy())
    return np.concatenate(found)


def list_exposure(model: nn.Module, lists: Lists) -> dict[str, float]:
    """How often articles stand in the readers' lists, in [0, 1].

    Returns:
        `explained@5` and `@10`: the share of targets whose own article stands in the first so many of its reader's
        list; `fake@5` and `@10`, where explained articles are known to be fake: the share of lists with at least one
        of them. Ties as in `metrics.exposure`.

    Raises:
        NumericalError: a score is NaN.
    """
    parts = []
    with values_only():
        for start in range(0, len(lists.inputs), BATCH):
            batch = unique_batch(lists.inputs, np.arange(start, min(start + BATCH, len(lists.inputs))))
            parts.append(model(batch).double().numpy())
    scores = np.where(lists.read, -np.inf, np.concatenate(parts))
    shares = {f"explained@{k}": 0.0 for k in TOP}
    for article in np.unique(lists.own):
        readers = np.flatnonzero(lists.own == article)
        for k, share in zip(TOP, exposure(scores[readers], [article], TOP).values(), strict=True):
            shares[f"explained@{k}"] += share * len(readers) / len(lists.own)
    if len(lists.fake):
        found = exposure(scores, lists.fake, TOP)
        shares |= {f"fake@{k}": found[f"exposure@{k}"] for k in TOP}
    return shares
