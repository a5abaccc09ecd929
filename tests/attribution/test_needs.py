"""What a job takes of disks and memory is known, and refused, before any of it is taken."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from support import tiny
from support.commands import fail, succeed

from rec_trak import room
from rec_trak.attribution import needs
from rec_trak.attribution.explain import explain
from rec_trak.attribution.history import history_influence
from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.attribution.session import featurize, featurize_targets
from rec_trak.data.targets import read_targets
from rec_trak.errors import RoomError, StoreError
from rec_trak.room import MARGIN
from rec_trak.scoring import memory

KEYS = {"members": 2, "proj_dim": 512}


def targets_of(job, folder):
    return read_targets(folder / "data" / "benchmarks" / "benchmark_mixed.csv", job.articles)


def disk_of(monkeypatch, free):
    """Let every disk have so many bytes free; a function is asked each time."""
    monkeypatch.setattr(
        room.shutil, "disk_usage", lambda path: SimpleNamespace(free=free(path) if callable(free) else free)
    )


def memory_of(monkeypatch, available):
    """Let the machine have so much, and nobody be too small to be asked."""
    monkeypatch.setattr(room, "available_memory", lambda: available)
    monkeypatch.setattr(memory, "SMALL", 0)


def files(folder):
    return sorted(path for path in folder.rglob("*"))


def taken(job, pattern="*.mmap"):
    """Path -> bytes of the maps in the store."""
    return {path: path.stat().st_size for path in job.save_dir.glob(f"*/{pattern}")}


def test_what_is_foretold_is_what_is_taken(tmp_path):
    """Features, target gradients and all scores, to the byte; of what is there nothing is wanted again."""
    job = tiny.make_job(tmp_path, **KEYS)
    foretold = needs.features_disk(job)
    featurize(job)
    assert taken(job) == foretold
    assert needs.features_disk(job) == {}
    targets = targets_of(job, tmp_path)
    foretold, matrix = needs.targets_disk(job, "mixed", len(targets)), tmp_path / "out" / "scores.npy"
    scores = needs.scores_disk(job, len(targets), matrix)
    target_influence(job, "mixed", targets, matrix=matrix)
    assert taken(job, "mixed_*.mmap") == foretold
    assert needs.targets_disk(job, "mixed", len(targets)) == {}
    assert matrix.stat().st_size == scores[matrix]
    assert scores[job.save_dir / "solved targets"] == 2 * len(targets) * 512 * 4
    assert needs.scores_disk(tiny.make_job(tmp_path, lambda_rel=1e-2, **KEYS), len(targets)) == {
        job.save_dir / "solved targets": 2 * len(targets) * 512 * 8
    }


def test_members_that_are_missing_are_wanted(tmp_path):
    """A store that an ensemble goes on from takes what its further members need."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data", members=2)
    one = tiny.make_job(tmp_path, checkpoints=str(tmp_path / "runs" / "{model_type}_0.pt"))
    featurize(one)
    both = tiny.make_job(tmp_path)
    assert {path.parent.name for path in needs.features_disk(both)} == {"1"}


def test_features_that_do_not_fit_are_refused_before_anything_is_made(tmp_path, monkeypatch):
    """In one line with true figures; with as much as is said to be needed they fit."""
    job = tiny.make_job(tmp_path, **KEYS)
    before, size = files(tmp_path), sum(needs.features_disk(job).values())
    disk_of(monkeypatch, size + MARGIN - 1)
    told = r"store.*no room for 24 rows x 2 checkpoint\(s\) with K = 512. Got 1.17 MB free, expected 1.18 MB. Make room"
    with pytest.raises(StoreError, match=told):
        featurize(job)
    assert files(tmp_path) == before
    disk_of(monkeypatch, size + MARGIN)
    assert featurize(job).computed == 48


def test_a_finished_store_is_read_on_a_full_disk(tmp_path, monkeypatch):
    """Nothing is to be made, so nothing is refused: self-influence takes no disk."""
    job = tiny.make_job(tmp_path, **KEYS)
    featurize(job)
    disk_of(monkeypatch, 0)
    assert featurize(job).computed == 0
    assert len(self_influence(job).scores) == 24


