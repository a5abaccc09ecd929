"""Per-row gradients of the margin f, by three ways that must agree. Not here: sketches, stores, which way is taken.

`factored` encodes real (row, article) pairs and keeps each layer's gradient as factors; `functional` is traker's vmap
over padded rows; `loop` is plain autograd, one row after the other, each without padding.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trak.gradient_computers import AbstractGradientComputer

from rec_trak.clicks import ClickOutput, flatten_padded, margin, residual
from rec_trak.data.batches import Batch, Pairs, grouped_pairs, moved, padded_batch
from rec_trak.data.inputs import Inputs
from rec_trak.errors import ConfigError
from rec_trak.gradients.factors import Factors, Recorder
from rec_trak.gradients.functional import FunctionalComputer
from rec_trak.gradients.takers import FOLLOWERS, TAKERS
from rec_trak.models.passes import as_trained, values_only
from rec_trak.words import quoted


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
                got = quoted(pattern)
                raise ConfigError(
                    f"`grad_wrt`: {got} matches no trainable parameter. Got {got}, expected a pattern over "
                    f"{', '.join(trainable[:8])}{', ...' if len(trainable) > 8 else ''}. Mend the pattern."
                )
        chosen = {name for pattern in patterns for name in fnmatch.filter(trainable, pattern)}
    numbers = [name for name in trainable if name in chosen and model.get_parameter(name).is_complex()]
    if numbers:
        raise ConfigError(
            f"`grad_wrt`: complex parameters have no real gradient to project. Got {', '.join(numbers[:3])}, expected "
            "real ones. Keep such a parameter as real numbers and use `torch.view_as_complex` in the model, or leave "
            "it out with `frozen` or `grad_wrt`."
        )
    if not chosen:
        raise ConfigError("`grad_wrt`: no trainable parameter is left. Got none, expected at least one.")
    return [name for name in trainable if name in chosen]


class LoopComputer(AbstractGradientComputer):
    """Plain autograd, one row a time: any model, any layer; a parameter that does not reach f has gradient zero.

    A batch is a tuple of batches of one row each, so that neither other rows nor their padding touch a row.
    """

    def __init__(self, model, task, grad_dim=None, dtype=torch.float32, device="cpu", grad_wrt=None) -> None:
        super().__init__(model, task, grad_dim, dtype, device)
        self.grad_wrt = None if grad_wrt is None else set(grad_wrt)
        self.load_model_params(model)

    def load_model_params(self, model: nn.Module) -> None:
        """Differentiate `model` from now on."""
        self.model = model
        self.parameters = {n: p for n, p in model.named_parameters() if self.grad_wrt is None or n in self.grad_wrt}

    def compute_per_sample_grad(self, batch: tuple[Batch, ...]) -> dict[str, Tensor]:
        """Gradients of f as parameter name -> (B, *shape)."""
        grads = {name: p.new_zeros(len(batch), *p.shape) for name, p in self.parameters.items()}
        for i, row in enumerate(batch):
            for name, grad in row_gradient(self.model, self.modelout_fn, row, self.parameters).items():
                grads[name][i] = grad
        return grads

    def compute_loss_grad(self, batch: tuple[Batch, ...]) -> Tensor:
        """Q (B, 1)."""
        with values_only():
            return _residual(torch.stack([row_margin(self.model, self.modelout_fn, row) for row in batch]))


class NotTakenApart(ConfigError):
    """A wanted parameter is used in a way that no taker knows.

    Attributes:
        trouble: what is used how, without advice: where paths are tried one after another there is none to give.
    """

    def __init__(self, trouble: str) -> None:
        super().__init__(f"`gradient`: `factored` {trouble}. Use `loop`.")
        self.trouble = trouble


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
            NotTakenApart: a wanted parameter is used in a way that cannot be taken apart.
        """
        rows = batch.batch
        with self.recorded(len(rows.user)) as recorder:
            scores, f = self.margins(self._scores(batch, recorder), rows)
        factors = recorder.factors(f)
        self._pass = (batch, residual(self.modelout_fn.loss, scores, rows))
        return factors

    @contextmanager
    def recorded(self, count: int) -> Iterator[Recorder]:
        """Around a pass over `count` rows: what records it.

        Raises:
            NotTakenApart: as `compute_per_sample_grad`, at the end.
        """
        recorder = Recorder(self.parameters, count, TAKERS, FOLLOWERS)
        reduced = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bf16")
        with without_gradient(self.model), torch.enable_grad(), as_trained(), reduced, recorder:
            yield recorder
        recorder.find_changed()
        if recorder.unknown:
            uses = ", ".join(sorted(set(recorder.unknown))[:3])
            raise NotTakenApart(f"cannot take this model apart: {uses}")

    def margins(self, scores: Tensor, rows: Batch) -> tuple[Tensor, Tensor]:
        """Scores (B, C) as numbers, in single precision at least, and the margins f (B,) in the graph."""
        scores = scores if scores.dtype == torch.float64 else scores.float()
        return scores.detach(), margin(self.modelout_fn.loss, scores, rows)

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


