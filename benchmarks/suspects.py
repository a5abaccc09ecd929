"""Does `rec-trak suspects` find promoted articles, and how often does it alarm on clean logs? No model, minutes.

python benchmarks/films.py ml-100k.inter ml-100k.item --folder runs/films
python benchmarks/suspects.py ../shared/data/upfd_politifact runs/films --parts attacks
python benchmarks/suspects.py ../shared/data/upfd_politifact runs/films --parts past
python benchmarks/suspects.py ../shared/data/upfd_politifact runs/films --parts clean

Attacks of attacks.py on whole logs (4 % bots) of real people and of the demo world, and `past`: the same by bots whose
accounts have clicked what they have read (lived.py). Clean logs: a drawn 70 % of the users of the real ones; their last
rows, with histories from before the log begins; demo worlds without fake articles (`train_clean`); demo worlds without
their bots, where the platform pushed the promoted articles all the same. Beside them the demo worlds' own attack.
Signals were chosen with seeds 0 and 1 of the first ground's attacks in view, LEVEL with the first 20 of its clean logs
and the first 8 demo worlds; others are judged. docs/detection.md says what was seen of them on the way.
"""

import argparse
import tempfile
from pathlib import Path

import attacks
import numpy as np
from attacks import KINDS, UNSEEN, Ground, build_attack, read_ground
from lived import lived

from rec_trak import cli
from rec_trak.config.reading import Reading
from rec_trak.data.sources import read_data
from rec_trak.data.synthetic import write_demo_world
from rec_trak.detection.suspects import LEVEL, suspects_of

LATE = 0.25  # of a user's rows, the last ones, where the log begins late
SHARE, FIRST = 0.7, 20  # of the users in a clean log; the number of the first log that was not looked at
TOP = (1, 3, 10)
ALL, PAST = (*KINDS, *UNSEEN), ("A", "B", "M", "H", "N", "S")
PARTS = ("attacks", "past", "clean")


def some_users(ground: Ground, seed: int):
    """The rows of a drawn share of the users."""
    users = np.unique(ground.rows.user_ids.astype(str))
    kept = set(users[np.random.default_rng(seed).random(len(users)) < SHARE].tolist())
    return ground.rows.subset(np.flatnonzero([user in kept for user in ground.rows.user_ids.astype(str)]))


def late_rows(rows):
    """Of each user the rows with the longest histories, LATE of them and at least one: a log that begins late."""
    users, order = rows.user_ids.astype(str), np.argsort(-rows.history.lengths, kind="stable")
    _, first, count = np.unique(users[order], return_inverse=True, return_counts=True)
    place = np.argsort(np.argsort(first, kind="stable"), kind="stable") - (np.cumsum(count) - count)[first]
    return rows.subset(np.sort(order[place < np.maximum(1, count * LATE)[first]]))


def ranks(rows, articles, promoted: list[str]) -> list[tuple[float, bool, int]]:
    """Of each promoted article its rank (infinite where it was not judged), whether it is called suspicious, and how
    many articles are that nobody promotes."""
    table = suspects_of(rows, articles).table.set_index("article_id")
    others = int(table["suspicious"].sum() - table["suspicious"].reindex(promoted).sum())
    told = [(table["rank"].get(name, np.inf), table["suspicious"].get(name, 0) == 1) for name in promoted]
    return [(float(rank), bool(alarm), others) for rank, alarm in told]


def alarm(rows, articles) -> bool:
    """Whether any article is called suspicious."""
    return bool(suspects_of(rows, articles).table["suspicious"].any())


def head() -> None:
    tops = " | ".join(f"in the top {k}" for k in TOP)
    print(
        f"\n| attack | articles | {tops} | score of {LEVEL:g} or more | others, a log |\n|---|---|---|---|---|---|---|"
    )


def line(name: str, found: list[tuple[float, bool, int]]) -> None:
    place, alarms, others = (np.array(column) for column in zip(*found, strict=True))
    shares = " | ".join(f"{np.mean(place <= k):.2f}" for k in TOP)
    print(f"| {name} | {len(found)} | {shares} | {alarms.mean():.2f} | {others.mean():.1f} |", flush=True)


def attacked(grounds: dict[str, Ground], kinds: list[str], seeds: int, past: bool) -> None:
    """A line an attack; of the first ground the seeds apart that were looked at, and those that were not."""
    head()
    chosen = next(iter(grounds))
    for name, ground in grounds.items():
        parts = {"seeds 0, 1": range(2), "seeds 2 to 4": range(2, 5), "seeds 5 to 9": range(5, 10)}
        for kind in kinds:
            for part, own in (parts if name == chosen else {"all": range(seeds)}).items():
                found = []
                for seed in own:
                    built = build_attack(ground, kind, seed)
                    built = lived(ground, built, seed) if past else built
                    found += ranks(built.rows, ground.articles, [ground.articles.ids[a] for a in built.promoted])
                line(f"{name}, {kind}, {part}", found)


def clean(grounds: dict[str, Ground], first: int, count: int) -> None:
    """The demo worlds' own attack, and how many clean logs of each kind have an alarm."""
    seeds, own = range(first, first + count), []
    alarms = {}
    for name, ground in grounds.items():
        logs = [some_users(ground, seed) for seed in seeds]
        alarms[f"{name}, 70 % of users"] = [alarm(log, ground.articles) for log in logs]
        alarms[f"{name}, those users' late rows"] = [alarm(late_rows(log), ground.articles) for log in logs]
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
    head()
    line("demo worlds' own attack", own)
    print("\n| clean logs | how many | with an alarm |\n|---|---|---|")
    for name, found in alarms.items():
        print(f"| {name} | {len(found)} | {sum(found)} |")


def main(args) -> None:
    attacks.ORDINARY = 10**9  # all rows: with some of them left out, popularity alone would give articles away
    real = {path.name: read_ground(path) for path in args.data}
    with tempfile.TemporaryDirectory() as folder:
        write_demo_world(folder, 0)
        grounds = real | {"demo world": read_ground(folder)}
    for part in args.parts:
        if part == "clean":
            clean(real, args.first, args.clean)
        else:
            attacked(grounds, args.kinds or (PAST if part == "past" else ALL), args.seeds, part == "past")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="pairwise trees of genuine clicks")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="what is measured")
    parser.add_argument("--kinds", nargs="+", choices=ALL, help="which attacks; default: all that the part has")
    parser.add_argument("--seeds", type=int, default=5, help="of each attack, on all grounds but the first")
    parser.add_argument("--clean", type=int, default=40, help="clean logs of each kind")
    parser.add_argument("--first", type=int, default=FIRST, help="number of the first of them")
    cli.run_script(main, parser)
