"""The demo on a small world: every step runs, and what it prints is what it found."""

from dataclasses import replace

import pytest
from support.small_world import SMALL as SMALLEST

from rec_trak.demo import run_demo
from rec_trak.errors import ConfigError

SMALL = replace(SMALLEST, train_users=70)  # enough rows for the demo's top 100


def test_the_whole_job_on_a_small_world(tmp_path):
    """Rankings, figures and comparison are written, and the planted rows are counted."""
    folder = tmp_path / "demo"
    steps = []
    found = run_demo(folder, 3, steps.append, SMALL)
    assert len(steps) == 5
    assert all(path.is_file() for path in found.paths)
    everything = found.detection["questions"]["everything"]
    auroc = {line["ranking"]: line["auroc"] for line in everything["rankings"]}
    told = [name for name in auroc if name.startswith("influence on the targets")]
    assert told
    assert all(auroc[name] > auroc["random"] for name in told)
    assert found.page.path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert found.page.facts
    assert next(iter(found.verdicts)) == "self-influence"
    assert any(path.name == "trust.csv" for path in found.paths)
    assert set(found.top["poisoned"]) <= {"0", "1"}
    _check_result_files(folder / "results" / "poisoned_train_poisoned")
    assert found.world.counts["poisoned"] > 0


RANKED = "rank,sample_idx,score,label,category,user_id,article_id,title,source_lines,"
ROWS = "sample_idx,user_id,history_ids,article_id,occurrence,other_candidates,label,title,source_lines,"
ENDS = "target,rank,sample_idx,score,label,user_id,article_id,title,source_lines"
SUMS = {"by_article": "article_id,title,label,rows,sum,mean", "by_user": "user_id,rows,sum,mean"}
SUMS |= {"by_history_article": SUMS["by_article"]}
RESULTS = {
    "": SUMS | dict.fromkeys(("ranking_full", "ranking_results"), f"{RANKED}leverage,q") | {
        "rows": f"{ROWS}leverage,q", "classes": "label,rows,low,median,high", "member_agreement": "a,b,value",
    },
    "targets/promoted": SUMS | dict.fromkeys(("ranking_full", "ranking_results"), f"{RANKED}renormalised,kernel") | {
        "rows": f"{ROWS}renormalised,kernel", "proponents": ENDS, "opponents": ENDS,
        "targets": "target,user_id,article_id,title,label,margin,history_ids,other_candidates,source_lines",
    },
}  # fmt: skip
OTHERS = {
    "": {"trak_scores.npy", "trak_labels.npy", "metadata.json", "score_distribution.png", "top_influential_samples.png",
         "trust.csv", "trust.json", "detection.csv", "detection.json", "detection_curves.png", "report.html",
         "belongs.json"},
    "targets/promoted": {"trak_scores.npy", "trak_labels.npy", "metadata.json", "score_distribution.png",
                         "top_influential_samples.png", "trust.csv", "trust.json", "belongs.json"},
}  # fmt: skip


def _check_result_files(folder):
    """Names and columns are a promise to whoever reads them: a change here is a change for users."""
    for place, tables in RESULTS.items():
        there = {path.name for path in (folder / place).iterdir() if path.is_file()}
        assert there == OTHERS[place] | {f"{name}.csv" for name in tables}
        for name, columns in tables.items():
            with open(folder / place / f"{name}.csv", encoding="utf-8") as file:
                assert file.readline().rstrip("\n") == columns, name


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    """Nothing that a demo did not write is removed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        run_demo(tmp_path, say=lambda line: None)
    assert (tmp_path / "data" / "mine.csv").read_text() == "mine"
