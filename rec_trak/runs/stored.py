"""The save directory behind a run, opened, and rankings made from it without the model. Not here: influence on targets.

Each value is of an impression: where the loss makes several rows of one, their losses add up, and so do their loss
gradients. Over members, values are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rec_trak.clicks import owners
from rec_trak.data.impressions import Impressions
from rec_trak.errors import DataError, StoreError
from rec_trak.results.files import METADATA, Results
from rec_trak.scoring.solve import ROUNDING, blocks, member_leverage
from rec_trak.store.grams import kept_gram
from rec_trak.store.manifest import MANIFEST, check_manifest, read_manifest
from rec_trak.store.reading import read_member, read_targets
from rec_trak.words import outline

TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Stored:
    """The finished save directory of a run.

    Attributes:
        save_dir: where it lies.
        members: checkpoints in it.
        lambda_rel: the ridge that the run was scored with.
        owner: (N,) int64, the impression of each stored row, ascending.
        impressions: I.
    """

    save_dir: Path
    members: int
    lambda_rel: float
    owner: np.ndarray
    impressions: int

    __repr__ = outline

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(I,) sums of row values (N,) over the rows of each impression."""
        return np.bincount(self.owner, weights=values, minlength=self.impressions)

    def read(self, model_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Projected gradients (N, K) float32 as a read-only map, and Q (N,) float64, of a member.

        Raises:
            StoreError: they are gone or damaged.
        """
        return read_member(self.save_dir, model_id)

    def gram(self, model_id: int, double: bool) -> np.ndarray | None:
        """Phi'Phi of a member as scoring made it, in double precision or not; None where nobody kept it."""
        return kept_gram(self.save_dir, model_id, double, self.read(model_id)[0].shape[1])

    def targets(self, model_id: int, name: str, count: int | None = None) -> np.ndarray:
        """Projected gradients (M, K) of a target set, as a read-only map.

        Args:
            model_id: the member.
            name: of the set.
            count: M, where it is known.

        Raises:
            StoreError: they are gone, damaged, or those of another number of targets.
        """
        gradients = read_targets(self.save_dir, model_id, name)
        if count in (None, len(gradients)):
            return gradients
        raise StoreError(
            f"{self.save_dir / str(model_id) / f'{name}_grads.mmap'}: not the targets that were scored. Got "
            f"{len(gradients)} targets, expected {count}. Run scripts/score.py with --targets {name}."
        )


def open_stored(results: Results, rows: Callable[[], Impressions]) -> Stored:
    """The save directory that a run was scored from.

    Args:
        results: the run.
        rows: gives its impressions; called where the loss makes several rows of one.

    Raises:
        DataError: the run does not say how it was made.
        StoreError: the directory is gone, or holds another run's gradients or those of other rows.
    """
    told, save_dir = results.metadata, stored_gradients(results)
    count, impressions = len(read_member(save_dir, 0)[1]), len(results.scores)
    owner = np.arange(count) if count == impressions else owners(rows(), told["features"]["loss"])
    if len(owner) != count:
        raise StoreError(
            f"{save_dir}: not the rows of {results.folder}. Got {count:,} rows of gradients, expected {len(owner):,}. "
            "Score again."
        )
    return Stored(save_dir, len(told["members"]), float(told["score"]["lambda_rel"]), owner, impressions)


def stored_gradients(results: Results) -> Path:
    """The save directory that a run was scored from, known to hold its gradients still.

    Raises:
        DataError: the run does not say how it was made.
        StoreError: the directory is gone, or holds another run's gradients.
    """
    told = results.metadata
    if any(not told.get(key) for key in ("features", "rows", "members", "score", "save_dir")):
        raise DataError(
            f"{results.folder / METADATA}: does not say how the run was made. Expected `features`, `rows`, `members`, "
            "`score` and `save_dir`, as scripts/score.py writes them. Run it again."
        )
    folders = (Path(told["save_dir"]), results.folder / "store")
    save_dir = next((folder for folder in folders if (folder / MANIFEST).is_file()), None)
    if save_dir is None:
        raise StoreError(f"{folders[0]}: no gradients there. Expected the run's save directory. Featurize again.")
    models = {str(i): member["digest"] for i, member in enumerate(told["members"])}
    check_manifest(save_dir, read_manifest(save_dir), {"features": told["features"] | told["rows"], "models": models})
    return save_dir


def stored_self_influence(stored: Stored, form: str) -> np.ndarray:
    """(I,) Q h (`self_influence`) or leverage of the loss gradient (`loss_gradient`), as `influence.self_influence`.

    Raises:
        NumericalError: no ridge with K >= N, or gradients that are not finite.
    """
    own, residuals = [], []
    for model_id in range(stored.members):
        phi, q = stored.read(model_id)
        own.append(member_leverage(phi, stored.lambda_rel, weights=q if form == "loss_gradient" else None)[0])
        residuals.append(q)
    mean = np.mean(own, axis=0)
    return stored.sums(mean if form == "loss_gradient" else mean * np.mean(residuals, axis=0))


def loss_and_norms(stored: Stored) -> dict[str, np.ndarray]:
    """Rankings that need gradients or losses but no other row, name -> (I,).

    `loss` is -log(1 - Q): for every loss here Q is one minus the probability that the model gives to what happened.
    `gradient norm` is of the margin's gradient, `loss gradient norm` of the loss's, Q times as long; both are lengths
    of sketches, whose squares are right on average.
    """
    rankings = {name: np.zeros(stored.impressions) for name in ("loss", "gradient norm", "loss gradient norm")}
    for model_id in range(stored.members):
        phi, q = stored.read(model_id)
        squares = np.concatenate([part.double().square().sum(dim=1).numpy() for _, part in blocks(phi)])
        rankings["loss"] += stored.sums(-np.log(np.maximum(1 - q, TINY)))
        rankings["gradient norm"] += np.sqrt(stored.sums(squares))
        lengths = [np.linalg.norm(part, axis=1) for _, part in _loss_gradients(stored, phi, q)]
        rankings["loss gradient norm"] += np.concatenate(lengths)
    return {name: values / stored.members for name, values in rankings.items()}


def gradient_cosine(stored: Stored, targets: str) -> np.ndarray:
    """(I,) in [-1, 1], the cosine of each impression's gradient with the mean gradient of a target set.

    Where an impression is one row it is the margin's gradient, which has the direction of minus the loss's.

    Raises:
        StoreError: the targets' gradients are not in the save directory.
    """
    total = np.zeros(stored.impressions)
    length = np.empty(stored.impressions)
    alone = len(stored.owner) == stored.impressions
    for model_id in range(stored.members):
        target = stored.targets(model_id, targets).astype(np.float64).mean(axis=0)
        phi, q = stored.read(model_id)
        dots = np.empty(stored.impressions)
        for places, part in _loss_gradients(stored, phi, np.ones_like(q) if alone else q):
            length[places], dots[places] = np.linalg.norm(part, axis=1), part @ target
        some = length > ROUNDING["float32"] * np.sqrt(np.mean(length**2))  # of rounding there is no direction
        total[some] += dots[some] / np.maximum(length[some] * np.linalg.norm(target), TINY)
    return total / stored.members


def _loss_gradients(stored: Stored, phi: np.ndarray, q: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Impressions and their sums of Q phi (float64), block by block, each impression once and in order."""
    held, rest = np.zeros(0, dtype=np.int64), np.zeros((0, phi.shape[1]))
    for rows, part in blocks(phi, q):
        owner = np.concatenate([held, stored.owner[rows]])
        values = np.concatenate([rest, part.double().numpy()])
        starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
        sums, places = np.add.reduceat(values, starts), owner[starts]
        held, rest = places[-1:], sums[-1:]  # the next block may go on with this impression
        yield places[:-1], sums[:-1]
    yield held, rest


def times_root_q(renormalised: np.ndarray, stored: Stored) -> np.ndarray:
    """(I,) renormalised influence times the root of Q, Q being the sum over an impression's rows.

    Renormalised influence alone cannot tell an injected click from a genuine one on the same article where both have
    the same words to it; an injected click is less expected of its reader, which Q says. The root is half way between
    k / sqrt(h), which leaves Q out, and Q k / sqrt(h), in which a few unexpected clicks outweigh all.
    """
    mean = np.mean([stored.read(model_id)[1] for model_id in range(stored.members)], axis=0)
    return renormalised * np.sqrt(stored.sums(mean))
