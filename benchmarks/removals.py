"""What happens to single targets when the rows that TRAK names are left out, on the worlds of worlds.py.

Not here: which rows, which numbers (rec_trak/validation/removal.py).
"""

from __future__ import annotations

import numpy as np
from worlds import World, features

from rec_trak.validation.case import Case
from rec_trak.validation.removal import PERCENT, RANDOM_DRAWS, single_numbers, single_sets
from rec_trak.validation.retrain import Retraining, retrain_all
from rec_trak.validation.subsets import first_seed

CHOSEN, SEEDS = 10, 3


def remove(world: World, workers: int) -> dict:
    """`removal.single_numbers` of CHOSEN targets with the 10 half-set members, K = 2,048 and lambda_rel 1.

    `common`: the mean share of a target's proponents that also click its article, of as many as click it.
    """
    job, n, count = features(world, "half").job, len(world.rows), len(world.targets)
    folder, places = world.folder / "removal", np.arange(count)
    case = Case(job, "targets", count, places, world.targets, world.articles, None, world.experiment, folder)
    chosen = np.sort(np.random.default_rng(1).choice(count, size=CHOSEN, replace=False))
    singles = single_sets(case, chosen)
    size = len(singles["top", int(chosen[0])])
    removed: dict[tuple, np.ndarray] = {("base",): np.zeros(0, dtype=np.int64)}
    for draw in range(RANDOM_DRAWS):
        removed["random", PERCENT[0], draw] = np.random.default_rng((1, draw)).choice(n, size=size, replace=False)
    removed |= singles
    wanted = {
        (*key, r): Retraining(first_seed("removal", 0) + r, np.setdiff1d(np.arange(n), rows))
        for key, rows in removed.items()
        for r in range(SEEDS)
    }
    outcomes = retrain_all(world.experiment, list(wanted.values()), folder, workers, "removal")
    told = single_numbers(dict(zip(wanted, outcomes, strict=True)), removed, chosen, SEEDS, 0)
    pairs = [(removed["equal", t], removed["same", t]) for t in chosen.tolist() if ("same", t) in removed]
    told["common"] = float(np.mean([np.isin(equal, same).mean() for equal, same in pairs])) if pairs else None
    return told


def removal_table(told: dict[str, dict]) -> str:
    """A line a measure, a column a world."""
    lines = {
        "targets, rows left out": lambda one: f"{one['targets']}, {one['rows']}",
        "fall of the margin without its proponents": lambda one: _cell(one["drop"], one["drop_interval"]),
        "mean absolute change by random removal": lambda one: _cell(one["random"], None),
        "fall over random change": lambda one: _cell(one["over_random"], one["over_random_interval"]),
        "targets whose article is clicked, mean rows": lambda one: (
            f"{one['same_targets']}, {one.get('same_rows', 0):.1f}"
        ),
        "fall without as many proponents": lambda one: _cell(one.get("equal_drop"), None),
        "fall without rows that click the article": lambda one: _cell(one.get("same_drop"), None),
        "share of rows that both leave out": lambda one: _cell(one["common"], None),
        "fall over that of same-article rows": lambda one: _cell(one.get("over_same"), one.get("over_same_interval")),
    }
    head = ["| what | " + " | ".join(told) + " |", "|---" * (1 + len(told)) + "|"]
    return "\n".join([*head, *(f"| {n} | {' | '.join(map(cell, told.values()))} |" for n, cell in lines.items())])


def _cell(value: float | None, between: list[float] | None) -> str:
    if value is None:
        return "none"
    return f"{value:.2f}" + (f" [{between[0]:.2f}, {between[1]:.2f}]" if between else "")
