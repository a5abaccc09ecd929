"""Names of parameters as frameworks wrap them: what stands before a model's own names, what only stands beside them,
and what is an adapter's. Not here: reading files, or any code base's own names.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from rec_trak.errors import CheckpointError, RecTrakWarning, listed
from rec_trak.words import QUOTE, plain

INSIDE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}  # parts that wrappers put into names
COUNTERS = {"n_averaged", "total_ops", "total_params"}  # of averages and of profilers: no weights of any model
ADAPTER_PARTS = {"base_layer", "modules_to_save", "original_module"}


def unwrapped(name: str) -> str:
    """The name without the parts that torch.compile, FSDP and activation checkpointing put into it."""
    return ".".join(part for part in name.split(".") if part not in INSIDE)


def is_counter(name: str) -> bool:
    """Whether a tensor of this name counts something and is part of no model."""
    return name.rpartition(".")[2] in COUNTERS


def before(name: str, wanted: str) -> str | None:
    """What stands before `wanted` at the end of a name, with its dot; None where the name ends otherwise."""
    if name == wanted:
        return ""
    return name.removesuffix(wanted) if name.endswith(f".{wanted}") else None


def common_prefix(names: Iterable[str], wanted: Iterable[str]) -> str:
    """What stands before most of the wanted names, '' in doubt."""
    names = list(names)
    found = Counter(prefix for end in wanted for name in names if (prefix := before(name, end)) is not None)
    return max(found, key=lambda prefix: (found[prefix], prefix == ""), default="")


def chosen_prefix(fitting: Iterable[str], same: Callable[[str, str], bool], where: str) -> str | None:
    """The prefix under which the model stands, of those under which a whole one does; None where there is none.

    Args:
        fitting: prefixes, each with its dot or ''.
        same: whether the models under two prefixes have the same weights.
        where: the file, for messages.

    Raises:
        CheckpointError: several, which differ, and no model without a prefix.
    """
    fitting = sorted(set(fitting), key=lambda prefix: (len(prefix), prefix))
    if not fitting:
        return None
    other = next((prefix for prefix in fitting[1:] if not same(fitting[0], prefix)), None)
    if other is None or fitting[0] == "":
        return fitting[0]
    shown = [plain(prefix, QUOTE) for prefix in (fitting[0], other)]
    raise CheckpointError(
        f"{where}: it holds several models of these names. Got different weights behind `{shown[0]}` and `{shown[1]}`, "
        f"expected one model. Save the one that you mean: state = {{k[{len(other)}:]: v for k, v in state.items() if "
        f"k.startswith({shown[1]!r})}}."
    )


def equal(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors are the same numbers; one memory needs no look at them."""
    if left.data_ptr() == right.data_ptr() and left.shape == right.shape and left.stride() == right.stride():
        return True
    return left.shape == right.shape and left.dtype == right.dtype and bool(torch.equal(left, right))


def adapter_names(names: Iterable[str]) -> list[str]:
    """Those of the names that an adapter (LoRA and its relatives, as peft writes them) put there."""
    return [name for name in names if any(p in ADAPTER_PARTS or p.startswith("lora_") for p in name.split("."))]


def refuse_adapter(names: Iterable[str], where: str) -> None:
    """Refuse a model whose weights stand in two parts, since the file lacks the scale that joins them.

    Raises:
        CheckpointError: some names are an adapter's.
    """
    names = list(names)
    found = adapter_names(names)
    if not found:
        return
    of_adapter = [name for name in names if any(part.startswith("lora_") for part in name.split("."))]
    whole = len(of_adapter) < len(names)
    made = "" if whole else "load it with `peft.PeftModel.from_pretrained(base_model, FOLDER)`, "
    raise CheckpointError(
        f"{where}: these are weights with a LoRA adapter beside them, not merged. Got {listed('such names', found, 2)}"
        f", expected plain ones. Where it was trained, {made}run `model = model.merge_and_unload()` (on the part that "
        "peft wrapped, where that is not the whole), save `model.state_dict()` with torch.save, and give that file."
    )


def warn_of_rest(names: Iterable[str], where: str) -> None:
    """Say which names of a file are no parameter of the model; counters are not worth a word."""
    rest = [name for name in names if not is_counter(name)]
    if rest:
        warnings.warn(
            f"{where}: {listed('name(s) are no parameter of the model', rest)}. They are left out. If the model reads "
            "them, its settings are not those that it was trained with.",
            RecTrakWarning,
            stacklevel=3,
        )


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """What stands behind a prefix, without it, in the same order."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
