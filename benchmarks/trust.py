"""Verdicts against measured LDS: thresholds set on one world by a rule, judged on the other; what measuring costs.

python benchmarks/trust.py ../shared/data/upfd_politifact --folder runs/lds

Reads the folder of benchmarks/lds.py, and trains what is missing there (worlds.py). The last lines are the tables of
docs/trust.md. `predicted` was given its constants on the demo world too, by the least squares printed first; thresholds
in rec_trak/trust/verdict.py are those that the rule gives there.
"""

import argparse
import dataclasses
import itertools
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from trust_settings import Measured, measured, quality, words
from worlds import WORLDS, World, make_world_job, prepare, read_world

from rec_trak import cli
from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.attribution.session import featurize
from rec_trak.runs.stored import Stored
from rec_trak.store.reading import read_member
from rec_trak.trust.law import law_error
from rec_trak.trust.measures import measure_rankings
from rec_trak.trust.prediction import PLAIN, STEEP
from rec_trak.trust.verdict import DO_NOT_USE, STABLE, Thresholds, judge

GOOD, MIDDLE, BAD = 0.8, 0.65, 0.5  # of the best LDS
SHARES, POWERS = np.arange(2, 13) / 20, (2, 4, 6, 8, 12, 16)
TIMED = 5  # members


def chosen(found: list[Measured]) -> Thresholds:
    """The rule: each threshold midway between the best predicted setting that should miss it and the worst predicted at
    GOOD or more. `least` is to be missed under BAD, `stable` under MIDDLE; of the latter those with several members
    count, since one is never called stable."""
    reached, predicted = quality(found), np.array([one.measures.predicted for one in found])
    several = np.array([one.setting.members > 1 for one in found])
    good = reached >= GOOD
    least = _midway(predicted[reached < BAD], predicted[good])
    stable = _midway(predicted[several & (reached < MIDDLE)], predicted[several & good])
    return dataclasses.replace(Thresholds(), stable=max(stable, least), least=least)


def _midway(below: np.ndarray, above: np.ndarray) -> float:
    return round(float(max(below, default=0.0) + min(above, default=1.0)) / 2, 2)


def counted(found: list[Measured], limits: Thresholds) -> dict[str, list[int]]:
    """Each figure of the issue as two counts: so many, of so many."""
    words = np.array([judge(one.measures, limits).word for one in found])
    reached = quality(found)
    good, bad, stable, refused = reached >= GOOD, reached < BAD, words == STABLE, words == DO_NOT_USE
    pairs = {
        "called stable, under half": (stable & bad, stable),
        "called do not use, at .8 or more": (refused & good, refused),
        "at .8 or more, called stable": (stable & good, good),
        "under half, called do not use": (refused & bad, bad),
    }
    return {name: [int(part.sum()), int(whole.sum())] for name, (part, whole) in pairs.items()}


def constants(found: list[Measured]) -> dict[str, float]:
    """PLAIN and STEEP of rec_trak/trust/prediction.py that fit settings with several members best."""
    reached, best = quality(found), (np.inf,)
    for share, power in itertools.product(SHARES, POWERS):
        off = []
        for one, value in zip(found, reached, strict=True):
            m = one.measures
            plain = min(max(m.dot_product, 0.0), 1.0)
            anew = (1 - share * plain**power) / (1 - PLAIN * plain**STEEP)
            if m.members > 1:
                off.append(m.predicted * anew - value)
        best = min(best, (float(np.square(off).mean() ** 0.5), float(share), power))
    return dict(zip(("rms", "PLAIN", "STEEP"), best, strict=True))


def fit(found: list[Measured]) -> dict[str, float]:
    """How near the prediction comes, with several members and with one."""
    from scipy.stats import spearmanr

    told, reached = {}, quality(found)
    predicted = np.array([one.measures.predicted for one in found])
    for name, used in (("several", lambda one: one.setting.members > 1), ("one", lambda one: one.setting.members == 1)):
        kept = np.array([used(one) for one in found])
        off = predicted[kept] - reached[kept]
        told |= {f"{name}_rank": float(spearmanr(predicted[kept], reached[kept]).statistic)}
        told |= {f"{name}_rms": float(np.square(off).mean() ** 0.5), f"{name}_above": float(off.mean())}
    return told


