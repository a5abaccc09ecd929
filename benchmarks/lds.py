"""LDS of TRAK and of its variants on two worlds (worlds.py), beside the noise ceiling and rules without a model.

python benchmarks/lds.py ../shared/data/upfd_politifact --folder runs/lds
python benchmarks/lds.py ../shared/data/upfd_politifact --folder runs/lds --removal

Everything that is trained or sketched stays in the folder, so that a run that was stopped goes on. The tables are those
of docs/validation.md; all numbers are in <folder>/lds.json. With --removal also what leaving rows out does to single
targets' margins, in <folder>/removal.json.
"""

import argparse
import json
import multiprocessing
from itertools import product
from pathlib import Path

import numpy as np
import torch
from estimators import PLAIN, Parts, kernels, make_parts, out_of_bag, self_influence_agreement, variants
from removals import removal_table, remove
from worlds import PROJ_DIM, WORLDS, Features, World, features, margins, prepare, read_world

from rec_trak import cli
from rec_trak.validation.estimates import ARTICLES, CANDIDATES, RANDOM, SIGNED, baseline_scores
from rec_trak.validation.lds import lds

RIDGES = (0.1, 1.0, 10.0)
SMALL_DIM = 512


def one_world(world: World) -> dict:
    """All figures of a world."""
    outcomes, groups = margins(world, 1), world.groups
    rules = baseline_scores(world.rows, world.targets, groups)
    half, full = features(world, "half"), features(world, "full")
    parts = {"half": make_parts(half, exact=5), "full": make_parts(full, exact=0)}
    unseen_q = out_of_bag(parts["half"].q, parts["half"].seen)
    setups = {"10 half-set": (parts["half"], unseen_q), "5 half-set": _first(parts["half"], 5)}
    setups["5 full-data"] = (parts["full"], unseen_q)  # rows that all members saw: Q of the half-set members
    told = {name: lds(_sums(groups, variants(*own)) | rules, outcomes) for name, own in setups.items()}
    singles = [_first(parts["half"], 1, m) for m in range(len(parts["half"].q))]
    return {
        "ceiling": told["10 half-set"]["ceiling"],
        "setups": {name: one["scores"] for name, one in told.items()},
        "per_target": told["10 half-set"]["per_target"],
        "1 half-set": _singles([_sums(groups, variants(*one)) for one in singles], outcomes),
        "settings": settings(half, full, groups, outcomes),
        "self-influence": {kind: self_influence_agreement(own) for kind, own in parts.items()},
        "mean Q": [float(parts["half"].q[rows].mean()) for rows in (half.seen, ~half.seen)],
    }


def settings(half: Features, full: Features, groups: np.ndarray, outcomes: np.ndarray) -> dict[str, dict[str, float]]:
    """Setting -> kind of members -> LDS of plain TRAK; one half-set member is the mean of each of them alone."""
    q, q_full, found = np.stack(half.qs), np.mean(full.qs, axis=0), {}
    for dim, ridge in product((PROJ_DIM, SMALL_DIM), RIDGES):
        k = kernels(half, dim, ridge)
        scores = {f"{e} half-set": k[:e].mean(axis=0) * q[:e].mean(axis=0)[:, None] for e in (10, 5)}
        scores["5 full-data"] = kernels(full, dim, ridge).mean(axis=0) * q_full[:, None]
        scores |= {f"{m}": k[m] * q[m][:, None] for m in range(len(q))}
        told = lds(_sums(groups, scores), outcomes, draws=2)["scores"]
        values = {name: line["lds"] for name, line in told.items()}
        one = float(np.mean([values.pop(f"{m}") for m in range(len(q))]))
        found[f"K = {dim}, lambda_rel {ridge:g}"] = {"1 half-set": one} | values
    return found


def _first(parts: Parts, count: int, start: int = 0) -> tuple[Parts, np.ndarray]:
    own = parts.of(slice(start, start + count))
    return own, out_of_bag(own.q, own.seen)


def _sums(groups: np.ndarray, scores: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: groups @ values for name, values in scores.items()}


def _singles(predicted: list[dict[str, np.ndarray]], outcomes: np.ndarray) -> dict[str, list[float]]:
    """Variant -> LDS of each member alone."""
    told = [lds(one, outcomes, draws=2)["scores"] for one in predicted]
    return {name: [one[name]["lds"] for one in told] for name in told[-1]}


