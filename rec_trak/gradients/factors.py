"""Per-row gradients as factors: what each parameter was multiplied with, and the gradient that came back there.

A forward pass runs under `Recorder`, which sees every torch function that takes a wanted parameter, whatever module
calls it; one backward pass through the activations alone then gives all row gradients as sums of small products.
Not here: models, batches, sketches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

NOWHERE = -1  # stands for an id where a place has none


@dataclass
class Use:
    """One use of a parameter in a pass.

    Attributes:
        kind: `outer`: the row's gradient adds left' right over its places; `rows`: `right` is added to the parameter's
            rows `left`; `entries`: `right` is added as it is.
        output: what the pass went on with; its gradient comes from the backward pass.
        value: the other factor: inputs (N0, L, cols) of an outer product (its rows with `turned`), ids (N0, L) of rows,
            a factor (N0, L, entries) of the gradient, or None for 1.
        arrange: turns the gradient of `output` into (N0, L, width).
        owner: (N0,) int64, never decreasing: the row that each of the N0 blocks belongs to.
        version: of `output` when it was recorded; a later one was changed in place.
        first: of an outer product, the parameter's row at which it starts.
        turned: whether `value` gives the parameter's rows and the gradient its columns.
        keys, taps: of an outer product, see `Outer`.
        through, skip: of rows, see `Rows`.
    """

    kind: str
    output: Tensor
    value: Tensor | None
    arrange: Callable[[Tensor], Tensor]
    owner: Tensor
    version: int
    first: int = 0
    turned: bool = False
    keys: Tensor | None = None
    taps: int = 1
    through: Tensor | None = None
    skip: int | None = None


@dataclass(frozen=True)
class Outer:
    """left (N0, L, r) and right (N0, L, cols): row b's gradient has sum of left' right in rows first to first + r.

    `keys` (N0, L), where there are any: places of equal keys have equal `right`, zero at NOWHERE. With several `taps`,
    left (N0, L, taps r) is what reaches a place through one after the other; column c taps + t is channel c, tap t.
    """

    left: Tensor
    right: Tensor
    owner: Tensor
    first: int
    keys: Tensor | None = None
    taps: int = 1


@dataclass(frozen=True)
class Rows:
    """ids (N0, L) and values (N0, L, width): row b's gradient has them added to its rows `ids`, but `skip` and NOWHERE.

    `through` (width, cols), where there is one, still has to be multiplied to the values; (r, cols, taps) where they
    are the `left` of an outer product with taps.
    """

    ids: Tensor
    values: Tensor
    owner: Tensor
    through: Tensor | None = None
    skip: int | None = None

    def finished(self) -> Tensor:
        """The values (N0, L, cols) as they are added: multiplied, and zero at `skip` and NOWHERE."""
        values, real = self.values, self.ids != NOWHERE
        if self.through is not None:
            values = values @ (self.through if self.through.dim() == 2 else self.through.permute(2, 0, 1).flatten(0, 1))
        return values * (real if self.skip is None else real & (self.ids != self.skip)).unsqueeze(-1)


@dataclass(frozen=True)
class LookUp:
    """A tensor that an embedding gave: rows `ids` (N0, L) of the parameter `name`, `padding` without a gradient.

    Places that a mask made zero have the id NOWHERE; `turned` is (N0, channels, L).
    """

    name: str | None
    output: Tensor
    version: int
    ids: Tensor
    padding: int | None
    turned: bool = False


@dataclass(frozen=True)
class Entries:
    """values (N0, L, entries): row b's gradient, flat, is the sum over L."""

    values: Tensor
    owner: Tensor


Factor = Outer | Rows | Entries


