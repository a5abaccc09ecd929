"""Whatever text a click log, a table or a map of names is: it is read, or refused in one line."""

import json

import pytest
from hypothesis import example, given
from support import tiny
from support.properties import documents, read_or_refused, tables

from rec_trak.data.articles import read_mind_news, read_news_items, read_word_vectors
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.mind_rows import read_mind_behaviors
from rec_trak.data.numbered import read_dictionary, read_numbers
from rec_trak.data.targets import EXPLAIN_COLUMNS, read_explained, read_targets


@pytest.fixture(scope="module")
def articles(tmp_path_factory):
    """A table that knows n0 to n11."""
    return read_news_items(tiny.write_tree(tmp_path_factory.mktemp("tree") / "data") / "news_items.csv")


@given(text=tables(tiny.COLUMNS, ","))
@example(text=",".join(tiny.COLUMNS) + "\nu1,['x'],['n1'],n2,x,1,0\nu1,['x'],['n1'],n3,y,0,0")
def test_any_pairwise_log(tmp_path, articles, capsys, text):
    """Rows, with a clicked candidate first; or one line. Targets likewise."""
    path = tmp_path / "log.csv"
    path.write_text(text, encoding="utf-8", newline="")
    rows = read_or_refused(capsys, lambda: read_pairwise(path, articles))
    assert rows is None or all(labels[0] in (0, 1) for labels in rows.labels)
    read_or_refused(capsys, lambda: read_targets(path, articles))


@given(text=tables(EXPLAIN_COLUMNS, ","))
def test_any_list_of_targets(tmp_path, articles, capsys, text):
    """Targets whose explained article stands first; or one line."""
    path = tmp_path / "targets.csv"
    path.write_text(text, encoding="utf-8", newline="")
    read_or_refused(capsys, lambda: read_explained(path, articles))


@given(text=tables(("id", "category", "subcategory", "title", "abstract", "url", "a", "b"), "\t"))
def test_any_article_table(tmp_path, capsys, text):
    """Articles with different ids; or one line."""
    path = tmp_path / "news.tsv"
    path.write_text(text, encoding="utf-8", newline="")
    for read in (read_mind_news, read_news_items):
        read_or_refused(capsys, lambda read=read: read(path))


@given(text=tables(("1", "u1", "11/11/2019 2:01:00 AM", "n1 n2", "n3-1 n4-0"), "\t"))
def test_any_behaviors(tmp_path, articles, capsys, text):
    """MIND's lines have no header: five cells each, or one line says which is wrong."""
    path = tmp_path / "behaviors.tsv"
    path.write_text(text, encoding="utf-8", newline="")
    read_or_refused(capsys, lambda: read_mind_behaviors(path, articles))


@given(text=tables(("word", "int"), "\t"), content=documents(("storm", "goal")))
def test_any_names_and_numbers(tmp_path, capsys, text, content):
    """Tables, JSON and vectors: names with whole numbers, or one line."""
    path = tmp_path / "names.json"
    path.write_text(text, encoding="utf-8", newline="")
    numbers = read_or_refused(capsys, lambda: read_numbers(path, "word", "int"))
    assert numbers is None or all(type(number) is int and number >= 0 for number in numbers.values())
    read_or_refused(capsys, lambda: read_word_vectors(path, tiny.WORDS))
    path.write_text(json.dumps(content), encoding="utf-8")
    numbers = read_or_refused(capsys, lambda: read_dictionary(path))
    assert numbers is None or numbers == content
