"""Why a click has its influence, as far as tables tell: what it shares with the recommendations asked about."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from support import page_world

from rec_trak.page.reasons import NOTHING, OUTWEIGHED, asked_in, asked_of, likeness, reasons
from rec_trak.page.rows import strongest
from rec_trak.results.lines import Lines
from rec_trak.runs.finished import open_run

TARGETS = pd.DataFrame({"article_id": ["a", "a", "b"], "other_candidates": ["x y", "y y", "a"]})
PASSED = "it was shown “<B>”, which is explained here, and chose another article."
CHOSEN = "it chose the very article that is explained in 1 of the 3 recommendations."


@pytest.mark.parametrize(
    ("score", "clicked", "others", "read", "expected"),
    [
        (1, "a", "", "", ["It chose the very article that is explained in 2 of the 3 recommendations."]),
        (-1, "y", "", "", ["It chose an article that stands beside the one explained in 2 of the 3 recommendations."]),
        (-1, "z", "q b", "", ["It was shown “<B>”, which is explained here, and chose another article."]),
        (1, "z", "", "q a b a", ["The model read “a” and “<B>”, explained here, in its history."]),
        (1, "z", "q", "q", [NOTHING]),
        (1, "z", "b", "", [f"I{PASSED[1:]}", OUTWEIGHED]),
        (-1, "b", "", "", [f"I{CHOSEN[1:]}", OUTWEIGHED]),
    ],
)
def test_sentences_by_hand(score, clicked, others, read, expected):
    """Law: the article chosen, those passed over and those read, each where a recommendation explains or shows it; what
    speaks against the sign of the influence says so."""
    told = reasons(asked_of(TARGETS), clicked, others.split(), read.split(), {"b": ("<B>", "fake")}, score)
    assert told == expected


def test_one_recommendation_is_not_counted():
    """Law: of a single target nothing is said of how many."""
    told = reasons(asked_of(TARGETS.tail(1)), "b", ["x"], [], {}, 1.0)
    assert told == ["It chose the very article that is explained."]


def test_without_a_table_of_targets_nothing_is_said(tmp_path):
    """Law: a run that does not tell what its targets show has no reasons, and its page stands."""
    assert asked_of(None) is None
    assert asked_of(pd.DataFrame({"article_id": ["a"]})) is None


def test_cards_have_reasons_and_q(tmp_path):
    """Law: each listed click of a set has a reason and the run's own Q beside its kernel."""
    place = page_world.write_everything(tmp_path)[0]
    run = open_run(place)
    own = run.results.rows.whole().assign(q=np.linspace(0, 1, page_world.N).astype(str))
    results = run.target_set()
    asked = asked_in(results, dataclasses.replace(run.results, rows=Lines.of(own)))
    for card in strongest(results, {}, asked=asked):
        assert card["why"]
        assert card["numbers"]["q"] == pytest.approx(card["row"] / (page_world.N - 1))


def test_where_articles_do_not_tell_the_model_is_asked():
    """Law: the share of clicks that are less alike (for a negative kernel: less opposed), and what Q left to learn;
    nothing where the run does not tell."""
    kernel, q = np.array([-2.0, 1.0, 3.0, np.nan, 2.0]), np.array([0.9, 0.1, 0.5, 0.9, 0.7])
    asked = dataclasses.replace(asked_of(TARGETS), kernel=kernel, q=q)
    (told,) = likeness(asked, 2)
    assert "more alike than those are with 75 % of all clicks (kernel), and it left something to learn" in told
    assert "more opposed than those are with 75 % of all clicks (kernel), and it left much to" in likeness(asked, 0)[0]
    assert likeness(asked, 3) == []
    assert likeness(asked_of(TARGETS), 2) == []
    assert reasons(asked, "z", [], [], {}, 1.0, [told]) == [NOTHING, told]
