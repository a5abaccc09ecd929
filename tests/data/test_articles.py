"""Laws of the articles: every id once, every word one number, nothing where the file says nothing."""

import numpy as np
import pytest

from rec_trak.config.model import TextConfig
from rec_trak.data.articles import (
    build_vocabulary,
    encode_articles,
    read_mind_news,
    read_news_items,
    read_word_vectors,
    tokenise,
)
from rec_trak.errors import ConfigError, DataError, RoomError

ITEMS = "item_id,title,text,is_fake,category\nn1,Cat and dog,A cat. A dog!,1,pets\nn2,Dog,,0.0,\nn3,,,,news\n"


@pytest.fixture
def write(tmp_path):
    def _write(content: str, name: str = "file"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return _write


def mind_line(article_id: str, title: str = "Title", abstract: str = "Abstract") -> str:
    return f"{article_id}\tsports\tgolf\t{title}\t{abstract}\thttps://x\t[]\t[]\n"


def test_news_items_read_as_written(write):
    """Columns go where they belong; what a file does not say is '' or -1."""
    path = write(ITEMS)
    articles = read_news_items(path)
    assert articles.ids == ("n1", "n2", "n3")
    assert articles.titles == ("Cat and dog", "Dog", "")
    assert articles.bodies == ("A cat. A dog!", "", "")
    assert articles.categories == ("pets", "", "news")
    assert articles.subcategories == ("", "", "")
    assert articles.is_fake.tolist() == [1, 0, -1]
    assert articles.source == str(path)
    assert articles.position == {"n1": 0, "n2": 1, "n3": 2}


def test_news_items_without_optional_columns(write):
    """Nobody said who is fake: -1 throughout."""
    articles = read_news_items(write("item_id,title,text\nn1,a,b\nn2,a,b\n"))
    assert articles.is_fake.tolist() == [-1, -1]
    assert articles.is_fake.dtype == np.int8
    assert len(articles) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title\nx\n", r"missing column\(s\) `item_id`, `text`"),
        ("item_id,title,text\nn1,a,b\n ,a,b\n,c,d\n", r"line 3: the article id is empty \(2 such line"),
        (
            "item_id,title,text\n" + "a,,\nb,,\nc,,\nd,,\n" * 2,
            r"4 article id\(s\) stand more than once: `a`, `b`, `c`, …",
        ),
        ("item_id,title,text,is_fake\nn1,,,1\nn2,,,no\nn3,,,2\n", r"line 3: `is_fake` is wrong in 2 line.* Got 'no'"),
    ],
)
def test_bad_news_items(write, content, message):
    """What cannot be meant is refused with its first line and how often it occurs."""
    with pytest.raises(DataError, match=message):
        read_news_items(write(content))


def test_mind_news_with_quoting_off(write):
    """Quotation marks are letters, abstracts may be empty, a line ends at a newline only."""
    path = write(mind_line("N1", 'The "best" of', "") + mind_line("N2", "Para\u2028graph\x85\r!"))
    articles = read_mind_news(path)
    assert articles.ids == ("N1", "N2")
    assert articles.titles == ('The "best" of', "Para\u2028graph\x85\r!")
    assert articles.bodies == ("", "Abstract")
    assert (articles.categories[0], articles.subcategories[0]) == ("sports", "golf")
    assert articles.is_fake.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        (mind_line("N1") + "N2\tsports\n", r"line 2: Got 2 columns, expected 8 \(id, category"),
        (mind_line("N1") * 2, r"1 article id\(s\) stand more than once: `N1`"),
        (mind_line(""), "line 1: the article id is empty"),
    ],
)
def test_bad_mind_news(write, content, message):
    """What is no news.tsv is refused."""
    with pytest.raises(DataError, match=message):
        read_mind_news(write(content))


def test_tokenisers():
    """`regex` parts words from signs, `whitespace` splits at blanks only; both lower the case."""
    assert tokenise("It's GOOD, isn't it?", "regex") == ["it", "s", "good", ",", "isn", "t", "it", "?"]
    assert tokenise("It's  GOOD,\tno?", "whitespace") == ["it's", "good,", "no?"]
    assert tokenise("", "regex") == []
    with pytest.raises(ConfigError, match=r"unknown tokeniser\. Got 'nltk', expected regex or whitespace"):
        tokenise("x", "nltk")


def test_vocabulary_goes_by_count_then_spelling(write):
    """Frequent words first, ties by spelling, only of the views asked for; rare ones left out on request."""
    articles = read_news_items(write(ITEMS))
    assert build_vocabulary(articles, "regex", ("title",)) == ("dog", "and", "cat")
    assert build_vocabulary(articles, "regex", ("title", "body")) == ("dog", "a", "cat", "!", ".", "and")
    assert build_vocabulary(articles, "regex", ("title", "body"), min_count=2) == ("dog", "a", "cat")
    assert build_vocabulary(articles, "regex", ("category",)) == ()


