"""Laws of tables that are made some lines at a time: nobody sees where one part ends and the next begins."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from support import finished, tiny

from rec_trak.results import lines as lines_module
from rec_trak.results.cells import set_spreadsheet_safe
from rec_trak.results.files import as_csv
from rec_trak.results.lines import Lines, Made, cells

TABLE = pd.DataFrame({
    "id": [f"u{i % 3}" for i in range(7)],
    "text": ["plain", 'quo"ted', "two\nlines", "a,b", "", "=1+1", "日本"],
    "number": np.array([1, 0.1, 1e-12, -3, 2**0.5, 7, 1e20]),
    "small": np.arange(7, dtype=np.float32) / 3,
})  # fmt: skip


@pytest.fixture(params=[1, 2, 3, 7, 100])
def at_once(request, monkeypatch):
    """So many lines together."""
    monkeypatch.setattr(lines_module, "AT_ONCE", request.param)


def test_a_part_is_a_part_of_the_whole(at_once):
    """Law: lines at any places, in any order and as often as asked, are those of the frame; so are all of them."""
    table = Lines.of(TABLE)
    pd.testing.assert_frame_equal(table.whole(), TABLE)
    pd.testing.assert_frame_equal(
        table.take([6, 0, 0], ["text", "id"]), TABLE.iloc[[6, 0, 0]][["text", "id"]].reset_index(drop=True)
    )
    pd.testing.assert_frame_equal(table.at(np.array([5, 1])).take([1]), TABLE.iloc[[1]].reset_index(drop=True))
    assert table["id"].tolist() == TABLE["id"].tolist()
    assert (len(table), "id" in table, "none" in table) == (7, True, False)
    assert Lines.of(table) is table


@pytest.mark.parametrize("safe", [False, True])
def test_bytes_are_those_of_one_go(at_once, safe):
    """Law: a CSV written in parts is, byte for byte, what pandas writes of the whole table."""
    set_spreadsheet_safe(safe)
    try:
        written = io.BytesIO()
        as_csv(Lines.of(TABLE))(written)
    finally:
        set_spreadsheet_safe(False)
    expected = TABLE.assign(text=["'=1+1" if text == "=1+1" and safe else text for text in TABLE["text"]])
    assert written.getvalue() == expected.to_csv(index=False).encode()


def test_a_table_without_lines_has_its_heading():
    """Law: as pandas writes it."""
    written = io.BytesIO()
    as_csv(TABLE.head(0))(written)
    assert written.getvalue() == b"id,text,number,small\n"


def test_whole_columns_as_numbers_and_codes(at_once):
    """Law: codes name values in order of appearance; a cell that is no number is NaN."""
    codes, values = Lines.of(TABLE).codes("id")
    assert [values[code] for code in codes] == TABLE["id"].tolist()
    assert values == ["u0", "u1", "u2"]
    assert Lines.of(TABLE).numbers("number").tolist() == TABLE["number"].tolist()
    assert np.isnan(Lines.of(TABLE).numbers("text")).all()


def test_cells_of_any_column():
    """Law: an array, a list and a column that is made give the same cells."""
    places = np.array([2, 0])
    made = Made(3, lambda asked: [f"c{i}" for i in asked])
    assert list(cells(np.array(["c0", "c1", "c2"]), places)) == cells(["c0", "c1", "c2"], places) == cells(made, places)
    assert len(made) == 3


def test_a_run_is_the_same_whatever_is_made_together(tmp_path, monkeypatch):
    """Law: every CSV of a scored run has the same bytes, made two lines at a time or all at once."""
    found = []
    for count in (2, 10_000):
        monkeypatch.setattr(lines_module, "AT_ONCE", count)
        tiny.write_tree(tmp_path / f"{count}" / "data")
        tiny.write_models(tmp_path / f"{count}" / "runs", tmp_path / f"{count}" / "data")
        folder = finished.score(tmp_path / f"{count}")
        found.append({path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))})
    assert found[0] == found[1]
    assert {"rows.csv", "ranking_full.csv", "ranking_results.csv"} <= found[0].keys()


GROWTH = """
import resource, sys
import numpy as np
import pandas as pd
from rec_trak.results.files import as_csv
from rec_trak.results.lines import Lines
count = int(sys.argv[1])
def make(places, names):
    return pd.DataFrame({"id": [f"row {i}" for i in places], "text": ["x" * 400 + str(i) for i in places]})
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open("/dev/null", "wb") as file:
    as_csv(Lines(("id", "text"), 20_000, make))(file)
    before = peak()
    as_csv(Lines(("id", "text"), count, make))(file)
print(peak() - before)
"""


@pytest.mark.long
def test_memory_of_writing_does_not_grow_with_the_lines():
    """Law: a table of 300,000 lines of 400 characters (120 MB as text) takes hardly more room than one of 20,000."""
    told = subprocess.run([sys.executable, "-c", GROWTH, "300000"], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 40_000  # kB
