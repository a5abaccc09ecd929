"""Letters that matplotlib's own font lacks: another installed font draws them, or the figure says that none does."""

import warnings

import pytest
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from rec_trak.results import fonts
from rec_trak.results.panels import drawable
from rec_trak.results.plots import plot_top_influential_samples
from rec_trak.results.ranking import rank_training_samples
from rec_trak.results.style import paper


def letters_of(family: str) -> set[int]:
    return set(get_font(findfont(FontProperties(family=[family]))).get_charmap())


@pytest.fixture
def foreign() -> str:
    """Letters that a font which comes with matplotlib has and its first font lacks."""
    there = sorted(letters_of("STIXGeneral") - letters_of("DejaVu Sans"))
    return "".join(chr(code) for code in there if chr(code).isalpha())[:6]


def drawn(titles: list[str]):
    """The figure, any warning of matplotlib an error."""
    figure = plot_top_influential_samples(rank_training_samples([2.0, 1.0], [-1, -1], 2), titles=titles)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    return figure


def test_another_font_is_found(foreign):
    """Law: with it nothing is missing, the headline stands there whole, and matplotlib warns of no glyph."""
    assert fonts.undrawn([foreign], FontProperties().get_family())
    assert not fonts.undrawn([foreign], fonts.families([foreign]))
    with paper([foreign]):
        assert drawable(foreign, 60) == foreign
    names = [text.get_text() for text in drawn([foreign, "plain"]).axes[0].get_yticklabels()]
    assert names == [f"{foreign}  row 0", "plain  row 1"]
    assert fonts.families(["plain"]) == list(FontProperties().get_family())


def test_what_no_font_has_is_said_once(monkeypatch):
    """Law: no box is drawn; the rows keep their numbers, and one line says why."""
    monkeypatch.setattr(fontManager, "ttflist", [])
    figure = drawn(["\U00012010\U00012011", "half \U00012012 way"])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["row 0", "half way  row 1"]
    told = [text.get_text().replace("\n", " ") for text in figure.findobj(Text)]
    assert told.count(fonts.LEFT_OUT) == 1
    assert fonts.LEFT_OUT not in [text.get_text() for text in drawn(["plain", "words"]).findobj(Text)]
