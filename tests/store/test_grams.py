"""Phi'Phi that scoring leaves behind is that of the gradients, bit for bit, or is not taken."""

import dataclasses
import os

import numpy as np
import pytest
from support import tiny

from rec_trak.attribution.influence import self_influence
from rec_trak.attribution.session import featurize
from rec_trak.scoring.solve import gram
from rec_trak.store import grams
from rec_trak.store.grams import keep_gram, kept_gram
from rec_trak.store.reading import read_member
from rec_trak.trust.measures import measure_rankings


@pytest.fixture
def job(tmp_path):
    """A finished job of 24 rows with 16 numbers each."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    return job


def test_scoring_keeps_what_it_made(job, monkeypatch):
    """It is each member's to the last bit, whatever the panels; scoring again makes none and changes no score."""
    monkeypatch.setattr(grams, "PANEL", 7)
    first = self_influence(job)
    for model_id in range(len(job.members)):
        phi, _ = read_member(job.save_dir, model_id)
        kept = kept_gram(job.save_dir, model_id, False, 16)
        np.testing.assert_array_equal(kept, gram(phi, lambda_rel=job.lambda_rel).numpy())
    monkeypatch.setattr("rec_trak.attribution.influence.gram", None)
    np.testing.assert_array_equal(self_influence(job).scores, first.scores)


def test_what_is_kept_changes_no_measure(job):
    """`trust.py` says the same with it and without."""
    self_influence(job)
    phis, qs = zip(*(read_member(job.save_dir, m) for m in range(len(job.members))), strict=True)
    told = [
        measure_rankings(phis, qs, {"own": None}, job.lambda_rel, kept=kept)
        for kept in (None, lambda m, double: kept_gram(job.save_dir, m, double, 16))
    ]
    assert told[0] == told[1]


def test_another_precision_is_not_taken(job):
    """A smaller ridge needs products in double precision."""
    self_influence(job)
    assert kept_gram(job.save_dir, 0, False, 16) is not None
    assert kept_gram(job.save_dir, 0, True, 16) is None
    self_influence(dataclasses.replace(job, lambda_rel=0.01))
    assert kept_gram(job.save_dir, 0, True, 16) is not None


def test_what_is_damaged_or_of_other_gradients_is_not_taken(job):
    """Cut short, changed by a byte, without its marker, or of blocks that were made anew."""
    path = job.save_dir / "0" / "gram.f64"

    def damaged_by(change):
        path.unlink(missing_ok=True)
        self_influence(job)
        assert kept_gram(job.save_dir, 0, False, 16) is not None
        change()
        return kept_gram(job.save_dir, 0, False, 16) is None

    assert damaged_by(lambda: path.write_bytes(path.read_bytes()[:-8]))
    assert damaged_by(lambda: path.write_bytes(path.read_bytes()[:-1] + b"\1"))
    assert damaged_by(path.with_suffix(".json").unlink)
    assert damaged_by(path.unlink)
    marker = next((job.save_dir / "0" / "blocks").glob("*.json"))
    assert damaged_by(lambda: marker.write_text(marker.read_text().replace('"grads.mmap": ', '"grads.mmap": 1')))


def test_none_is_kept_where_it_is_larger_than_the_gradients_or_cannot_be_written(job, monkeypatch):
    """K of N and more, and a full disk; neither is an error."""
    keep_gram(job.save_dir, 0, False, np.eye(24))
    assert not (job.save_dir / "0" / "gram.f64").exists()
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("full")))
    keep_gram(job.save_dir, 0, False, np.eye(16))
    monkeypatch.undo()
    assert kept_gram(job.save_dir, 0, False, 16) is None
