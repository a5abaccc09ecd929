"""Laws of targets: rows like train's, and only of recommendations that were clicked."""

import numpy as np
import pytest

from rec_trak.data.articles import read_news_items
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.targets import read_targets
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


def test_no_such_way_to_make_rows(articles, write):
    """`rows` is one of two words."""
    with pytest.raises(ConfigError, match="Got 'all'"):
        read_targets(write(HEADER + CLICKED), articles, rows="all")


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
