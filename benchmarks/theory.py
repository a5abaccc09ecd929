"""From exact leave-one-out down to TRAK, one approximation at a time: on simulated convex models and on real heads.

    python benchmarks/theory.py --figure docs/images/theory.png
    python benchmarks/theory.py --heads --folder runs/theory --politifact ../shared/data/upfd_politifact

Simulated: 400 rows with features N(0, I / p), weights N(0, 4 I) (N(0, I) for poisson), an l2 penalty, 60 targets; every
row is left out and the model fitted again. Softmax rows have four other candidates. Projections are dense and Gaussian.
Cells: Spearman with exact leave-one-out over rows, mean over targets and seeds (range over seeds), Pearson, and the
relative error. Heads: see rec_trak/validation/leave_one_out.py; projections are the engine's sketch.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from rec_trak import cli
from rec_trak.validation import glm, ladder, projection_law

ROWS, TARGETS, OTHERS = 400, 60, 4
SPREAD = {"logistic": 2.0, "softmax": 2.0, "poisson": 1.0}  # standard deviation of the true predictors
PENALTIES = (0.1, 1.0)
DIMS = {40: (8, 16, 32, 40, 64), 200: (8, 16, 32, 64, 128, 200, 256), 400: (8, 16, 32, 64, 128, 256, 400)}
MEMBERS = (1, 10)
RIDGES = (0.0, None, 0.01, 0.1, 1.0, 10.0)
PROJECTED_RIDGES = (0.0, 1e-4, None, 1.0)
NUMBERS = ("spearman", "pearson", "error", "own", "with unprojected", "mean slope", "predicted, exact")
NUMBERS += ("predicted, unprojected",)
KEYS = ("family", "p", "l2", "rung", "K", "members", "ridge")


def simulate(family: str, p: int, seed: int) -> tuple[glm.Rows, glm.Rows]:
    """Rows and targets of one random model, drawn alike."""
    generator = torch.Generator().manual_seed(seed)
    count, width = ROWS + TARGETS, OTHERS + 1 if family == "softmax" else 1
    x = torch.randn(count, width, p, generator=generator, dtype=torch.float64) / p**0.5
    eta = x @ (SPREAD[family] * torch.randn(p, generator=generator, dtype=torch.float64))
    response = torch.zeros(count)
    if family == "softmax":
        clicked = torch.multinomial(torch.softmax(eta, dim=1), 1, generator=generator)[:, 0]
        everyone = torch.arange(count)
        first = x[:, 0].clone()
        x[:, 0] = x[everyone, clicked]
        x[everyone, clicked] = first
    elif family == "logistic":
        x *= torch.where(torch.rand(count, generator=generator) < torch.sigmoid(eta[:, 0]), 1.0, -1.0)[:, None, None]
    else:
        response = torch.poisson(torch.exp(eta[:, 0]), generator=generator)
    everything = glm.make_rows(family, x, response=response)
    return tuple(glm.picked(everything, torch.arange(count)[part]) for part in (slice(ROWS), slice(ROWS, None)))


def measure(family: str, p: int, l2: float, seed: int, dims: tuple[int, ...]) -> list[dict]:
    """What every rung gives on one simulated model, a line each."""
    rows, targets = simulate(family, p, seed)
    fitted, index = glm.fit(rows, l2), np.arange(ROWS)
    truth, whole = ladder.exact(rows, fitted, targets, index), ladder.system(rows, fitted, targets)
    found = [
        *ladder.rungs(whole, index, RIDGES, seed),
        *ladder.projections(whole, index, dims, MEMBERS, PROJECTED_RIDGES, ladder.gaussian(seed)),
    ]
    plain = next(rung for rung in found if rung.name == "TRAK" and rung.lambda_rel == 0)
    spectrum, lines = projection_law.spectrum(whole.phi, whole.targets), []
    for rung in found:
        line = {"family": family, "p": p, "l2": l2, "seed": seed} | ladder.agreement(rung, truth)
        line["ridge"] = "l2" if rung.lambda_rel is None else f"{rung.lambda_rel:g}"
        if rung.name.endswith("matched ridge"):
            line["ridge"] = "matched"
        if rung.effect is not None and plain.effect is not None:
            line["with unprojected"] = float(ladder.correlations(rung.effect, plain.effect).mean())
        if rung.effect is not None and rung.dim:
            line |= predictions(whole, spectrum, rung, line["ridge"], {"exact": truth, "unprojected": plain})
        lines.append(line)
    return lines


def predictions(
    whole: ladder.System,
    spectrum: projection_law.Spectrum,
    rung: ladder.Rung,
    ridge: str,
    references: dict[str, ladder.Rung],
) -> dict[str, float]:
    """What the law of the spectrum says of a projected rung: `mean slope`, of the regression of its effects on their
    predicted mean, and the predicted correlation with each reference that there is."""
    own = whole.matched_ridge
    if ridge != "matched":
        own = float(ridge) * float(spectrum.eigenvalues.sum()) / min(rung.dim, ROWS)
    mean, variance = projection_law.expected(spectrum, whole.q, rung.dim, own)
    told = {"mean slope": float((rung.effect * mean).sum() / np.square(mean).sum())}
    for name, reference in references.items():
        if reference.effect is not None:
            correlation = projection_law.predicted_correlation(mean, variance, rung.members, reference.effect)
            told[f"predicted, {name}"] = float(correlation.mean())
    return told


def law(dim: int, rank: int, members: int) -> float:
    """Correlation of projected with unprojected scores, for a flat spectrum and no ridge."""
    kappa = min(dim / rank, 1.0)
    return (kappa / (kappa + (1 - kappa) / members)) ** 0.5


def averaged(lines: list[dict]) -> list[dict]:
    """Means over seeds, with `range` of Spearman over seeds and the number of seeds `refused`."""
    groups: dict[tuple, list[dict]] = {}
    for line in lines:
        groups.setdefault(tuple(line[key] for key in KEYS), []).append(line)
    found = []
    for key, own in groups.items():
        solved = [line for line in own if line["spearman"] is not None]
        mean = dict(zip(KEYS, key, strict=True)) | {"seeds": len(own), "refused": len(own) - len(solved)}
        for name in NUMBERS:
            values = [line[name] for line in solved if line.get(name) is not None]
            mean[name] = float(np.mean(values)) if values else None
            mean[f"{name} range"] = (min(values), max(values)) if values else None
        found.append(mean)
    return found


def tables(means: list[dict]) -> str:
    """A table a family and penalty: a line a rung, a column a p."""
    parts = []
    for family, l2 in dict.fromkeys((mean["family"], mean["l2"]) for mean in means):
        own = [mean for mean in means if (mean["family"], mean["l2"]) == (family, l2)]
        sizes = list(dict.fromkeys(mean["p"] for mean in own))
        cells: dict[str, dict[int, str]] = {}
        for mean in own:
            cells.setdefault(label(mean), {})[mean["p"]] = cell(mean)
        head = f"**{family}, l2 = {l2:g}**\n\n| rung | " + " | ".join(f"p = {p}" for p in sizes) + " |\n|---"
        body = (f"| {name} | " + " | ".join(row.get(p, "-") for p in sizes) + " |" for name, row in cells.items())
        parts.append("\n".join([head + "|---" * len(sizes) + "|", *body]))
    return "\n\n".join(parts)


def label(mean: dict) -> str:
    """The name of a line."""
    ridge = {"matched": ", matched ridge", "l2": ""}.get(mean["ridge"], f", lambda_rel {mean['ridge']}")
    if mean["K"]:
        return f"K = {mean['K']}, E = {mean['members']}{ridge}"
    return {"TRAK": f"TRAK{ridge}"}.get(mean["rung"], mean["rung"])


def cell(mean: dict) -> str:
    """Spearman (range over seeds) / Pearson / relative error."""
    if mean["spearman"] is None:
        return "no solution"
    low, high = mean["spearman range"]
    refused = f", {mean['refused']} refused" if mean["refused"] else ""
    return f"{mean['spearman']:.3f} ({low:.2f}-{high:.2f}) / {mean['pearson']:.3f} / {mean['error']:.2f}{refused}"


def law_lines(means: list[dict]) -> list[dict]:
    """Projected rungs without a ridge, with the flat law of their correlation with unprojected scores."""
    own = [mean for mean in means if mean["K"] and mean["ridge"] == "0" and mean["with unprojected"] is not None]
    return [mean | {"flat law": law(mean["K"], min(mean["p"], ROWS), mean["members"])} for mean in own]


def summary(means: list[dict], flat: list[dict]) -> str:
    """How far both laws are from what was measured."""
    projected = [mean for mean in means if mean["K"] and mean["spearman"] is not None]
    below = [mean for mean in flat if mean["K"] < mean["p"]]
    lines = [
        apart("flat law, correlation with unprojected scores, ridge 0, K < p", below, "flat law", "with unprojected"),
        apart("law of the spectrum, the same", below, "predicted, unprojected", "with unprojected"),
    ]
    for ridge in dict.fromkeys(mean["ridge"] for mean in projected):
        own = [mean for mean in projected if mean["ridge"] == ridge]
        name = f"law of the spectrum, correlation with exact leave-one-out, ridge {ridge}"
        lines.append(apart(name, own, "predicted, exact", "pearson"))
    slopes = [mean["mean slope"] for mean in projected]
    lines.append(f"- slope on the predicted mean: {min(slopes):.3f} to {max(slopes):.3f} in {len(slopes)} settings")
    return "\n".join(lines)


def apart(name: str, means: list[dict], predicted: str, measured: str) -> str:
    """One line: predicted less measured."""
    values = np.array([mean[predicted] - mean[measured] for mean in means])
    near = (abs(values) <= 0.03).sum()
    return f"- {name}: predicted less measured {values.min():+.3f} to {values.max():+.3f}, root mean square " \
           f"{np.sqrt(np.square(values).mean()):.3f}, within .03 in {near} of {len(values)} settings"  # fmt: skip


def simulation(args) -> None:
    sizes = {p: DIMS[p] for p in ((40,) if args.quick else DIMS)}
    begin, lines = time.perf_counter(), []
    for family in SPREAD:
        for p, dims in sizes.items():
            for l2 in PENALTIES:
                for seed in range(args.seeds):
                    lines += measure(family, p, l2, seed, dims)
        print(f"{family}: {time.perf_counter() - begin:.0f} s", flush=True)
    means = averaged(lines)
    flat = law_lines(means)
    print(f"{tables(means)}\n\nThe projection laws:\n\n{summary(means, flat)}")
    if args.json:
        args.json.write_text(json.dumps({"lines": lines, "means": means, "flat": flat}, indent=1))
    if args.figure:
        from theory_figure import draw

        draw(means, flat, law, args.figure)


def main(args) -> None:
    torch.set_num_threads(1)
    if args.heads:
        from theory_heads import heads

        heads(args.folder, args.politifact, args.json)
        return
    simulation(args)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="p = 40 alone")
    parser.add_argument("--figure", type=Path, help="where the projection law is drawn, a PNG")
    parser.add_argument("--json", type=Path, help="where every number goes")
    parser.add_argument("--heads", action="store_true", help="heads of trained models instead of the simulation")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/theory"), help="models of --heads; kept ones are used"
    )
    parser.add_argument("--politifact", type=Path, help="a pairwise tree for --heads, besides the demo world")
    cli.run_script(main, parser)
