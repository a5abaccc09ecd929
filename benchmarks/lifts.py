"""What could lift the LDS of lds.py beyond a rule that counts clicks, from its ten half-set members.

python benchmarks/lds.py ../shared/data/upfd_politifact --folder runs/lds
python benchmarks/lifts.py ../shared/data/upfd_politifact --folder runs/lds

Constants (WEIGHT, SHARE, SPREAD, the grid of ridges) were chosen on politifact. Each line is compared with plain TRAK
at `lambda_rel` 1 and with the best rule without a model, by the same draws; all numbers are in <folder>/lifts.json.

    left-out margins   the ridge that `lambda_rel: auto` takes
    out-of-bag LDS     the ridge with the best LDS of members on rows that they did not see, by the others' kernels
    + counts           the sum of standardised group scores, TRAK's + WEIGHT times those of signed candidates
    bias kernel        k + c e_i'e_t with e the signed candidates: TRAK's kernel on a model that adds a bias for each
                       article, as if its ridge were infinite; c makes the mean of c e_i'e_i SHARE of the mean leverage
    bias features      (phi, sqrt(c) e) solved together: the same model, one ridge; c makes the trace SHARE of phi's
    regression         kernels of all ridges and signed candidates, weighted (none negative) by least squares so that
                       they foretell members' margins of rows that these did not see
    epochs             each training also as it was after EARLY epochs, thirty members in the place of ten
    members' margins   with a correction for each article of a target, SPREAD its variance before anything is seen, by
                       what the half-set members themselves say of the target
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import solve
from scipy.optimize import nnls
from worlds import WORLDS, Features, World, features, margins, read_world

from rec_trak import cli
from rec_trak.models.build import build_model
from rec_trak.scoring.choice import RIDGES, best_ridge, explained, margins_of, mean_shares
from rec_trak.validation.estimates import SIGNED, baseline_scores, signed_candidates
from rec_trak.validation.lds import lds
from rec_trak.validation.outcomes import target_margins

PLAIN, BAG = "plain TRAK, lambda_rel 1", "out-of-bag"
WEIGHT, SHARE, SPREAD = 0.1, 0.03, 0.3
EARLY = {"demo": (1, 2), "politifact": (2, 6)}  # of 3 to 6 and of 12 epochs
LEAST = 3  # members that did not see a row, for it to be foretold


class Member:
    """A member's rows by their inner products, which are fewer than K by K, and those with rows and targets."""

    def __init__(self, phi: np.ndarray, further: np.ndarray) -> None:
        rows = np.asarray(phi, dtype=np.float64)
        self.inner = rows @ rows.T
        self.mean = np.trace(self.inner) / min(rows.shape)
        self.asked = np.hstack([self.inner, rows @ np.asarray(further, dtype=np.float64).T])

    def kernel(self, lambda_rel: float) -> np.ndarray:
        """(N, N + M) k of rows on rows and on targets."""
        return solve(self.inner + lambda_rel * self.mean * np.eye(len(self.inner)), self.asked, assume_a="pos")


class Bag:
    """Members' margins of rows that they did not see, and what scores make of the halves that they did see.

    Attributes:
        seen: (E, N) bool.
        q: (N, 1) mean Q.
        margins: (E, N) with each row's mean over the members that did not see it taken off, 0 where one did.
        some: (N,) bool, rows that at least LEAST members did not see.
    """

    def __init__(self, found: Features) -> None:
        self.seen, self.q = found.seen, np.stack(found.qs).mean(axis=0)[:, None]
        self.some = (~self.seen).sum(axis=0) >= LEAST
        self.margins = self.centred(np.stack([margins_of(q) for q in found.qs]))

    def centred(self, values: np.ndarray) -> np.ndarray:
        """(E, N) as `margins`."""
        mean = (values * ~self.seen).sum(axis=0) / np.maximum((~self.seen).sum(axis=0), 1)
        return (values - mean) * ~self.seen

    def foretold(self, kernels: np.ndarray) -> np.ndarray:
        """(E, N) of kernels (E, N, N), each member by the mean of the others'."""
        total, count = kernels.sum(axis=0), len(kernels)
        told = [seen @ (self.q * (total - own) / (count - 1)) for seen, own in zip(self.seen, kernels, strict=True)]
        return self.centred(np.stack(told))

    def correlation(self, told: np.ndarray) -> float:
        """Mean over rows of the correlation with the margins."""
        a, b = told[:, self.some], self.margins[:, self.some]
        return float(np.mean((a * b).sum(axis=0) / np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))))

    def weights(self, told: list[np.ndarray]) -> np.ndarray:
        """Of least squares over rows of equal spread, none negative."""
        spread = np.sqrt(np.square(self.margins[:, self.some]).sum(axis=0))
        columns = np.stack([(one[:, self.some] / spread).ravel() for one in told], axis=1)
        scale = np.sqrt(np.square(columns).sum(axis=0))
        return nnls(columns / scale, (self.margins[:, self.some] / spread).ravel())[0] / scale


