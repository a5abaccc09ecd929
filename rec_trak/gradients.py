"""Per-row gradients of the margin f, by two ways that must agree. Not here: sketches, stores, or which rows.

`functional` is traker's vmap over padded rows; `loop` is plain autograd, one row after the other, for models that
vmap cannot take. `choose_gradient` tries them on a few rows before anything is written.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from trak.gradient_computers import AbstractGradientComputer, FunctionalGradientComputer

from rec_trak.clicks import ClickOutput
from rec_trak.data.batches import Batch, Inputs, padded_batch, unique_batch
from rec_trak.errors import ConfigError, NumericalError

TOLERANCE = 1e-4


def select_parameters(model: nn.Module, patterns: Iterable[str] | None) -> list[str]:
    """Names of the parameters to differentiate, in the model's order; frozen ones are never among them.

    Args:
        model: any module; parameters with `requires_grad=False` count as frozen.
        patterns: shell patterns (`user_encoder.*`), or None for all trainable ones.

    Raises:
        ConfigError: a pattern that matches no trainable parameter, or nothing is left.
    """
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if patterns is None:
        chosen = set(trainable)
    else:
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        for pattern in patterns:
            if not fnmatch.filter(trainable, pattern):
                raise ConfigError(
                    f"`grad_wrt`: {pattern!r} matches no trainable parameter. Got {pattern!r}, expected a pattern over "
                    f"{', '.join(trainable[:8])}{', ...' if len(trainable) > 8 else ''}. Mend the pattern."
                )
        chosen = {name for pattern in patterns for name in fnmatch.filter(trainable, pattern)}
    if not chosen:
        raise ConfigError("`grad_wrt`: no trainable parameter is left. Got none, expected at least one.")
    return [name for name in trainable if name in chosen]


class FunctionalComputer(FunctionalGradientComputer):
    """traker's vmap path, with every parameter outside `grad_wrt` handed over among the buffers, so that frozen
    parameters are neither differentiated nor counted."""

    def __init__(self, model, task, grad_dim, dtype, device, grad_wrt=None) -> None:
        self._wanted = {n for n, _ in model.named_parameters()} if grad_wrt is None else set(grad_wrt)
        super().__init__(model, task, grad_dim, dtype, device, grad_wrt=grad_wrt)

    def load_model_params(self, model: nn.Module) -> None:
        """Differentiate the wanted parameters of `model` from now on."""
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        self.func_weights = {n: p for n, p in parameters.items() if n in self._wanted}
        others = {n: p for n, p in parameters.items() if n not in self._wanted}
        self.func_buffers = dict(model.named_buffers()) | others


class LoopComputer(AbstractGradientComputer):
    """Plain autograd, one row a time: any model, any layer; a parameter that does not reach f has gradient zero."""

    def __init__(self, model, task, grad_dim=None, dtype=torch.float32, device="cpu", grad_wrt=None) -> None:
        super().__init__(model, task, grad_dim, dtype, device)
        self.grad_wrt = None if grad_wrt is None else set(grad_wrt)
        self.load_model_params(model)

    def load_model_params(self, model: nn.Module) -> None:
        """Differentiate `model` from now on."""
        self.model = model
        self.parameters = {n: p for n, p in model.named_parameters() if self.grad_wrt is None or n in self.grad_wrt}

    def compute_per_sample_grad(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients of f as parameter name -> (B, *shape), for a padded batch."""
        rows = len(batch.user)
        grads = {n: torch.zeros(rows, *p.shape, dtype=p.dtype, device=p.device) for n, p in self.parameters.items()}
        for i in range(rows):
            for name, grad in row_gradient(self.model, self.modelout_fn, one_row(batch, i), self.parameters).items():
                grads[name][i] = grad
        return grads

    def compute_loss_grad(self, batch: Batch) -> Tensor:
        """Q (B, 1)."""
        return self.modelout_fn.get_out_to_loss_grad(self.model, None, None, batch)


COMPUTERS: dict[str, type[AbstractGradientComputer]] = {"functional": FunctionalComputer, "loop": LoopComputer}


def one_row(batch: Batch, i: int) -> Batch:
    """Row `i` of a padded batch as a padded batch of one."""
    return Batch({view: a[i : i + 1] for view, a in batch.articles.items()}, *(field[i : i + 1] for field in batch[1:]))


def row_gradient(
    model: nn.Module, output: ClickOutput, batch: Batch, parameters: dict[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Plain autograd of f for a batch of one row: parameter name -> gradient of the parameter's shape."""
    margin = output.get_output(model, None, None, *batch)
    grads = torch.autograd.grad(margin.sum(), list(parameters.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(parameters.items(), grads, strict=True)}


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
        wanted: `auto`, `functional` or `loop`.
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

    def problem(name: str) -> str | None:
        computer = COMPUTERS[name](model, output, 0, torch.float32, device, grad_wrt=names)
        return _disagreement(computer, inputs, rows, reference, device) or _disagreement(
            computer, inputs, crowd, [reference[0], reference[-1]], device
        )

    if wanted != "loop":
        trouble = problem("functional")
        if trouble is None:
            return GradientChoice("functional", "vmap agrees with plain autograd on rows of unlike lengths")
        if wanted == "functional":
            raise ConfigError(f"`gradient`: `functional` does not work on this model: {trouble}. Use `auto` or `loop`.")
    trouble_loop = problem("loop")
    if trouble_loop is not None:
        raise NumericalError(
            f"gradients: a row's gradient depends on its padding or its batch-mates: {trouble_loop}. "
            "Expected the gradient of the row alone. Check the model's masks."
        )
    return GradientChoice("loop", "asked for" if wanted == "loop" else f"vmap cannot be used: {trouble}")


def _alone(
    model: nn.Module, output: ClickOutput, inputs: Inputs, row: int, parameters: dict[str, nn.Parameter], device: str
) -> dict[str, Tensor]:
    """Plain autograd of one row without any padding."""
    grads = row_gradient(model, output, to_device(unique_batch(inputs, np.array([row])), device), parameters)
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
    computer: AbstractGradientComputer,
    inputs: Inputs,
    rows: np.ndarray,
    reference: list[dict[str, Tensor]],
    device: str,
) -> str | None:
    """Why `computer` cannot be trusted on the first rows of `rows`, or None."""
    batch = to_device(padded_batch(inputs, rows), device)
    try:
        grads = computer.compute_per_sample_grad(batch)
    except Exception as error:  # whatever vmap cannot do, the plain loop may
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    for i, expected in enumerate(reference):
        error = sum(float((grads[n][i] - g).square().sum()) for n, g in expected.items()) ** 0.5
        size = sum(float(g.square().sum()) for g in expected.values()) ** 0.5
        if not error <= TOLERANCE * max(size, 1e-30):
            return f"row {int(rows[i])} differs from plain autograd by {error / max(size, 1e-30):.1e} of its norm"
    return None


def to_device(batch: Batch, device: str) -> Batch:
    """The batch with every tensor on `device`."""
    return Batch({view: a.to(device) for view, a in batch.articles.items()}, *(field.to(device) for field in batch[1:]))
