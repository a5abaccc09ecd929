"""What featurize.py measures side by side: each contender gives a function that does one round and its number of rows.

Not here: clocks, processes, ratios.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from trak import TRAKer
from workload import make_inputs, make_model

from rec_trak.clicks import ClickOutput, flatten_padded, margin, row_loss
from rec_trak.data.batches import Batch, padded_batch
from rec_trak.gradients.computers import computer_class, make_batch, select_parameters, without_gradient
from rec_trak.gradients.memory import keep_heap
from rec_trak.sketch.projection import SketchProjector

Round = tuple[Callable[[], None], int]
CANDIDATES = 5


def _batches(inputs, size: int) -> list[np.ndarray]:
    """All rows in batches of like history length, as a run makes them."""
    order = np.argsort(inputs.impressions.history.lengths, kind="stable")
    return [order[i : i + size] for i in range(0, len(order), size)]


def rec_trak(s: dict) -> Round:
    """(a) Real pairs, factors, sketch: batches made, gradients taken, K numbers a row out."""
    inputs, model = _world(s)
    names = select_parameters(model, None)
    computer = computer_class("factored", s.get("precision", "float32"))(model, ClickOutput("softmax"), grad_wrt=names)
    projector = SketchProjector(0, s["proj_dim"], 0)
    keep_heap()

    def run() -> None:
        for rows in _batches(inputs, s["batch"]):
            batch = make_batch("factored", model, inputs, rows, "cpu")
            projector.project(computer.compute_per_sample_grad(batch), 0)
            computer.compute_loss_grad(batch)

    return run, len(inputs)


def floor(s: dict) -> Round:
    """(e) Forward and data-only backward on the same unpadded pairs, without recording or sketching anything."""
    inputs, model = _world(s)

    def encoded(hooked: list):
        def hook(module: nn.Module, args: tuple, out: torch.Tensor) -> torch.Tensor:
            hooked.append(out.detach().requires_grad_())
            return hooked[-1]

        return [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, nn.Embedding)]

    def run() -> None:
        for rows in _batches(inputs, s["batch"]):
            pairs, leaves = make_batch("factored", model, inputs, rows, "cpu"), []
            hooks = encoded(leaves)
            with without_gradient(model):
                vectors = torch.cat([model.encode(views) for views in pairs.groups])
                scores = model.score(F.embedding(pairs.order, vectors), pairs.batch)
                torch.autograd.grad(margin("softmax", scores, pairs.batch).sum(), leaves)
            for hook in hooks:
                hook.remove()

    return run, len(inputs)


def padded_step(s: dict) -> Round:
    """(d) An ordinary training step: every row padded to the longest history and title, dense embedding gradient,
    forward and backward, no optimiser step."""
    inputs, model = _world(s)
    model.train(False)

    def run() -> None:
        for rows in _batches(inputs, s["batch"]):
            batch = flatten_padded(padded_batch(inputs, rows, (s["history"], CANDIDATES)))
            model.zero_grad(set_to_none=True)
            row_loss("softmax", model(batch), batch).mean().backward()

    return run, len(inputs)


def _traker(s: dict, names: list[str] | None) -> Round:
    inputs, model = _world({**s, "rows": s["batch"]})
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    traker = TRAKer(
        model=model,
        task=ClickOutput("softmax"),
        train_set_size=10_000,
        save_dir=tempfile.mkdtemp(),
        device="cpu",
        proj_dim=s["proj_dim"],
        use_half_precision=False,
        grad_wrt=names,
        logging_level=40,
    )
    traker.load_checkpoint(model.state_dict(), model_id=0)
    done = iter(range(0, 10_000, s["batch"]))

    def run() -> None:
        start = next(done)
        batch = padded_batch(inputs, np.arange(s["batch"]), (s["history"], CANDIDATES))
        traker.featurize(batch, inds=np.arange(start, start + s["batch"]))

    return run, s["batch"]


def traker_all(s: dict) -> Round:
    """(b) traker 0.3.2 as a user gets it on a CPU (float32, its BasicProjector), all parameters."""
    return _traker(s, None)


def traker_no_embedding(s: dict) -> Round:
    """(b) The same without the embeddings."""
    return _traker(
        s, [n for n, _ in make_model(s["model"], s["vocabulary"]).named_parameters() if "embedding" not in n]
    )


def dattri(s: dict) -> Round:
    """(c) dattri's TRAK, all parameters."""
    from dattri.algorithm.trak import TRAKAttributor
    from dattri.task import AttributionTask

    inputs, model = _world({**s, "rows": s["batch"]})
    batch = padded_batch(inputs, np.arange(s["batch"]), (s["history"], CANDIDATES))
    dataset = torch.utils.data.TensorDataset(batch.articles["title"], *batch[1:])
    output = ClickOutput("softmax")

    def loss(parameters: dict, row: tuple) -> torch.Tensor:
        return output.get_output(model, parameters, {}, *Batch({"title": row[0]}, *row[1:]))

    def probability(parameters: dict, row: tuple) -> torch.Tensor:
        return torch.sigmoid(loss(parameters, row))

    task = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
    attributor = TRAKAttributor(
        task=task,
        correct_probability_func=probability,
        device="cpu",
        projector_kwargs={"device": "cpu", "proj_dim": s["proj_dim"], "proj_max_batch_size": s["batch"]},
        regularization=1.0,
    )
    loader = torch.utils.data.DataLoader(dataset, batch_size=s["batch"], shuffle=False)
    return lambda: attributor.cache(loader), s["batch"]


def _world(s: dict):
    inputs = make_inputs(s["rows"], s["vocabulary"], s["history"])
    return inputs, make_model(s["model"], s["vocabulary"])


CONTENDERS = {f.__name__: f for f in (rec_trak, floor, padded_step, traker_all, traker_no_embedding, dattri)}
