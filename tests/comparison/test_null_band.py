"""What seeds alone do to ranks: halves, their scale and the band, on planted members."""

from itertools import combinations

import numpy as np
import pytest

from rec_trak.comparison.null_band import Halves, band, lengthened, measured, split_halves
from rec_trak.results.ranking import percentiles
from rec_trak.runs.members import Members

N = 600
PLACES = {"clean": np.arange(N), "poisoned": np.arange(N)}


def plant(truth: np.ndarray, noise: float, count: int, seed: int) -> Members:
    """Members whose Q and leverage follow `truth` (n,), each with noise of its own."""
    rng = np.random.default_rng(seed)
    n = len(truth)
    leverage = np.exp(0.3 * truth + 0.3 * noise * rng.normal(size=(count, n)))
    q = 1 / (1 + np.exp(-truth - noise * rng.normal(size=(count, n))))
    return Members((leverage, q), np.arange(n), n)


def ensemble_shift(members: dict[str, Members]) -> np.ndarray:
    """(n,) shift between the two ensembles, all members of each."""
    before, after = (percentiles(one.scores(range(len(one)))[PLACES[side]]) for side, one in members.items())
    return before - after


def sizes(members: dict[str, Members]) -> dict[str, int]:
    return {side: len(one) for side, one in members.items()}


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("counts", [(2, 2), (3, 3), (5, 2), (8, 8), (4, 1)])
def test_seeds_alone_leave_the_nominal_share_beyond(noise, counts):
    """Law: of two kinds that differ by seeds alone, about 5 % of the rows lie beyond, however much members agree."""
    shares = []
    for draw in range(10):
        truth = np.random.default_rng(draw).normal(size=N)
        members = {
            side: plant(truth, noise, count, 1000 + 2 * draw + place)
            for place, (side, count) in enumerate(zip(PLACES, counts, strict=True))
        }
        found = measured(members, PLACES, sizes(members))
        shares.append((np.abs(ensemble_shift(members)) > found["band"]).mean())
    assert 0.035 < np.mean(shares) < 0.065


def test_a_planted_riser_lies_beyond():
    """Law: the lowest row of the clean kind, put among the highest of the poisoned kind, is more than seeds do."""
    truth = np.random.default_rng(0).normal(size=N)
    lowest = int(np.argmin(truth))
    members = {"clean": plant(truth, 0.5, 3, 1)}
    truth[lowest] = truth.max()
    members["poisoned"] = plant(truth, 0.5, 3, 2)
    found = measured(members, PLACES, sizes(members))
    shift = ensemble_shift(members)
    assert int(np.argmax(shift)) == lowest
    assert shift[lowest] > 1.5 * found["band"]
    assert (np.abs(np.delete(shift, lowest)) > found["band"]).mean() < 0.08


def test_pairs_of_members_are_compared_like_for_like():
    """Law: mean |shift| over all pairs of a kind and across; equal across where kinds are alike, more where not."""
    truth = np.random.default_rng(0).normal(size=N)
    clean, alike = plant(truth, 0.5, 3, 1), plant(truth, 0.5, 2, 2)
    ranks = [percentiles(clean.scores([i])) for i in range(3)]
    expected = np.mean([np.abs(a - b).mean() for a, b in combinations(ranks, 2)])
    found = measured({"clean": clean, "poisoned": alike}, PLACES, {"clean": 3, "poisoned": 2})["member_shift"]
    assert found["clean"] == pytest.approx(expected)
    assert found["across"] == pytest.approx(expected, rel=0.1)
    other = plant(truth + np.random.default_rng(9).normal(size=N), 0.5, 2, 2)
    assert (
        measured({"clean": clean, "poisoned": other}, PLACES, {"clean": 3, "poisoned": 2})["member_shift"]["across"]
        > 1.3 * found["across"]
    )


def test_one_kind_alone_gives_a_band():
    """Law: where the other kind's members are gone its halves are taken to be as reliable, and no pair is made up."""
    members = {"clean": plant(np.random.default_rng(0).normal(size=N), 0.5, 4, 1)}
    alone = measured(members, PLACES, {"clean": 4, "poisoned": 4})
    both = measured(members | {"poisoned": members["clean"]}, PLACES, {"clean": 4, "poisoned": 4})
    assert alone["band"] == pytest.approx(both["band"])
    assert alone["member_shift"]["across"] is alone["member_shift"]["poisoned"] is None
    assert alone["halves"] == {"clean": both["halves"]["clean"]}


@pytest.mark.parametrize(("count", "size", "splits"), [(2, 1, 1), (3, 1, 3), (4, 2, 3), (5, 2, 15), (9, 4, 50)])
def test_halves_are_disjoint_and_equal(count, size, splits):
    """Law: every way to take two disjoint halves of equal size, or fifty of them, the same every time."""
    members = plant(np.random.default_rng(0).normal(size=30), 0.5, count, 1)
    first, again = (split_halves(members, np.arange(30)) for _ in range(2))
    assert (first.size, first.splits) == (size, splits)
    assert first.shifts.shape == (splits * 30,)
    assert np.array_equal(first.shifts, again.shifts)


def test_ensembles_move_less_than_halves():
    """Law: the scale is 1 for ensembles as large as halves and for pure noise, 1 / sqrt(m) where members agree."""
    shifts = np.linspace(0, 10, 101)
    for reliability, size, expected in ((0.5, 2, 1.0), (1 - 1e-9, 8, 0.5), (0.0, 8, 1.0)):
        halves = {"clean": Halves(2, 1, reliability, shifts)}
        found = band(halves, {"clean": size, "poisoned": size})
        assert found == pytest.approx(expected * 9.5, rel=1e-6)
    halves = {"clean": Halves(1, 1, 0.5, shifts)}
    assert band(halves, {"clean": 2, "poisoned": 0}) == band(halves, {"clean": 2, "poisoned": 1})


def test_reliability_of_a_longer_mean():
    """Law: Spearman and Brown: twice as many members of reliability r have 2 r / (1 + r)."""
    assert lengthened(0.5, 2) == pytest.approx(2 / 3)
    assert lengthened(0.0, 5) == 0
    assert lengthened(1.0, 5) == 1


def test_members_that_are_all_alike_have_a_band_of_nothing():
    """Law: copies of one member leave no room for chance, and scores that do not vary have no ranks to agree."""
    one = plant(np.random.default_rng(0).normal(size=N), 0.5, 1, 1)
    copies = Members(tuple(np.repeat(part, 3, axis=0) for part in one.parts), one.owner, N)
    assert measured({"clean": copies}, PLACES, {"clean": 3, "poisoned": 3})["band"] == 0
    flat = Members((np.ones((3, N)),), np.arange(N), N)
    halves = split_halves(flat, PLACES["clean"])
    assert (halves.reliability, halves.shifts.max()) == (0, 0)


def test_rows_of_an_impression_are_added_up():
    """Law: an ensemble is mean leverage times mean Q of each stored row, summed over the rows of an impression."""
    h, q = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]), np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    members = Members((h, q), np.array([0, 0, 2]), 3)
    assert members.scores([0]) == pytest.approx([0.1 + 0.4, 0, 0.9])
    assert members.scores([0, 1]) == pytest.approx([0.4 + 0.4, 0, 0.4])
