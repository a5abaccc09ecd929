"""What the page tells, section by section: lists, single targets, agreement, comparison, against plain numpy."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import page_world
from support.marked import sum_again

from rec_trak.comparison import run as run_module
from rec_trak.comparison.run import compare_runs, write_comparison
from rec_trak.errors import DataError
from rec_trak.page import sections
from rec_trak.page import targets as page_targets
from rec_trak.page.compared import compared
from rec_trak.page.page import write_page
from rec_trak.page.rows import strongest, top_share
from rec_trak.page.sections import agreement, told
from rec_trak.page.targets import single_targets
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """A run with everything in it, and its comparison; tests do not change them."""
    return page_world.write_everything(tmp_path_factory.mktemp("sections"))


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of one checkpoint and nothing besides, for tests that change it."""
    return page_world.write_run(tmp_path / "run")


def test_lists_hold_the_right_sign_and_order(folders):
    """Law: proponents are the highest positive rows, opponents the lowest negative ones, strongest first."""
    results = read_results(next((folders[0] / "targets").iterdir()))
    titles = {}
    up, down = strongest(results, titles), strongest(results, titles, lowest=True)
    ordered = sorted(results.scores.tolist())
    assert [row["score"] for row in up] == [x for x in ordered[::-1] if x > 0][:10]
    assert [row["score"] for row in down] == [x for x in ordered if x < 0][:10]
    assert up[0]["width"] == down[0]["width"] == 100
    assert up[0]["user"] == results.rows["user_id"].iloc[int(np.argmax(results.scores))]


def test_single_targets_are_those_one_click_influences_most(folders):
    """Law: three targets by the score of their first proponent, each with five rows an end, as their files say."""
    results = read_results(next((folders[0] / "targets").iterdir()))
    found = single_targets(results, {})
    assert [one["number"] for one in found] == [3, 2, 1]
    assert [one["margin"] for one in found] == [2.0, 0.0, -1.0]
    best = np.sort(results.scores.astype(float))[::-1][:5]
    assert [row["score"] for row in found[0]["proponents"]] == pytest.approx((4 * best).tolist(), rel=1e-6)
    assert [len(one["opponents"]) for one in found] == [5, 5, 5]


def test_files_of_a_target_set_must_go_together(folders, tmp_path):
    """Law: a list that names a row or a target that is not there is refused; without the lists there are no targets."""
    shutil.copytree(next((folders[0] / "targets").iterdir()), tmp_path / "set")
    (tmp_path / "set" / "targets.csv").write_text("target,title\n0,x\n")
    sum_again(tmp_path / "set", "targets.csv")
    with pytest.raises(DataError, match=r"set: its files do not go together\. Got KeyError"):
        single_targets(read_results(tmp_path / "set"), {})
    (tmp_path / "set" / "proponents.csv").unlink()
    assert single_targets(read_results(tmp_path / "set"), {}) == []


def test_figures_and_tables_of_the_page_stand_beside_it(folders, members, tmp_path):
    """Law: what no other script writes is written as PNG and CSV too: curves, classes, agreement."""
    names = {path.name for path in write_page(*folders, tmp_path / "out").others}
    assert names == {"classes.csv", "detection_curves.png"}
    assert {path.name for path in write_page(members[0]).others} == {"classes.csv", "member_agreement.csv"}
    classes = pd.read_csv(tmp_path / "out" / "classes.csv")
    assert classes["rows"].tolist() == [14, 26]


def test_concentration():
    """Law: the share of the first rows is of positive scores alone: 1 of 1 + 3 here; 0 where none is positive."""
    assert top_share(np.array([1.0, 3.0, -5.0]), 1) == pytest.approx(0.75)
    assert top_share(np.array([-1.0, 0.0]), 1) == 0


def test_a_ranking_without_a_positive_score_says_so(run):
    """Law: no sentence divides by nothing."""
    results = read_results(run)
    object.__setattr__(results, "scores", -np.abs(results.scores))
    assert told(results, "influence", "rows") == ["No click has a positive influence."]
    scores = np.full(page_world.N, -1.0)
    scores[[1, 3]] = 2.0, 1.0  # row 3 clicks a fake article
    few = told(dataclasses.replace(results, scores=scores), "influence", "proponents")
    assert few[0].startswith("1 of the 2 proponents click a fake article")


