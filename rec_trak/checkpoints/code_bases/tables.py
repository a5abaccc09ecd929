"""How a name map is written and applied: their parameters, one rule for each of ours. Not here: any code base's table.

Every code base is a module beside this one with the same four names: `NAME`, `recognise(names)`, `translate(...)` and
`describe(...)`; `__init__.py` says what they promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor

from rec_trak.errors import CheckpointError, listed


@dataclass(frozen=True)
class Rule:
    """Parameter `ours` is `turn` of their tensor `theirs`; several rules may read one tensor."""

    ours: str
    theirs: str
    turn: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Validation:
    """How a code base measures the validation AUC that it tells of its checkpoints.

    Attributes:
        pooled: '' for the mean over impressions of each one's AUC; one AUC over all candidates of all impressions, by
            their `scores` or by `softmax` of these within an impression.
        one_click: only the first clicked candidate of an impression counts as clicked; where none is, the second one.
        blank: an article of padding has a vector of zeros there, unlike in training.
        own_rows: where its validation set comes from, if not from a file that a data tree holds.
    """

    pooled: str = ""
    one_click: bool = False
    blank: bool = False
    own_rows: str = ""


@dataclass(frozen=True)
class Translated:
    """A checkpoint under our names.

    Attributes:
        state: our parameter name -> tensor.
        unreached: their names that no rule reads, because they never reach the scores.
    """

    state: dict[str, Tensor]
    unreached: tuple[str, ...]


def apply_rules(rules: Iterable[Rule], state: Mapping[str, Tensor], unreached: Iterable[str], where: str) -> Translated:
    """The checkpoint under our names.

    Args:
        rules: the table.
        state: their name -> tensor.
        unreached: shell patterns of their names that never reach the scores; they may be there or not.
        where: the file, for messages.

    Raises:
        CheckpointError: a tensor that a rule needs is missing, one is there that nothing reads, or one has a shape
            that cannot be turned; one message lists them.
    """
    rules, patterns = list(rules), list(unreached)
    needed = {rule.theirs for rule in rules}
    idle = tuple(n for n in state if n not in needed and any(fnmatchcase(n, pattern) for pattern in patterns))
    missing = sorted(needed - state.keys())
    unexpected = sorted(state.keys() - needed - set(idle))
    ours, misshaped = {}, []
    for rule in rules:
        if rule.theirs in state:
            tensor = state[rule.theirs]
            try:
                ours[rule.ours] = (rule.turn(tensor) if rule.turn else tensor).contiguous()
            except (RuntimeError, IndexError):
                misshaped.append(f"{rule.theirs} {tuple(tensor.shape)}")
    problems = [
        listed("missing", missing),
        listed("unexpected", unexpected),
        listed("of another shape", misshaped),
    ]
    if any(problems):
        raise CheckpointError(
            f"{where}: the checkpoint does not fit its code base's names: {'; '.join(filter(None, problems))}. "
            "Give the file as that code wrote it, or name another `code_base`."
        )
    return Translated(ours, idle)
