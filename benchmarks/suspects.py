"""Does `rec-trak suspects` find promoted articles, and how often does it alarm on clean logs? No model, minutes.

python benchmarks/suspects.py ../shared/data/upfd_politifact

Attacks of attacks.py on whole logs (4 % bots), and the demo world's own. Clean logs: a drawn 70 % of the users of the
real clicks; demo worlds without fake articles (`train_clean`); demo worlds without their bots, where readers met the
promoted articles more often than others all the same. LEVEL was fixed on the first 20 of the first kind and the first
8 of the second, the sum of signals chosen with seeds 0 and 1 of the real clicks' attacks in view; others are judged.
"""

import argparse
import tempfile
from pathlib import Path

import attacks
import numpy as np
from attacks import KINDS, UNSEEN, Ground, build_attack, read_ground

from rec_trak import cli
from rec_trak.config.reading import Reading
from rec_trak.data.sources import read_data
from rec_trak.data.synthetic import write_demo_world
from rec_trak.detection.suspects import LEVEL, suspects_of

SHARE, FIRST = 0.7, 20  # of the users in a clean log; the number of the first log that was not looked at
TOP = (1, 3, 10)


def some_users(ground: Ground, seed: int):
    """The rows of a drawn share of the users."""
    users = np.unique(ground.rows.user_ids.astype(str))
    kept = set(users[np.random.default_rng(seed).random(len(users)) < SHARE].tolist())
    return ground.rows.subset(np.flatnonzero([user in kept for user in ground.rows.user_ids.astype(str)]))


def ranks(rows, articles, promoted: list[str]) -> list[tuple[float, bool]]:
    """Of each promoted article its rank (infinite where it was not judged) and whether it is called suspicious."""
    table = suspects_of(rows, articles).table.set_index("article_id")
    told = [(table["rank"].get(name, np.inf), table["suspicious"].get(name, 0) == 1) for name in promoted]
    return [(float(rank), bool(alarm)) for rank, alarm in told]


def alarm(rows, articles) -> bool:
    """Whether any article is called suspicious."""
    return bool(suspects_of(rows, articles).table["suspicious"].any())


def line(name: str, found: list[tuple[float, bool]]) -> None:
    shares = " | ".join(f"{np.mean([rank <= k for rank, _ in found]):.2f}" for k in TOP)
    print(f"| {name} | {len(found)} | {shares} | {np.mean([alarm for _, alarm in found]):.2f} |", flush=True)


def main(args) -> None:
    attacks.ORDINARY = 10**9  # all rows: with some of them left out, popularity alone would give articles away
    print(f"| attack | articles | in the top {' | in the top '.join(map(str, TOP))} | score of {LEVEL:g} or more |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write_demo_world(folder, 0)
        grounds = {"real clicks": read_ground(args.data), "demo world": read_ground(folder)}
    for name, ground in grounds.items():
        parts = {"seeds 0, 1": range(2), f"seeds 2 to {args.seeds - 1}": range(2, args.seeds)}
        for kind in (*KINDS, *UNSEEN):
            for part, seeds in (parts if name == "real clicks" else {"all": range(args.seeds)}).items():
                built = [build_attack(ground, kind, seed) for seed in seeds]
                ids = [[ground.articles.ids[a] for a in one.promoted] for one in built]
                found = [r for one, i in zip(built, ids, strict=True) for r in ranks(one.rows, ground.articles, i)]
                line(f"{name}, {kind}, {part}", found)
    seeds, real = range(FIRST, FIRST + args.clean), grounds["real clicks"]
    alarms = {"real clicks, 70 % of users": [alarm(some_users(real, seed), real.articles) for seed in seeds]}
    own = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            world = write_demo_world(folder, seed)
            articles, rows = read_data(folder, None, "train_poisoned", Reading("pairwise"))
            own += ranks(rows, articles, list(world.promoted))
            logs = {"demo worlds, no fake article": read_data(folder, None, "train_clean", Reading("pairwise"))[1]}
            genuine = np.flatnonzero(np.array(rows.columns["poisoned"]) == "0")
            logs["demo worlds without their bots"] = rows.subset(genuine)
            for name, log in logs.items():
                alarms.setdefault(name, []).append(alarm(log, articles))
    line("demo worlds' own attack", own)
    print("\n| clean logs | how many | with an alarm |\n|---|---|---|")
    for name, found in alarms.items():
        print(f"| {name} | {len(found)} | {sum(found)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a pairwise tree of genuine clicks")
    parser.add_argument("--seeds", type=int, default=5, help="of each attack")
    parser.add_argument("--clean", type=int, default=40, help="clean logs of each kind")
    cli.run_script(main, parser)
