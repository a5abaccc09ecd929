"""Seeds and rows of a validation's retrainings, apart from those of the members. Not here: training.

A model that attribution was made from must never be one that it is judged by. Members have the seeds that their
training was given, small numbers as a rule; every seed here is above OFFSET, each purpose has a range of its own, and a
member whose recorded seed lies in one of them is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rec_trak.checkpoints.records import read_record
from rec_trak.errors import ConfigError
from rec_trak.training.trainer import half

OFFSET = 1_000_000_000
SPAN = 1_000_000  # seeds of one purpose
PURPOSES = ("lds", "removal", "ridge")
TRAININGS = 100  # of one subset, at most
LEAST = 10  # subsets that a rank correlation over them needs to say anything


def first_seed(purpose: str, seed: int) -> int:
    """The first seed of a purpose in a validation with `--seed`; the next SPAN belong to it too."""
    return OFFSET + SPAN * (len(PURPOSES) * seed + PURPOSES.index(purpose))


def half_sets(purpose: str, seed: int, n: int, subsets: int, trainings: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Random halves of n rows, and a seed of its own for each training on each of them.

    Args:
        purpose: one of PURPOSES.
        seed: of the validation.
        n: rows.
        subsets: S, at least LEAST.
        trainings: T of each, 1 to TRAININGS.

    Returns:
        S arrays (n // 2,) of positions; (S, T) int64 seeds.

    Raises:
        ConfigError: too few subsets for a rank correlation, or too few or too many trainings.
    """
    check_subsets(subsets)
    if not 1 <= trainings <= TRAININGS:
        raise ConfigError(f"--trainings: out of range. Got {trainings}, expected 1 to {TRAININGS}. Change it.")
    first = first_seed(purpose, seed)
    seeds = first + TRAININGS * np.arange(subsets)[:, None] + np.arange(trainings)
    return [half(n, first + j) for j in range(subsets)], seeds.astype(np.int64)


def check_subsets(subsets: int) -> None:
    """Refuse fewer subsets than a rank correlation needs.

    Raises:
        ConfigError: fewer than LEAST, or more than there are seeds for.
    """
    if not LEAST <= subsets <= SPAN // TRAININGS:
        raise ConfigError(
            f"--subsets: a rank correlation over them would say nothing. Got {subsets}, expected at least {LEAST} "
            f"(below 3 it is not even defined) and at most {SPAN // TRAININGS}. 60 is a good number."
        )


def check_members_apart(checkpoints: Sequence[str], seed: int) -> int:
    """How many members record their seed (a .json beside the checkpoint); none of them may be a seed of this module.

    Args:
        checkpoints: files of the members; those of other code bases record none.
        seed: of the validation.

    Raises:
        ConfigError: a member's seed could be one of the validation's.
        CheckpointError: a record is that of another checkpoint than the one beside it.
    """
    ranges = [(first_seed(purpose, seed), first_seed(purpose, seed) + SPAN) for purpose in PURPOSES]
    known = 0
    for checkpoint in checkpoints:
        made = read_record(checkpoint).get("seed")
        if not isinstance(made, int):
            continue
        known += 1
        if any(low <= made < high for low, high in ranges):
            raise ConfigError(
                f"{checkpoint}: a member was trained with a seed of the validation. Got {made}, expected none from "
                f"{ranges[0][0]} to {ranges[-1][1] - 1}. Give another --seed."
            )
    return known
