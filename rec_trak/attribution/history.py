"""Influence of a history's places on targets: what it did that a row was trained on with an article in its history.

A row's influence asks what its click taught. A place's influence asks what one article in its history taught: the row's
influence as it is, less that of the same row with the article taken out of the history. Rows that are ranked by their
clicks cannot show an attack that clicks nothing and plants articles in histories; their places can. Not here: writing
files, groups, detection.

With psi = Q phi the row's loss gradient (up to sign), psi' that of the row without the article at the same checkpoint,
and A = Phi'Phi + ridge I:

    influence   Q k - Q' k', k = phi' A^-1 phi_t      in margin units, on the mean of the targets
    leverage    (psi - psi')' A^-1 (psi - psi')       how far the place moved the model, wherever to

Source: the estimator of Park et al. 2023 (TRAK), applied to the difference of two rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rec_trak.attribution.influence import share_of_all
from rec_trak.attribution.job import Job
from rec_trak.attribution.session import featurize_targets
from rec_trak.attribution.settled import settled
from rec_trak.attribution.ways import choose
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import ClickOutput, expand
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs, build_inputs, truncated
from rec_trak.data.ragged import Ragged, distinct
from rec_trak.data.tables import one_line
from rec_trak.errors import ConfigError, listed
from rec_trak.gradients.computers import computer_class, make_batch
from rec_trak.progress import progress
from rec_trak.scoring.solve import gram, solve
from rec_trak.scoring.streaming import carrying, mean_gradient
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.reading import read_member, read_targets
from rec_trak.words import outline

PLACES = "history.csv"


@dataclass(frozen=True)
class Places:
    """Influence of n places of histories on the mean of a target set.

    Attributes:
        impression: (n,) int64, its number.
        place: (n,) int64, from 1, the oldest that the model reads.
        article: (n,) int64 positions in the article table.
        influence: (n,) float64 in margin units, summed over the impression's rows; above 0, that the article was in
            the history raised the targets' margin.
        leverage: (n,) float64, at least 0, summed likewise; see the module.
        nothing_targets: (M,) bool, targets that carry nothing, which have no part in the mean.
    """

    impression: np.ndarray
    place: np.ndarray
    article: np.ndarray
    influence: np.ndarray
    leverage: np.ndarray
    nothing_targets: np.ndarray

    __repr__ = outline


def history_influence(
    job: Job,
    name: str,
    targets: Impressions,
    only: Iterable[str] | None = None,
    articles: Articles | None = None,
) -> Places:
    """The influence on a target set of each place of the training histories, or of the places of some articles.

    Args:
        job: the job that was featurized.
        name, targets, articles: the set, as for `influence.target_influence`.
        only: ids of the articles whose places are looked at; None for all. A place costs what a row costs.

    Raises:
        ConfigError: an unknown article, or one that no history holds.
        StoreError: rows are missing, the directory is another run's, or another target set has this name.
    """
    where = _wanted(job, only)
    featurize_targets(job, name, targets, articles=articles)
    job = settled(job)
    rows, number = rows_holding(job, where)
    owner, place = _places(rows.history, where)
    if not len(owner):
        raise ConfigError("--history: no training history holds the article(s). Got none, expected some. Name others.")
    cut = build_inputs(without_places(rows, owner, place), job.articles, job.model_config)
    article, owner = rows.history.values[rows.history.offsets[owner] + place], number[owner]
    path = choose(job, cut, job.loss).name
    with progress(len(job.members) * len(cut), "history", "place") as bar:
        found = [_member(job, m, name, path, cut, owner, bar) for m in range(len(job.members))]
    # Kernel parts and Q are averaged apart, then multiplied, as for rows.
    k, q, k_cut, q_cut, leverage = np.mean([numbers for numbers, _ in found], axis=0)
    carries = np.any([carries for _, carries in found], axis=0)
    scale = share_of_all(carries, name)
    k, k_cut = k * scale, k_cut * scale
    influence = k * q - k_cut * q_cut
    return Places(*_by_impression(job.impression_of_row[owner], place, article, influence, leverage), ~carries)


def places_table(places: Places, rows: Any, articles: Articles) -> pd.DataFrame:
    """The content of history.csv: a line a place, the one that raised the targets' margin most first.

    Args:
        places: n of them.
        rows: a line an impression, as `results.ranking.rows_table` makes them.
        articles: the table that `places.article` refers to.
    """
    told = rows.take(places.impression, ["sample_idx", "user_id", "article_id", "title", "label"])
    told = told.rename(columns={"article_id": "clicked_id", "title": "clicked_title"})
    order = np.argsort(-places.influence, kind="stable")
    about = {
        "place": places.place,
        "article_id": [articles.ids[a] for a in places.article],
        "title": [one_line(articles.titles[a]) for a in places.article],
        "influence": places.influence,
        "leverage": places.leverage,
    }
    return pd.concat([told[["sample_idx"]], pd.DataFrame(about), told.iloc[:, 1:]], axis=1).iloc[order]


def without_places(rows: Impressions, owner: np.ndarray, place: np.ndarray) -> Impressions:
    """The rows `owner` (n,), each without the entry `place` (n,), from 0, of its history."""
    cut = rows.subset(owner)
    values, offsets = cut.history.values, cut.history.offsets
    history = Ragged(np.delete(values, offsets[:-1] + place), offsets - np.arange(len(offsets)))
    return dataclasses.replace(cut, history=history)


def _wanted(job: Job, only: Iterable[str] | None) -> np.ndarray:
    """(A,) bool, the articles whose places are looked at."""
    if only is None:
        return np.ones(len(job.articles), dtype=bool)
    only = list(only)
    unknown = [article for article in only if article not in job.articles.position]
    if unknown:
        raise ConfigError(
            f"--history: {listed('unknown article(s)', unknown)}. Expected ids in {job.articles.source}. Mend them."
        )
    where = np.zeros(len(job.articles), dtype=bool)
    where[[job.articles.position[article] for article in only]] = True
    return where


def rows_holding(job: Job, where: np.ndarray) -> tuple[Impressions, np.ndarray]:
    """The rows of the impressions whose history, as far as the model reads it, holds an article in `where`, with that
    part of it, unpadded; and their numbers among all rows."""
    history = truncated(job.impressions.history, job.model_config)
    read = dataclasses.replace(job.impressions, history=history, columns={}, origin=None)
    held = distinct(_places(read.history, where)[0])
    return expand(read.subset(held), job.loss)[0], np.flatnonzero(np.isin(job.impression_of_row, held))


def _places(history: Ragged, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and place, from 0, of each entry of an article in `where`."""
    found = np.flatnonzero(where[history.values])
    owner = np.searchsorted(history.offsets, found, side="right") - 1
    return owner, found - history.offsets[owner]


