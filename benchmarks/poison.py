"""How well rankings find attacks (attacks.py) on two grounds: real clicks and the demo world, seed by seed.

python benchmarks/poison.py ../shared/data/upfd_politifact --folder runs/poison
python benchmarks/poison.py ../shared/data/upfd_politifact --folder runs/poison --kinds N D R S L --seeds 3

One small NRMS with five members a setting, K = 2,048, ridge 1. What is trained stays in the folder (poison_store.py),
so that a run that was stopped goes on and a new ranking needs no training. The last lines are the tables of
docs/detection.md: all rankings, and detection against the number of targets.
"""

import argparse
import multiprocessing
from pathlib import Path

import numpy as np
import torch
from attacks import KINDS, UNSEEN, Attack
from poison_signals import CURVE, curve_of, rankings, solved
from poison_store import make_setting, read_setting, setting_folder

from rec_trak import cli
from rec_trak.data.synthetic import write_demo_world
from rec_trak.detection.metrics import detect

SEEDS = 5
QUESTIONS = {"H": "same history", "S": "shown, another clicked"}
SIZES_TOLD = ("rows", "bots", "genuine in the question", "targets")


def measured(folder: Path, data: Path, kind: str, seed: int) -> dict:
    """The figures of one setting: name -> average precision against everything and AUROC of its question."""
    setting = read_setting(folder, data, kind, seed)
    attack, told = setting.attack, solved(setting)
    lines = {name: judged(scores, attack, name) for name, scores in rankings(setting, told).items()}
    counts = {"rows": len(attack.rows), "bots": int(attack.poisoned.sum()), "targets": len(attack.targets)}
    counts |= {"genuine in the question": int((attack.asked & (attack.poisoned == 0)).sum())}
    drawn = curve_of(setting, told) if kind in CURVE else {}
    curve = {count: judged(scores, attack, "curve") for count, scores in drawn.items()}
    return {**counts, "effect": setting.effect, "rankings": lines, "curve": curve}


def judged(scores: np.ndarray, attack: Attack, name: str) -> list[float]:
    """AP against all rows and AUROC among the rows in question."""
    everything, asked = (detect(scores, attack.poisoned, 10, among, name) for among in (None, attack.asked))
    return [everything.average_precision, asked.auroc]


def table(ground: str, results: dict[str, list[dict]]) -> None:
    """A line a ranking, a column an attack: mean over the seeds, and the smallest and largest, in print."""
    print(f"\n**{ground}**\n")
    for kind, own in results.items():
        sizes = ", ".join(f"{np.mean([r[key] for r in own]):.0f} {key}" for key in SIZES_TOLD)
        effects = [r["effect"] for r in own]
        between = f"{min(effects):+.2f} to {max(effects):+.2f}"
        print(f"- {kind}: {sizes}; the attack moves the targets' margin by {np.mean(effects):+.2f} ({between}).")
    asked = [f"{kind}: AP / AUROC, {QUESTIONS.get(kind, 'same article')}" for kind in results]
    print(f"\n| ranking | {' | '.join(asked)} |\n|{'---|' * (len(results) + 1)}")
    figures = {name: [_cell(own, name) for own in results.values()] for name in _names(results)}
    for name in sorted(figures, key=lambda name: -np.mean([cell[0] for cell in figures[name] if cell])):
        print(f"| {name} | {' | '.join(cell[1] if cell else '-' for cell in figures[name])} |")


def curves(ground: str, results: dict[str, list[dict]]) -> None:
    """Detection by influence alone against the number of targets an article, mean over the seeds."""
    for kind, own in results.items():
        counts = [count for count in own[0]["curve"] if all(count in r["curve"] for r in own)]
        for count in counts:
            precision, auroc = np.mean([r["curve"][count] for r in own], axis=0)
            print(f"| {ground}, {kind} | {count} | {precision:.2f} | {auroc:.2f} |")


def _names(results: dict[str, list[dict]]) -> list[str]:
    return list(dict.fromkeys(name for own in results.values() for r in own for name in r["rankings"]))


def _cell(own: list[dict], name: str) -> tuple[float, str] | None:
    """AUROC of the question, to sort by, and the text of both figures; None where a ranking was not always given."""
    if not all(name in r["rankings"] for r in own):
        return None
    precision, asked = np.array([r["rankings"][name] for r in own]).T
    texts = [f"{x.mean():.2f} ({x.min():.2f}-{x.max():.2f})" for x in (precision, asked)]
    return float(asked.mean()), " / ".join(texts)


def main(args) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    grounds = {"real clicks": args.data, "demo world": args.folder / "world"}
    write_demo_world(grounds["demo world"], 0)
    settings = [(name, kind, seed) for seed in range(args.seeds) for name in grounds for kind in args.kinds]
    folders = {(name, kind, seed): setting_folder(args.folder, name, kind, seed) for name, kind, seed in settings}
    unlike = {folder: (folder, grounds[name], kind, seed) for (name, kind, seed), folder in folders.items()}
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        pool.starmap(make_setting, unlike.values(), chunksize=1)
        found = pool.starmap(measured, [(folders[s], grounds[s[0]], *s[1:]) for s in settings], chunksize=1)
    by = dict(zip(settings, found, strict=True))
    results = {n: {k: [by[n, k, s] for s in range(args.seeds)] for k in args.kinds} for n in grounds}
    for name, own in results.items():
        table(name, own)
    print("\n| ground, attack | targets an article, at most | AP | AUROC |\n|---|---|---|---|")
    for name, own in results.items():
        curves(name, own)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a pairwise tree of genuine clicks")
    parser.add_argument("--folder", type=Path, default=Path("runs/poison"), help="where everything goes")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=(*KINDS, *UNSEEN), help="which attacks")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many of each")
    parser.add_argument("--workers", type=int, default=2, help="settings at once, one thread each")
    cli.run_script(main, parser)
