"""The scores of a run's single members, from its save directory, without data or model. Not here: ranks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rec_trak.errors import DataError, StoreError
from rec_trak.results.files import METADATA, Results
from rec_trak.words import outline

if TYPE_CHECKING:
    from rec_trak.runs.stored import Stored

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

    __repr__ = outline

    def __len__(self) -> int:
        return len(self.parts[0])

    def scores(self, chosen: Sequence[int]) -> np.ndarray:
        """(I,) scores of the ensemble of the chosen members."""
        means = [part[list(chosen)].mean(axis=0) for part in self.parts]
        return np.bincount(self.owner, weights=np.prod(means, axis=0), minlength=self.impressions)


def read_members(results: Results, stored: Callable[[], Stored], affordable: float = AFFORDABLE) -> Members:
    """The scores of a run's members, from its save directory; of a run of one member they are the run's own.

    Args:
        results: of self-influence.
        stored: opens the save directory that they were scored from; called where there are several members.
        affordable: multiplications that solving the members again may cost.

    Raises:
        DataError: the scores are not self-influence, or the click log is needed to add up rows and has changed.
        StoreError: the gradients are gone, another run's, not those of the scores, or too many to solve again.
        NumericalError: the system of a member cannot be solved.
    """
    own = results.scores.astype(np.float64)
    if len(results.metadata.get("members") or []) == 1:
        return Members((own[None],), np.arange(len(own)), len(own))
    score = results.metadata.get("score")
    form = score.get("form") if isinstance(score, dict) else None
    if form not in ("self_influence", "loss_gradient"):
        raise DataError(
            f"{results.folder / METADATA}: single members' scores cannot be made again. Got the form {form}, expected "
            "self_influence or loss_gradient. Compare the runs' self-influence."
        )
    store = stored()
    members = Members(_solved(store, form == "loss_gradient", affordable), store.owner, store.impressions)
    again = members.scores(range(store.members))
    if not np.allclose(again, own, rtol=1e-2, atol=1e-3 * float(np.abs(own).max())):
        raise StoreError(
            f"{store.save_dir}: not the gradients that gave the scores of {results.folder}. Got other scores from "
            "them, expected the same. Score again."
        )
    return members


def _solved(stored: Stored, loss_gradient: bool, affordable: float) -> tuple[np.ndarray, ...]:
    """`Members.parts`: leverage and Q, or the leverage of the loss gradient alone, each (E, N)."""
    from rec_trak.scoring.solve import member_leverage  # brings torch, which a run of one member does without

    own, residuals = [], []
    for model_id in range(stored.members):
        phi, q = stored.read(model_id)
        n, k = phi.shape
        if stored.members * (2.0 * n * k**2 + 9.0 * k**3) > affordable:
            raise StoreError(
                f"{stored.save_dir}: {stored.members} members of {n:,} rows with K = {k:,} would take too long to "
                "solve again."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scoring the run said it
            own.append(member_leverage(phi, stored.lambda_rel, weights=q if loss_gradient else None)[0])
        residuals.append(q)
    return (np.stack(own),) if loss_gradient else (np.stack(own), np.stack(residuals))
