"""A table in a terminal: aligned, honest about gaps, never too wide."""

import numpy as np
import pandas as pd

from rec_trak.results.text_table import format_table


def test_formatted_table_is_aligned_and_says_what_it_cannot():
    """Words stand left, numbers right, three decimals, `-` where a metric is missing."""
    table = pd.DataFrame({"ranking": ["noise", "k"], "found": [3, 12], "auroc": [0.51249, np.nan]})
    assert format_table(table).splitlines() == [
        "ranking  found  auroc",
        "noise        3  0.512",
        "k           12      -",
    ]


def test_a_wide_table_gets_stacked_headings_before_anything_is_cut():
    """Headings give way first: word over word, the last one next to the numbers."""
    table = pd.DataFrame({"ranking": ["noise"], "average_precision": [0.5], "top_k": [7]})
    expected = ["           average  top", "ranking  precision    k", "noise        0.500    7"]
    assert format_table(table, width=25).splitlines() == expected
    assert len(format_table(table, width=40).splitlines()) == 2


def test_formatted_table_fits_the_terminal():
    """No line is wider than 100, however long the names: words are cut first, then lines."""
    table = pd.DataFrame({"ranking": ["a very long name " * 10, "short"], "found": [1, 2], "auroc": [0.5, np.nan]})
    lines = format_table(table).splitlines()
    assert [len(line) for line in lines] == [100, 100, 100]
    assert "..." in "\n".join(lines)
    wide = pd.DataFrame({f"column number {i}": [i] for i in range(20)})
    assert [len(line) for line in format_table(wide).splitlines()] == [100, 100]


def test_small_numbers_are_no_zeros():
    """Law: a number that three digits would make a zero is written by its power of ten; a zero has no sign."""
    table = pd.DataFrame({"score": [0.25, -0.00012, -0.0, 1e-9]})
    assert [line.strip() for line in format_table(table).splitlines()[1:]] == [
        "0.250",
        "-1.20e-04",
        "0.000",
        "1.00e-09",
    ]


def test_what_a_headline_holds_stays_text():
    """Escape sequences, line breaks and marks that turn the direction of a line become blanks."""
    table = pd.DataFrame({"title": ["\x1b[31mred\n\u202eback\x07", "plain 日本 é"]})
    assert format_table(table).splitlines() == ["title", " [31mred  back", "plain 日本 é"]