def _member(
    job: Job, model_id: int, name: str, path: str, cut: Inputs, owner: np.ndarray, bar
) -> tuple[np.ndarray, np.ndarray]:
    """(5, n) of one checkpoint: k and Q of each place's row, k and Q of the row without it, the place's leverage; and
    (M,) bool, the targets that carry something: k is of their sum, divided by M."""
    phi, q = read_member(job.save_dir, model_id)
    system = solve(gram(phi, lambda_rel=job.lambda_rel), len(phi), job.lambda_rel)
    gradients = read_targets(job.save_dir, model_id, name)
    carries = carrying(system, gradients, len(phi), job.precision)
    solved = torch.cholesky_solve(mean_gradient(gradients, carries)[:, None], system.factor)[:, 0]
    load_into(job.model, job.members[model_id].state_dict(), job.members[model_id].name)
    out = np.empty((5, len(cut)))
    for places, without, q_without in _features(job, model_id, path, cut):
        own, q_own = torch.from_numpy(np.array(phi[owner[places]], dtype=np.float64)), q[owner[places]]
        difference = own * torch.from_numpy(q_own)[:, None] - without * torch.from_numpy(q_without)[:, None]
        white = torch.linalg.solve_triangular(system.factor, difference.T, upper=False)
        out[:, places] = (own @ solved, q_own, without @ solved, q_without, white.square().sum(dim=0))
        bar.update(len(without))
    return out, carries


def _features(job: Job, model_id: int, path: str, inputs: Inputs) -> Iterator[tuple[slice, Tensor, np.ndarray]]:
    """Blocks of rows, with the feature (b, K) float64 and Q (b,) that the store would hold of them."""
    computer = computer_class(path, job.precision)(
        job.model, ClickOutput(job.loss), job.parameter_count, torch.float32, job.device, grad_wrt=job.grad_wrt
    )
    computer.load_model_params(job.model)
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, job.device)
    for start in range(0, len(inputs), job.batch_size):
        rows = slice(start, min(start + job.batch_size, len(inputs)))
        batch = make_batch(path, job.model, inputs, np.arange(rows.start, rows.stop), job.device)
        sketches = projector.project(computer.compute_per_sample_grad(batch), model_id)
        q = computer.compute_loss_grad(batch).flatten()
        yield rows, sketches.cpu().double() / job.parameter_count**0.5, q.cpu().double().numpy()


def _by_impression(
    impression: np.ndarray, place: np.ndarray, article: np.ndarray, influence: np.ndarray, leverage: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The numbers of `Places`, those of rows added up to places of impressions: all rows of one share its history."""
    _, first, group = np.unique(np.stack([impression, place]), axis=1, return_index=True, return_inverse=True)
    sums = (np.bincount(group.ravel(), weights=values) for values in (influence, leverage))
    return impression[first], place[first] + 1, article[first].astype(np.int64), *sums
