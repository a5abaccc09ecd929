"""What score.py writes and prints for rows, target sets and single rows, and what it refuses."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support import tiny
from support.commands import fail, succeed

from rec_trak import room
from rec_trak.attribution import ways
from rec_trak.runs import making as analysis

SETS = {"exposed": {"article": "n3", "users": "train", "count": 6}}


@pytest.fixture
def run(tmp_path):
    """A featurized run of two members with a target set, as flags; and its results folder."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data", members=2)
    sets = SETS | {"mixed": str(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv")}
    flags = ("--config", tiny.write_config(tmp_path, targets=sets), "--quiet")
    succeed("featurize", *flags)
    return flags, tmp_path / "results" / "clean_train_clean"


def read(path):
    return pd.read_csv(path, dtype={"article_id": str, "user_id": str}, keep_default_na=False)


def test_ends_groups_and_matrix_of_a_target_set(run):
    """Each target's ends are those of its column of the matrix; groups add up the ranking's scores."""
    flags, folder = run
    out = succeed("score", *flags, "--targets", "exposed", "--save_matrix")
    assert "influence of 24 impressions on 6 targets" in out
    assert "it does not say what would change without the article" in out
    folder = folder / "targets" / "exposed"
    matrix, targets = np.load(folder / "scores.npy"), read(folder / "targets.csv")
    assert matrix.shape == (24, 6)
    assert set(targets["article_id"]) == {"n3"}
    assert np.isfinite(targets["margin"]).all()
    for name, sign in (("proponents", 1), ("opponents", -1)):
        table = read(folder / f"{name}.csv")
        for target in range(6):
            own = table[table["target"] == target]
            order = np.argsort(-sign * matrix[:, target], kind="stable")[:5]
            order = order[sign * matrix[order, target] > 0]
            assert own["sample_idx"].tolist() == order.tolist()
            assert own["rank"].tolist() == list(range(1, len(order) + 1))
            np.testing.assert_allclose(own["score"], matrix[order, target], rtol=1e-4)
    scores = np.load(folder / "trak_scores.npy")
    np.testing.assert_allclose(scores, matrix.mean(axis=1), rtol=1e-3, atol=1e-5 * np.abs(matrix).max())
    for name in ("by_article", "by_user"):
        np.testing.assert_allclose(read(folder / f"{name}.csv")["sum"].sum(), scores.sum(), rtol=1e-5)
    assert (folder / "by_history_article.csv").exists()
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["targets_definition"] == SETS["exposed"]
    assert metadata["targets_file"] == "article n3 users train count 6"
    assert any("does not say what would change" in note for note in metadata["notes"])


def test_groups_of_self_influence(run, tmp_path):
    """Beside the ranking, by any column of the click log on request."""
    flags, folder = run
    succeed("score", *flags)
    scores = np.load(folder / "trak_scores.npy")
    table = read(folder / "by_user.csv")
    assert table["rows"].sum() == 24
    np.testing.assert_allclose(table["sum"].sum(), scores.sum(), rtol=1e-5)
    assert "--group_by: the click log has no such column. Got `day`" in fail("score", *flags, "--group_by", "day")
    log = tmp_path / "data" / "models" / "train_clean.csv"
    frame = pd.read_csv(log, dtype=str)
    frame.assign(day=frame["user_id"].str[-1]).to_csv(log, index=False)
    assert "by_day.csv" in succeed("score", *flags, "--group_by", "day")
    assert "by_day.csv" in succeed("score", *flags)
    assert len(read(folder / "by_day.csv")) == 10


def test_gradients_that_are_to_be_saved_have_room_or_nothing_is_scored(run, tmp_path, monkeypatch):
    """Law: `save_embeddings` is refused before scoring where the disk, or of an ensemble the memory, is too small."""
    flags, folder = run
    tiny.write_config(tmp_path, save_embeddings=True, targets=SETS)
    size = 2 * 24 * 16 * 4
    with monkeypatch.context() as patch:
        patch.setattr(room.shutil, "disk_usage", lambda path: SimpleNamespace(free=room.MARGIN + size - 1))
        line = fail("score", *flags)
        assert "no room for the projected gradients that `save_embeddings` asks for. Got 1.05 MB free" in line
        assert "`save_embeddings: false`" in line
    with monkeypatch.context() as patch:
        patch.setattr(room, "available_memory", lambda: size - 1)
        assert "asks for: not enough memory. Got 3.07 kB available, expected 3.08 kB. Set" in fail("score", *flags)
    assert not (folder / "metadata.json").exists()
    monkeypatch.setattr(room, "available_memory", lambda: size)
    succeed("score", *flags)
    assert np.load(folder / "trak_gradients.npy").shape == (2, 24, 16)


def test_scoring_again_costs_no_gradient_and_no_pass(run, monkeypatch):
    """Another `top_k` or a matrix needs nothing from the model; another set under the name is refused."""
    flags, folder = run
    succeed("score", *flags, "--targets", "exposed")

    def refuses(*arguments, **more):
        raise AssertionError

    monkeypatch.setattr(ways.Way, "batch", refuses)
    monkeypatch.setattr("rec_trak.attribution.explain.row_margin", refuses)
    succeed("score", *flags, "--targets", "exposed", "--top_k", "3", "--save_matrix")
    assert read(folder / "targets" / "exposed" / "proponents.csv")["rank"].max() <= 3


def test_another_set_under_an_old_name_is_refused(run, tmp_path):
    """The store keeps a set's gradients by its name."""
    flags, _ = run
    succeed("score", *flags, "--targets", "exposed")
    tiny.write_config(tmp_path, targets={"exposed": {"article": "n4", "users": "train", "count": 6}})
    assert "another target set is stored as 'exposed'" in fail("score", *flags, "--targets", "exposed")


def test_long_lists_are_cut(run, monkeypatch):
    """At most ENDS rows of each target are listed, whatever `top_k` is."""
    flags, folder = run
    monkeypatch.setattr(analysis, "ENDS", 2)
    succeed("score", *flags, "--targets", "mixed")
    assert read(folder / "targets" / "mixed" / "opponents.csv")["rank"].max() == 2
    assert len(read(folder / "targets" / "mixed" / "ranking_results.csv")) == 10


def test_why_a_row(run):
    """The printed influence is the matrix' own, and the file's parts add up to it."""
    flags, folder = run
    out = succeed("score", *flags, "--explain", "7", "mixed:2")
    lines = out.splitlines()
    assert lines[0].startswith("row 7: user ")
    assert re.match(r"target mixed:2: margin [+-][\d.e-]+, .* shown to user u", lines[1])
    assert "leverage" in lines[2]
    parts = read(folder / "targets" / "mixed" / "explain_7_2.csv")
    succeed("score", *flags, "--targets", "mixed", "--save_matrix")
    matrix = np.load(folder / "targets" / "mixed" / "scores.npy")
    np.testing.assert_allclose(parts["influence"].sum(), matrix[7, 2], atol=1e-4 * np.abs(matrix).max())
    np.testing.assert_allclose(float(lines[2].split()[1]), matrix[7, 2], rtol=1e-3)


def test_headlines_cannot_command_a_terminal(run, tmp_path):
    """What cannot be seen is replaced, and long lines are cut; the file keeps the headline."""
    flags, folder = run
    news = tmp_path / "data" / "news_items.csv"
    lines = [line.split(",") for line in news.read_text(encoding="utf-8").splitlines()]
    lines[1:] = [[line[0], f"{line[1]}\x1b[2J\u202e{'long ' * 50}", line[2]] for line in lines[1:]]
    news.write_text("\n".join(",".join(line) for line in lines) + "\n", encoding="utf-8")
    (tmp_path / "trak.yaml").write_text((tmp_path / "trak.yaml").read_text() + "\ntitles: table\n")
    flags = (*flags, "--save_dir", tmp_path / "store")
    succeed("featurize", *flags)
    out = succeed("score", *flags, "--explain", "0", "mixed:0")
    assert "\ufffd[2J\ufffdlong" in out
    assert all(line.isprintable() and len(line) <= analysis.WIDTH for line in out.splitlines()[:-1])
    assert re.search(r"target mixed:0: margin [+-][\d.e-]+, ", out)  # long headlines push no number off the line
    assert "\x1b[2J\u202elong" in (folder / "targets" / "mixed" / "explain_0_0.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x", "mixed:2"), "--explain: a row and a target are needed. Got x mixed:2"),
        (("1", "mixed"), "as in `--explain 12 honeypot:3`"),
        (("1", "mixed:last"), "a row and a target are needed"),
        (("24", "mixed:2"), "--explain: no such row. Got 24, expected 0 to 23"),
        (("1", "mixed:11"), "--explain: no such target. Got 11, expected 0 to 10"),
        (("1", "mixde:2"), "Did you mean mixed?"),
    ],
)
def test_what_cannot_be_explained(run, words, message):
    """One line, and what to give instead."""
    assert message in fail("score", *run[0], "--explain", *words)
