"""Which gradient path a model gets, tried on real rows before anything is written. Not here: the paths."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from trak.gradient_computers import AbstractGradientComputer

from rec_trak.clicks import ClickOutput, flatten_padded
from rec_trak.data.batches import Batch, moved, padded_batch
from rec_trak.data.inputs import Inputs
from rec_trak.errors import ConfigError, NumericalError, RecTrakError, RecTrakWarning, told
from rec_trak.gradients.computers import (
    COMPUTERS,
    NotTakenApart,
    gradients_of,
    make_batch,
    row_batch,
    row_gradient,
    row_margin,
)
from rec_trak.gradients.factors import Factors
from rec_trak.gradients.steadiness import check_unchanged, states, warn_of_indexing
from rec_trak.models.passes import as_trained, values_only

TOLERANCE = 1e-4
CANCELLED = 1e-2  # of a score's gradient: TOLERANCE of that is float32's rounding, which differences of scores keep
LEAST = 1e-3  # of the largest gradient: what counts as the size of a smaller one
MATES = 8  # rows of the batch in which plain autograd looks for batch-mates that matter: its memory is theirs
PATHS = ("factored", "functional", "loop")  # the cheapest first


@dataclass(frozen=True)
class GradientChoice:
    """Which way was chosen, and why, in one sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Case:
    """What is differentiated: a model's margins of some rows, by some of its parameters."""

    model: nn.Module
    output: ClickOutput
    inputs: Inputs
    parameters: dict[str, nn.Parameter]
    device: str

    def batch(self, row: int) -> Batch:
        """One row by itself."""
        return row_batch(self.inputs, row, self.device)

    def source(self, row: int) -> str:
        """A row as messages name it."""
        return f"row {row} ({self.inputs.impressions.sources[row]})"


@dataclass(frozen=True)
class _Alone:
    """A row by itself under plain autograd: its gradient, its Q, and what counts as the gradient's norm."""

    row: int
    grads: dict[str, Tensor]
    q: float
    size: float

    def differs(self, grads: Mapping[str, Tensor]) -> float:
        """How far other gradients of the row are from these, in units of their norm."""
        return _distance(self.grads, grads) / self.size


def choose_gradient(
    wanted: str, model: nn.Module, loss: str, inputs: Inputs, names: list[str], batch_size: int, device: str
) -> GradientChoice:
    """The gradient path to run, after comparing it with plain autograd of rows that stand alone.

    Three rows of unlike lengths are compared together, one by itself, and two of them inside a batch of `batch_size`.
    Where the factored path, the only one in which rows meet, does not pass, plain autograd says whether batch-mates
    change a row's gradient; a warning then gives by how much.

    Args:
        wanted: `auto`, `factored`, `functional` or `loop`.
        model: in eval mode, weights loaded.
        loss: a name in `clicks.LOSSES`.
        inputs: the rows.
        names: parameters to differentiate.
        batch_size: the run's batch size.
        device: where the model is.

    Raises:
        ConfigError: the model fails on a row, or the path asked for does not work on it; the message says why.
        NumericalError: a row's gradient is not finite, or differs from one pass to the next.
    """
    parameters = {n: p for n, p in model.named_parameters() if n in set(names)}
    case = _Case(model, ClickOutput(loss), inputs, parameters, device)
    before = states(model)
    alone = _all_alone(case, unlike_rows(inputs))
    check_unchanged(model, before)
    warn_of_indexing(lambda: row_margin(model, case.output, case.batch(alone[-1].row)))
    crowd = np.array([alone[0].row, alone[-1].row, *range(min(len(inputs), max(batch_size - 2, 0)))])
    troubles: dict[str, str] = {}
    for path in PATHS if wanted == "auto" else (wanted,):
        computer = COMPUTERS[path](model, case.output, 0, torch.float32, device, grad_wrt=names)
        trouble = next(filter(None, _troubles(path, computer, case, alone, crowd)), None)
        if trouble is None:
            break
        troubles[path] = trouble
    else:
        if wanted in ("auto", "loop"):
            raise NumericalError(_unsteady(troubles["loop"]))
        raise ConfigError(f"`gradient`: `{wanted}` does not work on this model: {trouble}. Use `auto` or `loop`.")
    if path != "factored":
        _warn_of_mates(case, crowd[:MATES], (alone[0], alone[-1]))
    reason = "agrees with plain autograd on rows of unlike lengths"
    reason += _about_copies(case, alone[0].row) if path == "loop" else ""
    return GradientChoice(path, reason + "".join(f"; not {other}: {why}" for other, why in troubles.items()))


