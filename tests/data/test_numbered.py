"""Laws of names with numbers: read as they are, nothing in the file run, rows named only by what has a number."""

import json
import os
import pickle
import tracemalloc

import pytest
from support import strange

from rec_trak.data.numbered import named_rows, read_dictionary, read_numbers
from rec_trak.errors import ConfigError, DataError


class Calls:
    """Unpickling it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_table_is_read_with_its_quotes(tmp_path):
    """Law: a quote that pandas doubled is one again; a blank is a name; other columns are left unread."""
    (tmp_path / "a.tsv").write_text('word\tint\tmore\nstorm\t1\tx\n""""\t2\tx\n \t3\tx\n', encoding="utf-8")
    assert read_numbers(tmp_path / "a.tsv", "word", "int") == {"storm": 1, '"': 2, " ": 3}


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("word\tint\na\t1\na\t2\n", "a name in `word` stands twice. Got 2 lines"),
        ("word\tint\na\t-1\n", "line 2: `int` is no number. Got '-1'"),
        (f"word\tint\na\t{'9' * 5000}\n", r"line 2: `int` is no number. Got '9+…9+', expected a whole one"),
        ("word\tindex\na\t1\n", r"missing column\(s\) `int`"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path, content, match):
    """Law: a name has one number, and it is a whole one."""
    (tmp_path / "a.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=match):
        read_numbers(tmp_path / "a.tsv", "word", "int")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_dictionary_is_its_json(tmp_path, protocol):
    """Law: either form gives the same names and numbers, whatever the pickle's protocol."""
    numbers = {"storm": 1, "vote": 2, "ö": 300}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(numbers, protocol))
    (tmp_path / "a.json").write_text(json.dumps(numbers), encoding="utf-8")
    assert read_dictionary(tmp_path / "a.pkl") == read_dictionary(tmp_path / "a.json") == numbers


def test_a_pickle_never_runs(tmp_path):
    """Law: a file that names anything at all is refused before it is called."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"storm": Calls(tmp_path / "made")}))
    with pytest.raises(DataError, match=r"cannot be read as a dictionary .*it names posix.mkdir"):
        read_dictionary(tmp_path / "a.pkl")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [["a"], {"a": "1"}, {1: 1}, {"a": -1}, {"a": True}, {"a": 1.0}])
def test_other_content_is_refused(tmp_path, content):
    """Law: names are text and numbers whole, from 0."""
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match="not a dictionary of names and numbers. Got (list|dict)"):
        read_dictionary(tmp_path / "a.pkl")


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"hello", *strange.JSON.values()])
def test_damaged_files_are_refused(tmp_path, content):
    """Law: a file that is cut short or of another kind is one clear line; so is one that is not there."""
    for name in ("a.pkl", "a.json"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: cannot be read as a dictionary"):
            read_dictionary(tmp_path / name)
    with pytest.raises(DataError, match="none.pkl: no such file"):
        read_dictionary(tmp_path / "none.pkl")


def test_no_more_memory_than_the_file_needs(tmp_path):
    """Law: a damaged pickle that asks for a place beyond its end, or for more bytes than it has, gets none of it."""
    for asked in (b"\x8e" + (2**27).to_bytes(8, "little"), b"Nr" + (2**24).to_bytes(4, "little") + b"a"):
        (tmp_path / "a.pkl").write_bytes(b"\x80\x04" + asked)
        tracemalloc.start()
        with pytest.raises(DataError, match="cannot be read as a dictionary"):
            read_dictionary(tmp_path / "a.pkl")
        assert tracemalloc.get_traced_memory()[1] < 2**22
        tracemalloc.stop()


def test_rows_have_the_names_of_their_numbers():
    """Law: in order of the numbers; 0 is nobody's, and a row without a name gets one that no data have."""
    assert named_rows({"b": 3, "a": 1, "zero": 0}, 5, "file") == ("a", "(row 2)", "b", "(row 4)")


@pytest.mark.parametrize(
    ("numbers", "match"),
    [
        ({"a": 1, "b": 3, "c": 4}, r"file: more names than the checkpoint has rows. Got 2 beyond \(b, c\), .* below 3"),
        ({"a": 1, "b": 1}, "file: two names have one number. Got 1 numbers of 2 names"),
    ],
)
def test_numbers_that_are_not_the_rows(numbers, match):
    """Law: every name has a row of its own."""
    with pytest.raises(ConfigError, match=match):
        named_rows(numbers, 3, "file")
