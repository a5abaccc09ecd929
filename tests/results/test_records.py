"""A CSV read in parts where it lies says what pandas reads of the whole file, wherever its records begin."""

import numpy as np
import pandas as pd
import pytest

from rec_trak.results import records
from rec_trak.results.records import AS_TEXT, open_lines

PLAIN = "a,b\n1,x\n2,y\n3,z\n"
FILES = {
    "plain": PLAIN,
    "no break at the end": PLAIN.rstrip("\n"),
    "breaks within quotes": 'a,b\n1,"x\ny"\n2,"say ""so""\n\n"\n3,z\n',
    "empty lines": "a,b\n\n1,x\n\n\n2,y\n\n",
    "the breaks of others": PLAIN.replace("\n", "\r\n"),
    "the breaks of former machines": PLAIN.replace("\n", "\r"),
    "a mark before it": f"\ufeff{PLAIN}",
    "beyond ASCII": "a,b\n日本,x\nstraße,y\n",
    "a heading alone": "a,b\n",
}


def lines_of(path, check=lambda first, part: None):
    return open_lines(path, lambda part: part, check)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("bytes_at_once", [3, 2**24])
def test_lines_are_those_of_the_whole(tmp_path, monkeypatch, name, bytes_at_once):
    """Law: all lines, one line, and lines out of order are what pandas reads, whatever is looked at together."""
    monkeypatch.setattr(records, "BYTES", bytes_at_once)
    path = tmp_path / "x.csv"
    path.write_bytes(FILES[name].encode())
    expected, found = pd.read_csv(path, **AS_TEXT), lines_of(path)
    assert len(found) == len(expected)
    pd.testing.assert_frame_equal(found.whole().astype(object), expected.astype(object))
    for places in (np.arange(len(expected))[::-1], np.zeros(min(len(expected), 1), dtype=int)):
        wanted = expected.iloc[places][["b"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(found.take(places, ["b"]).astype(object), wanted.astype(object))


def test_each_part_is_looked_at_once(tmp_path, monkeypatch):
    """Law: `check` sees all lines in order, and where each part begins."""
    monkeypatch.setattr(records, "AT_ONCE", 2)
    path, seen = tmp_path / "x.csv", []
    path.write_text(PLAIN)
    lines_of(path, lambda first, part: seen.append((first, part["a"].tolist())))
    assert seen == [(0, ["1", "2"]), (2, ["3"])]


def test_another_file_in_its_place_does_no_harm(tmp_path):
    """Law: lines are those of the file that was opened."""
    path, other = tmp_path / "x.csv", tmp_path / "y.csv"
    path.write_text(PLAIN)
    other.write_text("a,b\n9,other\n8,other\n7,other\n")
    found = lines_of(path)
    other.replace(path)
    assert found["b"].tolist() == ["x", "y", "z"]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n1,2,3,4\n", b'a,b\n"1,2\n', b"a,b\n\xff\xfe,1\n"])
def test_what_is_no_table_is_refused(tmp_path, content):
    """Law: as pandas refuses the whole file."""
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    try:
        expected = pd.read_csv(path, **AS_TEXT)
    except ValueError:
        with pytest.raises(ValueError, match="."):
            lines_of(path)
    else:
        pd.testing.assert_frame_equal(lines_of(path).whole().astype(object), expected.astype(object))


def test_a_file_that_was_cut_meanwhile_is_an_error(tmp_path):
    """Law: never half a line."""
    path = tmp_path / "x.csv"
    path.write_text(PLAIN)
    found = lines_of(path)
    path.write_text("a,b\n1")
    with pytest.raises(OSError, match="shorter than it was"):
        found.whole()
