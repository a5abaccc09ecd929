"""Laws of the ragged table: it is a list of lists in two arrays."""

import numpy as np
import pytest

from rec_trak.data.ragged import Ragged

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
