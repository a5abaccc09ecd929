"""Laws of reading pairwise lines: any list that Python writes is read, and real files give the rows of the old code."""

import re

import numpy as np
import pandas as pd
import pytest

from rec_trak.data.articles import read_news_items
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.pairwise import parse_list


def lines_of(source):
    """The CSV lines that a source such as "2-4,9" names."""
    spans = [[int(end) for end in span.split("-")] for span in source.split(",")]
    return [line for span in spans for line in range(span[0], span[-1] + 1)]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        ["a"],
        ["it's", 'a "b"'],
        ["a, 'b'", "[c]"],
        ["back\\slash", "new\nline", "tab\t"],
        ["é", "'\""],
        ["", "', '"],
    ],
)
def test_any_list_that_python_writes_is_read_back(entries):
    """`parse_list` undoes `str(list)`, also with other spacing."""
    assert parse_list(str(entries)) == entries
    assert parse_list(" , ".join(map(repr, entries)).join(("[ ", " ]"))) == entries


LONG = (f"[{'9' * 5000}]", f"[0x{'f' * 5000}]", "[" * 5000)


@pytest.mark.parametrize(
    "string", ["", "nan", "a", "['a'", "['a' 'b]", "('a',)", "{'a'}", "[None]", "[True]", "[[1]]", "[x]", *LONG]
)
def test_what_is_no_list_of_names(string):
    """Anything else is no list; nothing in it is ever run."""
    assert parse_list(string) is None


@pytest.mark.parametrize("path", ["data/upfd_politifact", "fixtures/data"])
@pytest.mark.parametrize("name", ["train_clean", "train_poisoned"])
def test_real_rows_are_pandas_groups(shared, path, name):
    """On real files, row by row: order, user, history, candidates, labels and lines are those of pandas' groupby."""
    articles = read_news_items(shared / path / "news_items.csv")
    rows = read_pairwise(shared / path / "models" / f"{name}.csv", articles)
    groups = pd.read_csv(shared / path / "models" / f"{name}.csv").groupby(["user_id", "history_titles"])
    assert len(rows) == groups.ngroups
    for i, ((user, _), frame) in enumerate(groups):
        frame = pd.concat([frame[frame.label == 1], frame[frame.label == 0]])
        assert rows.user_ids[i] == user
        assert [articles.ids[a] for a in rows.candidates[i]] == frame.candidate_id.tolist()
        assert list(rows.labels[i]) == frame.label.tolist()
        assert rows.is_fake[i] == frame.candidate_is_fake.iloc[0]
        assert str([articles.ids[a] for a in rows.history[i]]) == frame.history_ids.iloc[0]
        assert lines_of(rows.sources[i]) == sorted(frame.index + 2)  # no quoted newline in these files


@pytest.mark.parametrize("name", ["train_clean", "train_poisoned", "train_corrected"])
def test_rows_of_other_code_are_these_rows(shared, name):
    """Place, user, history, candidates in order, and CSV rows are those that the existing training code recorded."""
    articles = read_news_items(shared / "fixtures/data/news_items.csv")
    rows = read_pairwise(shared / f"fixtures/data/models/{name}.csv", articles)
    endings = {"train_clean": "_clean.npz", "train_poisoned": "_poisoned.npz", "train_corrected": "_on_corrected.npz"}
    files = [f for f in (shared / "fixtures/expected/plm4newsrs").iterdir() if f.name.endswith(endings[name])]
    assert files
    for file in files:
        said = np.load(file)
        clicked = said["has_positive"] if "has_positive" in said else np.ones(len(said["label"]), dtype=bool)
        for k, i in enumerate(said["dataset_index"]):
            history, order = said["history_ids"][k], said["candidate_ids"][k].tolist()
            target = order.pop(int(said["label"][k]))  # label 1 where there is no click
            assert rows.user_ids[i] == said["user_id"][k]
            assert [articles.ids[a] for a in rows.history[i]][: len(history)] == history.tolist()
            assert [articles.ids[a] for a in rows.candidates[i]] == [target, *order]
            assert rows.labels[i].tolist() == [int(clicked[k]), 0, 0, 0, 0]
            assert lines_of(rows.sources[i]) == sorted(said["csv_rows"][k] + 2)
    if name == "train_corrected":
        assert not clicked.all()
        assert re.match(r"60 impression\(s\) without a click are kept", rows.notes[0])
