"""The scores of a run's single members, from its save directory, without data or model. Not here: ranks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rec_trak.errors import DataError, StoreError
from rec_trak.results.files import METADATA, Results
from rec_trak.store.manifest import read_member

AFFORDABLE = 1e13  # multiplications that solving a run's members again may cost: some two minutes


@dataclass(frozen=True)
class Members:
    """The scores of single members of a run, to be averaged as the run averages them.

    Attributes:
        parts: one or two (E, N) float64 of each member and stored row; means over members are multiplied.
        owner: (N,) int64, the impression of each stored row.
        impressions: I.
    """

    parts: tuple[np.ndarray, ...]
    owner: np.ndarray
    impressions: int

    def __len__(self) -> int:
        return len(self.parts[0])

    def scores(self, chosen: Sequence[int]) -> np.ndarray:
        """(I,) scores of the ensemble of the chosen members."""
        means = [part[list(chosen)].mean(axis=0) for part in self.parts]
        return np.bincount(self.owner, weights=np.prod(means, axis=0), minlength=self.impressions)


def read_members(results: Results) -> Members:
    """The scores of a run's members, from its save directory; of a run of one member they are the run's own.

    Raises:
        DataError: the scores are not self-influence, or the click log is needed to add up rows and has changed.
        StoreError: the gradients are gone, another run's, not those of the scores, or too many to solve again.
        NumericalError: the system of a member cannot be solved.
    """
    count, n = len(results.metadata.get("members") or []), len(results.scores)
    if count == 1:
        return Members((results.scores.astype(np.float64)[None],), np.arange(n), n)
    from rec_trak.runs.stored import stored_gradients  # brings torch, which a run of one member does without

    score = results.metadata.get("score")
    form = score.get("form") if isinstance(score, dict) else None
    if form not in ("self_influence", "loss_gradient"):
        raise DataError(
            f"{results.folder / METADATA}: single members' scores cannot be made again. Got the form {form}, expected "
            "self_influence or loss_gradient. Compare the runs' self-influence."
        )
    save_dir = stored_gradients(results)
    parts = _solved(save_dir, count, float(score["lambda_rel"]), form == "loss_gradient")
    owner = np.arange(n) if parts[0].shape[1] == n else _owner(results)
    if owner.shape != parts[0].shape[1:]:
        raise StoreError(
            f"{save_dir}: not the rows of {results.folder}. Got {parts[0].shape[1]:,} rows of gradients, expected "
            f"{len(owner):,}. Score again."
        )
    members = Members(parts, owner, n)
    again, scores = members.scores(range(count)), results.scores.astype(np.float64)
    if not np.allclose(again, scores, rtol=1e-2, atol=1e-3 * float(np.abs(scores).max())):
        raise StoreError(
            f"{save_dir}: not the gradients that gave the scores of {results.folder}. Got other scores from them, "
            "expected the same. Score again."
        )
    return members


def _solved(save_dir: Path, count: int, lambda_rel: float, loss_gradient: bool) -> tuple[np.ndarray, ...]:
    """`Members.parts`: leverage and Q, or the leverage of the loss gradient alone, each (E, N)."""
    from rec_trak.scoring.solve import member_leverage

    own, residuals = [], []
    for model_id in range(count):
        try:
            phi, q = read_member(save_dir, model_id)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{save_dir}: the gradients of member {model_id} cannot be read ({error}). Featurize again."
            ) from None
        n, k = phi.shape
        if count * (2.0 * n * k**2 + 9.0 * k**3) > AFFORDABLE:
            raise StoreError(
                f"{save_dir}: {count} members of {n:,} rows with K = {k:,} would take too long to solve again."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scoring the run said it
            own.append(member_leverage(phi, lambda_rel, weights=q if loss_gradient else None)[0])
        residuals.append(q)
    return (np.stack(own),) if loss_gradient else (np.stack(own), np.stack(residuals))


def _owner(results: Results) -> np.ndarray:
    """(N,) the impression of each stored row, where the loss makes several of one."""
    from rec_trak.clicks import expand
    from rec_trak.runs.click_log import read_click_log

    return expand(read_click_log(results).rows, results.metadata["features"]["loss"])[1]
