"""The ends of each target's ranking and the matrix of all scores are those of a dense closed form."""

import errno
import os

import numpy as np
import pytest
from support import tiny
from support.marked import mark_again
from support.small_ridges import closed_form, steep

from rec_trak.attribution import influence
from rec_trak.attribution.influence import target_influence
from rec_trak.attribution.session import featurize
from rec_trak.data.targets import read_targets
from rec_trak.errors import NumericalError, StoreError
from rec_trak.scoring import streaming
from rec_trak.store.reading import read_member


def featurized(tmp_path, **keys):
    """A featurized job and its targets."""
    job = tiny.make_job(tmp_path, **keys)
    featurize(job)
    return job, read_targets(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv", job.articles)


def dense(job, name):
    """(I, M) from the store alone: mean kernel part times mean Q, summed over the rows of an impression."""
    kernels, qs = [], []
    for model_id in range(len(job.members)):
        phi, q = read_member(job.save_dir, model_id)
        phi = phi.astype(np.float64)
        targets = np.load(job.save_dir / str(model_id) / f"{name}_grads.mmap").astype(np.float64)
        gram = phi.T @ phi
        ridge = job.lambda_rel * np.trace(gram) / min(phi.shape)
        kernels.append(phi @ np.linalg.solve(gram + ridge * np.eye(len(gram)), targets.T))
        qs.append(q)
    rows = np.mean(kernels, axis=0) * np.mean(qs, axis=0)[:, None]
    out = np.zeros((len(job.impressions), rows.shape[1]))
    np.add.at(out, job.impression_of_row, rows)
    return out


@pytest.mark.parametrize(
    "keys", [{}, {"members": 3}, {"members": 2, "loss": "bce", "model": {"loss": "bce"}}], ids=["one", "three", "bce"]
)
def test_ends_and_matrix_equal_the_closed_form(tmp_path, keys):
    """Also over members, and where an impression has several rows; the mean over the set is the matrix' mean."""
    job, targets = featurized(tmp_path, **keys)
    result = target_influence(job, "mixed", targets, top_k=5, matrix=tmp_path / "results" / "scores.npy")
    expected = dense(job, "mixed")
    tolerance = {"rtol": 1e-4, "atol": 1e-5 * np.abs(expected).max()}
    matrix = np.load(tmp_path / "results" / "scores.npy", mmap_mode="r")
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, expected, **tolerance)
    np.testing.assert_allclose(result.plain, expected.mean(axis=1), **tolerance)
    for sign, best in ((1, result.proponents), (-1, result.opponents)):
        order = np.argsort(-sign * expected, axis=0, kind="stable")[:5].T
        np.testing.assert_array_equal(best.rows, order)
        np.testing.assert_allclose(best.scores, np.take_along_axis(expected.T, order, axis=1), **tolerance)


@pytest.mark.filterwarnings("ignore:.*is small for N")
@pytest.mark.parametrize("lambda_rel", [1e-2, 1e-6])
@pytest.mark.parametrize("proj_dim", [8, 32], ids=["N > 2K", "N < K"])
def test_a_small_ridge_is_the_closed_form_too(tmp_path, proj_dim, lambda_rel):
    """Of gradients that single precision cannot tell apart: scores, their mean, and leverages of either form."""
    job, targets = featurized(tmp_path, proj_dim=proj_dim, lambda_rel=lambda_rel)
    target_influence(job, "mixed", targets)
    for seed, name in enumerate(("grads", "mixed_grads")):
        held = np.load(job.save_dir / "0" / f"{name}.mmap", mmap_mode="r+")
        held[:] = steep(*held.shape, seed)
        held.flush()
        mark_again(job.save_dir, targets=None if name == "grads" else "mixed")
    result = target_influence(job, "mixed", targets, matrix=tmp_path / "scores.npy")
    expected = dense(job, "mixed")
    most = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy") / most, expected / most, atol=1e-4)
    np.testing.assert_allclose(result.plain, expected.mean(axis=1), atol=1e-4 * np.abs(expected.mean(axis=1)).max())
    phi, q = read_member(job.save_dir, 0)
    for form, weights in (("self_influence", 1), ("loss_gradient", q[:, None])):
        own = np.diag(closed_form(phi * weights, lambda_rel)) * (q if form == "self_influence" else 1)
        np.testing.assert_allclose(influence.self_influence(job, form).scores, own, rtol=1e-4)