def make_batch(
    path: str, model: nn.Module, inputs: Inputs, rows: np.ndarray, device: str
) -> Batch | Pairs | tuple[Batch, ...]:
    """The rows in the form that a gradient path wants, on `device`."""
    if path == "loop":
        return tuple(row_batch(inputs, row, device) for row in rows)
    if path == "functional":
        return moved(padded_batch(inputs, rows), device)
    if all(is_method(model, name) for name in ("encode", "score")):
        return moved(grouped_pairs(inputs, rows), device)
    whole = flatten_padded(padded_batch(inputs, rows))
    return moved(Pairs((), (), torch.zeros(0, dtype=torch.int64), whole), device)


def is_method(model: nn.Module, name: str) -> bool:
    """Whether the model has something of this name to call that is not a layer of its own."""
    found = getattr(model, name, None)
    return callable(found) and not isinstance(found, nn.Module)


def row_batch(inputs: Inputs, row: int, device: str) -> Batch:
    """One row by itself, on `device`: nothing is padded but what it lacks altogether."""
    return moved(flatten_padded(padded_batch(inputs, [row])), device)


def row_gradient(
    model: nn.Module, output: ClickOutput, batch: Batch, parameters: dict[str, nn.Parameter]
) -> dict[str, Tensor]:
    """Plain autograd of f for a batch of one row: parameter name -> gradient of the parameter's shape."""
    return gradients_of(row_margin(model, output, batch), parameters)


def gradients_of(f: Tensor, parameters: dict[str, nn.Parameter], keep: bool = False) -> dict[str, Tensor]:
    """Parameter name -> gradient of f, dense; zeros where a parameter does not reach f. `keep` keeps the graph."""
    found = torch.autograd.grad(f, list(parameters.values()), retain_graph=keep, allow_unused=True)
    dense = (g.to_dense() if g is not None and g.layout != torch.strided else g for g in found)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(parameters.items(), dense, strict=True)}


def row_margin(model: nn.Module, output: ClickOutput, batch: Batch) -> Tensor:
    """f, one number, of a batch of one row whose articles are flat.

    A model that cannot take one row (it squeezes, or asks for two) gets two copies of it, and f is their mean.
    """
    try:
        f = output.get_output(model, None, None, *batch)
    except Exception as error:  # whatever one row makes a model raise
        try:
            f = output.get_output(model, None, None, *_two_copies(batch))
        except Exception:
            raise error from None
    return f.mean()


def _two_copies(batch: Batch) -> Batch:
    """A flat batch of one row as two rows alike, each with articles of its own."""
    count = len(next(iter(batch.articles.values())))
    shift = torch.tensor([[0], [count]], device=batch.history.device)
    twice = Batch({}, *(torch.cat([leaf, leaf]) for leaf in batch[1:]))
    return twice._replace(
        articles={view: torch.cat([values, values]) for view, values in batch.articles.items()},
        history=twice.history + shift,
        candidates=twice.candidates + shift,
    )


def _residual(f: Tensor) -> Tensor:
    """Q (B, 1) from margins (B,): sigmoid(-f) for every loss, as `clicks.residual` says."""
    return torch.sigmoid(-f).unsqueeze(-1)
