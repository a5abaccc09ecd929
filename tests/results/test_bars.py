"""How rows are named beside bars: each headline in its own direction. What is drawn: test_plots.py."""

from rec_trak.results.bars import row_name


def test_a_headline_that_runs_leftwards_ends_at_the_left():
    """Law: the ellipsis of a cut headline stays inside the headline's own direction, the row's number outside."""
    told = row_name(0, ["כותרת ארוכה בעברית על בחירות שמגיעות בשבוע הבא"], 1)
    assert told.startswith("\u2068")
    assert told.endswith("…\u2069  row 0")
    assert row_name(0, ["plain"], 1) == "plain  row 0"
