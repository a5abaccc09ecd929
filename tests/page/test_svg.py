"""Figures inside a page: the same bytes, the page's colours, nothing that leaves their element."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from rec_trak.page.figures import distribution, precision_recall_curves, roc_curves, scatter, shifts
from rec_trak.page.svg import as_svg

LABELS = np.arange(60) % 2
RANKS = np.linspace(1, 100, 60)
CURVES = [("<ours> & $x", [0, 0.5, 1], [1, 0.8, 0.3]), ("random", [0, 1], [0.3, 0.3])]


def figures() -> dict[str, str]:
    scores = np.random.default_rng(0).normal(size=60)
    return {
        "distribution": distribution("d", scores, LABELS, 'influence on "<a$b>"'),
        "scatter": scatter("s", RANKS, RANKS[::-1], LABELS),
        "shifts": shifts("h", RANKS - RANKS[::-1], LABELS),
        "precision_recall": precision_recall_curves("p", CURVES, 0.3),
        "roc": roc_curves("r", CURVES),
    }


def test_a_figure_is_the_same_bytes_every_time():
    """Law: neither time nor a random id stands in a figure."""
    assert figures() == figures()


def test_colours_are_the_page_s_own():
    """Law: no colour of a class, of text or of a rule is fixed, so dark pages can be read; each has a fallback."""
    for text in figures().values():
        assert not re.findall(r"(?<!, )#[0-9a-fA-F]{6}", text)
    assert "var(--fake, #d55e00)" in figures()["distribution"]


def test_hatches_are_seen_through_their_ground():
    """Law: the ground of a hatch has the area's opacity and the area none of its own, or one colour hides the other."""
    text = figures()["distribution"]
    assert re.search(r"<pattern[^>]*>\s*<rect[^>]*fill-opacity: 0\.31", text)
    assert not re.search(r"fill: url\(#h\w+\); fill-opacity", text)


def test_text_is_escaped_and_stays_text():
    """Law: names are text elements, escaped, never outlines, never mathematics."""
    assert "&lt;ours&gt; &amp; $x</text>" in figures()["roc"]
    assert "&lt;a$b&gt;" in figures()["distribution"]
    assert 'aria-label="a &#34;b&#34; &lt;c&gt;"' in as_svg(Figure(), "x", 'a "b" <c>')


def test_every_hidden_name_is_used_and_no_two_figures_share_one_for_unlike_things():
    """Law: ids left in a figure are referred to inside it, and an id in two figures means the same element."""
    meaning = {}
    for text in figures().values():
        for name in re.findall(r'\sid="([^"]*)"', text):
            assert f"#{name}" in text
            body = re.search(rf'<(\w+) id="{name}"[^>]*?(?:/>|>.*?</\1>)', text, re.DOTALL)[0]
            assert meaning.setdefault(name, body) == body


def test_nothing_of_a_figure_holds_for_the_page():
    """Law: no style element, no size in points, no metadata; points are a picture, however many there are."""
    for text in figures().values():
        assert not re.search(r"<style|<metadata|<!DOCTYPE|<\?xml|\swidth=\"[\d.]+pt", text)
    many = scatter("many", *(np.random.default_rng(1).uniform(1, 100, (2, 50_000))), np.zeros(50_000, dtype=int))
    assert "data:image/png;base64," in many
    assert len(many) < 600_000


@pytest.mark.parametrize("labels", [np.zeros(1, dtype=int), np.array([-1, 1])])
def test_one_row_can_be_drawn(labels):
    """Law: a run of one row has figures too."""
    assert distribution("one", np.ones(len(labels)), labels, "score").startswith("<svg")
    assert scatter("one", np.ones(len(labels)), np.ones(len(labels)), labels).startswith("<svg")
