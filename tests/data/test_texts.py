"""Strings in one buffer are what a tuple of them is."""

import numpy as np
import pytest

from rec_trak.data import texts
from rec_trak.data.texts import GrowingTexts, Texts, taken

STRINGS = ("a", "", "straße", "日本", "\ud800", "b" * 40, "a")


@pytest.mark.parametrize("strings", [STRINGS, ("x", "yy", ""), ()])
def test_they_are_the_strings(strings, monkeypatch):
    """Gone through, one by one, from the end, in slices, counted and compared."""
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    found = Texts.of(strings)
    assert tuple(found) == strings
    assert found == strings
    assert found == Texts.of(strings)
    assert len(found) == len(strings)
    assert [found[i] for i in range(-len(strings), len(strings))] == [*strings, *strings]
    assert found[1:4] == strings[1:4]
    assert found.count("a") == strings.count("a")
    assert found != (*strings, "more")
    assert hash(found) == hash(strings)


def test_beyond_the_end_is_nothing():
    """As of a tuple."""
    for i in (7, -8):
        with pytest.raises(IndexError, match=f"string {i} of 7"):
            Texts.of(STRINGS)[i]


def test_a_subset_is_that_of_the_tuple():
    """In the order asked for, strings repeated, by a mask too; a tuple gives a tuple."""
    for rows in ([4, 0, 0, 6], [], [-1, 2]):
        expected = tuple(STRINGS[i] for i in rows)
        places = np.array(rows, dtype=np.int64)
        assert Texts.of(STRINGS).subset(places) == expected
        assert taken(Texts.of(STRINGS), places) == taken(STRINGS, places) == expected
    assert Texts.of(STRINGS).subset(np.arange(7) > 4) == STRINGS[5:]


@pytest.mark.parametrize("strings", [STRINGS, ()])
def test_one_by_one_is_all_at_once(strings):
    """Strings that come one by one make the table of all of them, which made again is itself."""
    growing = GrowingTexts()
    for string in strings:
        growing.add(string)
    table = growing.table()
    assert table == strings
    assert Texts.of(table) is table
