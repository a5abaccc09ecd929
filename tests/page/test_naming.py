"""Users and articles of a page: who has a section, what it adds up to, and that links lead there and back."""

import re
from html import unescape
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from support import page_world

from rec_trak.errors import DataError
from rec_trak.page.naming import CLICKS, Names, names_of, people, shelf, sums_by_article
from rec_trak.page.page import write_page
from rec_trak.page.rows import SHORT, known_titles
from rec_trak.page.tables import shown
from rec_trak.runs.finished import open_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a target set; tests do not change it."""
    return page_world.write_everything(tmp_path_factory.mktemp("naming"))[0]


def test_the_first_mentioned_have_a_section():
    """Law: what the first screen names comes first, then cards in their order, each once, others have none."""
    cards = [{"user_id": f"u{i % 70}", "article_id": "a", "row": i % 80} for i in range(90)]
    names = names_of(cards, ["b"], ["u69"])
    assert names.articles == {"b": "article-0", "a": "article-1"}
    assert list(names.users)[:3] == ["u69", "u0", "u1"]
    assert len(names.users) == 60
    assert (names.place("user", "u0"), names.place("user", "u68")) == ("user-1", "")
    assert [card["anchor"] for card in cards] == [f"row-{i}" for i in range(80)] + [""] * 10
    assert (names.place("row", "79"), names.place("row", "80")) == ("row-79", "")


def test_readers_are_counted_in_whole_numbers(tmp_path):
    """Law: a cell of the sums by history that is no number is told by its file."""
    folder = page_world.write_run(tmp_path / "run")
    for rows in ("1,0.5", ",0.5"):
        (folder / "by_history_article.csv").write_text(f"article_id,rows,sum\nn0,{rows}\n", encoding="utf-8")
        page_world.claim(folder)
        opened = open_run(folder)
        told = (opened, opened.results, Names({}, {"n0": "article-0"}), {})
        if rows.startswith("1"):
            assert shelf(*told)[0]["readers"] == 1
    with pytest.raises(DataError, match=r"by_history_article\.csv: cannot be read \(.*\)\. Run scripts/score.py again"):
        shelf(*told)


def test_sections_add_up(run):
    """Law: clicks, sum, mean and order of a user and of an article, against pandas; own and target's numbers apart."""
    opened = open_run(run)
    results, primary = opened.results, opened.target_set()
    names = Names({u: f"user-{i}" for i, u in enumerate(results.rows["user_id"].unique())},
                  {a: f"article-{i}" for i, a in enumerate(results.rows["article_id"].unique())})  # fmt: skip
    table = results.rows.whole().assign(score=primary.scores.astype(float), own=results.scores.astype(float))
    ranks = table["score"].rank(ascending=False).astype(int)
    for told, column in (
        (people(results, primary, names, {}), "user_id"),
        (shelf(opened, primary, names, {}), "article_id"),
    ):
        for one, (key, place) in zip(
            told, (names.users if column == "user_id" else names.articles).items(), strict=True
        ):
            mine = table[table[column] == key].sort_values("score", ascending=False)
            assert (one["place"], one["clicks"], one["more"]) == (place, len(mine), max(0, len(mine) - CLICKS))
            assert one["sum"] == pytest.approx(mine["score"].sum())
            assert [line["row"] for line in one["rows"]] == mine["sample_idx"].tolist()[:CLICKS]
            assert [line["own"] for line in one["rows"]] == mine["own"].tolist()[:CLICKS]
            assert [line["rank"] for line in one["rows"]] == ranks[mine.index].tolist()[:CLICKS]
    sums = sums_by_article(primary)
    assert sums["sum"].is_monotonic_decreasing
    np.testing.assert_allclose(sums["sum"].sum(), primary.scores.astype(float).sum())


def test_links_lead_to_the_article_its_clicks_a_user_and_back(run):
    """Law: every link inside the page has its place, and from the first article a reader comes to a user and back."""
    text = write_page(run).path.read_text(encoding="utf-8")
    places = re.findall(r'\sid="([^"]+)"', text)
    assert len(places) == len(set(places))
    links = set(re.findall(r'href="#([^"]*)"', text))
    assert links - set(places) == set()
    top = text[text.index('id="lines"') : text.index("<nav")]
    article = re.search(r'href="#(article-\d+)"', top)[1]
    section = re.search(rf'<details[^>]* id="{article}".*?</table>', text, re.DOTALL)[0]
    user = re.search(r'href="#(user-\d+)"', section)[1]
    back = re.search(rf'<details[^>]* id="{user}".*?</table>', text, re.DOTALL)[0]
    assert f'href="#{article}"' in back


def test_files_are_links_where_the_page_lies_beside_them(run, tmp_path):
    """Law: each links to a file that is there, whatever its name; a page elsewhere names files and links to none."""
    text = write_page(run).path.read_text(encoding="utf-8")
    links = [unquote(link) for link in re.findall(r'href="\./([^"]*)"', text)]
    assert {"rows.csv", "targets/<s>promoted/proponents.csv", "targets/<s>promoted/by_article.csv"} <= set(links)
    missing = [link for link in links if not (run / link).is_file()]
    assert missing == []
    elsewhere = write_page(run, output=tmp_path / "page.html").path.read_text(encoding="utf-8")
    assert 'href="./' not in elsewhere


def test_what_a_click_was_preferred_to(tmp_path):
    """Law: the other candidates stand by the click, with their headlines and classes, as text."""
    run = page_world.write_run(tmp_path / "run")
    table = pd.read_csv(run / "rows.csv", dtype=str, keep_default_na=False)
    first = table.iloc[int(np.argmax(np.load(run / "trak_scores.npy")))]
    text = write_page(run).path.read_text(encoding="utf-8")
    titles = known_titles(open_run(run))
    others = text[text.index("preferred to 2 others") :].split("</details>")[0]
    for article in first["other_candidates"].split():
        assert (shown(titles[article][0], SHORT) or shown(article, 60)) in unescape(others)
