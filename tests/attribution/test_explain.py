"""The parts of a row's influence are those of plain autograd, and add up to the whole."""

import numpy as np
import pytest
import torch
from support.explained import featurized

from rec_trak.attribution import explain as module
from rec_trak.attribution.explain import USER_ENCODER, WHOLE, explain, margins
from rec_trak.attribution.influence import self_influence, target_influence
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import ClickOutput, margin
from rec_trak.data.batches import pair_batch
from rec_trak.data.inputs import build_inputs
from rec_trak.errors import ConfigError
from rec_trak.gradients.computers import row_batch, row_margin
from rec_trak.scoring.solve import gram, solve
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.reading import read_member


def by_autograd(job, row, model_id):
    """Sketches (1 + n, K): of the gradient with every article vector held fixed, then with one alone let free."""
    load_into(job.model, job.members[model_id].state_dict(), "test")
    batch, _ = pair_batch(job.inputs, [row])
    parameters = {n: job.model.get_parameter(n) for n in job.grad_wrt}
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, "cpu")
    vectors = job.model.encode(batch.articles)
    rows = []
    for free in range(-1, len(vectors)):
        held = vectors.detach().clone()
        own = held if free < 0 else torch.cat([held[:free], vectors[free : free + 1], held[free + 1 :]])
        scored = batch._replace(articles={})
        f = margin(job.loss, job.model.score(own, scored), scored)[0]
        if free >= 0:  # what comes after the encoder is the first part's
            f = (torch.autograd.grad(f, own, retain_graph=True)[0].detach() * own).sum()
        grads = torch.autograd.grad(f, list(parameters.values()), allow_unused=True, retain_graph=True)
        named = zip(parameters.items(), grads, strict=True)
        dense = {n: (torch.zeros_like(p) if g is None else g)[None] for (n, p), g in named}
        rows.append(projector.project(dense, model_id)[0])
    return torch.stack(rows).double() / job.parameter_count**0.5


@pytest.mark.parametrize("architecture", ["nrms", "naml", "lstur"])
def test_parts_are_those_of_plain_autograd(tmp_path, architecture):
    """Each article's part is the gradient through its vector alone; the user encoder's the one through none."""
    job, targets = featurized(tmp_path, architecture, members=2)
    row, target = 5, 2
    found = explain(job, "mixed", targets, row, target)
    expected = 0
    for model_id in range(2):
        phi, _ = read_member(job.save_dir, model_id)
        gradient = np.load(job.save_dir / str(model_id) / "mixed_grads.mmap")[target].astype(np.float64)
        solved = torch.cholesky_solve(torch.from_numpy(gradient)[:, None], solve(gram(phi), len(phi), 1.0).factor)
        expected = expected + (by_autograd(job, row, model_id) @ solved)[:, 0].numpy() / 2
    np.testing.assert_allclose(found.parts["kernel"], np.roll(expected, -1), rtol=1e-3, atol=1e-5 * abs(expected).max())
    read, shown = job.inputs.impressions.history[row], job.impressions.candidates[row]
    assert found.parts["article_id"].tolist() == [*(job.articles.ids[a] for a in (*read, *shown)), ""]
    labels = [f"history {i + 1}" for i in range(len(read))] + ["clicked candidate"]
    labels += ["other candidate"] * (len(shown) - 1) + [USER_ENCODER]
    assert found.parts["part"].tolist() == labels


@pytest.mark.parametrize(
    "keys",
    [
        {"members": 2},
        {"loss": "bce", "model": {"loss": "bce"}},
        {"loss": "bpr", "model": {"loss": "bpr"}},
        {"gradient": "loop"},
        {"projector": "gaussian"},
        {"grad_wrt": ["user*"]},
    ],
    ids=str,
)
def test_parts_add_up_to_the_kernel_part_and_the_influence(tmp_path, keys):
    """To 1e-4, whatever the loss, projector and path; and the whole is the ranking's own score."""
    job, targets = featurized(tmp_path, **keys)
    target_influence(job, "mixed", targets, matrix=tmp_path / "scores.npy")
    matrix = np.load(tmp_path / "scores.npy")
    for row in (0, 11, 23):
        found = explain(job, "mixed", targets, row, 4)
        assert found.unsplit is None
        scale = found.parts["kernel"].abs().sum()
        assert abs(found.parts["kernel"].sum() - found.kernel) < 1e-4 * scale
        assert abs(found.parts["influence"].sum() - found.influence) < 1e-4 * found.parts["influence"].abs().sum()
        assert abs(found.influence - matrix[row, 4]) < 1e-4 * np.abs(matrix).max()


