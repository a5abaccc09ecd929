"""A tokeniser of the user's own: words that are looked up as they are, or numbers that are the model's."""

import sys

import numpy as np
import pytest
from support import ROOT, tiny

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import WORDS_AND_SIGNS, encode_articles, read_news_items
from rec_trak.data.coverage import coverage
from rec_trak.data.impressions import read_pairwise
from rec_trak.errors import ConfigError

CODE = """
import numpy as np
def upper(text): return text.upper().split()
def lengths(text): return [len(word) for word in text.split()]
def array(text): return np.array(lengths(text))
def fails(text): raise KeyError("no such word")
def none(text): return None
def mixed(text): return ["a", 3]
def below(text): return [-1]
def halves(text): return [0.5]
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Articles of a tiny tree, beside a module of tokenisers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "split_theirs.py").write_text(CODE)
    yield read_news_items(tiny.write_tree(tmp_path / "data") / "news_items.csv")
    sys.modules.pop("split_theirs", None)


def text_of(name, words=("STORM", "VOTE")):
    return TextConfig(tokeniser=f"split_theirs:{name}", words=words, title_length=6)


def test_words_are_looked_up_and_numbers_are_the_models(world):
    """Case and all; a word outside the vocabulary is 1; numbers need no vocabulary, and numpy's are numbers."""
    found = encode_articles(world, text_of("upper"), ("title",))["title"]
    for row, title in zip(found, world.titles, strict=True):
        expected = [{"STORM": 2, "VOTE": 3}.get(word, 1) for word in title.upper().split()[:6]]
        assert row.tolist() == expected + [0] * (6 - len(expected))
    for name in ("lengths", "array"):
        found = encode_articles(world, text_of(name, ()), ("title",))["title"]
        assert [row[row > 0].tolist() for row in found] == [[*map(len, t.split()[:6])] for t in world.titles]


def test_coverage_is_of_words(world, tmp_path):
    """Words are counted by the same tokeniser; of numbers there is nothing to count."""
    rows = read_pairwise(tmp_path / "data" / "models" / "train_clean.csv", world)
    split = [word for title in world.titles for word in title.upper().split()[:6]]
    (told,) = coverage(rows, world, ModelConfig("own", text=text_of("upper")))
    assert (told.known, told.shown) == (sum(word in ("STORM", "VOTE") for word in split), len(split))
    assert coverage(rows, world, ModelConfig("own", text=text_of("lengths"))) == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", r"split_theirs:fails on article `n0`: no list of words\. Got KeyError"),
        ("none", r"no list of words\. Got TypeError"),
        ("mixed", r"no list of words\. Got \['a', 3\], expected all words, or all whole numbers"),
        ("below", r"no list of words\. Got -1, expected"),
        ("halves", r"no list of words\. Got \[0\.5\]"),
        ("uper", r"`tokeniser`: `split_theirs` has no class or function `uper`.* Did you mean `upper`"),
    ],
)
def test_what_gives_no_tokens_is_one_line(world, name, message):
    """Whatever the function does instead."""
    with pytest.raises(ConfigError, match=message) as error:
        encode_articles(world, text_of(name), ("title",))
    assert "\n" not in str(error.value)


def test_words_need_a_vocabulary(world):
    """Without one, every word would be the unknown one."""
    with pytest.raises(ConfigError, match=r"gives words, and the model has none to look them up.*no `text\.words`"):
        encode_articles(world, text_of("upper", ()), ("title",))


def test_the_docs_say_the_pattern_of_regex():
    """Who builds a vocabulary must split as we do."""
    assert f"`{WORDS_AND_SIGNS.pattern}`" in (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    assert np.array_equal(WORDS_AND_SIGNS.findall("it's 3.5; a-b"), ["it", "s", "3", ".", "5", ";", "a", "b"])
