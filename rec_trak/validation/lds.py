"""The linear datamodeling score of predictions, with a noise ceiling and intervals. Not here: models, files.

Models are trained on random half sets S_j. A ranking predicts for a target the sum of its scores over S_j; the score of
the ranking is the rank correlation over j of that with the target's margin under model j, averaged over targets. No
prediction can exceed what the training noise leaves: with R the rank correlation between two trainings on the same
sets, the ceiling is sqrt(R) for one training, and for the mean of T that of their Spearman-Brown reliability.

Source: Ilyas et al. 2022, Datamodels, and Park et al. 2023, TRAK, section 4 (LDS); Spearman 1904 (attenuation).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from rec_trak.detection.intervals import LEVEL
from rec_trak.errors import ConfigError, NumericalError
from rec_trak.validation.subsets import LEAST

DRAWS = 500


def spearman(predicted: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """(..., M) rank correlation of the columns of `predicted` (..., J, M) with those of `outcomes` (J, M).

    A tie takes the mean rank. A column of `outcomes` in which nothing varies gives NaN; a column of `predicted` that
    says the same of all gives 0, since it predicts nothing.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=-2) for values in (predicted, outcomes)]
    a, b = (values - values.mean(axis=-2, keepdims=True) for values in ranks)
    spread_a, spread_b = (a * a).sum(axis=-2), (b * b).sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (a * b).sum(axis=-2) / np.sqrt(spread_a * spread_b)
    return np.where(spread_b == 0, np.nan, np.where(spread_a == 0, 0.0, found))