def tried(world: World) -> tuple[dict[str, np.ndarray], dict]:
    """Name -> (S, M) sums, and what was chosen."""
    found, groups, n = features(world, "half"), world.groups, len(world.rows)
    members = [Member(*pair) for pair in zip(found.phis, found.targets, strict=True)]
    kernels = {ridge: np.stack([member.kernel(ridge) for member in members]) for ridge in RIDGES}
    q = np.stack(found.qs).mean(axis=0)[:, None]
    plain = {ridge: q * kernels[ridge].mean(axis=0) for ridge in RIDGES}
    shares = [explained(*pair, seed=0) for pair in zip(found.phis, found.qs, strict=True)]
    auto = best_ridge(shares)
    told = {"chosen": auto, "explained": mean_shares(shares)}
    scores = {PLAIN: plain[1.0], "ridge by left-out margins": plain[auto]}
    scores |= with_biases(world, found, plain[auto], float(np.mean([np.diag(k).mean() for k in kernels[auto]])), auto)
    sums = {name: groups @ one[:, n:] for name, one in scores.items()}
    rows, asked = signed_candidates(world.rows, world.targets)
    counted = groups @ (rows @ asked.T).toarray()
    sums["left-out margins, + counts"] = _standard(groups @ plain[auto][:, n:]) + WEIGHT * _standard(counted)
    sums |= {f"lambda_rel {ridge:g}": groups @ plain[ridge][:, n:] for ridge in RIDGES if ridge != 1}
    bag = Bag(found)
    bagged = {ridge: bag.foretold(kernels[ridge][:, :, :n]) for ridge in RIDGES}
    told[BAG] = {ridge: bag.correlation(one) for ridge, one in bagged.items()}
    sums["ridge by out-of-bag LDS"] = groups @ plain[max(RIDGES, key=told[BAG].get)][:, n:]
    signed = q * (rows @ rows.T).toarray()
    weights = bag.weights([*bagged.values(), bag.centred(found.seen @ signed)])
    told["weights"] = weights.tolist()
    parts = [groups @ one[:, n:] for one in plain.values()] + [groups @ (q * (rows @ asked.T).toarray())]
    sums["regression"] = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    sums["left-out margins, members' margins"] = corrected(world, found, plain[auto][:, n:], rows, asked)
    further, told["members"] = several_epochs(world, found, auto)
    sums["left-out margins, epochs"] = groups @ further
    return sums, told


def several_epochs(world: World, found: Features, ridge: float) -> tuple[np.ndarray, dict[str, list[float]]]:
    """(N, M) scores with each training's early epochs as members too, and LDS by the number of trainings.

    The LDS are [as trained, with early epochs], means over as many groups of trainings as there are.
    """
    kinds = [found, *(features(world, f"half_after_{epochs}") for epochs in EARLY[world.name])]
    pairs = [list(zip(kind.phis, kind.targets, strict=True)) for kind in kinds]
    n, outcomes = len(world.rows), margins(world, 1)
    kernels = np.stack([[Member(*pair).kernel(ridge)[:, n:] for pair in kind] for kind in pairs])
    qs = np.stack([kind.qs for kind in kinds])[..., None]

    def scores(some: slice, epochs: int) -> np.ndarray:
        return kernels[:epochs, some].mean(axis=(0, 1)) * qs[:epochs, some].mean(axis=(0, 1))

    told = {}
    for count in (1, 2, 5, 10):
        some = [slice(start, start + count) for start in range(0, qs.shape[1], count)]
        told[f"{count}"] = []
        for epochs in (1, len(kinds)):
            sums = {f"{part}": world.groups @ scores(part, epochs) for part in some}
            values = lds(sums, outcomes, draws=2)["scores"].values()
            told[f"{count}"].append(float(np.mean([line["lds"] for line in values])))
    return scores(slice(None), len(kinds)), told