def cost(world: World) -> dict[str, float]:
    """Seconds of featurizing and scoring TIMED members and the targets, and of all that trust.py measures of them.

    Seconds of the processor, one thread: other work on the machine moves the clock, not these.
    """
    job = make_world_job(world, "half", members=TIMED)
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        job = dataclasses.replace(job, save_dir=Path(folder))
        start = time.process_time()
        featurize(job)
        target_influence(job, "targets", world.targets)
        self_influence(job)
        made = time.process_time()
        stored = [read_member(job.save_dir, m) for m in range(TIMED)]
        aims = [np.load(job.save_dir / str(m) / "targets_grads.mmap") for m in range(TIMED)]
        rankings = {"own": None, "mean": [one.mean(axis=0, keepdims=True) for one in aims], "single": aims}
        kept = Stored(job.save_dir, TIMED, job.lambda_rel, np.arange(len(stored[0][1])), len(stored[0][1])).gram
        measure_rankings([phi for phi, _ in stored], [q for _, q in stored], rankings, job.lambda_rel, kept=kept)
        law_error(job, stored[0][1])
        done = time.process_time()
    return {"made": made - start, "measured": done - made, "ratio": (done - made) / (made - start)}


def shown(found: list[Measured]) -> str:
    """A line a setting, the best first."""
    lines = []
    for reached, one in sorted(zip(quality(found), found, strict=True), key=lambda pair: -pair[0]):
        m = one.measures
        kept = f"{m.kept_noise:.2f} {m.kept_following:.2f} {m.kept_curvature:.2f}"
        name = " ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in one.setting)
        lines.append(f"{reached:.2f} of the best, {m.predicted:.2f} predicted ({kept}): {name}: {judge(m).word}")
    return "\n".join(lines)


def table(told: dict) -> str:
    """The figures of the issue, a column a direction."""
    ways = list(told["judged"])
    lines = ["| | " + " | ".join(ways) + " | reach | aim |", "|---|" + "---|" * (len(ways) + 2)]
    wanted = (("5 %", "0"), ("5 %", "0"), ("half", ".8"), ("half", ".8"))
    for name, (reach, aim) in zip(next(iter(told["judged"].values())), wanted, strict=True):
        cells = [
            f"{a} of {b}" + (f" ({a / b:.0%})" if b else "") for a, b in (told["judged"][way][name] for way in ways)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {reach} | {aim} |")
    return "\n".join(lines)


def main(args) -> None:
    torch.set_num_threads(1)
    if args.only_cost:
        for world in (read_world(name, args.folder, args.data, args.only_cost) for name in WORLDS):
            print(world.name, len(world.rows), json.dumps(cost(world)), flush=True)
        return
    worlds = [read_world(name, args.folder, args.data) for name in WORLDS]
    if args.words:
        for world in worlds:
            print("\n".join(f"{setting}: {word}" for setting, word in words(world).items()), flush=True)
        return
    prepare(args.folder, args.data, 1)
    found = {world.name: measured(world) for world in worlds}
    rules = {name: chosen(cells) for name, cells in found.items()}
    told = {
        "settings": {name: len(cells) for name, cells in found.items()},
        "best": {name: max(one.lds for one in cells) for name, cells in found.items()},
        "constants": constants(found[WORLDS[0]]) | {"used": [PLAIN, STEEP]},
        "thresholds": {name: [limits.stable, limits.least] for name, limits in rules.items()},
        "fit": {name: fit(cells) for name, cells in found.items()},
        "judged": {
            f"set on {own}, judged on {other}": counted(found[other], rules[own])
            for own, other in (WORLDS, WORLDS[::-1], WORLDS[:1] * 2)
        },
        "cost": {world.name: cost(world) for world in worlds} if args.cost else {},
    }
    for name, cells in found.items():
        print(f"{name}:\n{shown(cells)}\n")
    print(json.dumps({key: value for key, value in told.items() if key != "judged"}, indent=1))
    print(table(told))
    (args.folder / "trust.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    ours = Thresholds()
    if (ours.stable, ours.least) != (rules[WORLDS[0]].stable, rules[WORLDS[0]].least):
        print(f"rec_trak/trust/verdict.py has {ours.stable} and {ours.least}, the rule gives others on {WORLDS[0]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the pairwise tree of real shares")
    parser.add_argument("--folder", type=Path, default=Path("runs/lds"), help="where everything is kept")
    parser.add_argument("--cost", action="store_true", help="time the measuring beside featurizing and scoring, too")
    parser.add_argument("--only_cost", type=int, metavar="N", help="that alone, of N rows; trains members and no more")
    parser.add_argument("--words", action="store_true", help="verdicts alone, to be compared with another build's")
    cli.run_script(main, parser)