@pytest.fixture
def members(run) -> tuple[Path, list[np.ndarray]]:
    """The run again, of two members whose save directory is there; and the scores of each by ten lines of numpy."""
    rng, own, h, q = np.random.default_rng(5), [], [], []
    for member in range(2):
        (run / "store" / str(member)).mkdir(parents=True)
        phi, residual = (rng.random(shape).astype(np.float32) for shape in ((page_world.N, 6), (page_world.N, 1)))
        for name, values in (("grads", phi), ("out_to_loss", residual)):
            with open(run / "store" / str(member) / f"{name}.mmap", "wb") as file:
                np.save(file, values)
        wide = phi.astype(np.float64)
        xtx = wide.T @ wide
        ridge = np.trace(xtx) / 6
        h.append(np.einsum("nk,nk->n", wide @ np.linalg.inv(xtx + ridge * np.eye(6)), wide))
        q.append(residual[:, 0].astype(np.float64))
        own.append(h[-1] * q[-1])
    page_world.write_run(run, np.mean(h, axis=0) * np.mean(q, axis=0), members=2, save_dir=str(run / "store"))
    features = page_world.SETTINGS["features"] | page_world.SETTINGS["rows"]
    manifest = {"format": 1, "models": {"0": "digest0", "1": "digest1"}, "features": features, "targets": {}}
    (run / "store" / "rec_trak.json").write_text(json.dumps(manifest))
    return run, own


def test_members_agree_as_numpy_says(members):
    """Law: agreement is the rank correlation of Q h, with h by ten lines of numpy."""
    folder, scores = members
    expected = pd.Series(scores[0]).corr(pd.Series(scores[1]), method="spearman")
    found = agreement(open_run(folder))
    assert found["mean"] == pytest.approx(expected, abs=1e-6)
    assert [pair["value"] for pair in found["pairs"]] == [found["mean"]]
    write_page(folder)
    assert f"mean {expected:.3f}" in (folder / "report.html").read_text(encoding="utf-8")


def test_without_a_fitting_store_agreement_says_why(members, monkeypatch):
    """Law: another run's gradients, gradients that are gone, or too many of them give a reason, not a number."""
    run = open_run(members[0])
    monkeypatch.setattr(sections, "AFFORDABLE", 1.0)
    assert "would take too long" in agreement(run)["reason"]
    manifest = members[0] / "store" / "rec_trak.json"
    manifest.write_text(manifest.read_text().replace("digest1", "other"))
    assert "made by another run, checkpoint 1 differs" in agreement(run)["reason"]
    manifest.unlink()
    assert "no gradients there" in agreement(run)["reason"]


def test_a_comparison_must_be_of_this_run(folders, run, tmp_path):
    """Law: a folder without a comparison, and one of other runs, are refused."""
    with pytest.raises(DataError, match=r"no comparison\. Got no rank_shift\.csv.*Run scripts/compare\.py"):
        write_page(run, tmp_path)
    page_world.write_run(run, seed=9)
    with pytest.raises(DataError, match=r"compared: of other runs\. Got no side with this run's scores"):
        write_page(run, folders[1])
    (tmp_path / "rank_shift.csv").write_text("shift\n1\n")
    (tmp_path / "comparison_stats.json").write_text("{}")
    with pytest.raises(DataError, match=r"no comparison\. Got KeyError 'clean_model'"):
        write_page(run, tmp_path)


@pytest.fixture
def kinds(tmp_path) -> tuple[Path, Path]:
    """A clean and a poisoned run that tell Q and leverage."""
    folders = page_world.write_run(tmp_path / "clean", seed=2), page_world.write_run(tmp_path / "poisoned")
    for folder in folders:
        rows = pd.read_csv(folder / "rows.csv", dtype=str, keep_default_na=False)
        scores = np.load(folder / "trak_scores.npy")
        rows.assign(q=scores, leverage=-scores).to_csv(folder / "rows.csv", index=False)
        page_world.claim(folder)
    return folders