def with_biases(world: World, found: Features, plain: np.ndarray, own: float, ridge: float) -> dict[str, np.ndarray]:
    """The two ways of adding article biases, (N, N + M) each; `own` is the mean leverage."""
    rows, asked = (np.asarray(part.toarray()) for part in signed_candidates(world.rows, world.targets))
    q, both = np.stack(found.qs).mean(axis=0)[:, None], np.vstack([rows, asked])
    biased = SHARE * own / np.square(rows).sum(axis=1).mean() * (rows @ both.T)
    solved = []
    for phi, targets in zip(found.phis, found.targets, strict=True):
        scale = np.sqrt(SHARE * np.square(phi, dtype=np.float64).sum() / np.square(rows).sum())
        solved.append(Member(np.hstack([phi, scale * rows]), np.hstack([targets, scale * asked])).kernel(ridge))
    return {
        "left-out margins, bias kernel": plain + q * biased,
        "left-out margins, bias features": q * np.mean(solved, axis=0),
    }


def corrected(world: World, found: Features, scores: np.ndarray, rows, asked) -> np.ndarray:
    """(S, M) sums of scores (N, M), corrected by the margins of the targets under the half-set members.

    The members' margins, less what the scores foretell of them at the slope that fits best over all targets, are taken
    as a sum over the target's candidates of a weight times its signed count in the half, and noise.
    """
    inputs, own = world.inputs(world.targets), []
    for member in found.job.members:
        model = build_model(world.config).eval()
        model.load_state_dict(torch.load(member.name, weights_only=True))
        own.append(target_margins(model, inputs))
    seen, own, sums = found.seen - 0.5, np.stack(own), world.groups @ scores
    told, own = (values - values.mean(axis=0) for values in (seen @ scores, np.stack(own)))
    slope = (told * own).sum() / np.square(told).sum()
    left, groups = own - slope * told, world.groups - 0.5
    for t, line in enumerate(np.asarray(asked.toarray())):
        some = np.flatnonzero(line)
        counts = rows[:, some].toarray() * line[some]
        a, b = seen @ counts, groups @ counts
        scale = np.square(a).sum() / len(a)
        prior = SPREAD * a @ a.T / scale
        sums[:, t] = slope * sums[:, t] + SPREAD * b @ a.T / scale @ np.linalg.solve(prior + np.eye(len(a)), left[:, t])
    return sums


def _standard(sums: np.ndarray) -> np.ndarray:
    spread = sums.std(axis=0)
    return (sums - sums.mean(axis=0)) / np.where(spread > 0, spread, 1)


def one_world(world: World) -> dict:
    """LDS of each line, with differences to plain TRAK and to the best rule, and what was chosen."""
    outcomes = margins(world, 1)
    rule = {SIGNED: baseline_scores(world.rows, world.targets, world.groups)[SIGNED]}
    sums, told = tried(world)
    found = lds(sums | rule, outcomes)
    for name, own in sums.items():
        beside = lds({name: own} | rule, outcomes)["scores"][SIGNED]
        found["scores"][name] |= {"beyond": beside["over"], "beyond_interval": beside["over_interval"]}
    return {"scores": found["scores"], "ceiling": found["ceiling"], **told}


def table(found: dict[str, dict]) -> str:
    """A line for each thing tried, a column for each world."""
    names = dict.fromkeys(name for one in found.values() for name in one["scores"] if name != SIGNED)
    head = " | ".join(f"{world}: LDS; over plain; over `{SIGNED}`" for world in found)
    lines = [f"| tried | {head} |", "|---" * (1 + len(found)) + "|"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(_cell(one['scores'][name], name) for one in found.values())} |")
    for world, one in found.items():
        told = {key: {f"{ridge:g}": round(value, 3) for ridge, value in one[key].items()} for key in ("explained", BAG)}
        lines.append(f"\n{world}: chosen {one['chosen']:g} by {told}; weights {np.round(one['weights'], 3).tolist()}")
        several = {count: [round(value, 3) for value in pair] for count, pair in one["members"].items()}
        lines.append(
            f"LDS by trainings, as trained and with epochs {EARLY[world]}: {several}; ceiling {one['ceiling']}"
        )
    return "\n".join(lines)


def _cell(line: dict, name: str) -> str:
    low, high = sorted(-value for value in line["over_interval"])
    gain = "" if name == PLAIN else f" {-line['over']:+.3f} [{low:+.3f}, {high:+.3f}];"
    beyond = "{:.2f} [{:.2f}, {:.2f}]".format(line["beyond"], *line["beyond_interval"])
    return f"{line['lds']:.3f};{gain} {beyond}"


def main(args) -> None:
    found = {name: one_world(read_world(name, args.folder, args.data)) for name in WORLDS}
    (args.folder / "lifts.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the pairwise tree of the world politifact")
    parser.add_argument("--folder", type=Path, default=Path("runs/lds"), help="of lds.py")
    cli.run_script(main, parser)
