"""What really happens to targets when the rows that a ranking names are left out. Not here: rankings themselves.

Two questions. Single targets: without its own strongest proponents, how far does a target's margin fall, next to what
leaving out as many random rows does, and as many rows that click the article it explains? The whole set: without the
rows that stand highest in a ranking, how far do the mean margin and the recommendations of the explained articles fall?
Each change is against models of all rows with the same seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rec_trak.errors import ConfigError, NumericalError
from rec_trak.runs.stored import gradient_cosine, loss_and_norms
from rec_trak.validation.case import Case
from rec_trak.validation.estimates import row_scores
from rec_trak.validation.lds import DRAWS, interval
from rec_trak.validation.retrain import Outcome, Retraining, retrain_all
from rec_trak.validation.subsets import first_seed

PERCENT = (1, 5, 10)  # of the rows
RANDOM_DRAWS = 4  # random removals of each size
MOST_SEEDS = 1000
INFLUENCE, SAME = "influence", "clicks an explained article"


def removal(case: Case, seeds: int = 3, single: int = 10) -> dict[str, Any]:
    """Both questions, as plain data: `rows`, `seeds`, `retrainings`, `diverged`, `single` and `set`.

    Args:
        case: what is validated.
        seeds: trainings of each removal, at least 1.
        single: targets of the set that are taken one by one, a seeded sample; 0 for none.

    Raises:
        ConfigError: a number out of range.
        NumericalError: all base models diverged.
        StoreError, DataError: as `retrain_all`.
    """
    n = len(case.job.impressions)
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"--removal_seeds: out of range. Got {seeds}, expected 1 to {MOST_SEEDS}. Change it.")
    if single < 0:
        raise ConfigError(f"--removal_targets: below zero. Got {single}, expected 0 or more. Change it.")
    chosen = _chosen(len(case.places), single, case.seed)
    removed = single_sets(case, chosen) | set_sets(case)
    for percent in PERCENT:
        for draw in range(RANDOM_DRAWS):
            removed["random", percent, draw] = _random_rows(n, _size(n, percent), (case.seed, percent, draw))
    removed["base",] = np.zeros(0, dtype=np.int64)
    first = first_seed("removal", case.seed)
    wanted = {
        (*key, r): Retraining(first + r, np.setdiff1d(np.arange(n), rows)) for key, rows in removed.items()
        for r in range(seeds)
    }  # fmt: skip
    outcomes = retrain_all(case.experiment, list(wanted.values()), case.folder, case.workers, "removal")
    found = dict(zip(wanted, outcomes, strict=True))
    if not any(found["base", r].diverged is None for r in range(seeds)):
        raise NumericalError(
            f"removal: every model of all rows diverged. Got {seeds} of {seeds}, expected at least one that did not: "
            f"{found['base', 0].diverged}"
        )
    return {
        "rows": n,
        "seeds": seeds,
        "retrainings": len({one.name for one in wanted.values()}),
        "diverged": [f"seed {wanted[key].seed}: {_told(key)}" for key, one in found.items() if one.diverged],
        "single": single_numbers(found, removed, chosen, seeds, case.seed) if len(chosen) else None,
        "set": set_numbers(found, removed, seeds, case.seed),
    }


def single_sets(case: Case, chosen: np.ndarray) -> dict[tuple, np.ndarray]:
    """Rows to leave out for each chosen target: ("top", t), its strongest proponents, 1 % of all rows; ("same", t), a
    seeded draw of rows that click its article, as many or all there are; ("equal", t), so many of its proponents."""
    if not len(chosen):
        return {}
    n, job = len(case.job.impressions), case.job
    scores = row_scores(len(job.members), case.member, case.member_targets, chosen, job.lambda_rel)
    sums = np.stack([np.bincount(job.impression_of_row, weights=column, minlength=n) for column in scores.T])
    sets = {}
    for t, column in zip(chosen.tolist(), sums, strict=True):
        order = np.argsort(-column, kind="stable")
        same = np.flatnonzero(job.impressions.clicked == case.targets.clicked[t])
        size = _size(n, PERCENT[0])
        sets["top", t] = order[:size]
        if len(same):
            sets["same", t] = same[_random_rows(len(same), min(size, len(same)), (case.seed, t))]
            sets["equal", t] = order[: min(size, len(same))]
    return sets


def set_sets(case: Case) -> dict[tuple, np.ndarray]:
    """Rows to leave out for the whole set: ("set", ranking, percent), the first so many of each ranking.

    The influence is the run's own mean over the set. Rows that click an explained article come in the order of how
    many targets explain it, rows that click none after them; equal rows in random order.
    """
    job = case.job
    n, asked = len(job.impressions), np.bincount(case.targets.clicked, minlength=len(case.articles))
    rankings = {
        INFLUENCE: case.results.scores.astype(np.float64),
        SAME: asked[job.impressions.clicked].astype(np.float64),
        "gradient cosine": gradient_cosine(case.stored, case.name),
        **{name: values for name, values in loss_and_norms(case.stored).items() if name != "loss gradient norm"},
    }
    order = np.random.default_rng(case.seed).permutation(n)
    best = {name: order[np.argsort(-values[order], kind="stable")] for name, values in rankings.items()}
    return {("set", name, percent): rows[: _size(n, percent)] for name, rows in best.items() for percent in PERCENT}


def single_numbers(
    found: dict[tuple, Outcome], removed: dict[tuple, np.ndarray], chosen: np.ndarray, seeds: int, seed: int
) -> dict[str, Any]:
    """What came of the single targets.

    Args:
        found: outcome of each (*key, r), key as in `removed` and r < seeds.
        removed: rows left out, key -> positions: `single_sets`, ("base",), and ("random", percent, draw).
        chosen: targets taken one by one.
        seed: of the bootstrap.

    Returns:
        `targets`, `rows` left out; `drop`, the mean fall of the margin without a target's proponents; `random`, the
        mean absolute change by random removal, single retrainings; `random_of_means`, the same of means over seeds;
        `over_random` their ratio; of the targets whose article somebody clicks, `same_targets`: `same_rows` (mean
        count), `equal_drop`, `same_drop`, `over_same` (None where leaving out same-article rows lowers nothing). Each
        ratio has an interval, over targets and seeds; `per_target` has the falls.
    """
    base = _margins(found, [("base",)], seeds)[0]  # (R, M)
    top = _falls(found, base, "top", chosen)
    keys = [("random", PERCENT[0], draw) for draw in range(RANDOM_DRAWS)]
    random = base[None][:, :, chosen] - _margins(found, keys, seeds)[:, :, chosen]  # (D, R, m)
    pairs = [t for t in chosen.tolist() if ("same", t) in removed]
    told = {
        "targets": len(chosen),
        "rows": len(removed["top", int(chosen[0])]),
        "drop": _mean(top),
        "drop_interval": _drawn(_mean, [top], seed),
        "random": _mean(np.abs(random)),
        "random_of_means": _mean(np.abs(np.nanmean(random, axis=1))) if np.isfinite(random).any() else None,
        "over_random": _ratio(top, np.abs(random)),
        "over_random_interval": _drawn(_ratio, [top, np.abs(random)], seed),
        "same_targets": len(pairs),
        "per_target": [
            {"target": int(t), "drop": _mean(top[:, i]), "random": _mean(np.abs(random[:, :, i]))}
            for i, t in enumerate(chosen)
        ],
    }
    if pairs:
        equal, same = (_falls(found, base, key, pairs) for key in ("equal", "same"))
        told |= {
            "same_rows": float(np.mean([len(removed["same", t]) for t in pairs])),
            "equal_drop": _mean(equal),
            "same_drop": _mean(same),
            "over_same": _ratio(equal, same),
            "over_same_interval": _drawn(_ratio, [equal, same], seed),
        }
    return told


def set_numbers(
    found: dict[tuple, Outcome], removed: dict[tuple, np.ndarray], seeds: int, seed: int
) -> list[dict[str, Any]]:
    """What came of the whole set, one dict a ranking and size.

    Args:
        found, removed, seeds, seed: as `single_numbers`; keys ("set", ranking, percent).

    Returns:
        `ranking`, `percent`, `rows`, `drop` of the mean margin with `drop_interval` (over targets and seeds; for
        random removal `drop` is the mean absolute change), `over_random` of the same size, and `exposure`: name ->
        `before`, `after`.
    """
    base = _margins(found, [("base",)], seeds)[0]
    before = _exposure(found, [("base",)], seeds)
    lines = []
    for percent in PERCENT:
        keys = [("random", percent, draw) for draw in range(RANDOM_DRAWS)]
        change = np.abs(np.mean(base[None] - _margins(found, keys, seeds), axis=2))  # (D, R)
        random, after = _mean(change), _exposure(found, keys, seeds)
        line = {"ranking": "random", "percent": percent, "rows": len(removed[keys[0]]), "drop": random}
        lines.append(line | {"drop_interval": None, "over_random": None, "exposure": _shares(before, after)})
        for key in (key for key in removed if key[0] == "set" and key[2] == percent):
            drop = base - _margins(found, [key], seeds)[0]
            line = {"ranking": key[1], "percent": percent, "rows": len(removed[key]), "drop": _mean(drop)}
            line["drop_interval"] = _drawn(_mean, [drop], seed)
            line["over_random"] = line["drop"] / random if random and line["drop"] is not None else None
            lines.append(line | {"exposure": _shares(before, _exposure(found, [key], seeds))})
    return lines


def _chosen(count: int, wanted: int, seed: int) -> np.ndarray:
    """The targets that are taken one by one, (m,) ascending."""
    if wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng((seed, 1)).choice(count, size=wanted, replace=False))


def _size(n: int, percent: int) -> int:
    return max(1, n * percent // 100)


def _random_rows(n: int, size: int, seed: Sequence[int]) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(n, size=size, replace=False))


def _margins(found: dict[tuple, Outcome], keys: list[tuple], seeds: int) -> np.ndarray:
    """(keys, R, M), NaN where a retraining diverged."""
    return np.array([[found[*key, r].margins for r in range(seeds)] for key in keys])


def _falls(found: dict[tuple, Outcome], base: np.ndarray, kind: str, targets: Sequence[int]) -> np.ndarray:
    """(R, m) fall of each target's margin from the base models (R, M) by its own removal of this kind."""
    left = [_margins(found, [(kind, int(t))], len(base))[0][:, t] for t in targets]
    return base[:, list(targets)] - np.stack(left, axis=1)


