"""The choice of ridge and K by retraining: tried on half of the subsets and targets, judged on the other half.

The models are trained for this alone, with seeds of their own, so that a final figure never comes from models that a
setting was chosen on. Smaller K need no second pass: the halves of a sketch of K buckets, added up, are a sketch of
K / 2 (an entry whose bucket is b goes to b mod K / 2, its sign stays), though not the one that a run with that K makes.
Not here: the score itself, or anything that changes a run's settings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rec_trak.errors import ConfigError
from rec_trak.scoring.solve import gram, relative_ridge
from rec_trak.validation.case import Case
from rec_trak.validation.estimates import group_sums
from rec_trak.validation.lds import DRAWS, lds
from rec_trak.validation.retrain import Retraining, retrain_all
from rec_trak.validation.subsets import LEAST, half_sets

GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
FOLDS = (1, 2, 4)
SMALLEST = 16  # K below which nothing is tried


def ridge_search(case: Case, subsets: int = 60, draws: int = DRAWS) -> dict[str, Any]:
    """The score of each setting, the best one, and what it gains, as plain data.

    Args:
        case: what is validated.
        subsets: half sets that are trained for this, half of them to choose on; at least 2 LEAST.
        draws: of the bootstrap.

    Returns:
        `subsets`, `targets`, `diverged`; `curve`: a dict a setting with `K`, `lambda_rel`, `lds` and `interval` on the
        half that chooses; `chosen` and `run`, settings; `judged`: `chosen`, `run` (scores on the other half), `gain`
        and `gain_interval`.

    Raises:
        ConfigError: too few subsets or targets for two halves.
        NumericalError: as `lds.lds`.
        StoreError, DataError: as `retrain_all`.
    """
    if subsets < 2 * LEAST or len(case.places) < 2:
        raise ConfigError(
            f"--what ridge: no two halves. Got {subsets} subsets and {len(case.places)} target(s), expected at least "
            f"{2 * LEAST} and 2: one half chooses, the other judges. Give more."
        )
    n, job = len(case.job.impressions), case.job
    halves, seeds = half_sets("ridge", case.seed, n, subsets, 1)
    wanted = [Retraining(int(line[0]), rows) for rows, line in zip(halves, seeds, strict=True)]
    outcomes = retrain_all(case.experiment, wanted, case.folder, case.workers, "ridge")
    margins = np.array([outcome.margins for outcome in outcomes])[:, None]  # (S, 1, m)
    groups = np.zeros((subsets, n))
    for group, rows in zip(groups, halves, strict=True):
        group[rows] = 1
    predicted = predictions(case, case.in_rows(groups))
    own = setting(job.proj_dim, job.lambda_rel)
    first, other = slice(0, subsets // 2), slice(subsets // 2, None)
    left, right = slice(0, len(case.places), 2), slice(1, len(case.places), 2)
    chooses = {name: values[first, left] for name, values in predicted.items()}
    tried = lds(chooses, margins[first][:, :, left], draws)["scores"]
    best = max(tried, key=lambda name: tried[name]["lds"])
    pair = {"chosen": predicted[best][other, right], "run": predicted[own][other, right]}
    judged = lds(pair, margins[other][:, :, right], draws, seed=1)["scores"]
    return {
        "subsets": subsets,
        "targets": len(case.places),
        "diverged": [f"seed {one.seed}" for one, o in zip(wanted, outcomes, strict=True) if o.diverged],
        "curve": [_parts(name) | {key: tried[name][key] for key in ("lds", "interval")} for name in sorted(tried)],
        "chosen": _parts(best),
        "run": _parts(own),
        "judged": {name: judged[name]["lds"] for name in pair}
        | {"gain": judged["run"]["over"], "gain_interval": judged["run"]["over_interval"]},
    }


def setting(k: int, lambda_rel: float) -> tuple[int, float]:
    """What a prediction is called."""
    return (int(k), float(lambda_rel))


def _parts(name: tuple[int, float]) -> dict[str, float]:
    return {"K": name[0], "lambda_rel": name[1]}


def predictions(case: Case, groups: np.ndarray) -> dict[tuple[int, float], np.ndarray]:
    """(K, lambda_rel) -> (J, m) sums of influence over groups of rows (J, N): every setting of GRID and FOLDS, and the
    run's own."""
    job = case.job
    members, ridges = len(job.members), sorted({*GRID, job.lambda_rel} - {0.0}) + [0.0] * (job.lambda_rel == 0)
    mean_q = np.mean([case.member(m)[1] for m in range(members)], axis=0)
    found: dict[tuple[int, float], np.ndarray] = {}
    for m in range(members):
        phi, targets = case.member(m)[0], np.asarray(case.member_targets(m))
        sums, whole = group_sums(phi, mean_q, groups), gram(phi, lambda_rel=min(ridges))
        for parts in FOLDS:
            k, rest = divmod(phi.shape[1], parts)
            if rest or (parts > 1 and k < SMALLEST):
                continue
            xtx = whole if parts == 1 else whole.view(parts, k, parts, k).sum(dim=(0, 2))
            folded = fold(sums, parts), fold(targets.astype(np.float64), parts)
            for lambda_rel, scores in _solved(xtx, len(phi), *folded, ridges).items():
                name = setting(k, lambda_rel)
                found[name] = found.get(name, 0) + scores / members
    return found


def fold(sketches: np.ndarray, parts: int) -> np.ndarray:
    """Sketches (n, K) as sketches (n, K / parts): equal runs of buckets added up."""
    return sketches.reshape(len(sketches), parts, -1).sum(axis=1)


def _solved(
    xtx: torch.Tensor, rows: int, sums: np.ndarray, targets: np.ndarray, ridges: list[float]
) -> dict[float, np.ndarray]:
    """For each relative ridge (as `scoring.solve` has it) sums (J, K) against solved targets (m, K), by one
    decomposition."""
    values, vectors = torch.linalg.eigh(xtx)
    left, right = (torch.from_numpy(part) @ vectors for part in (sums, targets))
    values = values.clamp_min(1e-12 * float(values[-1]))  # a run without a ridge has none below that
    return {ridge: ((left / (values + relative_ridge(xtx, rows, ridge))) @ right.T).numpy() for ridge in ridges}
