"""Rankings from a run's stored gradients, against the formulas on the arrays of the store."""

import json
import shutil

import numpy as np
import pytest
from support import finished
from support.marked import mark_again

from rec_trak.errors import DataError, StoreError
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run
from rec_trak.runs.stored import gradient_cosine, loss_and_norms, stored_self_influence


def opened(folder):
    """The store of a finished run."""
    results = read_results(folder)
    return open_run(results.folder).stored()


def members(stored):
    """Gradients (N, K) and Q (N,) of each member, in double precision."""
    for i in range(stored.members):
        folder = stored.save_dir / str(i)
        yield (np.load(folder / name).astype(float) for name in ("grads.mmap", "out_to_loss.mmap"))


def summed(stored, rows):
    """Rows (N, ...) added up over each impression."""
    return np.stack([rows[stored.owner == i].sum(axis=0) for i in range(stored.impressions)])


pytestmark = pytest.mark.filterwarnings("ignore:.*the model was trained with 'softmax'")


@pytest.fixture(params=["softmax", "bce"])
def folder(request, tmp_path):
    """A finished run of two members, with a row or several an impression."""
    return finished.finished_run(tmp_path, members=2, loss=request.param)


def test_losses_and_norms_follow_their_formulas(folder, monkeypatch):
    """Over members, the mean of -log(1 - Q), of the margins' length and of the loss gradient's; in any blocks."""
    stored = opened(folder)
    wanted = {"loss": 0, "gradient norm": 0, "loss gradient norm": 0}
    for phi, q in members(stored):
        wanted["loss"] += summed(stored, -np.log1p(-q[:, 0])) / 2
        wanted["gradient norm"] += np.sqrt(summed(stored, (phi**2).sum(axis=1))) / 2
        wanted["loss gradient norm"] += np.linalg.norm(summed(stored, q * phi), axis=1) / 2
    for block in (8192, 7, 1):
        monkeypatch.setattr("rec_trak.scoring.solve.BLOCK", block)
        found = loss_and_norms(stored)
        assert found.keys() == wanted.keys()
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5)


def test_the_cosine_is_with_the_mean_target_gradient(folder, monkeypatch):
    """Over members, the mean cosine of an impression's loss gradient, turned round, with the targets' mean."""
    stored, wanted = opened(folder), 0
    for i, (phi, q) in enumerate(members(stored)):
        target = np.load(stored.save_dir / str(i) / "benchmark_mixed_grads.mmap").astype(float).mean(axis=0)
        gradient = summed(stored, q * phi)
        wanted = wanted + gradient @ target / np.linalg.norm(gradient, axis=1) / np.linalg.norm(target) / 2
    for block in (8192, 5):
        monkeypatch.setattr("rec_trak.scoring.solve.BLOCK", block)
        np.testing.assert_allclose(gradient_cosine(stored, "benchmark_mixed"), wanted, rtol=1e-4, atol=1e-7)


def test_self_influence_is_that_of_the_run(folder):
    """The stored form equals what scoring wrote, so the other form can be had without the model."""
    results = read_results(folder)
    np.testing.assert_allclose(stored_self_influence(opened(folder), "self_influence"), results.scores, rtol=1e-5)


def test_the_other_form_is_that_of_a_run_that_asked_for_it(tmp_path):
    """A run scored by the loss gradient has the scores that are computed here for it."""
    first = finished.finished_run(tmp_path)
    other = finished.score(tmp_path, score="loss_gradient", output_dir=str(tmp_path / "other"))
    np.testing.assert_allclose(
        stored_self_influence(opened(first), "loss_gradient"), read_results(other).scores, rtol=1e-5
    )


def test_a_row_without_a_gradient_has_no_direction(tmp_path):
    """Its cosine is 0, and nothing is divided by 0."""
    stored = opened(finished.finished_run(tmp_path))
    grads = np.lib.format.open_memmap(stored.save_dir / "0" / "grads.mmap", mode="r+")
    grads[3] = 0
    grads.flush()
    mark_again(stored.save_dir)
    cosine = gradient_cosine(stored, "benchmark_mixed")
    assert cosine[3] == 0
    assert np.isfinite(cosine).all()


def test_a_store_that_is_gone_or_another_runs_is_refused(tmp_path):
    """The directory beside the results does where the recorded one moved; nothing, or another run's, is refused."""
    folder = finished.finished_run(tmp_path)
    path, told = folder / "metadata.json", json.loads((folder / "metadata.json").read_text())
    path.write_text(json.dumps(told | {"save_dir": str(tmp_path / "gone")}))
    assert opened(folder).save_dir == folder / "store"
    path.write_text(json.dumps(told | {"features": told["features"] | {"proj_dim": 8}}))
    with pytest.raises(StoreError, match="made by another run, `proj_dim` differs"):
        opened(folder)
    path.write_text(json.dumps(told | {"members": []}))
    with pytest.raises(DataError, match="does not say how the run was made"):
        opened(folder)
    path.write_text(json.dumps(told))
    with pytest.raises(StoreError, match="no target set 'other' was scored here. Run .* with --targets other"):
        gradient_cosine(opened(folder), "other")
    shutil.rmtree(folder / "store")
    with pytest.raises(StoreError, match="no gradients there"):
        opened(folder)
