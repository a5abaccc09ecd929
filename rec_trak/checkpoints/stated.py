"""The validation AUC that a checkpoint says it had: in its name, in the file, or in the record beside it.

Not here: the AUC of what was loaded, or what a code base means by the word.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rec_trak.checkpoints.rebuild import StoredTensor
from rec_trak.config.documents import DocumentError, read_json

NAMED = re.compile(r"(?<![a-z])auc[=_-]?([01]\.\d+|\.\d+)", re.IGNORECASE)
KEYS = ("best_val_auc", "val_auc", "best_auc", "auc")
DEEPEST = 3  # dictionaries in each other in which a framework's callbacks keep their scores
STOPPED = "early_stop_value"  # minus the AUC, in yusanshi's checkpoints


@dataclass(frozen=True)
class Stated:
    """An AUC as a checkpoint says it.

    Attributes:
        auc: in [0, 1].
        where: what says so, for people.
        drawn: whether it is of drawn candidates and not of impressions as shown.
    """

    auc: float
    where: str
    drawn: bool = False


def stated_auc(path: str | Path, extras: Mapping[str, Any], ours: bool = False) -> Stated | None:
    """What is said of the validation AUC; None where nothing is.

    Args:
        path: the checkpoint.
        extras: what stands in the file beside its tensors, see `files.CheckpointFile`.
        ours: whether scripts/train.py may have written it, with a record beside.
    """
    path = Path(path)
    found = (*(_record(path) if ours else ()), *_named(path), *_stopped(extras), *_monitored(path, extras))
    return next((stated for stated in found if 0 <= stated.auc <= 1), None)


def _record(path: Path) -> Iterator[Stated]:
    """The best epoch of the record that `train_members` writes; impressions whole where it counts them."""
    try:
        record = read_json(path.with_suffix(".json"))
    except (DocumentError, OSError):
        return
    epochs = record.get("epochs") if isinstance(record, dict) else None
    epochs = epochs if isinstance(epochs, list) else []
    aucs = [_number(epoch.get("auc")) for epoch in epochs if isinstance(epoch, dict)]
    aucs = [auc for auc in aucs if auc is not None]
    if aucs:
        yield Stated(max(aucs), path.with_suffix(".json").name, drawn="validation" not in record)


def _named(path: Path) -> Iterator[Stated]:
    """`clean-epoch=01-val_auc=0.7052.ckpt`; a metric called val/auc makes a folder of its first half."""
    found = NAMED.findall(path.name)
    if found:
        yield Stated(float(found[-1]), "its name")


def _stopped(extras: Mapping[str, Any]) -> Iterator[Stated]:
    value = _number(extras.get(STOPPED))
    if value is not None:
        yield Stated(-value, f"`{STOPPED}` in it")
    for key in KEYS:
        value = _number(extras.get(key))
        if value is not None:
            yield Stated(value, f"`{key}` in it")


def _monitored(path: Path, extras: Mapping[str, Any]) -> Iterator[Stated]:
    """What Lightning's ModelCheckpoint keeps: the score of each file that it wrote, by name, and of the latest."""
    callbacks = extras.get("callbacks")
    for state in callbacks.values() if isinstance(callbacks, dict) else ():
        monitor = state.get("monitor") if isinstance(state, dict) else None
        if not isinstance(monitor, str) or "auc" not in monitor.lower():
            continue
        kept = state.get("best_k_models")
        for name, score in kept.items() if isinstance(kept, dict) else ():
            if isinstance(name, str) and re.split(r"[\\/]", name)[-1] == path.name and _number(score) is not None:
                yield Stated(_number(score), "`best_k_models` in it")
        if path.name.startswith("last"):  # the latest model; the scores are of the latest good one
            continue
        for key in ("current_score", "best_model_score"):
            if _number(state.get(key)) is not None:
                yield Stated(_number(state[key]), f"`{key}` in it")


def with_scores(extras: dict[str, Any], tensor: Callable[[StoredTensor], Tensor] | None) -> dict[str, Any]:
    """`extras` with numbers for the tensors of one number that callbacks keep their scores in.

    Args:
        extras: what stands in a file beside its weights.
        tensor: gives a tensor on paper its bytes; None where there is none on paper.
    """
    callbacks = extras.get("callbacks")
    return extras | {"callbacks": _numbers(callbacks, tensor, DEEPEST)} if isinstance(callbacks, dict) else extras


def _numbers(value: Any, tensor: Callable[[StoredTensor], Tensor] | None, depth: int) -> Any:
    if isinstance(value, dict) and depth:
        return {key: _numbers(inner, tensor, depth - 1) for key, inner in value.items()}
    with contextlib.suppress(Exception):  # a score that cannot be read is none; the weights have their own checks
        if isinstance(value, StoredTensor) and math.prod(value.size) == 1:
            return tensor(value).item()
        if isinstance(value, Tensor) and value.numel() == 1:
            return value.item()
    return value


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
