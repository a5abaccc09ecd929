"""Rows and seeds of retrainings: halves, all different, never a member's; refusals."""

import json

import numpy as np
import pytest

from rec_trak.errors import ConfigError
from rec_trak.training.trainer import half
from rec_trak.validation.subsets import PURPOSES, check_members_apart, first_seed, half_sets


def test_halves_and_seeds_of_all_purposes_are_different():
    """Law: each subset is half of the rows, no two retrainings share a seed, whatever they are for and whatever
    `--seed`, and none is a seed or a half set of a member with a small seed."""
    seeds = []
    for purpose in PURPOSES:
        for seed in (0, 1):
            subsets, own = half_sets(purpose, seed, 31, 12, 3)
            assert [len(rows) for rows in subsets] == [15] * 12
            assert len({tuple(rows) for rows in subsets}) == 12
            assert own.min() >= first_seed(purpose, seed)
            seeds += own.ravel().tolist()
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1_000_000_000
    members = {tuple(half(31, m)) for m in range(50)}
    assert not members & {tuple(rows) for rows in half_sets("lds", 0, 31, 12, 1)[0]}


def test_more_subsets_leave_the_first_ones_as_they_are():
    """Law: asking for more, or for another training of each, trains nothing anew."""
    few, many = half_sets("lds", 0, 20, 10, 1), half_sets("lds", 0, 20, 15, 2)
    for a, b in zip(few[0], many[0], strict=False):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(few[1][:, 0], many[1][:10, 0])


def test_members_with_a_seed_of_the_validation_are_refused(tmp_path):
    """Law: a member's recorded seed decides; files of other code bases record none."""
    for name, record in (("a", {"seed": 3}), ("b", {}), ("c", {"seed": first_seed("removal", 2) + 7})):
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    members = [str(tmp_path / f"{name}.pt") for name in "abcd"]
    assert check_members_apart(members, seed=0) == 2
    with pytest.raises(
        ConfigError, match=r"c\.pt: a member was trained with a seed of the validation\. Got 1007000007"
    ):
        check_members_apart(members, seed=2)


@pytest.mark.parametrize(
    ("subsets", "trainings", "words"),
    [(9, 1, r"--subsets: .* Got 9, expected at least 10"), (10**6, 1, r"at most 10000"),
     (10, 0, r"--trainings: out of range\. Got 0"), (10, 101, r"--trainings: out of range\. Got 101")],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(subsets, trainings, words):
    """Law: fewer subsets than a rank correlation needs, and trainings without a seed of their own."""
    with pytest.raises(ConfigError, match=words):
        half_sets("lds", 0, 20, subsets, trainings)