def figures_table(found: dict[str, dict]) -> str:
    """The figures that were to be reached."""
    lines: dict[str, list[str]] = {}
    for one in found.values():
        best, ceiling = one["setups"]["10 half-set"], one["ceiling"]
        own = best[PLAIN]
        cells = {
            "noise ceiling, one training / mean of two": f"{ceiling['single']:.2f} / {ceiling['mean']:.2f}",
            "LDS, 10 half-set members": _cell(own["lds"], own["interval"]),
            "share of the ceiling": _cell(own["ratio"], own["ratio_interval"]),
        }
        for rule in (CANDIDATES, SIGNED, RANDOM):
            cells[f"over `{rule}`"] = _cell(best[rule]["over"], best[rule]["over_interval"])
        for name in ("5 half-set", "5 full-data"):
            line = one["setups"][name][PLAIN]
            cells[f"LDS, {name} members"] = _cell(line["lds"], line["interval"])
        alone = one["1 half-set"][PLAIN]
        cells["LDS, 1 half-set member: mean of ten (least, most)"] = f"{np.mean(alone):.2f} ({_ends(alone)})"
        for kind, told in (("half", "5 against 5 half-set"), ("full", "2 against 2 full-data")):
            mean, low, high = one["self-influence"][kind]
            cells[f"self-influence, {told} members (50 splits)"] = f"{mean:.3f} ({low:.3f}-{high:.3f})"
        cells["mean Q of rows that a half-set member saw / did not see"] = " / ".join(f"{q:.2f}" for q in one["mean Q"])
        for name, cell in cells.items():
            lines.setdefault(name, []).append(cell)
    return _table("what", found, lines)


def variants_table(found: dict[str, dict]) -> str:
    """LDS of every variant and its difference to plain TRAK."""
    lines: dict[str, list[str]] = {}
    heads = [f"{name}, {setup}" for name, one in found.items() for setup in (*one["setups"], "1 half-set")]
    for one in found.values():
        rules = (CANDIDATES, ARTICLES, SIGNED, RANDOM)
        for name in (name for name in one["setups"]["5 half-set"] if name not in rules):
            cells = []
            for setup in one["setups"].values():
                line = setup.get(name)
                cells.append("-" if line is None else f"{line['lds']:.3f}{'' if name == PLAIN else ' ' + _gain(line)}")
            alone = one["1 half-set"].get(name, [])
            gain = np.subtract(alone, one["1 half-set"][PLAIN]) if alone and name != PLAIN else []
            told = f" {np.mean(gain):+.3f} ({min(gain):+.3f}, {max(gain):+.3f})" if len(gain) else ""
            cells.append(f"{np.mean(alone):.3f}{told}" if alone else "-")
            lines.setdefault(name, []).extend(cells)
    return _table("variant", heads, lines)


def settings_table(found: dict[str, dict]) -> str:
    """LDS of plain TRAK over K and ridge."""
    lines: dict[str, list[str]] = {}
    setups = ("1 half-set", "5 half-set", "10 half-set", "5 full-data")
    for one in found.values():
        for setting, scores in one["settings"].items():
            lines.setdefault(setting, []).extend(f"{scores[name]:.3f}" for name in setups)
    return _table("setting", [f"{name}, {setup}" for name in found for setup in setups], lines)


def _table(corner: str, columns, lines: dict[str, list[str]]) -> str:
    head = [f"| {corner} | {' | '.join(columns)} |", "|---" * (1 + len(list(columns))) + "|"]
    return "\n".join([*head, *(f"| {name} | {' | '.join(cells)} |" for name, cells in lines.items())])


def _cell(value: float | None, between: list[float] | None) -> str:
    return "-" if value is None else f"{value:.2f} [{between[0]:.2f}, {between[1]:.2f}]"


def _gain(line: dict) -> str:
    """How much more than plain TRAK, with its interval."""
    low, high = sorted(-value for value in line["over_interval"])
    return f"{-line['over']:+.3f} [{low:+.3f}, {high:+.3f}]"


def _ends(values: list[float]) -> str:
    return f"{min(values):.2f}-{max(values):.2f}"


def main(args) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    prepare(args.folder, args.data, args.workers)
    worlds = {name: read_world(name, args.folder, args.data) for name in WORLDS}
    if args.removal:
        told = {name: remove(world, args.workers) for name, world in worlds.items()}
        (args.folder / "removal.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        print(removal_table(told))
        return
    with multiprocessing.get_context("spawn").Pool(args.workers, torch.set_num_threads, (1,)) as pool:
        found = dict(zip(worlds, pool.map(one_world, worlds.values(), chunksize=1), strict=True))
    (args.folder / "lds.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for table in (figures_table, variants_table, settings_table):
        print(table(found), end="\n\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the pairwise tree of the world politifact")
    parser.add_argument("--folder", type=Path, default=Path("runs/lds"), help="where everything goes")
    parser.add_argument("--removal", action="store_true", help="leave rows out instead")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    cli.run_script(main, parser)
