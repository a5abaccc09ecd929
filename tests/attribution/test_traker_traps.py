"""What traker 0.3.2 does silently wrong, met through our path. Not here: traps that the parts' own tests cover
(nested ids, shapes and full disks in test_store; seeds and freed maps in test_projection; frozen parameters in
test_gradients; settings, resuming and unfinished stores in test_session)."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from support import tiny
from support.traker_matrix import finalized_scores
from torch import nn

from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.attribution.job import choose_device
from rec_trak.attribution.session import featurize, featurize_targets
from rec_trak.clicks import ClickOutput
from rec_trak.data.inputs import Inputs
from rec_trak.data.targets import read_targets
from rec_trak.errors import NumericalError, StoreError
from rec_trak.gradients.computers import LoopComputer, make_batch
from rec_trak.sketch import projection
from rec_trak.store.manifest import BLOCKS
from rec_trak.store.reading import read_member


def mixed(job, tmp_path):
    return read_targets(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv", job.articles)


def test_new_weights_under_a_known_id_are_refused(tmp_path):
    """Trap 1: traker reloads the old store and keeps its features for the new weights."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    state = torch.load(job.members[0].name)
    first = next(iter(state))
    state[first] += 1e-3
    torch.save(state, job.members[0].name)
    with pytest.raises(StoreError, match="checkpoint 0 .*differs"):
        featurize(tiny.make_job(tmp_path))


def test_other_row_order_is_refused(tmp_path):
    """Trap 2: of the data, traker checks the number of rows alone."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    order = np.arange(len(job.inputs))[::-1]
    turned = Inputs(job.inputs.impressions.subset(order), job.inputs.views, job.inputs.users[order])
    with pytest.raises(StoreError, match="`negatives` differs"):
        featurize(dataclasses.replace(job, inputs=turned))


class Scaled(nn.Module):
    """The same scores, by weights that are `factor` times smaller: gradients are `factor` times larger."""

    def __init__(self, factor):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, generator=torch.Generator().manual_seed(0)) / factor)
        self.factor = factor

    def forward(self, batch):
        words = batch.articles["title"].float().sum(dim=-1) % 12
        article = self.weight[words.long()] * self.factor
        return article[batch.candidates] * (1 + batch.history_mask.sum(dim=-1, keepdim=True))


def test_scale_of_a_checkpoints_gradients_changes_no_score(tmp_path):
    """Trap 3: traker divides by the mean entry of the inverse, so gradients times 0.01 give scores times 1e-4."""
    job = tiny.make_job(tmp_path)
    scores, matrices = [], []
    for factor in (1.0, 100.0):
        model = Scaled(factor).eval()
        member = session_member(model)
        other = dataclasses.replace(
            job, model=model, members=(member,), grad_wrt=["weight"], save_dir=tmp_path / f"store{factor}"
        )
        featurize(other)
        scores.append(self_influence(other).scores)
        targets = mixed(job, tmp_path)
        featurize_targets(other, "mixed", targets)
        matrices.append(finalized_scores(other, "mixed", len(targets)))
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(matrices[1], matrices[0], rtol=1e-3, atol=1e-6)


def session_member(model):
    from rec_trak.attribution.digests import state_digest
    from rec_trak.attribution.job import Member

    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return Member("in memory", state_digest(state), state)


def test_a_new_ridge_has_its_effect(tmp_path):
    """Trap 4: traker skips a finalized id, so a new ridge has no effect on its scores; on ours it has traker's own."""
    featurize(tiny.make_job(tmp_path))
    for lambda_rel in (1.0, 0.05):
        job = tiny.make_job(tmp_path, lambda_rel=lambda_rel)
        targets = mixed(job, tmp_path)
        plain = target_influence(job, "mixed", targets).plain
        matrix = finalized_scores(job, "mixed", len(targets))
        np.testing.assert_allclose(matrix.mean(axis=1), plain, rtol=1e-4, atol=1e-6 * np.abs(matrix).max())


def test_store_is_single_precision(tmp_path):
    """Trap 5: traker's default is half precision, in which X'X overflows and rankings change."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    for name in ("grads.mmap", "out_to_loss.mmap"):
        assert np.load(job.save_dir / "0" / name, mmap_mode="r").dtype == np.float32


def test_one_bad_row_is_named_and_spoils_nothing(tmp_path, monkeypatch):
    """Trap 6: one NaN row makes every feature NaN, without an error."""
    monkeypatch.setitem(BLOCKS, "rows", 5)
    job = tiny.make_job(tmp_path, batch_size=5)
    real, calls = projection.SketchProjector.project, iter(range(100))

    def project(self, grads, model_id):
        if next(calls) == 2:
            parts = grads.parts["title_attention.projection.bias"]
            part = next(part for part in parts if (part.owner == 3).any())
            part.values[part.owner == 3] = float("nan")
        return real(self, grads, model_id)

    monkeypatch.setattr(projection.SketchProjector, "project", project)
    with pytest.raises(NumericalError, match=r"not finite in row \d+ \(.*\d.*\), checkpoint 0"):
        featurize(job)
    monkeypatch.undo()
    assert featurize(job).computed == len(job.inputs) - 10
    assert np.isfinite(read_member(job.save_dir, 0)[0]).all()


def test_only_our_own_members_are_scored(tmp_path):
    """Trap 9: with no ids given, traker takes every id it finds."""
    featurize(tiny.make_job(tmp_path, members=3))
    one = tiny.make_job(tmp_path, num_models=1)
    both = tiny.make_job(tmp_path, num_models=2)
    assert not np.allclose(self_influence(one).scores, self_influence(both).scores)
    assert len(self_influence(one).diagnostics) == 1


def test_device_is_text():
    """Trap 15: torch.device("cpu") is not "cpu" to traker, which then pins memory."""
    assert choose_device("cpu", asked_for=True) == "cpu"
    assert isinstance(choose_device("auto", asked_for=True), str)


class Unused(nn.Module):
    """A model with a parameter that never reaches the score."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.spare = nn.Parameter(torch.ones(3))

    def forward(self, batch):
        return self.inner(batch)


def test_parameter_that_does_not_reach_f_has_gradient_zero(tmp_path):
    """Trap 23: traker's loop crashes on it, and ignores `grad_wrt`."""
    job = tiny.make_job(tmp_path)
    model = Unused(job.model).eval()
    computer = LoopComputer(model, ClickOutput("softmax"), grad_wrt=["spare", "inner.word_embedding.weight"])
    grads = computer.compute_per_sample_grad(make_batch("loop", model, job.inputs, np.array([0, 1]), "cpu"))
    assert set(grads) == {"spare", "inner.word_embedding.weight"}
    assert grads["spare"].shape == (2, 3)
    assert not grads["spare"].any()
    assert grads["inner.word_embedding.weight"].any()


def test_traker_prints_nothing_and_leaves_logging_alone(tmp_path, capfd):
    """Traps 24 and 25: finalizing prints bars whatever the level; the constructor configures the root logger."""
    handlers = list(logging.root.handlers)
    logging.root.handlers.clear()
    try:
        job = tiny.make_job(tmp_path)
        featurize(job)
        target_influence(job, "mixed", mixed(job, tmp_path))
        assert logging.root.handlers == []
    finally:
        logging.root.handlers[:] = handlers
    assert capfd.readouterr() == ("", "")
