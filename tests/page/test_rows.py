"""What a list says of a row: the headlines that the model read, all of them and no others, with their classes."""

import numpy as np
import pandas as pd
import pytest
from support import page_world

from rec_trak.page.page import write_page
from rec_trak.page.rows import READ, UNREAD, card, known_titles
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run


def change(run, **columns):
    """rows.csv with these columns."""
    table = pd.read_csv(run / "rows.csv", dtype=str, keep_default_na=False)
    table.assign(**columns).to_csv(run / "rows.csv", index=False)
    page_world.claim(run)


def headlines(items) -> list[str]:
    return [item["title"] for item in items]


@pytest.mark.parametrize(
    ("model", "read", "unread"),
    [
        (page_world.model(3, "first"), "abc", 5),
        (page_world.model(3, "last"), "fgh", 5),
        (page_world.model(50, "last"), "abcdefgh", 0),
        (None, "abcdefgh", 0),
    ],
)
def test_what_was_read_and_nothing_else(tmp_path, model, read, unread):
    """Law: the articles that the model reads, in order, old ones folded and none lost; the others apart, in order."""
    run = page_world.write_run(tmp_path / "run", model=model)
    change(run, history_ids=" ".join("abcdefgh"))
    told = card(read_results(run), 0, 1.0, 1.0, {name: (f"headline {name}", "") for name in "abcdefgh"})
    assert headlines(told["earlier"] + told["read"]) == [f"headline {name}" for name in read]
    assert len(told["read"]) == min(READ, len(read))
    assert (told["unread"], told["told"]) == (unread, model is not None)
    assert headlines(told["skipped"]) == [f"headline {name}" for name in "abcdefgh" if name not in read]


def test_the_column_of_rows_csv_counts(tmp_path):
    """Law: what the run wrote down goes before what its settings say."""
    run = page_world.write_run(tmp_path / "run", model=page_world.model(3, "first"))
    change(run, history_ids="a b c d", history_read="b d")
    told = card(read_results(run), 0, 1.0, 1.0, {})
    assert (headlines(told["read"]), told["unread"]) == (["b", "d"], 2)
    assert headlines(told["skipped"]) == ["a", "c"]
    text = write_page(run).path.read_text(encoding="utf-8")
    assert '<summary>2 more that the model does not read</summary><ul aria-label="Not read by the model">' in text
    assert f"The model reads {2 * page_world.N} of the {4 * page_world.N} articles that histories hold" in text
    assert f"<bdi>a</bdi>: {page_world.N} times" in text


def test_very_long_histories_are_cut_and_say_so(tmp_path):
    """Law: of what is not read the first UNREAD headlines are listed, and the rest counted."""
    run = page_world.write_run(tmp_path / "run", model=page_world.model(2, "last"))
    change(run, history_ids=" ".join(f"a{i}" for i in range(UNREAD + 9)))
    told = card(read_results(run), 0, 1.0, 1.0, {})
    assert (told["unread"], headlines(told["skipped"])) == (UNREAD + 7, [f"a{i}" for i in range(UNREAD)])
    assert "and 7 more, in <code>rows.csv</code>" in write_page(run, output=tmp_path).path.read_text(encoding="utf-8")


def test_articles_that_nobody_clicked_have_headline_and_mark(tmp_path):
    """Law: articles.csv names what is only in histories; a class that nobody knows is none."""
    run = page_world.write_run(tmp_path / "run", model=page_world.model(3, "first"))
    change(run, history_ids="new1 new2")
    table = pd.DataFrame({"article_id": ["new1", "new2"], "title": ["<b>A lie</b>", "Some news"],
                          "label": ["fake", "unknown"], "category": "", "clicks": 0})  # fmt: skip
    table.to_csv(run / "articles.csv", index=False)
    page_world.claim(run)
    titles = known_titles(open_run(run))
    assert (titles["new1"], titles["new2"]) == (("<b>A lie</b>", "fake"), ("Some news", ""))
    text = write_page(run).path.read_text(encoding="utf-8")
    assert '<bdi>&lt;b&gt;A lie&lt;/b&gt;</bdi> <span class="class class-fake">fake</span>' in text


def test_without_labels_the_page_does_not_speak_of_classes(tmp_path):
    """Law: no mark, column, table, sentence or file of classes where nobody said what is fake."""
    run = page_world.write_run(tmp_path / "run", fake=np.full(len(page_world.HOSTILE), -1, np.int8))
    page_world.write_groups(run)
    page_world.claim(run)
    page = write_page(run)
    text = page.path.read_text(encoding="utf-8")
    body, *scripts = text[text.index("<body>") :].split('<script type="application/json"')
    assert len(scripts) == 2
    assert "unknown" not in body + "".join(script.split("</script>")[0] for script in scripts)
    assert "class of" not in body
    assert not (run / "classes.csv").exists()
    page_world.write_run(tmp_path / "labelled")
    write_page(tmp_path / "labelled")
    assert (tmp_path / "labelled" / "classes.csv").exists()