def test_what_a_killed_process_had_taken_is_given_back_first(tmp_path, monkeypatch):
    """Its half-made map counts as room where there is none else; that of a living process does not."""
    job = tiny.make_job(tmp_path, **KEYS)
    (job.save_dir / "0").mkdir(parents=True)
    dead = job.save_dir / "0" / f".grads.mmap.{os.getpid()}.tmp"
    dead.write_bytes(b"1")
    size = sum(needs.features_disk(job).values()) + MARGIN
    disk_of(monkeypatch, lambda place: size - dead.exists())
    assert featurize(job).computed == 48
    assert not dead.exists()


def test_targets_that_do_not_fit_are_refused_before_a_gradient_is_taken(tmp_path, monkeypatch):
    """Gradients, solved targets and all scores together, though each would fit alone; with as much they fit."""
    job = tiny.make_job(tmp_path, **KEYS)
    featurize(job)
    targets, matrix = targets_of(job, tmp_path), tmp_path / "out" / "scores.npy"
    before = files(tmp_path)
    wanted = needs.targets_disk(job, "mixed", len(targets)) | needs.scores_disk(job, len(targets), matrix)
    size = sum(wanted.values())
    disk_of(monkeypatch, size + MARGIN - 1)
    with pytest.raises(
        StoreError, match=r"no room for 11 targets x 2 .*Got 1.15 MB free, expected 1.16 MB.*fewer targets"
    ):
        target_influence(job, "mixed", targets, matrix=matrix)
    assert files(tmp_path) == before
    disk_of(monkeypatch, size + MARGIN)
    target_influence(job, "mixed", targets, matrix=matrix)
    disk_of(monkeypatch, size - sum(needs.scores_disk(job, len(targets), matrix).values()))
    with pytest.raises(StoreError, match="no room for 11 targets"):
        featurize_targets(job, "again", targets)
    assert not list(job.save_dir.glob("*/again*"))


def test_a_k_that_cannot_be_scored_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    """Featurizing says what scoring would take; so does all that scores, of a store that is there."""
    job = tiny.make_job(tmp_path, **KEYS)
    before, needed = files(tmp_path), memory.scoring_memory(512)
    memory_of(monkeypatch, needed - 1)
    told = r"scoring with K = 512: not enough memory. Got 14.68 MB available, expected 14.69 MB.*smaller `proj_dim`"
    with pytest.raises(RoomError, match=told):
        featurize(job)
    assert files(tmp_path) == before
    memory_of(monkeypatch, needed)
    featurize(job)
    memory_of(monkeypatch, needed - 1)
    targets = targets_of(job, tmp_path)
    before = files(tmp_path)
    for scored in (
        lambda: self_influence(job),
        lambda: target_influence(job, "mixed", targets),
        lambda: history_influence(job, "mixed", targets),
        lambda: explain(job, "mixed", targets, 0, 0),
    ):
        with pytest.raises(RoomError, match=told):
            scored()
    assert files(tmp_path) == before


def test_small_systems_are_never_refused(tmp_path, monkeypatch):
    """A busy machine that says it has nothing left still scores what is small."""
    monkeypatch.setattr(room, "available_memory", lambda: 0)
    job = tiny.make_job(tmp_path)
    featurize(job)
    assert np.isfinite(self_influence(job).scores).all()


def test_a_million_numbers_a_row_are_refused_on_any_machine(tmp_path):
    """As a user meets it: one line, exit code 2, no folder; `--dry_run` ends with the same line, after its figures."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    config = tiny.write_config(tmp_path)
    line = fail("featurize", "--config", config, "--proj_dim", 1_000_000)
    assert "scoring with K = 1,000,000: not enough memory. Got " in line
    assert "expected 56.00 TB. It takes 7 arrays of 1,000,000 x 1,000,000 numbers in double precision" in line
    again = fail("featurize", "--config", config, "--proj_dim", 1_000_000, "--dry_run")
    assert again.split("available, ")[1] == line.split("available, ")[1]
    assert not (tmp_path / "results").exists()
    assert "featurized 24 rows" in succeed("featurize", "--config", config, "--proj_dim", 16)
