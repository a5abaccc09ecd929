"""Token ids are the tokeniser's own plus 1, and the cache gives the same numbers or is made again."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from support import tiny_lm

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data import pretrained
from rec_trak.data.articles import encode_articles, read_news_items
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import build_inputs
from rec_trak.data.pretrained import read_pretrained, token_ids
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, DataError, RecTrakWarning

TEXTS = ["storm vote", "", "goal star virus market goal", "unknown goal"]
IDS = [[3, 5, 6, 4, 0, 0], [3, 4, 0, 0, 0, 0], [3, 8, 9, 10, 7, 4], [3, 2, 8, 4, 0, 0]]  # of length 6


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("REC_TRAK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


@pytest.fixture
def folder(tmp_path):
    """A folder with a tokeniser."""
    return str(tiny_lm.write_tokeniser(tmp_path / "lm"))


def no_tokenising(monkeypatch):
    """From now on, a tokeniser that is called fails."""
    tokeniser = tiny_lm.transformers.PreTrainedTokenizerBase
    monkeypatch.setattr(tokeniser, "__call__", lambda *_, **__: pytest.fail("texts are tokenised again"))


def write_articles(path, titles, bodies=None):
    """A pairwise tree's articles."""
    lines = ["item_id,title,text"]
    lines += [f"n{i},{title},{body}" for i, (title, body) in enumerate(zip(titles, bodies or titles, strict=True))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_news_items(path)


def test_ids_are_the_tokenisers_plus_one(folder):
    """Special tokens count, a long text is cut before the last of them, and zeros stand behind a short one."""
    found = token_ids(TEXTS, folder, 6)
    assert found.dtype == np.int32
    assert found.tolist() == IDS


def test_many_texts_are_ids_of_their_own(folder, monkeypatch):
    """Texts that are tokenised in several portions keep their order."""
    monkeypatch.setattr("rec_trak.data.pretrained.AT_ONCE", 3)
    assert token_ids(TEXTS * 3, folder, 6).tolist() == IDS * 3


def test_the_second_time_nothing_is_tokenised(folder, cache, monkeypatch):
    """One file is kept; it gives the same numbers, and another text, length or tokeniser has another."""
    first = token_ids(TEXTS, folder, 6)
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as inside:
        no_tokenising(inside)
        again = token_ids(TEXTS, folder, 6)
    np.testing.assert_array_equal(first, again)
    assert isinstance(again, np.memmap)
    token_ids(TEXTS, folder, 5)
    token_ids(TEXTS[::-1], folder, 6)
    token_ids(["storm ", "vote", *TEXTS[2:]], folder, 6)
    tiny_lm.write_tokeniser(Path(folder), "vote storm")
    assert token_ids(TEXTS, folder, 6)[0].tolist() == [3, 6, 5, 4, 0, 0]
    assert len(list(cache.iterdir())) == 5


DAMAGE = {
    "cut short": lambda whole: whole[:-5],
    "header only": lambda whole: whole[:60],
    "empty": lambda whole: b"",
    "a flipped bit": lambda whole: whole[:140] + bytes([whole[140] ^ 4]) + whole[141:],
    "a pickle": lambda whole: b"\x80\x04N.",
    "more behind it": lambda whole: whole + b"\0",
    "no hash": lambda whole: whole[:-16],
    "a header of megabytes": lambda whole: whole[:8] + b"\xff\xff" + whole[10:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_made_again(damage, folder, cache):
    """Whatever happened to it, the numbers are right, and so is the file afterwards; it is told."""
    expected = token_ids(TEXTS, folder, 6)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[damage](whole))
    with pytest.warns(
        RecTrakWarning, match=r"\.npy: not the tokens of these texts. Got .* made again; let nobody else"
    ):
        np.testing.assert_array_equal(token_ids(TEXTS, folder, 6), expected)
    assert file.read_bytes() == whole
    assert len(list(cache.iterdir())) == 1


def forged(path, array, key):
    """A file as the cache has it, of other numbers."""
    with open(path, "wb") as file:
        np.save(file, array)
        file.write(pretrained._digest(key, array))


OTHER = np.array(IDS, dtype=np.int32)[::-1].copy()
FORGERIES = {
    "of another key": lambda path: forged(path, OTHER, "0" * 32),
    "of no key": lambda path: forged(path, OTHER, ""),
    "beyond the vocabulary": lambda path: forged(path, OTHER + 1000, path.stem),
    "below zero": lambda path: forged(path, OTHER - 1, path.stem),
    "of another kind": lambda path: forged(path, OTHER.astype(np.float32), path.stem),
    "of another shape": lambda path: forged(path, OTHER.reshape(6, 4), path.stem),
    "in another order": lambda path: forged(path, np.asfortranarray(OTHER), path.stem),
    "a plain array": lambda path: np.save(path, OTHER),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_file_that_was_put_there_is_not_taken(forgery, folder, cache):
    """Numbers that were not made of these texts, whatever stands behind them, and what is no file."""
    expected = token_ids(TEXTS, folder, 6)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.unlink()
    FORGERIES[forgery](file)
    with pytest.warns(RecTrakWarning, match="not the tokens of these texts"):
        np.testing.assert_array_equal(token_ids(TEXTS, folder, 6), expected)
    assert file.read_bytes() == whole


def test_the_file_of_other_texts_is_not_taken(folder, cache):
    """One that is whole, of the same shape, in the wrong place."""
    expected = token_ids(TEXTS, folder, 6)
    (file,) = cache.iterdir()
    token_ids(TEXTS[::-1], folder, 6)
    (other,) = set(cache.iterdir()) - {file}
    file.write_bytes(other.read_bytes())
    with pytest.warns(RecTrakWarning, match="Got other numbers than were written, or those of other texts"):
        np.testing.assert_array_equal(token_ids(TEXTS, folder, 6), expected)


def test_the_file_of_another_user_is_not_taken(folder, cache, monkeypatch):
    """Whoever can write to the folder could give it the right hash."""
    expected = token_ids(TEXTS, folder, 6)
    (file,) = cache.iterdir()
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr(pretrained.os, "geteuid", lambda: 12345)
    with pytest.warns(RecTrakWarning, match="Got a file of another user"):
        np.testing.assert_array_equal(token_ids(TEXTS, folder, 6), expected)


def test_a_link_is_not_followed(folder, cache, tmp_path):
    """Neither when it is read nor when it is written: what it leads to stays, and a file takes its place."""
    expected = token_ids(TEXTS, folder, 6)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(RecTrakWarning, match="not the tokens of these texts. Got a link"):
        np.testing.assert_array_equal(token_ids(TEXTS, folder, 6), expected)
    assert not file.is_symlink()
    assert file.read_bytes() == (tmp_path / "elsewhere").read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_warned_of(folder, tmp_path, monkeypatch):
    """The ids come all the same."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("REC_TRAK_CACHE", str(tmp_path / "file"))
    with pytest.warns(RecTrakWarning, match="tokens are not kept .* Set REC_TRAK_CACHE") as told:
        found = token_ids(TEXTS, folder, 6)
    assert found.tolist() == IDS
    assert len(told) == 1


def test_texts_of_blanks_need_no_tokeniser():
    """A view that no article has is all zero, so that it can be refused."""
    assert not token_ids(["", " \t"], "/no/such/folder", 3).any()


def test_what_is_wrong_is_one_line(folder, tmp_path, monkeypatch):
    """No room for a word, no tokeniser, no transformers."""
    with pytest.raises(ConfigError, match="no room for a word. Got 2, expected more than the 2 special tokens"):
        token_ids(TEXTS, folder, 2)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="this folder: AutoTokenizer cannot read it"):
        token_ids(TEXTS, str(tmp_path / "none"), 6)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'rec-trak\[bert\]'"):
        read_pretrained(folder, "AutoTokenizer")


def test_articles_are_encoded_view_by_view(folder, tmp_path):
    """Titles and bodies have their own lengths; a padding article of a padded history has no token at all."""
    articles = write_articles(tmp_path / "news.csv", ["storm vote", "goal"], ["star", "virus goal"])
    text = TextConfig(tokeniser="pretrained", pretrained=folder, title_length=4, body_length=3)
    views = encode_articles(articles, text, ("title", "body"))
    assert views["title"].tolist() == [[3, 5, 6, 4], [3, 8, 4, 0]]
    assert views["body"].tolist() == [[3, 9, 4], [3, 10, 4]]
    config = ModelConfig("naml", ("title", "body"), text=text, history_padding="left", max_history=2)
    inputs = build_inputs(one_row(), articles, config)
    assert not inputs.views["title"][inputs.impressions.history.values[0]].any()


def test_a_view_that_no_article_has_is_refused(folder, tmp_path):
    """Bodies without text are not read as special tokens."""
    articles = write_articles(tmp_path / "news.csv", ["storm", "goal"], ["", " "])
    config = ModelConfig("naml", ("title", "body"), text=TextConfig(tokeniser="pretrained", pretrained=folder))
    with pytest.raises(DataError, match=r"nothing to read in view\(s\) `body`"):
        build_inputs(one_row(), articles, config)


def one_row():
    """One row whose history is one of two articles."""
    return Impressions(
        user_ids=np.array(["u"], dtype=object),
        history=Ragged.of([[0]]),
        candidates=Ragged.of([[1, 0]]),
        labels=Ragged.of([[1, 0]]),
        is_fake=np.zeros(1, dtype=np.int8),
        sources=("1",),
    )


@pytest.mark.parametrize(
    ("name", "length"), [("nrms_bert_clean", 22), ("nrms_bert_poisoned", 22), ("naml_bert_clean", 24)]
)
def test_plm4newsrs_reads_the_same_tokens(name, length, shared):
    """Ids and masks equal those that its own code gave its models."""
    fixtures = shared / "fixtures"
    if not fixtures.is_dir():
        pytest.skip("no fixtures in the shared data")
    articles = read_news_items(fixtures / "data" / "news_items.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ids = token_ids(articles.titles, str(fixtures / "lm_models" / "bert_tiny"), length)
    expected = np.load(fixtures / "expected" / "plm4newsrs" / f"{name}.npz")
    for which in ("history", "candidate"):
        ours = ids[[[articles.position[str(i)] for i in row] for row in expected[f"{which}_ids"]]]
        np.testing.assert_array_equal(ours != 0, expected[f"{which}_attention_mask"])
        np.testing.assert_array_equal(np.maximum(ours - 1, 0), expected[f"{which}_input_ids"])
