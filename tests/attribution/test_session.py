"""Featurizing and scoring through traker equal closed forms, and no row is ever done twice or mixed up."""

import json
import warnings

import numpy as np
import pytest
import torch
from support import tiny
from support.traker_matrix import finalized_scores

from rec_trak.attribution import session, ways
from rec_trak.attribution.estimate import estimate
from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.attribution.session import featurize, featurize_targets
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import ClickOutput
from rec_trak.data.batches import unique_batch
from rec_trak.data.targets import read_targets
from rec_trak.errors import ConfigError, RecTrakWarning, StoreError
from rec_trak.gradients.computers import FactoredComputer, make_batch, row_gradient
from rec_trak.sketch.projection import SketchProjector
from rec_trak.store.manifest import BLOCKS
from rec_trak.store.reading import read_member


def exact(job, model_id, inputs=None, loss=None):
    """Projected gradients (N, K) and Q (N,) by plain autograd, one unpadded row after the other."""
    inputs, output = inputs or job.inputs, ClickOutput(loss or job.loss)
    load_into(job.model, job.members[model_id].state_dict(), "test")
    parameters = {n: job.model.get_parameter(n) for n in job.grad_wrt}
    projector = SketchProjector(job.parameter_count, job.proj_dim, job.seed)
    rows, q = [], []
    for i in range(len(inputs)):
        batch = unique_batch(inputs, [i])
        grads = row_gradient(job.model, output, batch, parameters)
        rows.append(projector.project({n: g[None] for n, g in grads.items()}, model_id)[0])
        q.append(float(output.get_out_to_loss_grad(job.model, None, None, batch)))
    return (torch.stack(rows) / job.parameter_count**0.5).numpy().astype(np.float64), np.array(q)


def inverse(phi, lambda_rel):
    """(phi'phi + ridge)^-1 in float64."""
    gram = phi.T @ phi
    return np.linalg.inv(gram + lambda_rel * np.trace(gram) / min(phi.shape) * np.eye(phi.shape[1]))