def unlike_rows(inputs: Inputs) -> np.ndarray:
    """Up to three row numbers: shortest, middle and longest history."""
    order = np.argsort(inputs.impressions.history.lengths, kind="stable")
    return np.unique(order[[0, len(order) // 2, -1]])


def _all_alone(case: _Case, rows: np.ndarray) -> list[_Alone]:
    """The rows by themselves, each differentiated twice: a second time says whether there is one answer."""
    grads, repeated, q = [], [], []
    for row in rows:
        grads.append(_gradient(case, row))
        repeated.append(_distance(grads[-1], _gradient(case, row)))
        q.append(_q(case, row))
    sizes = [_norm(g.values()) for g in grads]
    # A row may have no gradient but rounding, and where all candidates look alike all rows have none.
    least = max(LEAST * max(sizes), CANCELLED * _score_size(case, rows[int(np.argmax(sizes))]), 1e-30)
    for row, size, distance in zip(rows, sizes, repeated, strict=True):
        if not distance <= TOLERANCE * max(size, least):
            raise NumericalError(_unsteady(f"{case.source(row)} by {distance / max(size, least):.1e} of its norm"))
    return [_Alone(int(r), g, p, max(size, least)) for r, g, p, size in zip(rows, grads, q, sizes, strict=True)]


def _q(case: _Case, row: int) -> float:
    """Q of one row without any padding."""
    with values_only():
        f = float(row_margin(case.model, case.output, case.batch(row)))
    if not math.isfinite(f):
        raise NumericalError(
            f"gradients: {case.source(row)} has a Q that is not finite. Got a margin of {f} and a finite gradient, "
            "expected a finite number. The model computes something else where nothing is differentiated: look "
            "for what depends on `torch.is_grad_enabled()`."
        )
    return float(torch.sigmoid(torch.tensor(-f)))


def _about_numbers(case: _Case, row: int) -> str:
    """What to do where a row's numbers are not finite."""
    rows, texts = case.inputs.impressions, [view for view in case.inputs.views.values() if view.ndim == 2]
    if not len(rows.history[row]):
        return (
            "The row has no history: attention over nothing is NaN in many models. Give such users a place to attend "
            "to, or leave these rows out with `least_history: 1`."
        )
    used = np.concatenate([rows.history[row], rows.candidates[row]])
    if any(not view[used].any(axis=1).all() for view in texts):
        return (
            "One of its articles has no text: attention over nothing is NaN in many models. Give such texts a place to "
            "attend to."
        )
    return "Check the checkpoint."


def _score_size(case: _Case, row: int) -> float:
    """The norm of the gradient of the row's first score, of which a margin's is a difference; 0 where it has none."""
    try:
        with as_trained():
            scores = case.model(case.batch(row))
        grads = gradients_of(scores.reshape(-1)[0], case.parameters)
    except Exception:  # a model that cannot take one row: its margins' gradients are measured by each other
        return 0.0
    return _norm(grads.values())


def _gradient(case: _Case, row: int) -> dict[str, Tensor]:
    """Plain autograd of one row without any padding."""
    try:
        grads = row_gradient(case.model, case.output, case.batch(row), case.parameters)
    except RecTrakError:
        raise
    except Exception as error:  # a user's model may raise anything
        raise ConfigError(
            f"`gradient`: the model fails on {case.source(row)}. Got {told(error)}, expected scores that depend on "
            "the parameters. Mend the model, or give a `forward` that calls it as it wants."
        ) from error
    for name, grad in grads.items():
        if not torch.isfinite(grad).all():
            raise NumericalError(
                f"gradients: {case.source(row)} has a gradient that is not finite in `{name}`. Got NaN or Inf, "
                "expected finite numbers. " + _about_numbers(case, row)
            )
    return grads


def _troubles(
    path: str, computer: AbstractGradientComputer, case: _Case, alone: list[_Alone], crowd: np.ndarray
) -> Iterator[str | None]:
    """Why `computer` cannot be trusted on some rows together, on one, and in a crowd; None where it can."""
    rows = np.array([known.row for known in alone])
    yield _trouble(path, computer, case, rows, alone)
    if path != "loop":  # which takes every row by itself
        yield _trouble(path, computer, case, rows[:1], alone[:1])
        yield _trouble(path, computer, case, crowd, [alone[0], alone[-1]])


def _trouble(
    path: str, computer: AbstractGradientComputer, case: _Case, rows: np.ndarray, alone: Sequence[_Alone]
) -> str | None:
    """Why `computer` cannot be trusted on the first rows of `rows`, or None."""
    try:
        batch = make_batch(path, case.model, case.inputs, rows, case.device)
        grads, q = computer.compute_per_sample_grad(batch), computer.compute_loss_grad(batch)
        grads = grads.dense(range(len(alone))) if isinstance(grads, Factors) else grads
    except NotTakenApart as error:
        return error.trouble
    except Exception as error:  # whatever one path cannot do, the next one may
        return told(error) + (" (in a batch of one row)" if len(rows) == 1 else "")
    for i, known in enumerate(alone):
        difference = known.differs({name: grads[name][i] for name in known.grads})
        if not math.isfinite(difference):
            return f"row {known.row} has a gradient that is not finite beside other rows and their padding"
        if not difference <= TOLERANCE:
            return f"row {known.row} differs from plain autograd by {difference:.1e} of its norm"
        if not abs(float(q[i]) - known.q) <= TOLERANCE:
            return f"Q of row {known.row} is {float(q[i]):.4f}, but {known.q:.4f} of the row alone"
    return None


def _warn_of_mates(case: _Case, crowd: np.ndarray, alone: Sequence[_Alone]) -> None:
    """Warn if plain autograd of the first rows of `crowd`, as they stand in it, is not that of the rows alone."""
    batch = moved(flatten_padded(padded_batch(case.inputs, crowd)), case.device)
    try:
        f = case.output.get_output(case.model, None, None, *batch)
    except Exception:  # told already: the trials met it too
        return
    changes = []
    for i, known in enumerate(alone):
        changes.append(known.differs(gradients_of(f[i], case.parameters, keep=True)))
    worst = int(np.argmax(changes))
    if not changes[worst] <= TOLERANCE:
        warnings.warn(
            f"gradients: batch-mates, or the padding they bring, change a row's gradient. Got a change by "
            f"{changes[worst]:.1e} of its norm for {case.source(alone[worst].row)} among {len(crowd)}, expected none. "
            "Gradients are those of each row alone; a model that was trained in batches has learnt from others. Check "
            "its masks, and layers that read across a batch.",
            RecTrakWarning,
            stacklevel=3,
        )


def _about_copies(case: _Case, row: int) -> str:
    """What to say where the model refuses a single row and gets two copies of it."""
    try:
        with values_only():
            case.output.get_output(case.model, None, None, *case.batch(row))
    except Exception as error:
        return f", each row given as two copies, since one alone fails ({told(error)})"
    return ""


def _unsteady(what: str) -> str:
    return (
        f"gradients: the gradient of a row alone differs from one pass to the next. Got {what}, expected the same "
        "each time. Switch off what is random in the model, such as a dropout that `eval()` does not reach."
    )


def _distance(grads: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    return _norm(others[name] - grad for name, grad in grads.items())


def _norm(tensors: Iterable[Tensor]) -> float:
    return sum(float(t.square().sum()) for t in tensors) ** 0.5
