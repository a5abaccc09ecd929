"""A finished run as pandas tables: numbers as the files have them, titles, ids and units, in a notebook too."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from support import finished, page_world

import rec_trak
from rec_trak import frames
from rec_trak.errors import ConfigError, DataError
from rec_trak.trust.run import trust_run, write_trust

SET = "benchmark_mixed"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run; tests do not change it."""
    return rec_trak.open_run(finished.finished_run(tmp_path_factory.mktemp("tables"), members=2))


@pytest.mark.parametrize(("targets", "name"), [(None, "self_influence"), (SET, "influence")])
def test_influence_is_the_ranking(run, targets, name):
    """Law: rows, order and numbers are those of ranking_full.csv; each column of numbers has a unit."""
    table = rec_trak.influence(run, targets)
    folder = run.folder if targets is None else run.folder / "targets" / targets
    full = pd.read_csv(folder / "ranking_full.csv")
    assert table["row"].tolist() == full["sample_idx"].tolist()
    assert table["title"].tolist() == full["title"].tolist()
    assert table["user_id"].tolist() == full["user_id"].tolist()
    np.testing.assert_allclose(table[name], full["score"], rtol=1e-6)
    rows = pd.read_csv(folder / "rows.csv", keep_default_na=False)["history_read"]
    assert table["history_read"].tolist() == rows[table["row"]].tolist()
    assert table.attrs["units"][name] == "margin units"
    numbers = {column for column in table if table[column].dtype.kind in "if"}
    assert numbers == set(table.attrs["units"])
    assert run.influence(targets, top=3)["rank"].tolist() == [1, 2, 3]
    assert rec_trak.influence(run.folder, targets).equals(table)


def test_a_row_is_explained_as_the_script_does(run):
    """Law: parts add up to the influence on that target; of a file that is there, its numbers; nothing is written."""
    before = sorted(run.folder.rglob("*"))
    parts = run.explain(7, f"{SET}:2")
    ends = pd.concat([pd.read_csv(run.folder / "targets" / SET / f"{end}.csv") for end in ("proponents", "opponents")])
    line = ends[(ends["target"] == 2) & (ends["sample_idx"] == 7)]
    assert len(line) == 0 or parts["influence"].sum() == pytest.approx(line["score"].iloc[0], rel=1e-3)
    assert "clicked candidate" in parts["part"].tolist()
    assert parts.attrs["title"].startswith("Row 7, user u")
    assert [path for path in sorted(run.folder.rglob("*")) if path not in before and "margins" not in path.name] == []


def test_trust_is_read_or_judged(run):
    """Law: the same verdicts, whether trust.py has been run or not; of other scores none is told."""
    judged = rec_trak.trust(run)
    told = trust_run(run.folder)
    assert judged["verdict"].tolist() == [one["verdict"] for one in told["rankings"]]
    paths = write_trust(run.folder, told)
    assert rec_trak.trust(run.folder).equals(judged)
    for path in paths:
        path.unlink()


def test_sums(run):
    """Law: by_*.csv with numbers as numbers; what there is not is answered with what there is."""
    table = rec_trak.groups(run, "user", SET)
    file = pd.read_csv(run.folder / "targets" / SET / "by_user.csv")
    np.testing.assert_allclose(table["sum"], file["sum"])
    assert table["rows"].sum() == len(run.results.scores)
    assert table.attrs["units"]["sum"] == "margin units, over the rows of the group"
    with pytest.raises(ConfigError, match=r"groups: no such sums in .*Got 'colour', expected one of article"):
        run.groups("colour")


def test_names_that_mean_nothing_are_refused(run):
    """Law: each says what there is."""
    with pytest.raises(ConfigError, match="targets not scored. Got 'other'"):
        run.influence("other")
    with pytest.raises(ConfigError, match="explain: not a target. Got 'mixed', expected its set, a colon"):
        run.explain(1, "mixed")
    with pytest.raises(ConfigError, match="no such row. Got 99"):
        run.explain(99, f"{SET}:0")
    for top in (0, True, 1.5):
        with pytest.raises(ConfigError, match="influence: `top` is no number of rows"):
            run.influence(top=top)
    with pytest.raises(DataError, match="not a finished run"):
        rec_trak.open_run(run.folder / "targets")


def test_a_notebook_shows_text_as_text(tmp_path):
    """Law: no headline is markup or turns its neighbours round; title, units and a bounded number of rows are shown."""
    run = rec_trak.open_run(page_world.write_everything(tmp_path)[0])
    html = run.influence("<s>promoted")._repr_html_()
    assert "<script" not in html
    assert "<s>" not in html
    assert "&lt;/script&gt;" in html
    assert "\u202e" not in html
    assert html.count("<tr") == 1 + frames.SHOWN
    assert "(the first 20 of 40)" in html
    assert "<i>influence</i>: margin units" in html
    assert "<s>" not in run._repr_html_()
    assert "40 by 8 users" in run._repr_html_()
    assert isinstance(run.influence().head(3), frames.Table)
    assert run.influence().head(3).attrs["units"]


@pytest.mark.long
@pytest.mark.parametrize("first", ["import rec_trak.trust.run", "pass"])
def test_trust_is_a_package_and_a_function(first):
    """Law: whichever is used first, `rec_trak.trust(...)` is called and `rec_trak.trust.run` imported."""
    code = f"{first}\nfrom rec_trak import trust\nimport rec_trak.trust.run as module\nassert callable(trust)\n" \
           "assert module.trust_run\n" \
           "try:\n    trust('nowhere')\nexcept Exception as error:\n    print(error)"  # fmt: skip
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("nowhere: not a finished run")
