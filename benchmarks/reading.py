"""The parts of the rule that need no model, on any ground of attacks.py and any seeds, alone, together and with less.

python benchmarks/reading.py ../shared/data/upfd_politifact --seeds 5 6 7 8 9
python benchmarks/reading.py runs/films
python benchmarks/reading.py --demo 1 2
python benchmarks/reading.py ../shared/data/upfd_politifact --past    # bots that have clicked what they read, lived.py
python benchmarks/reading.py ../shared/data/upfd_politifact --whole   # rows are not left out, so users keep their past

Nothing is trained. A column an attack; AP against all rows / AUROC of its question, means over seeds. See poison.py for
the whole rule.
"""

import argparse
import tempfile
from pathlib import Path

import attacks
import numpy as np
from attacks import KINDS, UNSEEN, Ground, build_attack, read_ground
from lived import lived
from poison import judged

from rec_trak import cli
from rec_trak.data.synthetic import write_demo_world
from rec_trak.detection.stages import in_question_first, summed
from rec_trak.detection.suspicion import CLICKS, HISTORIES, READ, UNBACKED, suspicion_of


def figures(ground: Ground, kind: str, seed: int, past: bool) -> dict[str, list[float]]:
    """Ranking -> AP and AUROC of one attack."""
    attack, through = build_attack(ground, kind, seed), HISTORIES if kind == "H" else CLICKS
    attack = lived(ground, attack, seed) if past else attack
    found = suspicion_of(attack.rows, len(ground.articles), attack.promoted, through)
    fewer = {name: weight for name, weight in found.weights.items() if name != UNBACKED}
    keys = {name.replace("_", "-"): found.signals[name] for name in READ} | {
        "all three": found.scores,
        "co-reading and copies": summed(found.signals, fewer, found.among, found.raised),
        "co-reading and copies, no crowding": summed(found.signals, fewer, found.among),
    }
    return {name: judged(in_question_first(found.among, key), attack, name) for name, key in keys.items()}


def table(title: str, ground: Ground, args: argparse.Namespace) -> None:
    """A line a ranking, in print."""
    kinds, seeds = args.kinds, args.seeds
    found = {kind: [figures(ground, kind, seed, args.past) for seed in seeds] for kind in kinds}
    print(f"\n**{title}**, seeds {seeds}\n\n| ranking | {' | '.join(kinds)} |\n{'|---' * (1 + len(kinds))}|")
    for name in found[kinds[0]][0]:
        means = [np.mean([own[name] for own in found[kind]], axis=0) for kind in kinds]
        print(f"| {name} | {' | '.join(f'{precision:.3f} / {auroc:.3f}' for precision, auroc in means)} |", flush=True)


def main(args) -> None:
    if args.whole:
        attacks.ORDINARY = 10**9
    for data in args.data:
        table(str(data), read_ground(data), args)
    for seed in args.demo:
        with tempfile.TemporaryDirectory() as folder:
            write_demo_world(Path(folder), seed)
            table(f"demo world {seed}", read_ground(folder), args)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*", help="pairwise trees of genuine clicks")
    parser.add_argument("--demo", type=int, nargs="*", default=[], help="seeds of demo worlds")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=[*KINDS, *(k for k in UNSEEN if k != "S")])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)), help="of the attacks")
    parser.add_argument("--whole", action="store_true", help="among all rows of the log, not some of them")
    parser.add_argument("--past", action="store_true", help="bots that have clicked what stands in their histories")
    cli.run_script(main, parser)