def lds(predicted: Mapping[str, np.ndarray], outcomes: np.ndarray, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """How well each prediction orders the outcomes, as plain data.

    Subsets with a training that diverged are left out, and so are targets whose outcome is the same for all subsets.
    Intervals are of a bootstrap over subsets and targets, both drawn again, percentiles; draws are the same for
    all predictions, so that differences between them have intervals too (`over`).

    Args:
        predicted: name -> (S, M) sums of scores; the first is the one that is compared with the others.
        outcomes: (S, T, M) margins, NaN where a training diverged.
        draws, seed: of the bootstrap.

    Returns:
        `subsets`, `trainings`, `targets`, those used; `left_out_subsets`, `constant_targets`; `scores`: name -> `lds`
        against the mean of the trainings, `interval`, `single` against one training (mean over them), `ratio` of `lds`
        to the ceiling and `ratio_interval` (None without one), and `over`, `over_interval`: by how much the first
        exceeds it; `ceiling` (None with one training): `single`, `mean`, `mean_interval`, `reliability` R;
        `per_target`: (targets used) of the first, and `target_places`, which of the M they are.

    Raises:
        ConfigError: fewer subsets than a rank correlation needs.
        NumericalError: so few trainings ended well that no such number is left, or no target varies.
    """
    outcomes = np.asarray(outcomes, dtype=np.float64)
    used, varies = usable(outcomes)
    outcomes = outcomes[used][:, :, varies]
    parts = np.stack([np.asarray(values, dtype=np.float64)[used][:, varies] for values in predicted.values()])
    found = _numbers(parts, outcomes) | {"ceiling": noise_ceiling(outcomes)}
    drawn = _bootstrap(parts, outcomes, draws, seed)
    return {
        "subsets": int(used.sum()),
        "trainings": outcomes.shape[1],
        "targets": int(varies.sum()),
        "left_out_subsets": int((~used).sum()),
        "constant_targets": int((~varies).sum()),
        "bootstrap": f"{draws} draws over subsets and targets, {LEVEL:.0%} percentiles",
        "scores": {name: _score(i, found, drawn) for i, name in enumerate(predicted)},
        "ceiling": _ceiling(found, drawn),
        "per_target": found["per_target"],
        "target_places": np.flatnonzero(varies).tolist(),
    }


def usable(outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S,) bool, subsets without a diverged training; (M,) bool, targets that vary over these.

    Args:
        outcomes: (S, T, M).

    Raises:
        ConfigError: fewer than LEAST subsets.
        NumericalError: fewer than LEAST that can be used, or no target that varies.
    """
    if len(outcomes) < LEAST:
        raise ConfigError(
            f"LDS: fewer subsets than a rank correlation needs. Got {len(outcomes)}, expected at least {LEAST}. Train "
            "more of them."
        )
    used = np.isfinite(outcomes).all(axis=(1, 2))
    if used.sum() < LEAST:
        raise NumericalError(
            f"LDS: too few retrainings ended well. Got {used.sum()} of {len(used)} subsets without a diverged one, "
            f"expected at least {LEAST}. Lower the `learning_rate` of the training, or train more subsets."
        )
    outcomes = outcomes[used]
    varies = (np.ptp(outcomes, axis=0) > 0).all(axis=0) & (np.ptp(outcomes.mean(axis=1), axis=0) > 0)
    if not varies.any():
        raise NumericalError(
            f"LDS: no target's margin changes with the training rows. Got {len(varies)} constant ones, expected some "
            "that vary. Explain other targets."
        )
    return used, varies


def _numbers(parts: np.ndarray, outcomes: np.ndarray) -> dict[str, Any]:
    """All point values: `mean` (P,) and `single` (P,) scores, and `per_target` of the first.

    Args:
        parts: (P, S, M) predictions.
        outcomes: (S, T, M).
    """
    against_mean = spearman(parts, outcomes.mean(axis=1))
    against_each = np.array([spearman(parts, outcomes[:, t]) for t in range(outcomes.shape[1])])
    return {
        "mean": _mean(against_mean, axis=1),
        "single": _mean(against_each, axis=(0, 2)),
        "per_target": against_mean[0].tolist(),
    }


def noise_ceiling(outcomes: np.ndarray) -> tuple[float, float, float] | None:
    """Mean over targets of sqrt(max(0, R)), of the same for the mean of the T trainings, and of R itself.

    Args:
        outcomes: (S, T, M). R is the mean over pairs of trainings of their rank correlation over subsets.

    Returns:
        None with one training: nothing then tells noise from what the rows did.
    """
    trainings = outcomes.shape[1]
    if trainings < 2:
        return None
    pairs = [spearman(outcomes[:, a], outcomes[:, b]) for a, b in combinations(range(trainings), 2)]
    agreed = np.mean(pairs, axis=0)
    single = np.clip(agreed, 0, None)
    several = trainings * single / (1 + (trainings - 1) * single)
    return tuple(float(_mean(values, axis=0)) for values in (np.sqrt(single), np.sqrt(several), agreed))


def _mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The mean over what is defined: a bootstrap draw may repeat one subset until a target varies no more."""
    defined = np.isfinite(values)
    return np.where(defined, values, 0).sum(axis=axis) / np.maximum(defined.sum(axis=axis), 1)


def _bootstrap(parts: np.ndarray, outcomes: np.ndarray, draws: int, seed: int) -> dict[str, np.ndarray]:
    """(D, P) scores, and (D,) ceilings of the mean where there are several trainings."""
    random = np.random.default_rng(seed)
    subsets, _, targets = outcomes.shape
    scores, ceilings = [], []
    for _ in range(draws):
        lines, columns = random.integers(subsets, size=subsets), random.integers(targets, size=targets)
        again = outcomes[lines][:, :, columns]
        scores.append(_mean(spearman(parts[:, lines][:, :, columns], again.mean(axis=1)), axis=1))
        if again.shape[1] > 1:
            ceilings.append(noise_ceiling(again)[1])
    return {"scores": np.array(scores), "ceilings": np.array(ceilings)}


def interval(values: np.ndarray) -> list[float]:
    """[low, high] percentiles at LEVEL."""
    return [float(x) for x in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]


def _score(i: int, found: dict[str, Any], drawn: dict[str, np.ndarray]) -> dict[str, Any]:
    value, scores = float(found["mean"][i]), drawn["scores"]
    told = {"lds": value, "interval": interval(scores[:, i]), "single": float(found["single"][i])}
    ceiling = found["ceiling"][1] if found["ceiling"] else 0.0
    told["ratio"] = value / ceiling if ceiling > 0 else None
    told["ratio_interval"] = None
    if ceiling > 0:
        told["ratio_interval"] = interval(scores[:, i] / np.maximum(drawn["ceilings"], 1e-9))
    return told | {
        "over": float(found["mean"][0]) - value,
        "over_interval": interval(scores[:, 0] - scores[:, i]),
    }


def _ceiling(found: dict[str, Any], drawn: dict[str, np.ndarray]) -> dict[str, Any] | None:
    if found["ceiling"] is None:
        return None
    single, several, agreed = found["ceiling"]
    return {
        "single": single,
        "mean": several,
        "mean_interval": interval(drawn["ceilings"]),
        "reliability": agreed,
    }