@dataclass(frozen=True)
class Factors:
    """Gradients of B rows: parameter name -> factors whose sum they are; `shapes` are the parameters' own."""

    batch: int
    shapes: dict[str, torch.Size]
    parts: dict[str, list[Factor]]

    def __len__(self) -> int:
        return self.batch

    def dense(self, rows: Iterable[int] | None = None) -> dict[str, Tensor]:
        """Parameter name -> (B, *shape) in full, or (len(rows), *shape) for some of the rows: for tests, for small
        models, and for projectors that need it."""
        rows = range(self.batch) if rows is None else list(rows)
        return {name: torch.stack([self._row(name, b) for b in rows]) for name in self.shapes}

    def _row(self, name: str, b: int) -> Tensor:
        shape, parts = self.shapes[name], self.parts.get(name, [])
        like = next((p.left if isinstance(p, Outer) else p.values for p in parts), torch.zeros(()))
        out = like.new_zeros(shape[0] if len(shape) > 1 else 1, shape[1:].numel() if len(shape) > 1 else shape.numel())
        for part in parts:
            own = part.owner == b
            if isinstance(part, Entries):
                out += part.values[own].sum(dim=(0, 1)).view_as(out)
            elif isinstance(part, Rows):
                out.index_add_(0, part.ids[own].reshape(-1).clamp(min=0), part.finished()[own].flatten(0, 1))
            else:
                left = part.left[own].flatten(0, 1).unflatten(-1, (part.taps, -1))
                product = torch.einsum("ltr,lc->rct", left, part.right[own].flatten(0, 1))
                out[part.first : part.first + len(product)] += product.flatten(1)
        return out.view(shape)