def test_block_sizes_change_no_result(tmp_path, monkeypatch):
    """Blocks of three rows and two targets give what one block gives."""
    job, targets = featurized(tmp_path, members=2)
    whole = target_influence(job, "mixed", targets, matrix=tmp_path / "whole.npy")
    for name, value in (("ROWS", 3), ("TARGETS", 2), ("CHUNK", 2)):
        monkeypatch.setattr(streaming, name, value)
    parts = target_influence(job, "mixed", targets, matrix=tmp_path / "parts.npy")
    np.testing.assert_array_equal(parts.proponents.rows, whole.proponents.rows)
    np.testing.assert_array_equal(parts.opponents.rows, whole.opponents.rows)
    scale = np.abs(np.load(tmp_path / "whole.npy")).max()
    np.testing.assert_allclose(np.load(tmp_path / "parts.npy"), np.load(tmp_path / "whole.npy"), atol=1e-6 * scale)


def test_no_more_rows_than_there_are(tmp_path):
    """A long list holds every impression once."""
    job, targets = featurized(tmp_path)
    best = target_influence(job, "mixed", targets, top_k=99).proponents
    assert best.rows.shape == (len(targets), len(job.impressions))
    assert all(sorted(rows) == list(range(len(job.impressions))) for rows in best.rows.tolist())


def test_nothing_is_left_in_the_save_directory(tmp_path):
    """Solved targets go with the call; no (N, M) file is made unless it is asked for."""
    job, targets = featurized(tmp_path)
    target_influence(job, "mixed", targets)
    before = sorted(job.save_dir.rglob("*"))
    target_influence(job, "mixed", targets)
    assert sorted(job.save_dir.rglob("*")) == before
    assert not (job.save_dir / "scores" / "mixed.mmap").exists()


def test_no_room_for_solved_targets(tmp_path, monkeypatch):
    """A full disk is told, not met as a killed process."""
    job, targets = featurized(tmp_path)
    target_influence(job, "mixed", targets)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="no room for solved targets.*No space left.*fewer targets"):
        target_influence(job, "mixed", targets)


def test_a_matrix_takes_its_place_when_it_is_whole(tmp_path, monkeypatch):
    """An interruption, or no room, leaves the old file and nothing beside it."""
    job, targets = featurized(tmp_path)
    path = tmp_path / "out" / "scores.npy"
    target_influence(job, "mixed", targets, matrix=path)
    held = path.read_bytes()

    def broken(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(influence, "extremes", broken)
        with pytest.raises(KeyboardInterrupt):
            target_influence(job, "mixed", targets, matrix=path)

    def full(path, size):
        path.unlink()
        raise StoreError("no room")

    monkeypatch.setattr(influence, "reserve", full)
    with pytest.raises(StoreError, match="no room"):
        target_influence(job, "mixed", targets, matrix=path)
    assert path.read_bytes() == held
    assert [p.name for p in path.parent.iterdir()] == ["scores.npy"]


def test_scores_that_are_not_finite_are_refused(tmp_path):
    """A damaged store is named by its row."""
    job, targets = featurized(tmp_path)
    q = np.load(job.save_dir / "0" / "out_to_loss.mmap", mmap_mode="r+")
    target_influence(job, "mixed", targets)
    q[3] = np.inf
    q.flush()
    with pytest.raises(StoreError, match="out_to_loss.mmap: rows 0 to 23 are damaged.*run scripts/featurize"):
        target_influence(job, "mixed", targets)
    mark_again(job.save_dir)
    with pytest.raises(NumericalError, match="score: not finite on target 0"):
        target_influence(job, "mixed", targets)
    with pytest.raises(NumericalError, match="score: not finite for row 3"):
        influence.self_influence(job)
