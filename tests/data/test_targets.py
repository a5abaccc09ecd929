"""Laws of targets: rows like train's, the article to explain first, against whatever else was shown."""

from dataclasses import replace

import numpy as np
import pytest

from rec_trak.data.articles import read_mind_news, read_news_items
from rec_trak.data.impressions import read_pairwise, read_slates
from rec_trak.data.targets import (
    Targets,
    exposure,
    joined,
    read_explained,
    read_log_slates,
    read_log_targets,
    read_targets,
)
from rec_trak.errors import ConfigError, DataError

HEADER = "user_id,history_titles,candidate_id,label,candidate_is_fake\n"
LINES = "u1,['A'],n1,0,0\nu1,['A'],n2,0,0\n"
CLICKED = "u2,['A'],n1,1,1\nu2,['A'],n2,1,0\nu2,['A'],n3,0,0\n"


@pytest.fixture
def articles(tmp_path):
    path = tmp_path / "news_items.csv"
    path.write_text("item_id,title,text\nn1,A,\nn2,B,\nn3,C,\n")
    return read_news_items(path)


@pytest.fixture
def write(tmp_path):
    def _write(content):
        path = tmp_path / "benchmark.csv"
        path.write_text(content)
        return path

    return _write


@pytest.mark.parametrize(("rows", "expected"), [("per_click", [[0, 2], [1, 2]]), ("as_trained", [[0, 1, 2]])])
def test_impressions_without_a_click_are_no_targets(articles, write, rows, expected):
    """Either way of making rows, what nobody clicked is dropped and counted; per click is the default."""
    path = write(HEADER + LINES + CLICKED)
    targets = read_targets(path, articles, rows=rows)
    assert [list(targets.candidates[i]) for i in range(len(targets))] == expected
    assert set(targets.user_ids) == {"u2"}
    assert "1 impression(s) without a click are dropped." in targets.notes
    assert not any("kept" in note for note in targets.notes)
    assert len(read_targets(path, articles)) == 2


@pytest.mark.parametrize("rows", ["per_click", "as_trained"])
def test_nothing_to_explain(articles, write, rows):
    """A file without a click, or without a line, is refused."""
    with pytest.raises(DataError, match=r"benchmark\.csv: no row is left"):
        read_targets(write(HEADER + LINES), articles, rows=rows)
    with pytest.raises(DataError, match="only a header"):
        read_targets(write(HEADER), articles, rows=rows)


@pytest.mark.parametrize("rows", ["per_click", "as_trained"])
def test_clicks_without_another_candidate_are_dropped_and_counted(articles, write, rows):
    """A margin needs something to stand against; a file of nothing else is refused."""
    alone = "u3,['A'],n1,1,0\n"
    targets = read_targets(write(HEADER + CLICKED + alone), articles, rows=rows)
    assert set(targets.user_ids) == {"u2"}
    assert "1 row(s) without another candidate are dropped." in targets.notes
    with pytest.raises(DataError, match="no row is left. Got no click beside another candidate"):
        read_targets(write(HEADER + alone), articles, rows=rows)


def test_no_such_way_to_make_rows(articles, write):
    """`rows` is one of two words."""
    with pytest.raises(ConfigError, match="Got 'all'"):
        read_targets(write(HEADER + CLICKED), articles, rows="all")


def ids(targets, articles):
    return [[articles.ids[a] for a in targets.candidates[i]] for i in range(len(targets))]


def test_slates_are_impressions_as_shown(articles, write):
    """Nothing is dropped, nothing changes places but clicks to the front."""
    slates = read_slates(write(HEADER + LINES + CLICKED + "u3,[],n3,0,0\n"), articles)
    assert ids(slates, articles) == [["n1", "n2"], ["n1", "n2", "n3"], ["n3"]]
    assert [list(slates.labels[i]) for i in range(3)] == [[0, 0], [1, 1, 0], [0]]
    assert slates.notes == ()


def test_exposure_is_one_target_an_impression(articles, write):
    """The article first, then every other candidate of the impression, clicked or not, itself left out."""
    slates = Targets(articles, read_slates(write(HEADER + LINES + CLICKED + "u3,['C'],n3,0,0\n"), articles))
    targets = exposure(slates, "n3", "x").impressions
    assert ids(targets, articles) == [["n3", "n1", "n2"], ["n3", "n1", "n2"]]
    assert [list(targets.labels[i]) for i in range(2)] == [[0, 0, 0], [0, 1, 1]]
    assert targets.sources == ("2-3", "4-6")
    assert targets.notes == (
        "1 user(s) have the article in their history already.",
        "1 target(s) without other candidates are dropped.",
    )
    assert list(exposure(slates, "n1", "x").impressions.labels[1]) == [1, 1, 0]


def test_exposure_of_nothing(articles, write):
    """An unknown article, and impressions that show it alone."""
    slates = Targets(articles, read_slates(write(HEADER + "u3,['C'],n3,0,0\n"), articles))
    with pytest.raises(DataError, match="targets `a`: unknown article. Got `n9`, expected one of the 3 ids"):
        exposure(slates, "n9", "targets `a`")
    with pytest.raises(DataError, match="targets `a`: no target is left. Got 1 without another candidate"):
        exposure(slates, "n3", "targets `a`")


EXPLAIN = "user_id,history_ids,candidate_ids,explained_id\n"


