"""Articles that the table lacks: refused with how many, or gone on without as the user says, and counted."""

import csv

import pytest
from support import finished, tiny
from support.commands import fail, succeed

from rec_trak.config.reading import Reading
from rec_trak.data.sources import read_data
from rec_trak.errors import DataError

GONE = "n4"
NEWS = "".join(f"N{i}\tc\ts\tnews {i}\t\tu\t[]\t[]\n" for i in range(1, 6))
LINES = (
    "1\tU1\t11/9/2019 8:00:00 AM\tN1 X9 N2\tN3-1 N4-0\n"
    "2\tU2\t11/9/2019 8:00:00 AM\tN1\tN2-1 X8-0 N3-0\n"
    "3\tU3\t11/9/2019 8:00:00 AM\tN1\tX9-1 N3-0\n"
    "4\tU4\t11/9/2019 8:00:00 AM\tN1 N2\tN5-1 N4-0\n"
)


@pytest.fixture
def mind(tmp_path):
    """Two missing articles: in a history, among candidates, clicked; and a line without a gap."""
    (tmp_path / "news.tsv").write_text(NEWS)
    (tmp_path / "behaviors.tsv").write_text(LINES)
    return tmp_path


def told(folder, missing):
    """User, history and candidates of each row, and the notes."""
    articles, rows = read_data(folder, None, "train_clean", Reading(missing_articles=missing))
    names = [
        [articles.ids[a] for a in part] for i in range(len(rows)) for part in (rows.history[i], rows.candidates[i])
    ]
    return list(zip(rows.user_ids, names[::2], map(sorted, names[1::2]), strict=True)), rows.notes, articles


def test_mind_is_refused_with_how_many(mind):
    """How many articles and impressions, the first line, and the key that goes on without."""
    with pytest.raises(
        DataError, match=r"line 1: 2 unknown article id\(s\) in 3 impression\(s\). Got `X9`, `X8`"
    ) as error:
        read_data(mind, None, "train_clean")
    assert "`missing_articles` (drop_place, drop_row or blank)" in str(error.value)


def test_mind_goes_on_as_it_is_told(mind):
    """Without the places, without the impressions, or with articles of which nothing is known."""
    rows, notes, _ = told(mind, "drop_place")
    assert rows == [
        ("U1", ["N1", "N2"], ["N3", "N4"]), ("U2", ["N1"], ["N2", "N3"]), ("U4", ["N1", "N2"], ["N4", "N5"])
    ]  # fmt: skip
    assert notes[0] == "2 article(s) in 3 impression(s) are missing; they are left out."
    rows, notes, _ = told(mind, "drop_row")
    assert [user for user, _, _ in rows] == ["U4"]
    assert notes[0] == "2 article(s) in 3 impression(s) are missing; the impressions with them are left out."
    rows, notes, articles = told(mind, "blank")
    assert notes[-1] == "2 article(s) are missing; they are read as articles without text."
    assert rows[0] == ("U1", ["N1", "X9", "N2"], ["N3", "N4"])
    assert (len(rows), articles.ids[-2:], articles.titles[-2:]) == (4, ("X9", "X8"), ("", ""))


@pytest.fixture
def pairwise(tmp_path):
    """A tree whose table lacks one, the clicked article of some rows, in histories and among candidates of others."""
    data = tiny.write_tree(tmp_path / "data")
    before = read_data(data, None, "train_clean")
    path = data / "news_items.csv"
    with open(path, newline="", encoding="utf-8") as file:
        lines = [line for line in csv.reader(file) if line[0] != GONE]
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return data, *before


def test_pairwise_is_refused_with_how_many(pairwise):
    """Lines and rows of both columns."""
    data, _, _ = pairwise
    with pytest.raises(DataError, match=r"1 unknown article\(s\) in `\w+`, in \d+ line\(s\) of \d+ row\(s\). Got `n4`"):
        read_data(data, None, "train_clean")


