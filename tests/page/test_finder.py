"""The index of all rows: it says what the run says, in few bytes, and a long log's stands in a second file."""

import base64
import json
import zlib

import numpy as np
import pandas as pd
import pytest
from support import page_world

from rec_trak.page import page as page_module
from rec_trak.page.finder import MOST, row_index, size
from rec_trak.page.naming import Names
from rec_trak.page.page import write_page
from rec_trak.page.rows import known_titles
from rec_trak.page.tables import shown
from rec_trak.results.files import Results
from rec_trak.results.lines import Lines
from rec_trak.runs.finished import open_run
from rec_trak.words import headline_text

NOBODY = Names({}, {})


def unpacked(index: dict) -> dict:
    """What a browser makes of it."""
    raw = {name: zlib.decompress(base64.b64decode(part)) for name, part in index.items()}
    kinds = {"user": "<u4", "article": "<u4"}
    return {name: json.loads(part) if name == "texts" else np.frombuffer(part, kinds.get(name, "<f4"))
            for name, part in raw.items()}  # fmt: skip


def test_every_row_stands_in_the_index(tmp_path):
    """Law: user, article, headline, class and both scores of each row, to more digits than are shown."""
    run = open_run(page_world.write_everything(tmp_path)[0])
    told = run.target_set()
    found = unpacked(row_index(run.results, [told], known_titles(run), Names({"<u>3</u>": "user-7"}, {})))
    texts = found["texts"]
    assert texts["rows"] == page_world.N
    assert texts["scores"] == ["self-influence", "influence on <s>promoted"]
    rows = run.results.rows
    assert [texts["users"][i][0] for i in found["user"]] == rows["user_id"].tolist()
    assert [texts["articles"][i][0] for i in found["article"]] == rows["article_id"].tolist()
    assert [texts["articles"][i][1] for i in found["article"]] == [shown(headline_text(t), 180) for t in rows["title"]]
    assert [texts["articles"][i][2] for i in found["article"]] == rows["label"].tolist()
    assert {at for name, at in texts["users"] if name == "<u>3</u>"} == {"user-7"}
    for name, scores in (("score0", run.results.scores), ("score1", told.scores)):
        np.testing.assert_allclose(found[name], scores, rtol=2**-12)


@pytest.mark.long
def test_a_quarter_of_a_million_rows_fit(tmp_path):
    """Law: at MIND-small's size (236,344 rows, 50,000 users, 7,700 articles clicked) the index is below MOST bytes."""
    rng = np.random.default_rng(0)
    n = 236_344
    user, article = rng.integers(0, 50_000, n), np.minimum(rng.zipf(1.3, n), 7_700) - 1
    rows = pd.DataFrame({"user_id": [f"U{i * 37 % 99991}" for i in user], "article_id": [f"N{i}" for i in article]})
    results = Results(tmp_path, rng.gamma(0.3, size=n).astype(np.float32), np.full(n, -1), Lines.of(rows), {})
    told = Results(tmp_path / "set", rng.standard_t(3, n).astype(np.float32), np.full(n, -1), Lines.of(rows), {})
    words = [f"word{i}" for i in range(3000)]
    titles = {f"N{i}": (" ".join(rng.choice(words, 10)), "") for i in range(7_700)}
    assert size(row_index(results, [told], titles, NOBODY)) < MOST


@pytest.mark.parametrize("most", [0, MOST])
def test_a_long_log_has_a_second_file(tmp_path, monkeypatch, most):
    """Law: the index stands in the page, or alone in a file beside it that links back; never in both."""
    monkeypatch.setattr(page_module, "MOST", most)
    run = page_world.write_run(tmp_path / "run")
    page = write_page(run)
    text, second = page.path.read_text(encoding="utf-8"), run / "report_rows.html"
    assert (second in page.others) == second.exists() == (most == 0)
    assert ('id="rows">' in text) == ('id="finder"' in text) == (most > 0)
    if second.exists():
        other = second.read_text(encoding="utf-8")
        assert 'href="./report_rows.html"' in text
        assert 'href="./report.html"' in other
        assert 'id="rows">{' in other
        assert "default-src 'none'" in other
