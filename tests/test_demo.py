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
    assert found.world.counts["poisoned"] > 0


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    """Nothing that a demo did not write is removed."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("mine")
    with pytest.raises(ConfigError, match="holds other files"):
        run_demo(tmp_path, say=lambda line: None)
    assert (tmp_path / "data" / "mine.csv").read_text() == "mine"
