"""Per-row gradients of the margin f, by three ways that must agree. Not here: sketches, stores, which way is taken.

`factored` encodes real (row, article) pairs and keeps each layer's gradient as factors; `functional` is traker's vmap
over padded rows; `loop` is plain autograd, one row after the other.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trak.gradient_computers import AbstractGradientComputer, FunctionalGradientComputer

from rec_trak.clicks import ClickOutput, flatten_padded, margin, residual
from rec_trak.data.batches import Batch, Inputs, Pairs, grouped_pairs, moved, padded_batch
from rec_trak.errors import ConfigError
from rec_trak.factors import Factors, Recorder
from rec_trak.takers import TAKERS


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


class FactoredComputer(AbstractGradientComputer):
    """One forward pass over real pairs and one backward pass through activations give the factors of all gradients.

    Weights are not differentiated during the pass. Q comes from the scores of the same pass. With `precision` bf16 the
    pass's matrix products are rounded to bfloat16; margin, Q and sketch stay float32.
    """

    precision = "float32"

    def __init__(self, model, task, grad_dim=None, dtype=torch.float32, device="cpu", grad_wrt=None) -> None:
        super().__init__(model, task, grad_dim, dtype, device)
        self.grad_wrt = None if grad_wrt is None else set(grad_wrt)
        self._pass: tuple[Pairs, Tensor] | None = None
        self.load_model_params(model)

    def load_model_params(self, model: nn.Module) -> None:
        """Differentiate `model` from now on."""
        self.model = model
        self.parameters = {n: p for n, p in model.named_parameters() if self.grad_wrt is None or n in self.grad_wrt}

    def compute_per_sample_grad(self, batch: Pairs) -> Factors:
        """Gradients of f as factors.

        Raises:
            ConfigError: a wanted parameter is used in a way that cannot be taken apart.
        """
        recorder = Recorder(self.parameters, len(batch.batch.user), TAKERS)
        reduced = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bf16")
        with without_gradient(self.model), torch.enable_grad(), reduced, recorder:
            scores = self._scores(batch, recorder).float()
            f = margin(self.modelout_fn.loss, scores, batch.batch)
        recorder.find_changed()
        if recorder.unknown:
            uses = ", ".join(sorted(set(recorder.unknown))[:3])
            raise ConfigError(f"`gradient`: `factored` cannot take this model apart: {uses}. Use `auto`.")
        self._pass = (batch, residual(self.modelout_fn.loss, scores.detach(), batch.batch))
        return recorder.factors(f)

    def compute_loss_grad(self, batch: Pairs) -> Tensor:
        """Q (B, 1) of the pass that `compute_per_sample_grad` made of the same batch."""
        if self._pass is None or self._pass[0] is not batch:
            self.compute_per_sample_grad(batch)
        return self._pass[1].unsqueeze(-1)

    def _scores(self, pairs: Pairs, recorder: Recorder) -> Tensor:
        if not pairs.groups:
            return self.model(pairs.batch)
        vectors = []
        for views, owner in zip(pairs.groups, pairs.owners, strict=True):
            recorder.owner = owner
            vectors.append(self.model.encode(views))
        recorder.owner = None
        return self.model.score(F.embedding(pairs.order, torch.cat(vectors)), pairs.batch)


@contextmanager
def without_gradient(model: nn.Module):
    """Weights take no gradient inside."""
    held = [(p, p.requires_grad) for p in model.parameters()]
    for parameter, _ in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, wanted in held:
            parameter.requires_grad_(wanted)


COMPUTERS: dict[str, type[AbstractGradientComputer]] = {
    "factored": FactoredComputer,
    "functional": FunctionalComputer,
    "loop": LoopComputer,
}


class ReducedComputer(FactoredComputer):
    """The factored path with the model's matrix products in bfloat16."""

    precision = "bf16"


def computer_class(path: str, precision: str) -> type[AbstractGradientComputer]:
    """The gradient computer of a path.

    Raises:
        ConfigError: bf16 on another path than the factored one.
    """
    if precision == "float32":
        return COMPUTERS[path]
    if path != "factored":
        raise ConfigError(f"`precision`: bf16 needs the factored path. Got `gradient` {path}. Leave `precision` out.")
    return ReducedComputer


def make_batch(path: str, model: nn.Module, inputs: Inputs, rows: np.ndarray, device: str) -> Batch | Pairs:
    """The rows in the form that a gradient path wants, on `device`."""
    if path != "factored":
        return moved(padded_batch(inputs, rows), device)
    if hasattr(model, "encode") and hasattr(model, "score"):
        return moved(grouped_pairs(inputs, rows), device)
    whole = flatten_padded(padded_batch(inputs, rows))
    return moved(Pairs((), (), torch.zeros(0, dtype=torch.int64), whole), device)


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