@pytest.mark.parametrize("gradient", ["factored", "functional", "loop"])
@pytest.mark.parametrize("architecture", ["nrms", "naml", "lstur"])
def test_store_holds_the_gradients_of_plain_autograd(tmp_path, architecture, gradient):
    """phi and Q in the store are those of each row alone, whatever batch it was in."""
    job = tiny.make_job(tmp_path, architecture, gradient=gradient)
    featurize(job)
    phi, q = read_member(job.save_dir, 0)
    expected, expected_q = exact(job, 0)
    np.testing.assert_allclose(phi, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(q, expected_q, rtol=1e-5)


def test_self_influence_is_mean_q_times_mean_h(tmp_path):
    """Over members, kernel part and Q are averaged apart and then multiplied."""
    job = tiny.make_job(tmp_path, members=3)
    featurize(job)
    result = self_influence(job)
    h, q = [], []
    for model_id in range(3):
        phi, member_q = exact(job, model_id)
        h.append(np.einsum("ik,kl,il->i", phi, inverse(phi, 1.0), phi))
        q.append(member_q)
    np.testing.assert_allclose(result.scores, np.mean(h, axis=0) * np.mean(q, axis=0), rtol=1e-4)
    np.testing.assert_allclose(result.leverage, np.mean(h, axis=0), rtol=1e-4)
    assert len(result.diagnostics) == 3


def test_loss_gradient_form(tmp_path):
    """The other form is the leverage of Q phi."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    phi, q = exact(job, 0)
    psi = phi * q[:, None]
    expected = np.einsum("ik,kl,il->i", psi, inverse(psi, 1.0), psi)
    np.testing.assert_allclose(self_influence(job, "loss_gradient").scores, expected, rtol=1e-4)


def test_rows_of_an_impression_add_up(tmp_path):
    """BCE makes a row a candidate; the ranking sums over the impression."""
    job = tiny.make_job(tmp_path, loss="bce", model={"loss": "bce"})
    featurize(job)
    result = self_influence(job)
    assert len(job.inputs) > len(job.impressions) == len(result.scores)
    phi, q = exact(job, 0)
    rows = np.einsum("ik,kl,il->i", phi, inverse(phi, 1.0), phi) * q
    np.testing.assert_allclose(result.scores, np.bincount(job.impression_of_row, weights=rows), rtol=1e-4)


def targets_of(job, tmp_path):
    return read_targets(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv", job.articles)


def test_target_influence_equals_the_closed_form(tmp_path):
    """Q k, k / sqrt(h) and k, averaged over targets, whose f is the softmax margin."""
    job = tiny.make_job(tmp_path, members=2)
    featurize(job)
    targets = targets_of(job, tmp_path)
    result = target_influence(job, "mixed", targets)
    k, h, q = [], [], []
    for model_id in range(2):
        phi, member_q = exact(job, model_id)
        inputs = session.build_inputs(targets, job.articles, job.model_config)
        target, _ = exact(job, model_id, inputs)
        a = inverse(phi, 1.0)
        k.append((phi @ a @ target.T).mean(axis=1))
        h.append(np.einsum("ik,kl,il->i", phi, a, phi))
        q.append(member_q)
    k, h, q = (np.mean(x, axis=0) for x in (k, h, q))
    tolerance = {"rtol": 1e-3, "atol": 1e-5 * np.abs(k).max()}
    np.testing.assert_allclose(result.kernel, k, **tolerance)
    np.testing.assert_allclose(result.plain, k * q, **tolerance)
    np.testing.assert_allclose(result.renormalised, k / np.sqrt(h), rtol=1e-3, atol=1e-4 * np.abs(k / np.sqrt(h)).max())


def test_trakers_own_scores_agree(tmp_path):
    """The (N, M) matrix that traker finalizes, ours and the streamed mean are the same scores."""
    job = tiny.make_job(tmp_path, members=2)
    featurize(job)
    targets = targets_of(job, tmp_path)
    result = target_influence(job, "mixed", targets, matrix=tmp_path / "results" / "scores.npy")
    matrix = finalized_scores(job, "mixed", len(targets))
    assert matrix.shape == (len(job.inputs), len(targets))
    tolerance = {"rtol": 1e-4, "atol": 1e-6 * np.abs(matrix).max()}
    np.testing.assert_allclose(np.load(tmp_path / "results" / "scores.npy"), matrix, **tolerance)
    np.testing.assert_allclose(matrix.mean(axis=1), result.plain, **tolerance)


def test_batch_size_changes_no_result(tmp_path):
    """Batches of 1, 3 and 32 fill the store with the same numbers."""
    stores = []
    for size in (1, 3, 32):
        job = tiny.make_job(tmp_path, batch_size=size, save_dir=str(tmp_path / f"store{size}"))
        featurize(job)
        stores.append(read_member(job.save_dir, 0)[0])
    scale = np.abs(stores[0]).max()
    np.testing.assert_allclose(stores[1], stores[0], atol=1e-5 * scale)
    np.testing.assert_allclose(stores[2], stores[0], atol=1e-5 * scale)


class Stop(Exception):
    """Stands for a crash or Ctrl-C."""


def interrupt_after(monkeypatch, batches):
    """Let featurizing do so many batches and then stop it in the middle."""
    real, count = ways.make_batch, iter(range(10_000))

    def made(*arguments):
        if next(count) >= batches:
            raise Stop
        return real(*arguments)

    monkeypatch.setattr(ways, "make_batch", made)


def test_interrupted_run_goes_on_with_any_batch_size(tmp_path, monkeypatch):
    """Finished rows are not computed again, and the end is the same as without the interruption."""
    whole = tiny.make_job(tmp_path, save_dir=str(tmp_path / "whole"))
    featurize(whole)
    job = tiny.make_job(tmp_path, batch_size=5)
    with monkeypatch.context() as patch:
        patch.setitem(BLOCKS, "rows", 5)
        interrupt_after(patch, 2)
        with pytest.raises(Stop):
            featurize(job)
    done = featurize(tiny.make_job(tmp_path, batch_size=4))
    assert done.computed == len(job.inputs) - 10
    expected, _ = read_member(whole.save_dir, 0)
    np.testing.assert_allclose(read_member(job.save_dir, 0)[0], expected, atol=1e-5 * np.abs(expected).max())


def test_second_run_computes_nothing(tmp_path, monkeypatch):
    """A finished store is reused without a single gradient."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    interrupt_after(monkeypatch, 0)
    assert featurize(job).computed == 0


def test_a_further_member_computes_only_itself(tmp_path):
    """Two checkpoints instead of one: the first one's rows stay."""
    one = tiny.make_job(tmp_path, members=2, num_models=1)
    featurize(one)
    both = tiny.make_job(tmp_path, num_models=2)
    assert featurize(both).computed == len(both.inputs)
    assert len(self_influence(both).diagnostics) == 2
    assert len(self_influence(one).diagnostics) == 1


def test_scoring_an_unfinished_store_is_refused(tmp_path, monkeypatch):
    """No score is made of rows that are zero because nobody came to them."""
    job = tiny.make_job(tmp_path)
    with pytest.raises(StoreError, match="not all rows are featurized. Got 24 missing.*Run scripts/featurize.py"):
        self_influence(job)
    assert not job.save_dir.exists()
    with monkeypatch.context() as patch:
        patch.setitem(BLOCKS, "rows", 7)
        interrupt_after(patch, 1)
        with pytest.raises(Stop):
            featurize(job)
    with pytest.raises(StoreError, match="Got 17 missing"):
        self_influence(job)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"proj_dim": 32}, "`proj_dim`"),
        ({"loss": "marginal"}, "`loss`"),
        ({"seed": 9}, "`projector_seed`"),
        ({"grad_wrt": ["user*"]}, "`grad_wrt`"),
        ({"precision": "bf16"}, "`precision`"),
        ({"projector": "gaussian"}, "`projector`"),
        ({"sample_size": 10}, "`negatives`"),
        ({"history_truncation": "last"}, "`model_config`"),
    ],
)
def test_another_setting_is_refused_by_name(tmp_path, keys, field):
    """Everything that changes a feature is compared."""
    featurize(tiny.make_job(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecTrakWarning)
        other = tiny.make_job(tmp_path, **keys)
    with pytest.raises(StoreError, match=f"made by another run, {field} differs"):
        featurize(other)


def test_settings_of_scoring_are_no_difference(tmp_path):
    """Ridge, form, batch size and top_k may change between runs of one store."""
    featurize(tiny.make_job(tmp_path))
    other = tiny.make_job(tmp_path, lambda_rel=0.1, batch_size=3, top_k=2, score="loss_gradient")
    assert featurize(other).computed == 0
    assert not np.allclose(self_influence(other).scores, self_influence(tiny.make_job(tmp_path)).scores)


def test_targets_are_free_the_second_time_and_kept_apart_by_name(tmp_path, monkeypatch):
    """The same set costs nothing; another set under the name is refused; an interrupted set goes on."""
    job = tiny.make_job(tmp_path, batch_size=4)
    featurize(job)
    targets = targets_of(job, tmp_path)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(Stop):
            featurize_targets(job, "mixed", targets)
    first = target_influence(job, "mixed", targets)
    interrupt_after(monkeypatch, 0)
    np.testing.assert_array_equal(target_influence(job, "mixed", targets).plain, first.plain)
    with pytest.raises(StoreError, match="another target set is stored as 'mixed'. Got 3 targets"):
        featurize_targets(job, "mixed", targets.subset(np.arange(3)))


@pytest.mark.parametrize("name", ["", "a/b", "id_0", ".hidden", "a b"])
def test_target_set_names_are_file_names(tmp_path, name):
    """A name becomes files in the store, some of which traker would read as its own."""
    job = tiny.make_job(tmp_path)
    with pytest.raises(ConfigError, match="cannot name a file"):
        featurize_targets(job, name, job.impressions)


def test_manifest_is_there_before_the_first_gradient(tmp_path, monkeypatch):
    """An interruption at the first batch leaves a store that says what it was meant to be."""
    job = tiny.make_job(tmp_path)
    interrupt_after(monkeypatch, 0)
    with pytest.raises(Stop):
        featurize(job)
    held = json.loads((job.save_dir / "rec_trak.json").read_text())
    assert held["features"]["proj_dim"] == 16
    assert held["models"]["0"] == job.members[0].digest


def test_estimate_writes_nothing(tmp_path):
    """A dry run counts rows, parameters and bytes still to be taken, and leaves no trace."""
    job = tiny.make_job(tmp_path, members=2)
    cost = estimate(job)
    assert (cost.rows, cost.members) == (len(job.inputs), 2)
    assert cost.parameters == sum(p.numel() for p in job.model.parameters())
    assert cost.seconds > 0
    assert not job.save_dir.exists()
    featurize(job)
    arrays = [
        job.save_dir / str(i) / name
        for i in (0, 1)
        for name in ("grads.mmap", "out_to_loss.mmap", "_is_featurized.mmap")
    ]
    assert sum(path.stat().st_size for path in arrays) == cost.disk
    assert min(cost.free, cost.scoring_memory) > 0
    again = estimate(job)
    assert again.disk == 0
    assert (again.target_disk, again.target_scratch) == (2 * 4 * (job.proj_dim + 1), 2 * 4 * job.proj_dim)


def test_padding_to_a_crowd_of_long_rows_changes_no_sketch(tmp_path):
    """A row's features do not depend on its batch-mates."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    order = np.argsort(job.inputs.impressions.history.lengths)
    computer = FactoredComputer(job.model, ClickOutput("softmax"), 0, torch.float32, "cpu", job.grad_wrt)
    load_into(job.model, job.members[0].state_dict(), "test")
    computer.load_model_params(job.model)
    pair = make_batch("factored", job.model, job.inputs, order[[0, -1]], "cpu")
    sketch = SketchProjector(job.parameter_count, 16, 0).project(computer.compute_per_sample_grad(pair), 0)
    stored = read_member(job.save_dir, 0)[0][order[[0, -1]]] * job.parameter_count**0.5
    np.testing.assert_allclose(stored, sketch.numpy(), atol=1e-5 * float(sketch.abs().max()))


def test_bf16_is_near_float32_and_only_for_factors(tmp_path):
    """Rounded matrix products move features by less than 3 % of their norm; other paths refuse the option."""
    exactly = tiny.make_job(tmp_path, save_dir=str(tmp_path / "a"))
    rounded = tiny.make_job(tmp_path, save_dir=str(tmp_path / "b"), precision="bf16")
    for job in (exactly, rounded):
        featurize(job)
    phi, other = (np.array(read_member(job.save_dir, 0)[0]) for job in (exactly, rounded))
    error = np.linalg.norm(other - phi, axis=1) / np.linalg.norm(phi, axis=1)
    assert 0 < error.max() < 0.03
    with pytest.raises(ConfigError, match="bf16 needs the factored path. Got `gradient` loop"):
        featurize(tiny.make_job(tmp_path, save_dir=str(tmp_path / "c"), precision="bf16", gradient="loop"))
