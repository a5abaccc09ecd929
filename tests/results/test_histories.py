"""What the model read of each row: the file says it, whatever the model cuts and pads, and so does an older run's."""

import json

import numpy as np
import pandas as pd
import pytest
from support import finished, tiny

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.results.files import read_results
from rec_trak.results.histories import articles_table, histories_read
from rec_trak.results.lines import Lines


def read(rows: Lines, model: dict | None) -> list[list[str] | None]:
    return list(histories_read(rows, model))


def read_of(folder, **model) -> Lines:
    """rows.csv of a run whose model reads three articles of a history."""
    tiny.write_tree(folder / "data")
    tiny.write_models(folder / "runs", folder / "data", max_history=3, **model)
    results = read_results(finished.score(folder))
    assert read(results.rows, results.metadata["model"]) == [t.split() for t in results.rows["history_read"]]
    return results.rows


@pytest.mark.parametrize("kept", ["first", "last"])
def test_rows_say_what_was_read_in_order(tmp_path, kept):
    """Law: the first, or the last, so many ids of the log's history; ranking CSVs do without the column."""
    rows = read_of(tmp_path, history_truncation=kept)
    assert max(len(history.split()) for history in rows["history_ids"]) > 3
    for history, read in zip(rows["history_ids"], rows["history_read"], strict=True):
        ids = history.split()
        assert read.split() == (ids[:3] if kept == "first" else ids[-3:])
    ranking = next(tmp_path.rglob("ranking_full.csv"))
    assert "history_read" not in pd.read_csv(ranking).columns


def test_padding_is_nothing_that_was_read(tmp_path):
    """Law: places that hold no article have no id; of a history padded from the left and cut, only what is left."""
    rows = read_of(tmp_path, history_truncation="last", history_padding="left_cut")
    for history, read in zip(rows["history_ids"], rows["history_read"], strict=True):
        ids = history.split()[-3:]
        assert read.split() == ([None] * (3 - len(ids)) + ids)[: max(len(ids), 1)][3 - len(ids) :]


def test_a_run_from_before_it_was_told():
    """Law: the model's settings say it; where nothing does, nothing is claimed."""
    rows = Lines.of(pd.DataFrame({"history_ids": ["a b c", "", "a"]}))
    assert read(rows, {"max_history": 2, "history_truncation": "last"}) == [["b", "c"], [], ["a"]]
    assert read(rows, {"max_history": 2, "history_truncation": "first"}) == [["a", "b"], [], ["a"]]
    for silent in (None, {}, {"max_history": 2}, {"max_history": "2", "history_truncation": "last"},
                   {"max_history": 2, "history_truncation": "last", "history_padding": "left_cut"}):  # fmt: skip
        assert read(rows, silent) == [None] * 3


def test_every_article_that_a_row_shows_has_its_headline_and_class():
    """Law: clicked or not, in a history or among candidates; the log's word on a clicked one counts."""
    texts = ("a", "b", "two\nlines", "d", "never shown")
    articles = Articles(tuple("abcde"), texts, texts, ("x",) * 5, texts, np.array([1, -1, 0, -1, 1], np.int8), "s")
    rows = Impressions(
        np.array(["u", "v"], dtype=object), Ragged.of([[2], [5]]), Ragged.of([[3, 0], [1, 0]]),
        Ragged.of([[1, 0], [1, 0]]), np.array([1, -1], np.int8), ("1", "2"))  # fmt: skip
    table = articles_table(rows, articles).set_index("article_id")
    assert table["title"].to_dict() == {"a": "a", "b": "b", "c": "two lines", "d": "d"}
    assert table["label"].to_dict() == {"a": "fake", "b": "unknown", "c": "real", "d": "fake"}
    assert table["clicks"].to_dict() == {"a": 0, "b": 1, "c": 0, "d": 1}


def test_score_and_targets_leave_the_articles_they_show(tmp_path):
    """Law: a run's articles.csv has what its rows show, a set's what its targets do."""
    folder = finished.finished_run(tmp_path)
    for place, file in ((folder, "rows.csv"), (folder / "targets" / "benchmark_mixed", "targets.csv")):
        shown = pd.read_csv(place / file, dtype=str, keep_default_na=False)
        ids = set(" ".join([*shown["history_ids"], *shown["article_id"], *shown["other_candidates"]]).split())
        assert set(pd.read_csv(place / "articles.csv")["article_id"]) == ids
        assert json.loads((place / "belongs.json").read_text())["articles.csv"]
