"""Which gradient path a model gets, tried on real rows before anything is written. Not here: the paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from trak.gradient_computers import AbstractGradientComputer

from rec_trak.clicks import ClickOutput
from rec_trak.data.batches import Inputs, moved, unique_batch
from rec_trak.errors import ConfigError, NumericalError
from rec_trak.factors import Factors
from rec_trak.gradients import COMPUTERS, make_batch, row_gradient

TOLERANCE = 1e-4
LEAST = 1e-3  # of the largest gradient: what counts as the size of a smaller one
PATHS = ("factored", "functional", "loop")  # the cheapest first


@dataclass(frozen=True)
class GradientChoice:
    """Which way was chosen, and why, in one sentence."""

    name: str
    reason: str


def choose_gradient(
    wanted: str, model: nn.Module, loss: str, inputs: Inputs, names: list[str], batch_size: int, device: str
) -> GradientChoice:
    """The gradient path to run, after comparing it with plain autograd on real rows.

    Three rows of unlike lengths are compared first, then two of them inside a batch of `batch_size`.

    Args:
        wanted: `auto`, `factored`, `functional` or `loop`.
        model: in eval mode, weights loaded.
        loss: a name in `clicks.LOSSES`.
        inputs: the rows.
        names: parameters to differentiate.
        batch_size: the run's batch size.
        device: where the model is.

    Raises:
        ConfigError: the path asked for does not work on this model; the message says why.
        NumericalError: not even the plain loop agrees with itself, so a row's gradient depends on its batch-mates.
    """
    output = ClickOutput(loss)
    rows = _unlike_rows(inputs)
    parameters = {n: p for n, p in model.named_parameters() if n in set(names)}
    reference = [_alone(model, output, inputs, row, parameters, device) for row in rows]
    crowd = np.concatenate([rows[[0, -1]], np.arange(len(inputs))[: max(batch_size - 2, 0)]])
    troubles: dict[str, str] = {}
    for path in PATHS if wanted == "auto" else (wanted,):
        computer = COMPUTERS[path](model, output, 0, torch.float32, device, grad_wrt=names)
        trouble = _disagreement(path, computer, inputs, rows, reference, device) or _disagreement(
            path, computer, inputs, crowd, [reference[0], reference[-1]], device
        )
        if trouble is None:
            why = "; ".join(f"not {other}: {problem}" for other, problem in troubles.items())
            return GradientChoice(path, "agrees with plain autograd on rows of unlike lengths" + (why and f"; {why}"))
        troubles[path] = trouble
    if wanted not in ("auto", "loop"):
        raise ConfigError(f"`gradient`: `{wanted}` does not work on this model: {trouble}. Use `auto` or `loop`.")
    raise NumericalError(
        f"gradients: a row's gradient depends on its padding or its batch-mates: {troubles['loop']}. "
        "Expected the gradient of the row alone. Check the model's masks."
    )


def _alone(
    model: nn.Module, output: ClickOutput, inputs: Inputs, row: int, parameters: dict[str, nn.Parameter], device: str
) -> dict[str, Tensor]:
    """Plain autograd of one row without any padding."""
    grads = row_gradient(model, output, moved(unique_batch(inputs, np.array([row])), device), parameters)
    for name, grad in grads.items():
        if not torch.isfinite(grad).all():
            raise NumericalError(
                f"gradients: row {row} ({inputs.impressions.sources[row]}) has a gradient that is not finite in "
                f"`{name}`. Got NaN or Inf, expected finite numbers. Check the checkpoint."
            )
    return grads


def _unlike_rows(inputs: Inputs) -> np.ndarray:
    """Up to three row numbers: shortest, middle and longest history."""
    order = np.argsort(inputs.impressions.history.lengths, kind="stable")
    return np.unique(order[[0, len(order) // 2, -1]])


def _disagreement(
    path: str,
    computer: AbstractGradientComputer,
    inputs: Inputs,
    rows: np.ndarray,
    reference: list[dict[str, Tensor]],
    device: str,
) -> str | None:
    """Why `computer` cannot be trusted on the first rows of `rows`, or None."""
    try:
        grads = computer.compute_per_sample_grad(make_batch(path, computer.model, inputs, rows, device))
        grads = grads.dense(range(len(reference))) if isinstance(grads, Factors) else grads
    except Exception as error:  # whatever one path cannot do, the next one may
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    sizes = [sum(float(g.square().sum()) for g in expected.values()) ** 0.5 for expected in reference]
    for i, expected in enumerate(reference):
        error = sum(float((grads[n][i] - g).square().sum()) for n, g in expected.items()) ** 0.5
        size = max(sizes[i], LEAST * max(sizes), 1e-30)  # a row may have no gradient but rounding
        if not error <= TOLERANCE * size:
            return f"row {int(rows[i])} differs from plain autograd by {error / size:.1e} of its norm"
    return None
