"""Laws of paths in a YAML: what exists is taken as it is written, files go before folders."""

from pathlib import Path

import pytest

from rec_trak.config.places import matches

FILES = ("runs/lr=[1,2]/a.pt", "runs/lr=[1,2]/b.pt", "runs/lr=1/a.pt", "runs/seed*/x.pt", "runs/deep/er/y.pt", "z.pt")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "shards/s1").mkdir(parents=True)
    (tmp_path / "shards/s0").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("z.pt", ["z.pt"]),
        ("runs/lr=[1,2]/*.pt", ["runs/lr=[1,2]/a.pt", "runs/lr=[1,2]/b.pt"]),  # not lr=1, which a glob would mean
        ("runs/lr=[1,2]/[b].pt", ["runs/lr=[1,2]/b.pt"]),
        ("runs/lr=[1]/*.pt", ["runs/lr=1/a.pt"]),
        ("runs/*/a.pt", ["runs/lr=1/a.pt", "runs/lr=[1,2]/a.pt"]),
        ("*/lr=[1,2]/a.pt", ["runs/lr=1/a.pt"]),
        ("*/lr=[1,2]/b.pt", ["runs/lr=[1,2]/b.pt"]),  # a glob finds nothing, so brackets are themselves
        ("runs/seed*/*.pt", ["runs/seed*/x.pt"]),
        ("runs/**/y.pt", ["runs/deep/er/y.pt"]),
        ("shards/*", ["shards/s0", "shards/s1"]),
        ("shards/s0", ["shards/s0"]),
        ("*", ["z.pt"]),
        ("gone/*.pt", []),
        ("runs/lr=[3]/*.pt", []),
    ],
)
def test_what_a_pattern_leads_to(pattern, expected):
    """In order, once each, relative and absolute alike."""
    assert matches(pattern) == [Path(name) for name in expected]
    absolute = [Path.cwd() / name for name in expected]
    assert matches(f"{Path.cwd()}/{pattern}") == absolute