def test_pairwise_goes_on_as_it_is_told(pairwise):
    """What is left is what was there less the article, or less every row with it; blank keeps all."""
    data, articles, rows = pairwise
    gone_at = articles.position[GONE]
    sides = [(rows.history[i].tolist(), rows.candidates[i].tolist()) for i in range(len(rows))]
    clicked = [shown[0] == gone_at or sum(a != gone_at for a in shown) < 2 for _, shown in sides]
    touched = [gone_at in read + shown for read, shown in sides]
    assert sum(touched) > sum(clicked) > 0
    for missing, gone in (("drop_place", clicked), ("drop_row", touched)):
        found, notes, _ = told(data, missing)
        assert [user for user, _, _ in found] == [u for u, out in zip(rows.user_ids, gone, strict=True) if not out]
        assert not any(GONE in history + shown for _, history, shown in found)
        assert notes[-1].startswith(f"1 article(s) are missing from the table: {sum(gone)} row(s) are left out")
    found, _, grown = told(data, "blank")
    assert len(found) == len(rows)
    assert grown.titles[grown.position[GONE]] == ""


def test_the_whole_job_goes_on(tmp_path):
    """featurize and score with `drop_place`; without it one line says what can be done."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    path = tmp_path / "data" / "news_items.csv"
    path.write_text("".join(line for line in path.open(newline="") if not line.startswith("n4,")))
    assert "missing_articles" in fail("featurize", "--config", str(tiny.write_config(tmp_path)))
    config = str(tiny.write_config(tmp_path, missing_articles="drop_place"))
    assert "are missing from the table" in succeed("featurize", "--config", config)
    assert "self-influence of" in succeed("score", "--config", config)
    results = tmp_path / "results" / "clean_train_clean"
    assert "rows go from" in succeed("clean", "--results_dir", str(results), "--top", "1", "--dry_run")
    assert not any(line["article_id"] == GONE for line in finished.read(results / "rows.csv"))


def test_header_lines_are_no_impressions_and_no_articles(mind):
    """In behaviors.tsv and in news.tsv; counted, or warned of."""
    head = "impression_id\tuser_id\ttime\thistory\timpressions\n"
    (mind / "behaviors.tsv").write_text(head + LINES.splitlines(keepends=True)[3])
    names = "id\tcategory\tsubcategory\ttitle\tabstract\turl\ttitle_entities\tabstract_entities\n"
    (mind / "news.tsv").write_text(names + NEWS)
    with pytest.warns(UserWarning, match=r"news.tsv, line 1: a header line is left out"):
        rows, notes, articles = told(mind, "refuse")
    assert notes[0] == "1 header line(s) are left out."
    assert len(rows) == 1
    assert articles.ids[0] == "N1"
    assert "category" not in articles.categories


@pytest.mark.parametrize("word", ["nan", "NULL", "None", ""])
def test_a_word_for_no_history_is_none(mind, word):
    """As other tools write a missing value; an article of that name would be read."""
    (mind / "behaviors.tsv").write_text(f"1\tU1\t11/9/2019 8:00:00 AM\t{word}\tN3-1 N4-0\n")
    rows, notes, _ = told(mind, "refuse")
    assert rows == [("U1", [], ["N3", "N4"])]
    assert (notes[:1] == ("1 history(ies) that say nan, NULL or the like are read as empty.",)) == bool(word)
    (mind / "news.tsv").write_text(NEWS + f"{word or 'x'}\tc\ts\tt\t\tu\t[]\t[]\n")
    assert told(mind, "refuse")[0][0][1] == ([word] if word else [])


@pytest.mark.parametrize(
    ("whens", "days", "note"),
    [
        (["11/9/2019 8:00:00 AM", "1/2/2019 x"], ["2019-11-09", "2019-01-02"], ""),
        (["9/11/2019 8:00:00", "15/11/2019 8:00:00"], ["2019-11-09", "2019-11-15"], "day/month/year"),
        (["15/11/2019", "11/15/2019", "2019-11-15 08:00:00"], ["", "", "2019-11-15"], "none of them is read"),
        (["2019-11-15T08:00:00", "noon"], ["2019-11-15", ""], ""),
    ],
)
def test_dates_are_judged_by_their_column(mind, whens, days, note):
    """Day first throughout where one says so; unread where they contradict each other."""
    lines = [f"{i}\tU{i}\t{when}\tN1\tN3-1 N4-0\n" for i, when in enumerate(whens)]
    (mind / "behaviors.tsv").write_text("".join(lines))
    _, rows = read_data(mind, None, "train_clean")
    assert list(rows.columns["day"]) == days
    assert any(note in one for one in rows.notes) or not note
