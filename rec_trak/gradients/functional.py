"""traker's vmap path: gradients and Q of padded rows in one pass. Not here: other paths, or which one is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from trak.gradient_computers import FunctionalGradientComputer

from rec_trak.data.batches import Batch

SPARSE = (F.embedding, F.embedding_bag)
RECURRENT = (torch.gru, torch.rnn_tanh, torch.rnn_relu)


class FunctionalComputer(FunctionalGradientComputer):
    """traker's vmap path, with every parameter outside `grad_wrt` handed over among the buffers, so that frozen
    parameters are neither differentiated nor counted.

    Q is of the pass that gives the gradients: under vmap recurrent layers can be differentiated, but not only run.
    """

    def __init__(self, model, task, grad_dim, dtype, device, grad_wrt=None) -> None:
        self._wanted = {n for n, _ in model.named_parameters()} if grad_wrt is None else set(grad_wrt)
        self._pass: tuple[Batch, Tensor] | None = None
        super().__init__(model, task, grad_dim, dtype, device, grad_wrt=grad_wrt)

    def load_model_params(self, model: nn.Module) -> None:
        """Differentiate the wanted parameters of `model` from now on."""
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        self.func_weights = {n: p for n, p in parameters.items() if n in self._wanted}
        others = {n: p for n, p in parameters.items() if n not in self._wanted}
        self.func_buffers = dict(model.named_buffers()) | others
        self._pass = None

    def compute_per_sample_grad(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients of f as parameter name -> (B, *shape)."""
        of_row = torch.func.grad_and_value(self.modelout_fn.get_output, argnums=1)
        rows = (None, None, None, *(0,) * len(batch))
        with ForRows():
            grads, f = torch.func.vmap(of_row, in_dims=rows, randomness="different")(
                self.model, self.func_weights, self.func_buffers, *batch
            )
        self._pass = (batch, torch.sigmoid(-f.detach()).unsqueeze(-1))
        return grads

    def compute_loss_grad(self, batch: Batch) -> Tensor:
        """Q (B, 1), each of its row alone, of the pass that `compute_per_sample_grad` made of the same batch."""
        if self._pass is None or self._pass[0] is not batch:
            self.compute_per_sample_grad(batch)
        return self._pass[1]


class ForRows(TorchFunctionMode):
    """Layers in a form that vmap takes, with the same numbers: look-ups whose gradients are dense, and recurrent layers
    whose start state has a place for each row (torch makes one of zeros for all rows, and then writes into it)."""

    def __torch_function__(self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in SPARSE and kwargs.get("sparse"):
            kwargs = kwargs | {"sparse": False}
        if func in RECURRENT and len(args) == 9 and isinstance(args[3], bool):  # of sequences that are not packed
            args = (args[0], args[1] + args[0].new_zeros(args[1].shape), *args[2:])
        return func(*args, **kwargs)
