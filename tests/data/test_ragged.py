"""Laws of the ragged table: it is a list of lists in two arrays."""

import numpy as np
import pytest

from rec_trak.data import ragged
from rec_trak.data.ragged import Growing, Ragged, counted, distinct, each_once, gathered, holding, same

SEQUENCES = [[3, 1], [], [7], [], [2, 2, 9]]


def test_holds_what_it_was_made_of():
    """Sequence i comes back as it went in, empty ones too; a negative place counts from the end, as in a list."""
    table = Ragged.of(SEQUENCES)
    assert [list(table[i]) for i in range(len(table))] == SEQUENCES
    assert list(table[-1]) == SEQUENCES[-1]
    assert table.values.dtype == np.int32
    assert table.offsets.dtype == np.int64
    assert list(table.lengths) == [2, 0, 1, 0, 3]


def test_subset_is_the_list_of_the_chosen():
    """`subset` gives the sequences asked for, in that order and as often as asked."""
    subset = Ragged.of(SEQUENCES).subset(np.array([4, 0, 1, 4]))
    assert [list(s) for s in (subset[0], subset[1], subset[2], subset[3])] == [[2, 2, 9], [3, 1], [], [2, 2, 9]]


@pytest.mark.parametrize("sequences", [[], [[]], [[], []]])
def test_nothing_at_all_is_a_table(sequences):
    """A table without sequences, or of empty ones, has the right length and no values."""
    table = Ragged.of(sequences)
    assert len(table) == len(sequences)
    assert table.values.size == 0
    assert list(table.lengths) == [0] * len(sequences)


@pytest.mark.parametrize("place", [5, -6])
def test_no_such_sequence(place):
    """A place outside the table is an IndexError, not another row's values; iteration therefore ends."""
    table = Ragged.of(SEQUENCES)
    with pytest.raises(IndexError, match="of 5"):
        table[place]
    assert len(list(table)) == 5


@pytest.fixture(params=[1, 2, 100])
def at_once(request, monkeypatch):
    """So many sequences together."""
    monkeypatch.setattr(ragged, "AT_ONCE", request.param)


def test_one_by_one_is_all_at_once():
    """Law: sequences that come one by one make the table of all of them."""
    growing = Growing()
    for sequence in SEQUENCES:
        growing.add(sequence)
    table, expected = growing.table(), Ragged.of(SEQUENCES)
    for part in ("values", "offsets"):
        assert np.array_equal(getattr(table, part), getattr(expected, part))
        assert getattr(table, part).dtype == getattr(expected, part).dtype


def test_stretches_stand_one_behind_the_other(at_once):
    """Law: slices of the array, joined."""
    values, starts, lengths = np.arange(10.0), np.array([7, 0, 3, 3]), np.array([3, 0, 1, 4])
    found, offsets = gathered(values, starts, lengths)
    assert found.tolist() == [7, 8, 9, 3, 3, 4, 5, 6]
    assert offsets.tolist() == [0, 3, 3, 4, 8]


def test_equal_sequences_have_equal_numbers(at_once):
    """Law: two sequences have one number if and only if they are the same entries in the same order."""
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 3, rng.integers(0, 4)).tolist() for _ in range(200)] + [[0], [0, 0], [1, 2], [2, 1]]
    found = same(Ragged.of(sequences))
    for i, one in enumerate(sequences):
        assert [found[i] == other for other in found] == [one == other for other in sequences]


def test_sums_that_are_one_by_chance_are_seen(monkeypatch):
    """Law: hashes that tell nothing apart cost time alone."""
    monkeypatch.setattr(ragged, "_mixed", lambda numbers: np.zeros_like(numbers))
    assert same(Ragged.of([[1], [2], [1], [], [2]])).tolist() == [0, 1, 0, 2, 1]


def test_entries_once_each(at_once):
    """Law: of each sequence what `np.unique` gives."""
    assert [part.tolist() for part in each_once(Ragged.of([[3, 1, 3], [], [2, 2]]))] == [[1, 3], [], [2]]
    assert len(each_once(Ragged.of([]))) == 0


def test_numbers_are_counted_some_at_a_time(monkeypatch):
    """As all together."""
    values = np.random.default_rng(0).integers(0, 9, 100).astype(np.int32)
    for most in (ragged.COUNTED, 7):
        monkeypatch.setattr(ragged, "COUNTED", most)
        assert counted(values, 11).tolist() == np.bincount(values, minlength=11).tolist()
    assert counted(values[:0], 3).tolist() == [0, 0, 0]


def test_who_holds_an_entry():
    """Law: a sequence is told if one of the entries stands in it, empty ones beside it never."""
    assert holding(Ragged.of([[], [3, 1], [], [2], [], [1]]), [1, 9]).tolist() == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert holding(Ragged.of([[1], []]), []).tolist() == [False, False]


def test_distinct_integers():
    """Law: what np.unique gives, of none and of one too."""
    for values in ([], [4], [3, -1, 3, 0, 0, 7], np.arange(9)[::-1]):
        given = np.array(values, dtype=np.int32)
        assert np.array_equal(distinct(given), np.unique(given))
        assert distinct(given).dtype == np.int32
