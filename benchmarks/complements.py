"""What any sum of scores over rows can reach: models on the complements of the half sets of lds.py.

python benchmarks/lds.py ../shared/data/upfd_politifact --folder runs/lds
python benchmarks/complements.py ../shared/data/upfd_politifact --folder runs/lds    # eight minutes on two cores

The sums of a ranking over a half set and over its complement add up to the same number for every half set: what it
foretells is odd. The part of a margin that is even (clicks that stand in for each other, a training that ends sooner)
no ranking can foretell, whatever its scores. With f margins on J half sets and g on their complements, two trainings of
each, every target's as ranks over all 2 J sets of mean 0 and variance 1:

    same = mean of f_1 f_2 and g_1 g_2,   opposite = mean of all f_i g_j
    odd = (same - opposite) / 2,          even = (same + opposite) / 2
    ceiling of the mean of two = sqrt(same / v), of a sum over rows sqrt(odd / v), with v = (1 + same) / 2

Interactions of three rows are odd too, so the ceiling of sums is an upper bound.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from worlds import SUBSETS, TRAININGS, WORLDS, World, features, margins, read_world

from rec_trak import cli
from rec_trak.scoring.choice import best_ridge, explained
from rec_trak.validation.estimates import RUN, SIGNED, baseline_scores, group_scores
from rec_trak.validation.retrain import evaluation_margins
from rec_trak.validation.subsets import half_sets

SEED = 7  # of the complements' trainings, apart from those of lds.py
DRAWS = 500


def complement_margins(world: World, workers: int) -> np.ndarray:
    """(SUBSETS, TRAININGS, M) margins of models on the rows that each half set leaves out."""
    one, n = world.experiment, len(world.rows)
    others = [np.setdiff1d(np.arange(n), rows) for rows in world.halves[0]]
    seeds = half_sets("lds", SEED, n, SUBSETS, TRAININGS)[1]
    parts = (one.model_config, one.inputs, one.validation, one.settings, one.targets, others, seeds)
    return evaluation_margins(*parts, world.folder / "complements", workers)


def foretold(world: World) -> dict[str, np.ndarray]:
    """(2 SUBSETS, M) sums over half sets, then complements: the ranking of ten half-set members, and the best rule."""
    found, groups = features(world, "half"), np.concatenate([world.groups, 1 - world.groups])
    ridge = best_ridge([explained(*pair, seed=0) for pair in zip(found.phis, found.qs, strict=True)])
    read, read_targets = (lambda m: (found.phis[m], found.qs[m])), (lambda m: found.targets[m])
    ranking = group_scores(len(found.phis), read, read_targets, groups, ridge)[RUN]
    return {RUN: ranking, SIGNED: baseline_scores(world.rows, world.targets, groups)[SIGNED]}


def numbers(halves: np.ndarray, others: np.ndarray, told: dict[str, np.ndarray]) -> dict[str, float]:
    """The module's docstring: variances and ceilings, and the rank correlation of each prediction with the mean of two.

    Args:
        halves, others: (J, TRAININGS, M) margins.
        told: name -> (2 J, M), half sets first.
    """
    count = len(halves)
    f, g = np.split(_ranked(np.concatenate([halves, others])), [count])
    same = (np.mean(f[:, 0] * f[:, 1]) + np.mean(g[:, 0] * g[:, 1])) / 2
    opposite = np.mean(f.mean(axis=1) * g.mean(axis=1))
    odd, mean = (same - opposite) / 2, _ranked(np.concatenate([halves, others]).mean(axis=1))
    found = {"odd": odd, "even": (same + opposite) / 2}
    found["ceiling by noise"] = np.sqrt(2 * same / (1 + same))
    found["ceiling of sums"] = np.sqrt(2 * max(odd, 0) / (1 + same))
    found |= {name: float(np.mean(_ranked(sums) * mean)) for name, sums in told.items()}
    found["share of the ceiling of sums"] = found[RUN] / found["ceiling of sums"]
    found["beyond the rule"] = found[RUN] - found[SIGNED]
    return found | {"room beyond the rule": found["ceiling of sums"] - found[SIGNED]}


def _ranked(values: np.ndarray) -> np.ndarray:
    """Ranks along the first axis, of mean 0 and variance 1."""
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    return ranks / np.sqrt(np.square(ranks).mean(axis=0))


def one_world(world: World, workers: int) -> dict[str, list[float]]:
    """Name -> [value, lower, upper], 95 % by a bootstrap over pairs of half sets and over targets."""
    halves, others, told = margins(world, workers), complement_margins(world, workers), foretold(world)
    rng, (count, _, targets) = np.random.default_rng(0), halves.shape
    drawn = []
    for _ in range(DRAWS):
        some, aims = rng.integers(0, count, count), rng.integers(0, targets, targets)
        both = np.concatenate([some, some + count])
        parts = {name: sums[both][:, aims] for name, sums in told.items()}
        drawn.append(numbers(halves[some][:, :, aims], others[some][:, :, aims], parts))
    whole = numbers(halves, others, told)
    ends = {name: np.percentile([one[name] for one in drawn], [2.5, 97.5]) for name in whole}
    return {name: [float(value), *map(float, ends[name])] for name, value in whole.items()}


def main(args) -> None:
    torch.set_num_threads(1)
    found = {name: one_world(read_world(name, args.folder, args.data), args.workers) for name in WORLDS}
    (args.folder / "complements.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"| | {' | '.join(found)} |\n|---{'|---' * len(found)}|")
    for name in next(iter(found.values())):
        cells = ("{:.3f} [{:.2f}, {:.2f}]".format(*one[name]) for one in found.values())
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the pairwise tree of the world politifact")
    parser.add_argument("--folder", type=Path, default=Path("runs/lds"), help="of lds.py")
    parser.add_argument("--workers", type=int, default=2, help="processes that train")
    cli.run_script(main, parser)