def test_articles_as_integers(write):
    """Word i is i + 2, any other word 1, padding 0 on the right; category i is i + 1, none or unknown 0."""
    articles = read_news_items(write(ITEMS))
    text = TextConfig(title_length=2, body_length=8, words=("dog", "cat"), categories=("news",), subcategories=("x",))
    encoded = encode_articles(articles, text, ("title", "body", "category", "subcategory"))
    assert encoded["title"].tolist() == [[3, 1], [2, 0], [0, 0]]
    assert encoded["body"].tolist() == [[1, 3, 1, 1, 2, 1, 0, 0], [0] * 8, [0] * 8]
    assert encoded["category"].tolist() == [0, 0, 1]
    assert encoded["subcategory"].tolist() == [0, 0, 0]
    assert {values.dtype for values in encoded.values()} == {np.dtype(np.int32)}
    with pytest.raises(ConfigError, match=r"unknown view\. Got 'image'"):
        encode_articles(articles, text, ("image",))


def test_texts_beyond_the_memory(write):
    """Law: a length that no memory holds is refused by its key before any is taken."""
    articles = read_news_items(write("item_id,title,text\nn1,a,b\n"))
    with pytest.raises(
        RoomError, match=r"`title_length`: 2,000,000,000,000 words of each of 1 articles: not enough mem"
    ):
        encode_articles(articles, TextConfig(words=("a",), title_length=2 * 10**12), ("title",))


def test_word_vectors_only_where_needed(write):
    """Row i + 2 is word i's vector; padding, unknown words and words not found are zeros; the rest is not parsed."""
    path = write("the 1 2\nbroken x y z\ncat 3 4.5\n. . . 7 8\ncat 9 9\n. -1 -2\n")
    matrix, found = read_word_vectors(path, ("cat", "dog", "."))
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[0, 0], [0, 0], [3, 4.5], [0, 0], [-1, -2]]
    assert found.tolist() == [True, False, True]


def test_word_vectors_with_a_header_or_without_words(write):
    """word2vec's header line is no vector; without words to look for the dimension still comes back."""
    path = write("2 3\ncat 1 2 3 \ndog 4 5 6 \n")
    assert read_word_vectors(path, ("dog",))[0][2].tolist() == [4, 5, 6]
    assert read_word_vectors(path, ())[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not word vectors for these articles. Got no numbers in its first line"),
        ("cat\n", "Got no numbers in its first line"),
        ("The 1 2\n", "Got none of 2 words"),
        ("the 1 2\ncat 1\n", "line 2: malformed vector. Got 1 fields, expected 2 finite"),
        ("the 1 2\ncat 1 2 3\n", "line 2: malformed vector. Got 3 fields"),
        ("the 1 2\ncat 1 nan\n", "line 2: malformed vector"),
        ("the 1 2\ncat 1 x\n", "line 2: malformed vector"),
    ],
)
def test_bad_word_vectors(write, content, message):
    """A needed vector that is damaged is an error, and so is a file that serves no word at all."""
    with pytest.raises(DataError, match=message):
        read_word_vectors(write(content), ("cat", "dog"))


def test_word_vectors_that_cannot_be_opened(tmp_path):
    """A missing file and a folder are named as such."""
    with pytest.raises(DataError, match="no such file"):
        read_word_vectors(tmp_path / "nowhere.txt", ("cat",))
    with pytest.raises(DataError, match="cannot be read"):
        read_word_vectors(tmp_path, ("cat",))


def test_real_articles(shared):
    """The real files hold what their READMEs say: 314 articles with 297 titles; their words have GloVe vectors."""
    articles = read_news_items(shared / "data/upfd_politifact/news_items.csv")
    assert (len(articles), len(set(articles.titles))) == (314, 297)
    labelled = read_news_items(shared / "fixtures/data/news_items.csv")
    assert set(labelled.is_fake.tolist()) == {0, 1}
    words = build_vocabulary(labelled, "whitespace", ("title",))
    matrix, found = read_word_vectors(shared / "fixtures/lm_models/glove.subset.100d.txt", words)
    assert matrix.shape == (len(words) + 2, 100)
    assert found.mean() > 0.5
    assert (np.abs(matrix[2:]).sum(axis=1) > 0).tolist() == found.tolist()
    assert len(read_mind_news(shared / "fixtures/yusanshi/data/train/news.tsv")) == 314
