"""Laws of rows from MIND: drawn once, by the row alone, and fairly."""

import numpy as np
import pytest

from rec_trak.config.reading import Reading
from rec_trak.data.articles import read_mind_news, read_news_items
from rec_trak.data.impressions import read_pairwise, row_identities
from rec_trak.data.mind_rows import read_mind_behaviors
from rec_trak.errors import ConfigError, DataError

TIME = "11/5/2019 9:05:58 AM"
SLATE = "N1-0 N2-1 N3-0 N4-0 N5-1 N6-0 N7-0 N8-0"


def ids(articles, ragged):
    return [[articles.ids[a] for a in ragged[i]] for i in range(len(ragged))]


@pytest.fixture
def mind(tmp_path):
    """A MIND folder of articles N0 to N9; gives its articles and a writer of behaviors.tsv."""
    (tmp_path / "news.tsv").write_text("".join(f"N{i}\tc\ts\tTitle {i}\t\thttps://x\t[]\t[]\n" for i in range(10)))

    def write(*lines):
        path = tmp_path / "behaviors.tsv"
        path.write_text("".join("\t".join(line) + "\n" for line in lines))
        return path

    return read_mind_news(tmp_path / "news.tsv"), write


def test_mind_rows(mind):
    """One row a click, the click first, then so many that were shown and not clicked, no two alike."""
    articles, write = mind
    path = write(
        ("1", "U1", TIME, "N0 N9", SLATE),
        ("2", "U2", "2019-11-06 10:00:00", "", "N1-1 N2-0"),
        ("3", "U2", "noon\rsharp", "", "N1-0"),
    )
    rows = read_mind_behaviors(path, articles)
    assert rows.user_ids.tolist() == ["U1", "U1", "U2"]
    assert ids(articles, rows.history) == [["N0", "N9"], ["N0", "N9"], []]
    assert [articles.ids[a] for a in rows.clicked] == ["N2", "N5", "N1"]
    for row in (0, 1):
        others = {articles.ids[a] for a in rows.candidates[row][1:]}
        assert len(others) == 4
        assert others < {"N1", "N3", "N4", "N6", "N7", "N8"}
        assert list(rows.labels[row]) == [1, 0, 0, 0, 0]
    assert rows.sources == ("impression 1", "impression 1", "impression 2")
    assert rows.columns == {"day": ("2019-11-05", "2019-11-05", "2019-11-06"), "impression": ("1", "1", "2")}
    assert rows.is_fake.tolist() == [-1, -1, -1]
    assert rows.notes == (
        "1 impression(s) without a click are left out.",
        "1 row(s) have fewer than 4 other candidates and keep all of them.",
    )


def test_mind_draws_depend_on_the_row_alone(mind):
    """A row's other candidates are the same whatever else the file holds, and change with the seed."""
    articles, write = mind
    lines = [(str(i), f"U{i}", TIME, "N0", SLATE) for i in range(40)]
    whole = read_mind_behaviors(write(*lines), articles, Reading(seed=3))
    part = read_mind_behaviors(write(*lines[:5:-1]), articles, Reading(seed=3))
    of_row = {(whole.sources[i], whole.clicked[i]): list(whole.candidates[i]) for i in range(len(whole))}
    assert all(of_row[part.sources[i], part.clicked[i]] == list(part.candidates[i]) for i in range(len(part)))
    other = read_mind_behaviors(write(*lines), articles, Reading(seed=4))
    assert ids(articles, other.candidates) != ids(articles, whole.candidates)


def test_mind_draws_are_pinned(mind):
    """The draw is a contract with stores on disk: it must not change between versions, machines or Python runs."""
    articles, write = mind
    rows = read_mind_behaviors(write(("7", "U1", TIME, "", SLATE)), articles, Reading(negatives=3, seed=1))
    assert ids(articles, rows.candidates) == [["N2", "N4", "N6", "N7"], ["N5", "N4", "N6", "N3"]]


def test_mind_draws_are_fair(mind):
    """Every candidate that was not clicked is drawn equally often: 4 of 6, in each place of the row."""
    articles, write = mind
    rows = read_mind_behaviors(write(*[(str(i), "U1", TIME, "", SLATE) for i in range(1000)]), articles)
    drawn = rows.candidates.values.reshape(-1, 5)[:, 1:]
    for place in range(4):
        shares = np.bincount(drawn[:, place], minlength=10)[[1, 3, 4, 6, 7, 8]] / len(drawn)
        assert np.abs(shares - 1 / 6).max() < 0.035  # over four standard deviations


def test_mind_clicks_without_others_are_counted(mind):
    """A click beside nothing, or beside clicks only, makes no row; an unreadable time is no day."""
    articles, write = mind
    rows = read_mind_behaviors(
        write(("1", "U1", TIME, "", "N1-1 N2-1"), ("2", "U1", "noon", "", "N1-1 N2-0")), articles
    )
    assert rows.columns == {"day": ("",), "impression": ("2",)}
    assert "2 click(s) whose impression has no other candidate are left out." in rows.notes
    assert "1 row(s) have no date that can be read." in rows.notes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("1", "U1", TIME, "N0"), r"line 2: Got 4 columns, expected 5 \(impression id"),
        (("1", "", TIME, "N0", SLATE), "line 2: the user id is empty"),
        (("1", "U1", TIME, "N0", "N1 N2"), "line 2: .* unlabelled test file. Got `N1`, expected `N1-1` or `N1-0`"),
        (("1", "U1", TIME, "N0", "N1-2"), "Got `N1-2`"),
        (
            ("1", "U1", TIME, "X1 X2", "X3-1 X4-0"),
            r"line 2: 4 unknown article id\(s\) in \d+ impression\(s\). Got `X1`, `X2`, `X3`, …, .*news.tsv",
        ),
    ],
)
def test_bad_mind_lines(mind, line, message):
    """What is no labelled behaviors.tsv of these articles is refused, with the line."""
    articles, write = mind
    with pytest.raises(DataError, match=message):
        read_mind_behaviors(write(("0", "U0", TIME, "", SLATE), line), articles)


def test_mind_without_rows(mind):
    """An empty file and too few others asked for are refused."""
    articles, write = mind
    with pytest.raises(DataError, match="no row is left"):
        read_mind_behaviors(write(), articles)
    with pytest.raises(ConfigError, match="Got 0, expected at least 1"):
        read_mind_behaviors(write(("1", "U1", TIME, "", SLATE)), articles, Reading(negatives=0))


def test_real_mind_folder_has_the_rows_of_the_pairwise_file(shared):
    """The same impressions in MIND's format give the same clicks, histories and sets of candidates."""
    folder = shared / "fixtures"
    by_id = read_mind_news(folder / "yusanshi/data/train/news.tsv")
    mind = read_mind_behaviors(folder / "yusanshi/data/train/behaviors.tsv", by_id)
    articles = read_news_items(folder / "data/news_items.csv")
    pairwise = read_pairwise(folder / "data/models/train_poisoned.csv", articles)
    assert sorted(row_identities(mind, by_id)) == sorted(row_identities(pairwise, articles))
    sets = [
        sorted((table.user_ids[i], tuple(sorted(names.ids[a] for a in table.candidates[i]))) for i in range(len(table)))
        for table, names in ((mind, by_id), (pairwise, articles))
    ]
    assert sets[0] == sets[1]
