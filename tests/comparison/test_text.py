"""A comparison in words: the rows that moved, and the null band."""

import pandas as pd
import pytest

from rec_trak.comparison.text import movers_text, null_lines


@pytest.fixture
def table() -> pd.DataFrame:
    """Two risers and a faller, as rank_shift.csv has them."""
    return pd.DataFrame({
        "shift": [49.5, 12.0, -99.0],
        "beyond_null": pd.array([pd.NA] * 3, dtype="boolean"),
        "other_candidates_differ": True,
        "label": ["fake", "real", "fake"],
        "user_id": ["u1", "u2", "u3"],
        "title": ["A riser", "bell \x07 \x1b[31m red \u202e", "A faller"],
    })  # fmt: skip


def test_movers_have_headlines(table):
    """Law: risers and fallers stand apart, each with shift, mark, candidates, class, user and headline."""
    up, down = movers_text(table).split("\n\n")
    assert up.startswith("The 2 rows that rose most")
    assert down.startswith("The row that fell most")
    assert up.splitlines()[2].split() == ["+49.5", "-", "other", "fake", "u1", "A", "riser"]
    assert down.splitlines()[2].split() == ["-99.0", "-", "other", "fake", "u3", "A", "faller"]
    assert "red" not in movers_text(table, count=1)


def test_headlines_cannot_steer_the_terminal(table):
    """Law: nothing in a headline is a command."""
    assert "red" in movers_text(table)
    assert not {"\x07", "\x1b", "\u202e"} & set(movers_text(table))


def test_marks(table):
    """Law: each row says whether it lies beyond the null band and whether its candidates are the same."""
    marked = table.assign(beyond_null=[True, False, True], other_candidates_differ=False)
    words = [line.split()[1:3] for line in movers_text(marked).splitlines() if line[:1] in ("+", "-")]
    assert words == [["yes", "same"], ["no", "same"], ["yes", "same"]]


def test_nobody_moved(table):
    """Law: an empty list is said to be one."""
    assert movers_text(table.head(2)).endswith("No row fell in the poisoned run.")
    assert movers_text(table.tail(1)).startswith("No row rose in the poisoned run.")


def test_the_null_band_in_words():
    """Law: no pair is spoken of that there is not, a band of one kind says so with the reason, classes have shares."""
    null = {
        "reason": None, "notes": ["p: no gradients there."], "level": 0.95, "band": 20.04, "rows_beyond": 30,
        "halves": {"clean": {}}, "member_shift": {"clean": 9.96, "poisoned": None, "across": None},
        "by_label": {"fake": {"n_rows": 40, "beyond": 20}, "real": {"n_rows": 60, "beyond": 10}},
    }  # fmt: skip
    assert null_lines(null, 100) == [
        "Between single checkpoints a rank changes on average: two clean ones 10.0 percentile points.",
        "30 of 100 rows, 30 %, moved by more than 20.0 points, the null band (fake 50 %, real 17 %); about 5 % would "
        "if the two differed by their seeds alone.",
        "The null band is from the clean checkpoints alone. p: no gradients there.",
    ]
    both = null | {"halves": {"clean": {}, "poisoned": {}}, "notes": [], "by_label": {"real": null["by_label"]["real"]}}
    assert null_lines(both, 100)[1:] == [
        "30 of 100 rows, 30 %, moved by more than 20.0 points, the null band; about 5 % would if the two differed by "
        "their seeds alone."
    ]
