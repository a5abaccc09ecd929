"""How well rankings find four attacks (attacks.py) on two grounds: real clicks and the demo world, seed by seed.

python benchmarks/poison.py ../shared/data/upfd_politifact --folder runs/poison

One small NRMS with five members a setting, K = 2,048, both ridges. What is finished stays in the folder as a JSON a
setting, so that a run that was stopped goes on. The last lines are the tables of docs/detection.md.
"""

import argparse
import dataclasses
import json
import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
import torch
from attacks import KINDS, Attack, Ground, build_attack, read_ground

from rec_trak import cli
from rec_trak.attribution.history import history_influence
from rec_trak.attribution.influence import target_influence
from rec_trak.attribution.job import Job, Member, make_job, state_digest
from rec_trak.attribution.session import featurize
from rec_trak.clicks import margin
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import build_vocabulary
from rec_trak.data.batches import Inputs, build_inputs, unique_batch
from rec_trak.data.synthetic import write_demo_world
from rec_trak.detection.baselines import data_baselines, holds
from rec_trak.detection.metrics import detect
from rec_trak.detection.places import of_rows
from rec_trak.models.build import build_model
from rec_trak.runs.stored import Stored, gradient_cosine, loss_and_norms, stored_self_influence, times_root_q
from rec_trak.training.trainer import TrainSettings, train

MEMBERS, SEEDS, PROJ_DIM, RIDGES = 5, 5, 2048, (1.0, 10.0)
SIZES = {"word_dim": 64, "heads": 4, "head_dim": 16, "query_dim": 32}
TRAINING = TrainSettings(epochs=12, learning_rate=0.002, patience=2)
WITHOUT = 3  # models trained without the attack, to see what it does to the targets
QUESTIONS = {"A": "same article", "B": "same article", "M": "same article", "H": "same history"}
SIZES_TOLD = ("rows", "bots", "genuine in the question")
ORACLE = "oracle: knows which clicks are genuine"


def model_config(ground: Ground) -> ModelConfig:
    words = build_vocabulary(ground.articles, "regex", ("title",), 1)
    return ModelConfig("nrms", ("title",), SIZES, TextConfig(words=words))


def trained(ground: Ground, attack: Attack, rows, count: int) -> list[torch.nn.Module]:
    """Models of different seeds, each stopped early on validation rows of the attack's own ground."""
    config = model_config(ground)
    held = ground.clean_validation if attack.kind == "A" else ground.validation
    inputs, validation = (build_inputs(table, ground.articles, config) for table in (rows, held))
    return [train(config, inputs, validation, TRAINING, seed).model for seed in range(count)]


def mean_margin(models: list[torch.nn.Module], targets: Inputs) -> float:
    batch = unique_batch(targets, np.arange(len(targets)))
    with torch.no_grad():
        return float(np.mean([margin("softmax", model(batch), batch).mean() for model in models]))


def make_the_job(ground: Ground, attack: Attack, models: list[torch.nn.Module], folder: Path) -> Job:
    states = [model.state_dict() for model in models]
    members = tuple(Member(f"seed {i}", state_digest(state), state) for i, state in enumerate(states))
    config = model_config(ground)
    settings = {"loss": "softmax", "proj_dim": PROJ_DIM, "projector": "sketch", "seed": 0, "gradient": "factored"}
    settings |= {"precision": "float32", "batch_size": 32, "lambda_rel": 1.0}
    return make_job(
        ground.articles, attack.rows, build_model(config).eval(), config, members, folder, "cpu", None, **settings
    )


def rankings(job: Job, ground: Ground, attack: Attack) -> dict[str, np.ndarray]:
    """Every ranking, name -> (N,); higher is more suspicious."""
    found = {}
    owner = np.arange(len(attack.rows))
    for ridge in RIDGES:
        ridged = dataclasses.replace(job, lambda_rel=ridge)
        stored = Stored(job.save_dir, MEMBERS, ridge, owner, len(owner))
        told = target_influence(ridged, "targets", attack.targets)
        found[f"influence, renormalised, ridge {ridge:g}"] = told.renormalised
        found[f"influence, renormalised, times root Q, ridge {ridge:g}"] = times_root_q(told.renormalised, stored)
        found[f"influence, ridge {ridge:g}"] = told.plain
        found[f"self-influence Q h, ridge {ridge:g}"] = stored_self_influence(stored, "self_influence")
        found[f"leverage of the loss gradient, ridge {ridge:g}"] = stored_self_influence(stored, "loss_gradient")
        if holds(attack.rows.history, attack.promoted).any():
            found |= place_rankings(ridged, attack, ridge)
    found |= loss_and_norms(stored)
    found["gradient cosine with the targets"] = gradient_cosine(stored, "targets")
    rows = dataclasses.replace(attack.rows, columns={})
    found |= {f"no model: {name}": s for name, s in data_baselines(rows, ground.articles, attack.promoted)[0].items()}
    found["no model: short history"] = -attack.rows.history.lengths.astype(float)
    found[ORACLE] = oracle(ground, attack)
    return found


def place_rankings(job: Job, attack: Attack, ridge: float) -> dict[str, np.ndarray]:
    """What the places of promoted articles in histories did; of a row with several the one of largest leverage."""
    ids = [job.articles.ids[a] for a in attack.promoted]
    places = history_influence(job, "targets", attack.targets, ids)
    leverage, influence = of_rows(places.impression, places.leverage, places.influence, len(attack.rows))
    return {f"place in history, leverage, ridge {ridge:g}": leverage,
            f"place in history, influence, ridge {ridge:g}": influence}  # fmt: skip


