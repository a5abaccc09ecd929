"""A small trainer: for the demo, for ensembles, and for checks that retrain. Not here: what a model is, or files.

It is not a place to tune recommenders: Adam, one learning rate, early stopping on validation AUC.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from rec_trak.clicks import LOSSES, check_loss, expand, row_loss
from rec_trak.config.model import ModelConfig
from rec_trak.data.batches import Batch, moved, unique_batch
from rec_trak.data.inputs import Inputs
from rec_trak.errors import ConfigError, DataError, NumericalError
from rec_trak.models.build import build_model
from rec_trak.progress import progress, tell
from rec_trak.training.evaluation import evaluate
from rec_trak.words import outline


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained.

    Attributes:
        epochs: passes over the rows, at most.
        batch_size: rows a step.
        learning_rate: Adam's.
        patience: epochs without a better validation AUC after which training stops.
        weight_decay: Adam's L2 penalty.
        clip: the largest norm of a step's gradient; 0 for no limit.
        loss: the click loss.
        eval_batch_size: rows at once in evaluation; it changes no result.
    """

    epochs: int = field(default=5, metadata={"least": 1})
    batch_size: int = field(default=64, metadata={"least": 1})
    learning_rate: float = field(default=1e-3, metadata={"least": 0})
    patience: int = field(default=2, metadata={"least": 1})
    weight_decay: float = field(default=0.0, metadata={"least": 0})
    clip: float = field(default=1.0, metadata={"least": 0})
    loss: str = field(default="softmax", metadata={"choices": LOSSES})
    eval_batch_size: int = field(default=256, metadata={"least": 1})


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model: with the weights of its best epoch (the last one without validation), in evaluation mode.
        history: one dict an epoch: `epoch` (from 1), `loss` (mean over rows) and the validation metrics.
        seen: (n,) int64 positions of the rows it was trained on.
    """

    model: nn.Module
    history: list[dict[str, float]]
    seen: np.ndarray

    __repr__ = outline


def train(
    config: ModelConfig,
    inputs: Inputs,
    validation: Inputs | None,
    settings: TrainSettings,
    seed: int,
    seen: np.ndarray | None = None,
    word_vectors: np.ndarray | None = None,
    device: str = "cpu",
    desc: str = "train",
) -> Trained:
    """A model trained on the rows `seen`; the same bits for the same arguments on the same machine.

    Args:
        config: the model; `settings.loss` counts and not `config.loss`.
        inputs: the training rows.
        validation: whole impressions for early stopping; None trains all epochs and keeps the last weights.
        settings: how.
        seed: of the first weights, the order of rows and dropout. The caller's generators are left as they are.
        seen: (n,) positions of the rows to train on, None for all.
        word_vectors: (V + 2, dim) float32 to start the word embedding from.
        device: a torch device.
        desc: what the progress bar says.

    Raises:
        ConfigError: a model that cannot be built, or one whose parameters are all frozen.
        DataError: no rows, a row that the loss cannot use, or validation rows that have no AUC.
        NumericalError: the loss or its gradient is not finite.
    """
    check_loss(settings.loss)
    seen = np.arange(len(inputs), dtype=np.int64) if seen is None else np.asarray(seen, dtype=np.int64)
    rows = _rows_of(inputs, seen, settings.loss)
    _check_validation(validation)
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        model = build_model(config, word_vectors).to(device)
        history = _fit(model, rows, validation, settings, seed, desc)
    return Trained(model.eval(), history, seen)


def half(n: int, seed: int) -> np.ndarray:
    """(n // 2,) int64, a random half of the rows 0 to n - 1, in order."""
    return np.sort(np.random.default_rng(seed).permutation(n)[: n // 2]).astype(np.int64)


def _rows_of(inputs: Inputs, seen: np.ndarray, loss: str) -> Inputs:
    """The rows `seen`, cut as the loss wants them."""
    if not len(seen):
        raise DataError("training: there is no row to train on. Got 0, expected at least 1. Check the click log.")
    impressions, owner = expand(inputs.impressions.subset(seen), loss)
    return Inputs(impressions, inputs.views, inputs.users[seen][owner])


def _check_validation(validation: Inputs | None) -> None:
    """Refuse validation rows of which none has an AUC: no epoch would be better than another."""
    if validation is None:
        return
    labels = validation.impressions.labels
    if not any(0 < (labels[i] == 1).sum() < len(labels[i]) for i in range(len(validation))):
        raise DataError(
            f"validation: no row has both a clicked and another candidate. Got {len(validation)} rows, expected at "
            f"least one such. Give other validation rows, or none."
        )


def _fit(
    model: nn.Module, rows: Inputs, validation: Inputs | None, settings: TrainSettings, seed: int, desc: str
) -> list[dict[str, float]]:
    """Train in place, put the best epoch's weights back, and return the metrics of each epoch."""
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise ConfigError("training: every parameter is frozen. Leave one out of `frozen`.")
    optimiser = torch.optim.Adam(weights, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    order = np.random.default_rng(seed)
    history: list[dict[str, float]] = []
    best_auc, best_epoch, best_weights = -1.0, 0, None
    steps = -(-len(rows) // settings.batch_size)
    with progress(total=settings.epochs * steps, desc=desc, unit="batch") as bar:
        for epoch in range(1, settings.epochs + 1):
            begin = time.perf_counter()
            model.train()
            total, shuffled = 0.0, order.permutation(len(rows))
            for step in range(steps):
                chosen = shuffled[step * settings.batch_size : (step + 1) * settings.batch_size]
                batch = moved(unique_batch(rows, chosen), _device(model))
                total += _step(model, optimiser, batch, settings, f"epoch {epoch}, step {step + 1}") * len(chosen)
                bar.update(1)
            history.append({"epoch": epoch, "loss": total / len(rows)})
            if validation is not None:
                history[-1] |= evaluate(model, validation, settings.eval_batch_size)
                if history[-1]["auc"] > best_auc:
                    best_auc, best_epoch = history[-1]["auc"], epoch
                    best_weights = copy.deepcopy(model.state_dict())
            tell(_epoch_line(desc, history[-1], settings.epochs, time.perf_counter() - begin, epoch == best_epoch))
            if validation is not None and epoch - best_epoch >= settings.patience:
                break
    if best_weights is not None:
        model.load_state_dict(best_weights)
    return history


def _epoch_line(desc: str, told: dict[str, float], epochs: int, seconds: float, best: bool) -> str:
    """An epoch for the terminal, `*` behind it where its validation AUC is the best so far."""
    names = {"auc": "AUC", "mrr": "MRR", "ndcg@5": "nDCG@5", "ndcg@10": "nDCG@10"}
    metrics = "".join(f"  {name} {told[key]:.4f}" for key, name in names.items() if key in told)
    line = f"{desc}: epoch {told['epoch']}/{epochs}  loss {told['loss']:.4f}{metrics}  {seconds:.1f} s"
    return f"{line} *" if best else line


def _step(
    model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, settings: TrainSettings, where: str
) -> float:
    """One step of Adam; the mean loss of the batch before it."""
    optimiser.zero_grad(set_to_none=True)
    loss = row_loss(settings.loss, model(batch), batch).mean()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip or float("inf"))
    if not (torch.isfinite(loss) and torch.isfinite(norm)):
        raise NumericalError(
            f"training: {where}: the loss diverged. Got loss {loss.item()} and gradient norm {norm.item()}, expected "
            f"finite numbers. Lower `learning_rate` (now {settings.learning_rate})."
        )
    optimiser.step()
    return loss.item()


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