def section(page: Path) -> str:
    """The page's part on clean and poisoned."""
    text = page.read_text(encoding="utf-8")
    return text[text.index('<section id="comparison">') : text.index('<section id="analysed">')]


def test_the_comparison_tells_parts_band_and_movers(kinds, tmp_path, monkeypatch):
    """Law: the page says what rank_shift.csv and comparison_stats.json say, each mover with shift, parts and mark."""
    null = {"reason": None, "notes": [], "level": 0.95, "band": 40.0, "halves": {"clean": {}, "poisoned": {}},
            "member_shift": {"clean": 10.0, "poisoned": 12.0, "across": 20.0}}  # fmt: skip
    monkeypatch.setattr(run_module, "null_band", lambda *runs: null)
    comparison = compare_runs(*kinds)
    write_comparison(comparison, tmp_path / "compared")
    content = compared(tmp_path / "compared", read_results(kinds[1]), {})
    up, down = (one["lines"] for one in content["lists"])
    assert [line["shift"] for line in up] == comparison.table["shift"].head(10).tolist()
    assert [line["shift"] for line in down] == comparison.table["shift"].tail(10)[::-1].tolist()
    assert [line["q_shift"] for line in up] == [line["shift"] for line in up]
    assert [line["leverage_shift"] for line in up] == [-line["shift"] for line in up]
    assert {line["beyond"] for line in up + down if abs(line["shift"]) > 40} == {"yes"}
    assert {line["beyond"] for line in up + down if abs(line["shift"]) <= 40} <= {"no"}
    assert not any(line["other"] for line in up + down)
    assert len(content["lists"][0]["cards"]) == 10
    told = section(write_page(kinds[1], tmp_path / "compared").path)
    for line in comparison.summary()[-2:]:
        assert line.split(" (")[0] in told
    assert "two poisoned ones 12.0, a clean and a poisoned one 20.0" in told
    assert told.count("<tr><td") == 20
    assert "where the null band ends" in told


def test_without_band_and_parts_the_comparison_says_why(folders, tmp_path):
    """Law: what is not known is a dash and a reason in the page, never a number; headlines stay text."""
    content = compared(folders[1], read_results(folders[0]), {})
    assert content["null"][0].startswith("No null band: there is one checkpoint a kind")
    assert content["parts"][0].startswith("What Q and leverage have to do with it cannot be told apart: ")
    lines = [line for one in content["lists"] for line in one["lines"]]
    assert {line["beyond"] for line in lines} == {""}
    assert {line["q_shift"] for line in lines} == {None}
    told = section(write_page(*folders, tmp_path / "page.html").path)
    assert "not known" in told
    assert "where the null band ends" not in told
    assert "<script>document" not in told


def test_a_comparison_that_an_older_program_wrote_is_named(folders, tmp_path):
    """Law: files without what the page tells are no comparison, and the command that makes them is named."""
    shutil.copytree(folders[1], tmp_path / "compared")
    path = tmp_path / "compared" / "comparison_stats.json"
    stats = json.loads(path.read_text())
    del stats["comparison"]["null_band"]
    path.write_text(json.dumps(stats))
    with pytest.raises(DataError, match=r"no comparison\. Got KeyError 'null_band'\. Run scripts/compare\.py"):
        write_page(folders[0], tmp_path / "compared")


def test_places_of_histories_are_a_table_of_their_set(tmp_path):
    """Where score.py --history has been run; headlines of both articles are shown as headlines."""
    assert page_targets._places(None, "set0", tmp_path) == []
    columns = ["sample_idx", "place", "article_id", "title", "influence", "leverage", "user_id", "clicked_id"]
    line = [3, 1, "n1", "<b>", -0.5, 0.2, "u1", "n2"]
    pd.DataFrame([[*line, "storm"]], columns=[*columns, "clicked_title"]).to_csv(tmp_path / "history.csv", index=False)
    (table,) = page_targets._places(tmp_path / "history.csv", "set0", tmp_path)
    kinds = {column["heading"]: column["kind"] for column in table.columns}
    assert (kinds["headline"], kinds["clicked headline"], kinds["influence"]) == ("headline", "headline", "number")
    assert (table.file, table.total) == ("history.csv", 1)