def oracle(ground: Ground, attack: Attack) -> np.ndarray:
    """(N,) how much less a row's reading is that of the promoted article's genuine readers than anybody's: naive Bayes
    over the articles in the history (for H, and the click), each row judged by the other genuine ones.

    No ranking has these labels. It shows how far bots and readers differ at all in which articles they read.
    """
    rows, n = attack.rows, len(ground.articles)
    reading = [
        np.append(rows.history[i], rows.clicked[i]) if attack.kind == "H" else rows.history[i] for i in range(len(rows))
    ]
    anybody = np.bincount(np.concatenate(reading), minlength=n) + 1.0
    scores = np.zeros(len(rows))
    for article in attack.promoted:
        has = [
            article in rows.history[i] if attack.kind == "H" else rows.clicked[i] == article for i in range(len(rows))
        ]
        genuine = np.flatnonzero(np.array(has) & (attack.poisoned == 0))
        counts = np.bincount(np.concatenate([reading[i] for i in genuine]), minlength=n) + 10 * anybody / anybody.sum()
        for i in np.flatnonzero(has):
            own = np.bincount(reading[i], minlength=n) if attack.poisoned[i] == 0 else 0
            other = (counts - own)[reading[i]] / (counts - own).sum()
            real = reading[i] != article
            scores[i] = -np.log(other / anybody[reading[i]] * anybody.sum())[real].sum()
    return scores


def one_setting(data: Path, kind: str, seed: int) -> dict:
    """The figures of one attack on one ground."""
    torch.set_num_threads(1)
    ground = read_ground(data)
    attack = build_attack(ground, kind, seed)
    genuine = attack.rows.subset(np.flatnonzero(attack.poisoned == 0))
    models = trained(ground, attack, attack.rows, MEMBERS)
    targets = build_inputs(attack.targets, ground.articles, model_config(ground))
    without = mean_margin(trained(ground, attack, genuine, WITHOUT), targets)
    with tempfile.TemporaryDirectory() as folder:
        job = make_the_job(ground, attack, models, Path(folder))
        featurize(job)
        found = rankings(job, ground, attack)
    same = np.isin(attack.rows.clicked, attack.promoted)
    if kind == "H":
        same = holds(attack.rows.history, attack.promoted)
    lines = {}
    for name, scores in found.items():
        everything, asked = (detect(scores, attack.poisoned, 10, among, name) for among in (None, same))
        lines[name] = [everything.average_precision, everything.auroc, asked.auroc]
    counts = {"rows": len(attack.rows), "bots": int(attack.poisoned.sum()), "articles": len(attack.promoted)}
    counts |= {"genuine in the question": int((same & (attack.poisoned == 0)).sum())}
    return {**counts, "effect": mean_margin(models, targets) - without, "rankings": lines}


def finish(task: tuple[Path, Path, str, int]) -> None:
    path, data, kind, seed = task
    path.write_text(json.dumps(one_setting(data, kind, seed), indent=1) + "\n", encoding="utf-8")


def table(ground: str, results: dict[str, list[dict]]) -> None:
    """A line a ranking, a column an attack: mean over the seeds, and the smallest and largest, in print."""
    print(f"\n**{ground}**\n")
    for kind, own in results.items():
        sizes = ", ".join(f"{np.mean([r[key] for r in own]):.0f} {key}" for key in SIZES_TOLD)
        effects = [r["effect"] for r in own]
        between = f"{min(effects):+.2f} to {max(effects):+.2f}"
        print(f"- {kind}: {sizes}; the attack moves the targets' margin by {np.mean(effects):+.2f} ({between}).")
    print(f"\n| ranking | {' | '.join(f'{kind}: AP / AUROC, {QUESTIONS[kind]}' for kind in results)} |")
    print("|---|" + "---|" * len(results))
    figures = {name: [_cell(own, name) for own in results.values()] for name in _names(results)}
    for name in sorted(figures, key=lambda name: -np.mean([cell[0] for cell in figures[name] if cell])):
        print(f"| {name} | {' | '.join(cell[1] if cell else '-' for cell in figures[name])} |")


def _names(results: dict[str, list[dict]]) -> list[str]:
    return list(dict.fromkeys(name for own in results.values() for r in own for name in r["rankings"]))


def _cell(own: list[dict], name: str) -> tuple[float, str] | None:
    """AUROC of the question, to sort by, and the text of both figures; None where a ranking was not always given."""
    if not all(name in r["rankings"] for r in own):
        return None
    precision, _, asked = np.array([r["rankings"][name] for r in own]).T
    texts = [f"{x.mean():.2f} ({x.min():.2f}-{x.max():.2f})" for x in (precision, asked)]
    return float(asked.mean()), " / ".join(texts)


def main(args) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    grounds = {"real clicks": args.data, "demo world": args.folder / "world"}
    write_demo_world(grounds["demo world"], 0)
    settings = [(name, kind, seed) for seed in range(args.seeds) for name in grounds for kind in args.kinds]
    paths = {setting: args.folder / f"{'_'.join(map(str, setting)).replace(' ', '_')}.json" for setting in settings}
    missing = [(paths[s], grounds[s[0]], s[1], s[2]) for s in settings if not paths[s].exists()]
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(finish, missing), 1):
            print(f"{done} of {len(missing)} settings", flush=True)
    for name in grounds:
        results = {k: [json.loads(paths[name, k, s].read_text()) for s in range(args.seeds)] for k in args.kinds}
        table(name, results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a pairwise tree of genuine clicks")
    parser.add_argument("--folder", type=Path, default=Path("runs/poison"), help="where everything goes")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="which attacks")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many of each")
    parser.add_argument("--workers", type=int, default=2, help="settings at once, one thread each")
    cli.run_script(main, parser)