def _exposure(found: dict[tuple, Outcome], keys: list[tuple], seeds: int) -> dict[str, float]:
    """Mean exposure over the retrainings that ended well."""
    told = [found[*key, r].exposure for key in keys for r in range(seeds) if found[*key, r].diverged is None]
    names = sorted(told[0] if told else {}, key=lambda name: (name.split("@")[0], int(name.split("@")[1])))
    return {name: float(np.mean([one[name] for one in told])) for name in names}


def _shares(before: dict[str, float], after: dict[str, float]) -> dict[str, dict[str, float]]:
    return {name: {"before": value, "after": after[name]} for name, value in before.items() if name in after}


def _mean(values: np.ndarray) -> float | None:
    """Over the retrainings that ended well."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _ratio(above: np.ndarray, below: np.ndarray) -> float | None:
    """Ratio of means, None where the lower one is not above zero."""
    top, bottom = _mean(above), _mean(below)
    return top / bottom if top is not None and bottom is not None and bottom > 0 else None


def _drawn(statistic: Any, parts: list[np.ndarray], seed: int) -> list[float] | None:
    """The bootstrap interval of a statistic of arrays (..., R, m) whose seeds and targets are drawn again together;
    None where most draws do not give it."""
    random = np.random.default_rng(seed)
    seeds, targets = parts[0].shape[-2:]
    values = []
    for _ in range(DRAWS):
        lines, columns = random.integers(seeds, size=seeds), random.integers(targets, size=targets)
        values.append(statistic(*(part[..., lines, :][..., columns] for part in parts)))
    values = [value for value in values if value is not None]
    return interval(np.array(values)) if len(values) > DRAWS / 2 else None


def _told(key: tuple) -> str:
    """A removal in words, for the list of those that diverged."""
    return "all rows" if key[0] == "base" else f"without {' '.join(map(str, key[:-1]))}"