class Recorder(TorchFunctionMode):
    """Records the uses of the wanted parameters in all that runs under it.

    Attributes:
        takers: torch function -> what takes it apart, see takers.py.
        owner: (N0,) rows of the blocks in the leading dimension from now on; None means that a leading dimension of
            k B is k blocks a row, in order.
        lead, owners: without `owner`, the leading dimension of the use before, and the owners of each so far.
        followers: torch function -> what notes something of its outcome, whether a parameter takes part or not.
        orders: the order of the rows in a tensor, by its id: what followers note.
        unknown: uses that cannot be taken apart, in words.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        batch: int,
        takers: dict[Callable, Callable],
        followers: dict[Callable, Callable] | None = None,
    ) -> None:
        super().__init__()
        self.takers, self.followers = takers, followers or {}
        self.orders: dict[int, tuple[Tensor, Tensor | None]] = {}
        self.names = {id(p): name for name, p in parameters.items()}
        self.shapes = {name: p.shape for name, p in parameters.items()}
        self.batch = batch
        self.owner: Tensor | None = None
        self.lead: int | None = None
        self.owners: dict[int, Tensor] = {}
        self.uses: list[tuple[str, Use]] = []
        self.looked_up: dict[int, LookUp] = {}
        self.same: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self.unknown: list[str] = []

    def __torch_function__(self, func: Callable, types: Iterable, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        wanted = [a for a in _flat((*args, *kwargs.values())) if id(a) in self.names]
        if not wanted:
            out = func(*args, **kwargs)
            if func in self.followers:
                self.followers[func](self, out, *args, **kwargs)
            return out
        taker = self.takers.get(func)
        if taker is not None:
            out = taker(self, func, *args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if any(isinstance(part, Tensor) for part in _flat((out,))):  # a shape or a device is no use
            self.unknown += [f"`{self.names[id(a)]}` in {getattr(func, '__name__', func)}" for a in wanted]
        return out

    def name(self, tensor: Any) -> str | None:
        """The name of a wanted parameter, else None."""
        return self.names.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def record(self, name: str | None, kind: str, output: Tensor, value: Tensor | None, **more: Any) -> None:
        """Note one use of a wanted parameter; nothing for any other (name None)."""
        if name is None:
            return
        arrange = more.pop("arrange", blocks)
        lead, owner = output.shape[0], self.owner
        if owner is None or len(owner) != lead:
            if owner is not None or lead % self.batch:
                self.unknown.append(f"`{name}`, whose leading dimension {lead} is not of {self.batch} rows")
                return
            if lead not in self.owners:
                self.owners[lead] = torch.arange(lead, device=output.device) // (lead // self.batch)
            owner, self.lead = self.owners[lead], lead
        value = None if value is None else value.detach()
        self.uses.append((name, Use(kind, output, value, arrange, owner, output._version, **more)))

    def spread(self, ids: Tensor) -> Tensor:
        """Ids (1, ...) that the blocks of several rows share, such as positions, once for each block: each has an
        owner then."""
        count = len(self.owner) if self.owner is not None else self.lead if self.batch > 1 else None
        return ids.expand(count, *ids.shape[1:]) if count is not None and ids.dim() > 1 and len(ids) == 1 else ids

    def look_up(self, tensor: Tensor) -> LookUp | None:
        """The look-up whose unchanged output `tensor` is, else None."""
        found = self.looked_up.get(id(tensor))
        return found if found and found.output is tensor and tensor._version == found.version else None

    def find_changed(self) -> None:
        """Count outputs that were changed in place since as unknown uses: their gradient is another one."""
        changed = {name for name, use in self.uses if use.output._version != use.version}
        self.unknown += [f"`{name}`, whose output is changed in place" for name in sorted(changed)]

    def factors(self, margin: Tensor) -> Factors:
        """The gradients of margin (B,), after one backward pass that leaves the graph freed."""
        return Factors(self.batch, self.shapes, self.pulled(margin, torch.ones_like(margin))[0])

    def pulled(
        self,
        result: Tensor,
        cotangent: Tensor,
        leaves: Sequence[Tensor] = (),
        rows: Tensor | None = None,
        keep: bool = False,
    ) -> tuple[dict[str, list[Factor]], tuple[Tensor | None, ...]]:
        """Factors of the gradients that a cotangent of `result` gives, by parameter, and those of further tensors.

        Args:
            rows: (B,) the row that each of the pass's rows stands for; None where each stands for itself.
            keep: whether the graph is used again.
        """
        outputs = list({id(use.output): use.output for _, use in self.uses}.values()) if result.requires_grad else []
        wanted = [*outputs, *leaves] if result.requires_grad else []
        if not wanted:
            return {}, (None,) * len(leaves)
        grads = torch.autograd.grad(result, wanted, cotangent, retain_graph=keep, allow_unused=True)
        came = {id(output): grad for output, grad in zip(outputs, grads, strict=False)}
        parts: dict[str, list[Factor]] = {}
        arranged: dict[tuple, Tensor] = {}  # a layer's weight, bias and inputs share one arranged gradient
        owners: dict[int, Tensor] = {}  # and what merges places knows an owner again by its address
        for name, use in self.uses:
            grad, key = came.get(id(use.output)), (id(use.output), use.arrange)
            if grad is not None:
                if key not in arranged:
                    arranged[key] = use.arrange(grad).to(cotangent.dtype)
                if id(use.owner) not in owners:
                    owners[id(use.owner)] = use.owner if rows is None else rows[use.owner]
                parts.setdefault(name, []).append(_factor(use, arranged[key], owners[id(use.owner)]))
        return parts, grads[len(outputs) :]


def _factor(use: Use, grad: Tensor, owner: Tensor) -> Factor:
    if use.kind == "outer":
        value = use.value.to(grad.dtype)
        left, right = (value, grad) if use.turned else (grad, value)
        return Outer(left, right, owner, use.first, None if use.turned else use.keys, use.taps)
    if use.kind == "rows":
        through = use.through if use.through is None else use.through.to(grad.dtype)
        return Rows(use.value, grad, owner, through, use.skip)
    # Where there is a product, its sum over places is kept: the product would be one more tensor of the layer's size.
    return Entries(grad if use.value is None else (grad * use.value).sum(dim=1, keepdim=True), owner)


def blocks(x: Tensor) -> Tensor:
    """(N0, ..., width) as (N0, L, width)."""
    return x.reshape(x.shape[0], -1, x.shape[-1])


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value
