"""Two sources that say one thing: compared, refused or told, and the one that counts."""

import csv

import numpy as np
import pytest
from support import tiny
from support.commands import fail, succeed

from rec_trak.config.reading import Reading
from rec_trak.data.articles import read_news_items
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.sources import read_data
from rec_trak.errors import DataError, RecTrakWarning

ARTICLES = [
    ("n1", "storm hits river"),
    ("n2", "court delays vote"),
    ("n3", "film wins festival"),
    ("n4", "nurse strike ends"),
]
HEADER = ["user_id", "history_titles", "history_ids", "candidate_id", "candidate_title", "label", "candidate_is_fake"]
LINES = [  # every title is that of the next article
    ("u1", "['court delays vote']", "['n1']", "n2", "film wins festival", "1", "0"),
    ("u1", "['court delays vote']", "['n1']", "n3", "nurse strike ends", "0", "0"),
    ("u2", "['film wins festival']", "['n2']", "n4", "storm hits river", "1", "0"),
    ("u2", "['film wins festival']", "['n2']", "n1", "court delays vote", "0", "0"),
]


def right(lines=LINES):
    """The lines with the table's titles."""
    titles = dict(ARTICLES)
    fixed = []
    for user, _, ids, article, _, label, fake in lines:
        history = [titles[a] for a in ids.strip("[]'").split("', '")]
        fixed.append((user, str(history), ids, article, titles[article], label, fake))
    return fixed


@pytest.fixture
def tree(tmp_path):
    """Writes a tree of such lines; `fake` adds the table's own column of labels."""

    def write(lines, fake=()):
        data = tmp_path / "data"
        (data / "models").mkdir(parents=True, exist_ok=True)
        rows = [[*pair, "a", *(fake[i : i + 1])] for i, pair in enumerate(ARTICLES)]
        for path, header, content in (
            (data / "news_items.csv", ["item_id", "title", "text", *(["is_fake"] if fake else [])], rows),
            (data / "models" / "train_clean.csv", HEADER, lines),
        ):
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *content])
        return data

    return write


def titles_of(articles, rows):
    """What a model reads of each row: the titles of its history and candidates."""
    return [[articles.titles[a] for a in (*rows.history[i], *rows.candidates[i])] for i in range(len(rows))]


def test_titles_that_differ_are_refused_with_both(tree):
    """The first line, the article, both titles, and the key that decides."""
    with pytest.raises(
        DataError, match=r"line 2: the title of article `n[12]` is not that of .*4 such article"
    ) as told:
        read_data(tree(LINES), None, "train_clean")
    assert "titles: log" in str(told.value)
    assert "'storm hits river'" in str(told.value) or "'court delays vote'" in str(told.value)


@pytest.mark.parametrize("place", ["candidate_title", "history_titles"])
def test_one_wrong_title_is_enough(tree, place):
    """Of a candidate or in a history, wherever it stands."""
    lines = [list(line) for line in right()]
    lines[3][HEADER.index(place)] = "another" if place == "candidate_title" else "['another']"
    lines[2][HEADER.index("history_titles")] = lines[3][HEADER.index("history_titles")]
    with pytest.raises(DataError, match=r"\(1 such article\(s\)\). Got 'another'"):
        read_data(tree(lines), None, "train_clean")


def test_a_key_says_which_the_model_was_trained_on(tree):
    """`table` reads the table's titles and counts; `log` reads the log's own."""
    data = tree(LINES)
    articles, rows = read_data(data, None, "train_clean", Reading(titles="table"))
    assert titles_of(articles, rows)[0] == ["storm hits river", "court delays vote", "film wins festival"]
    assert rows.notes == (f"4 article(s) have another title in the log than in {articles.source}; the table's count.",)
    articles, rows = read_data(data, None, "train_clean", Reading(titles="log"))
    assert titles_of(articles, rows)[0] == ["court delays vote", "film wins festival", "nurse strike ends"]
    assert rows.notes == ()


def test_titles_that_agree_change_nothing(tree):
    """Any setting gives the same rows and no word."""
    data = tree(right())
    for titles in ("compare", "table", "log"):
        articles, rows = read_data(data, None, "train_clean", Reading(titles=titles))
        assert titles_of(articles, rows)[0] == ["storm hits river", "court delays vote", "film wins festival"]
        assert rows.notes == ()


def test_a_log_with_two_titles_for_an_article_is_refused(tree):
    """Then it does not say what the model was trained on."""
    lines = [list(line) for line in right()]
    lines[3][HEADER.index("candidate_title")] = "another"
    with pytest.raises(DataError, match="line 5: a second title for article `n1`. Got 'another', line 2 has 'storm"):
        read_data(tree(lines), None, "train_clean", Reading(titles="log"))


def test_log_titles_stand_in_for_missing_articles(tree):
    """An article that the table lacks has the log's title."""
    data = tree(right())
    table = data / "news_items.csv"
    table.write_text("".join(line for line in table.open(newline="") if not line.startswith("n4")))
    articles, rows = read_data(data, None, "train_clean", Reading(titles="log"))
    assert articles.titles[articles.position["n4"]] == "nurse strike ends"
    assert len(rows) == 2


def test_labels_that_contradict_each_other_are_told(tree):
    """Of two lines on one article the first place that differs, with both values; rows keep their own."""
    lines = [list(line) for line in right()]
    lines[2] = ["u2", lines[2][1], lines[2][2], "n2", "court delays vote", "1", "0"]
    lines[0][6] = "1"
    with pytest.warns(RecTrakWarning, match=r"line 4: `candidate_is_fake` of article `n2` .* Got 0, line 2 has 1"):
        _, rows = read_data(tree(lines), None, "train_clean")
    assert rows.is_fake.tolist() == [1, 0]


def test_labels_that_contradict_the_table_are_told(tree):
    """The log's word counts for its rows."""
    with pytest.warns(RecTrakWarning, match=r"line 2: `candidate_is_fake` of `n2` is not .* Got 0, the table has 1"):
        _, rows = read_data(tree(right(), fake=("0", "1", "0", "0")), None, "train_clean")
    assert rows.is_fake.tolist() == [0, 0]


def test_genuine_logs_agree_with_their_tables(shared, recwarn):
    """All lines of the shared data: nothing is refused and no warning given."""
    for folder in (shared / "data" / "upfd_politifact", shared / "fixtures" / "data"):
        articles = read_news_items(folder / "news_items.csv")
        for path in (folder / "models").glob("*.csv"):
            read_pairwise(path, articles)
    assert not [one for one in recwarn if issubclass(one.category, RecTrakWarning)]


def test_the_command_says_it(tmp_path):
    """featurize.py with a table moved on by one title: one line; with the key it runs."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    path = tmp_path / "data" / "news_items.csv"
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    titles = np.roll([line[1] for line in lines[1:]], 1)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([lines[0], *([a, t, x] for (a, _, x), t in zip(lines[1:], titles, strict=True))])
    config = tiny.write_config(tmp_path)
    assert "the title of article" in fail("featurize", "--config", str(config))
    config = tiny.write_config(tmp_path, titles="log")
    assert "featurized 24 rows" in succeed("featurize", "--config", str(config))
