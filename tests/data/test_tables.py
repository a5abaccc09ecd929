"""Laws of strict text reading: nothing is guessed, and line numbers are those an editor shows."""

import pytest

from rec_trak.data.tables import read_csv, read_lines
from rec_trak.errors import DataError


def write(tmp_path, content: bytes | str):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_line_numbers_survive_newlines_in_quotes_and_blank_lines(tmp_path):
    """A record's first and last line are those of the file, whatever newlines its fields hold; blank lines count."""
    path = write(tmp_path, 'a,b\n1,"x\ny\nz"\n\n2,y\n3,"p\n\nq"\n4,y\n')
    table = read_csv(path, ("a", "b"))
    assert list(zip(table.first.tolist(), table.last.tolist(), strict=True)) == [(2, 4), (6, 6), (7, 9), (10, 10)]
    assert table.column("b") == ("x\ny\nz", "y", "p\n\nq", "y")
    assert table.values["b"] == ["x\ny\nz", "y", "p\n\nq"]


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa,b\n1,2\n", b"a,b\r\n1,2\r\n", b"a,b\n1,2"])
def test_the_same_table_from_any_editor(tmp_path, content):
    """A byte order mark, Windows line ends and a missing last newline change nothing."""
    table = read_csv(write(tmp_path, content), ("a", "b"))
    assert (table.column("a"), table.column("b")) == (("1",), ("2",))


def test_nameless_columns_are_left_out_and_absent_ones_are_empty(tmp_path):
    """pandas' unnamed index column is ignored; a column the file lacks reads as ''."""
    table = read_csv(write(tmp_path, ",a\n0,x\n1,y\n"), ("a",))
    assert list(table.values) == ["a"]
    assert table.column("nowhere") == ("", "")


def test_a_field_may_be_longer_than_the_csv_module_allows_by_default(tmp_path):
    """A history of 300 kB is data, not an error."""
    table = read_csv(write(tmp_path, f"a\n{'x' * 300_000}\n"), ("a",))
    assert len(table.column("a")[0]) == 300_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"table\.csv: the file is empty\. Give a file with a, b"),
        ("\n\n", "the file is empty"),
        ("a,b\n", "only a header, no rows"),
        ("x,y\n1,2\n", r"missing column\(s\) `a`, `b`\. Got `x`, `y`"),
        ("a,b,c,c\n1,2,3,4\n", r"column\(s\) `c` stand twice"),
        ('a,b\n"1\n",2\n3\n', r"line 4: Got 1 fields, expected 2"),
        ("a,b\n1,2,3\n", "line 2: Got 3 fields, expected 2"),
        ('a,b\n1,2\n3,"open\n4,5\n', r"line 3: not valid CSV \(unexpected end of data\)"),
        ('a,b\n1,"x"y\n', "line 2: not valid CSV"),
        (b"a,b\n1,2\n3,\x00\n", "line 3: holds a NUL byte"),
        (b"a,b\n" + b"1,2\n" * 5000 + b"3,\xff\n", "line 5002: not UTF-8"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    """Every way in which a file is no table ends in one line that says where and what."""
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path, content), ("a", "b"))


def test_files_that_cannot_be_opened(tmp_path):
    """A missing file and a folder are named as such."""
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        list(read_lines(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_lines(tmp_path))