def test_explained_candidates_as_lists_or_words(articles, write):
    """The explained article stands first once, whether or not it is among the candidates; histories may be empty."""
    lines = "u1,\"['n1', 'n2']\",\"['n2', 'n3', 'n1']\",n3\nu2,,n1 n2,n3\nu3,n1,n3,n3\n"
    targets = read_explained(write(EXPLAIN + lines), articles)
    assert ids(targets, articles) == [["n3", "n2", "n1"], ["n3", "n1", "n2"]]
    assert [list(targets.history[i]) for i in range(2)] == [[0, 1], []]
    assert list(targets.user_ids) == ["u1", "u2"]
    assert targets.sources == ("2", "3")
    assert targets.notes == ("1 target(s) without other candidates are dropped.",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("u1,,n1 n9,n2\n", r"line 2: `candidate_ids` names 1 article\(s\) \(n9\) that .* lacks, in 1 line\(s\)"),
        ("u1,,n1,n2\nu1,,n1,N2\n", r"line 3: `explained_id` names 1 article\(s\) \(N2\).* Got 'N2'"),
        ("u1,n7 n8,n1,n2\n", r"`history_ids` names 2 article\(s\) \(n7, n8\)"),
        ("u1,\"['n1'\",n1,n2\n", r"`history_ids` is no list of ids in 1 line\(s\)"),
        (" ,,n1,n2\nu1,,n9,n2\n", r"line 2: `user_id` is empty in 1 line\(s\).*line 3: `candidate_ids`.*Mend the file"),
        ("u1,,n1,n1\n", "no target is left. Got 1 without another candidate"),
        ("", "only a header"),
    ],
)
def test_explained_candidates_that_cannot_be_meant(articles, write, lines, message):
    """One message with the first line and the count of each kind."""
    with pytest.raises(DataError, match=message):
        read_explained(write(EXPLAIN + lines), articles)


def test_explained_candidates_need_their_columns(articles, write):
    """The missing ones are named."""
    with pytest.raises(DataError, match="missing column.*`candidate_ids`, `explained_id`"):
        read_explained(write("user_id,history_ids\nu1,n1\n"), articles)


@pytest.fixture
def mind(tmp_path):
    """A MIND folder whose news.tsv has n1 to n3 and one article more."""
    titles = {"n1": "A", "n2": "B", "n3": "C", "n4": "D"}
    news = [f"{i}\tc\ts\t{title}\tbody\turl\t[]\t[]" for i, title in titles.items()]
    (tmp_path / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
    lines = [
        "1\tu1\t11/11/2019 9:00:00 AM\tn1 n4\tn2-0 n3-1 n4-1 n1-0",
        "2\tu2\t11/12/2019 9:00:00 AM\t\tn4-1",
        "3\tu3\t11/12/2019 9:00:00 AM\tn1\tn4-0 n2-0",
    ]
    (tmp_path / "behaviors.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_mind_clicks(articles, mind):
    """Each click against what was not clicked; articles that the run lacks stand behind its own."""
    found = read_log_targets(mind, articles)
    assert found.articles.ids == ("n1", "n2", "n3", "n4")
    assert found.articles.titles[3] == "D"
    assert ids(found.impressions, found.articles) == [["n3", "n2", "n1"], ["n4", "n2", "n1"]]
    assert [list(found.impressions.history[i]) for i in range(2)] == [[0, 3], [0, 3]]
    assert found.impressions.columns["day"] == ("2019-11-11", "2019-11-11")
    assert found.impressions.notes[0] == f"1 article(s) stand in {mind / 'news.tsv'} alone."
    assert found.impressions.notes[1] == "1 target(s) without other candidates are dropped."


def test_exposure_to_mind_users(articles, mind):
    """Impressions without a click count too."""
    targets = exposure(read_log_slates(mind, articles), "n4", "x")
    assert ids(targets.impressions, targets.articles) == [["n4", "n3", "n2", "n1"], ["n4", "n2"]]
    assert [label[0] for label in (targets.impressions.labels[0], targets.impressions.labels[1])] == [1, 0]


def test_mind_without_news_of_its_own(articles, mind):
    """The run's articles are then all there is."""
    (mind / "news.tsv").unlink()
    with pytest.raises(DataError, match=r"behaviors\.tsv, line 1: 1 unknown article id\(s\) in 3 .* Got `n4`"):
        read_log_targets(mind, articles)
    (mind / "behaviors.tsv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"behaviors\.tsv: the file is empty"):
        read_log_slates(mind, articles)


def test_articles_of_another_release_are_not_joined(articles, mind):
    """An id must mean the same article; texts split beforehand cannot be joined by texts that were not."""
    more = read_mind_news(mind / "news.tsv")
    assert joined(articles, replace(more, ids=more.ids[:3], titles=more.titles[:3])) is articles
    with pytest.raises(DataError, match=r"1 id\(s\) \(n2\) with other titles than in .*news_items.csv.*same release"):
        joined(articles, replace(more, titles=("A", "X", "C", "D")))
    with pytest.raises(DataError, match=r"1 article\(s\) are not in .*, whose texts were split beforehand"):
        joined(replace(articles, tokens={"title": (("a",), ("b",), ("c",))}), more)


def test_real_benchmarks(shared):
    """Honeypot targets are fake, real_only targets are real, and mixed is both together."""
    folder = shared / "data/upfd_politifact"
    articles = read_news_items(folder / "news_items.csv")
    files = {kind: folder / f"benchmarks/benchmark_{kind}.csv" for kind in ("mixed", "honeypot", "real_only")}
    targets = {kind: read_targets(path, articles) for kind, path in files.items()}
    assert np.all(targets["honeypot"].is_fake == 1)
    assert np.all(targets["real_only"].is_fake == 0)
    assert len(targets["mixed"]) == len(targets["honeypot"]) + len(targets["real_only"])
    assert len(targets["mixed"]) == len(read_pairwise(files["mixed"], articles))