def test_q_and_leverage_are_those_of_self_influence(tmp_path):
    """Means over members."""
    job, targets = featurized(tmp_path, members=2)
    found, own = explain(job, "mixed", targets, 7, 0), self_influence(job)
    np.testing.assert_allclose([found.q, found.leverage], [own.q[7], own.leverage[7]], rtol=1e-5)
    np.testing.assert_allclose(found.influence, found.q * found.kernel)


def test_padding_is_a_part_of_its_own(tmp_path):
    """Articles that fill a history up are no articles of it."""
    job, targets = featurized(tmp_path, model={"history_padding": "left", "max_history": 7})
    found = explain(job, "mixed", targets, 3, 0)
    assert found.parts["part"].tolist().count(module.PADDING) == 1
    assert found.parts["part"].str.startswith("history ").sum() == job.impressions.history.lengths[3]
    np.testing.assert_allclose(found.parts["kernel"].sum(), found.kernel, rtol=1e-4)


def test_a_row_that_cannot_be_taken_apart_stays_whole(tmp_path, monkeypatch):
    """The reason is told, and the one part is the kernel part itself."""
    job, targets = featurized(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "CLOSE", 0)
        found = explain(job, "mixed", targets, 3, 0)
    assert "differ from the stored feature by" in found.unsplit
    assert found.parts["part"].tolist() == [WHOLE]
    np.testing.assert_allclose(found.parts["kernel"], found.kernel)
    assert any("not taken apart" in line for line in found.lines())

    def refuses(*arguments, **more):
        raise ConfigError("`gradient`: `factored` cannot take this model apart")

    with monkeypatch.context() as patch:
        patch.setattr(module, "computer_class", lambda *arguments: refuses)
        assert "cannot take this model apart" in explain(job, "mixed", targets, 3, 0).unsplit


def test_no_such_row_or_target(tmp_path):
    """Numbers count from 0."""
    job, targets = featurized(tmp_path)
    with pytest.raises(ConfigError, match="--explain: no such row. Got 24, expected 0 to 23"):
        explain(job, "mixed", targets, 24, 0)
    with pytest.raises(ConfigError, match=f"--explain: no such target. Got 99, expected 0 to {len(targets) - 1}"):
        explain(job, "mixed", targets, 0, 99)


def test_lines_say_what_it_is(tmp_path):
    """Sign, numbers, and a line a part with its headline."""
    job, targets = featurized(tmp_path)
    found = explain(job, "mixed", targets, 2, 1)
    first, *parts = found.lines()
    assert ("a proponent" if found.influence > 0 else "an opponent") in first
    assert len(parts) == len(found.parts)
    assert job.articles.titles[job.impressions.clicked[2]] in parts[len(job.impressions.history[2])]


def test_margins_are_means_over_members_and_computed_once(tmp_path, monkeypatch):
    """Each target's row by itself; a second call reads them from the save directory."""
    job, targets = featurized(tmp_path, members=2)
    target_influence(job, "mixed", targets)
    inputs, expected = build_inputs(targets, job.articles, job.model_config), 0
    for member in job.members:
        load_into(job.model, member.state_dict(), "test")
        rows = [row_batch(inputs, i, "cpu") for i in range(len(inputs))]
        with torch.no_grad():
            f = [float(row_margin(job.model, ClickOutput("softmax"), row)) for row in rows]
        expected = expected + np.array(f) / 2
    np.testing.assert_allclose(margins(job, "mixed", targets), expected, rtol=1e-6)
    monkeypatch.setattr(module, "row_margin", None)
    np.testing.assert_allclose(margins(job, "mixed", targets), expected, rtol=1e-6)
