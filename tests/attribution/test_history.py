"""The influence of a history's place is that of the row less that of the row without it, by plain autograd."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from support import tiny
from support.commands import fail, succeed
from support.explained import featurized

from rec_trak.attribution.history import history_influence, rows_holding, without_places
from rec_trak.attribution.influence import target_influence
from rec_trak.attribution.session import featurize
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import ClickOutput, residual
from rec_trak.data.inputs import build_inputs
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError
from rec_trak.gradients.computers import row_batch, row_gradient
from rec_trak.scoring.solve import gram, solve
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.reading import read_member


def by_autograd(job, inputs, row, model_id, targets):
    """Kernel part, Q and whitened loss gradient (K,) of one row, from its plain gradient."""
    load_into(job.model, job.members[model_id].state_dict(), "test")
    parameters = {n: job.model.get_parameter(n) for n in job.grad_wrt}
    batch = row_batch(inputs, row, "cpu")
    gradient = row_gradient(job.model, ClickOutput(job.loss), batch, parameters)
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, "cpu")
    dense = {name: g[None] for name, g in gradient.items()}
    phi = projector.project(dense, model_id)[0].double() / job.parameter_count**0.5
    with torch.no_grad():
        q = float(residual(job.loss, job.model(batch), batch))
    stored, _ = read_member(job.save_dir, model_id)
    factor = solve(gram(stored), len(stored), job.lambda_rel).factor
    mean = np.load(job.save_dir / str(model_id) / f"{targets}_grads.mmap").astype(np.float64).mean(axis=0)
    solved = torch.cholesky_solve(torch.from_numpy(mean)[:, None], factor)[:, 0]
    white = torch.linalg.solve_triangular(factor, (q * phi)[:, None], upper=False)[:, 0]
    return float(phi @ solved), q, white


def without(job, row, place):
    """The model's input of one row whose history lacks the entry `place`."""
    read = job.inputs.impressions.subset([row])
    history = Ragged.of([np.delete(read.history[0], place)])
    return build_inputs(dataclasses.replace(read, history=history), job.articles, job.model_config)


@pytest.mark.parametrize(
    ("architecture", "keys"),
    [
        ("nrms", {"members": 2}),
        ("naml", {}),
        ("lstur", {}),
        ("nrms", {"gradient": "loop"}),
        ("nrms", {"projector": "gaussian"}),
        ("nrms", {"grad_wrt": ["user*"], "lambda_rel": 10.0}),
    ],
    ids=str,
)
def test_a_place_is_the_row_less_the_row_without_it(tmp_path, architecture, keys):
    """To 1e-4, for every model, path and projector; means over members are taken as for rows."""
    job, targets = featurized(tmp_path, architecture, **keys)
    found = history_influence(job, "mixed", targets)
    lengths = job.inputs.impressions.history.lengths
    assert len(found.place) == lengths.sum()
    for i in (0, 7, 23, len(found.place) - 1):
        row, place = int(found.impression[i]), int(found.place[i]) - 1
        assert found.article[i] == job.inputs.impressions.history[row][place]
        parts = []
        for model_id in range(len(job.members)):
            k, q, white = by_autograd(job, job.inputs, row, model_id, "mixed")
            k_cut, q_cut, white_cut = by_autograd(job, without(job, row, place), 0, model_id, "mixed")
            parts.append((k, q, k_cut, q_cut, float((white - white_cut).square().sum())))
        k, q, k_cut, q_cut, leverage = np.mean(parts, axis=0)
        scale = np.abs(found.influence).max()
        assert abs(found.influence[i] - (k * q - k_cut * q_cut)) < 1e-4 * scale
        assert abs(found.leverage[i] - leverage) < 1e-4 * found.leverage.max()


@pytest.mark.parametrize("loss", ["bce", "bpr"])
def test_rows_of_one_impression_add_up(tmp_path, loss):
    """A loss on single candidates makes several rows of an impression, which share their history's places."""
    job, targets = featurized(tmp_path, loss=loss, model={"loss": loss})
    found = history_influence(job, "mixed", targets)
    assert len(found.place) == job.impressions.history.lengths.sum()
    rows = np.flatnonzero(job.impression_of_row == found.impression[4])
    expected = 0
    for row in rows:
        k, q, _ = by_autograd(job, job.inputs, row, 0, "mixed")
        k_cut, q_cut, _ = by_autograd(job, without(job, row, found.place[4] - 1), 0, 0, "mixed")
        expected += k * q - k_cut * q_cut
    assert abs(found.influence[4] - expected) < 1e-4 * np.abs(found.influence).max()


def test_padding_is_no_place_and_stays_on_its_side(tmp_path):
    """A padded history without an entry is padded again; truncated ones are cut among what the model reads."""
    job, targets = featurized(tmp_path, model={"history_padding": "left", "max_history": 3})
    found = history_influence(job, "mixed", targets)
    assert len(found.place) == np.minimum(job.impressions.history.lengths, 3).sum()
    assert (found.article < len(job.articles)).all()


def test_a_history_of_one_may_be_emptied(tmp_path):
    """What the model makes of no history is finite, and so is the place."""
    job, targets = featurized(tmp_path)
    found = history_influence(job, "mixed", targets)
    assert np.isfinite(found.influence).all()
    assert (found.leverage >= 0).all()
    assert (job.impressions.history.lengths == 1).any()


def test_only_some_articles(tmp_path):
    """The places of named articles have the numbers they have among all."""
    job, targets = featurized(tmp_path)
    every, some = history_influence(job, "mixed", targets), history_influence(job, "mixed", targets, ["n3", "n5"])
    kept = np.isin(every.article, [job.articles.position["n3"], job.articles.position["n5"]])
    np.testing.assert_array_equal(some.impression, every.impression[kept])
    np.testing.assert_allclose(some.influence, every.influence[kept], atol=1e-5 * np.abs(every.influence).max())


def test_rows_themselves_do_not_change(tmp_path):
    """Influence on the targets after a look at places is what it was before."""
    job, targets = featurized(tmp_path)
    before = target_influence(job, "mixed", targets).plain
    history_influence(job, "mixed", targets, ["n3"])
    np.testing.assert_array_equal(target_influence(job, "mixed", targets).plain, before)


def test_articles_that_cannot_be_looked_at(tmp_path):
    """Unknown ids, and one that nobody has read."""
    job, targets = featurized(tmp_path)
    with pytest.raises(ConfigError, match=r"--history: 2 unknown article\(s\) \(x, y\)"):
        history_influence(job, "mixed", targets, ["x", "n1", "y"])
    rows = job.impressions.subset(np.flatnonzero([0 not in job.impressions.history[i] for i in range(24)]))
    own = dataclasses.replace(job, impressions=rows)
    with pytest.raises(ConfigError, match=r"no training history holds the article\(s\)"):
        history_influence(own, "mixed", targets, ["n0"])


def test_without_places_leaves_the_rest(tmp_path):
    """Only the entry goes; click, candidates and user stay."""
    rows = tiny.make_job(tmp_path).inputs.impressions
    row = int(rows.history.lengths.argmax())
    cut = without_places(rows, np.array([row]), np.array([1]))
    assert cut.history[0].tolist() == [a for i, a in enumerate(rows.history[row].tolist()) if i != 1]
    assert (cut.user_ids[0], cut.clicked[0]) == (rows.user_ids[row], rows.clicked[row])


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_only_rows_that_are_asked_for_are_made(tmp_path, loss):
    """Rows with the article in what the model reads of their history, in the order and by the numbers of all rows."""
    job = tiny.make_job(tmp_path, loss=loss, model={"max_history": 2})
    where = np.arange(len(job.articles)) == 3
    rows, number = rows_holding(job, where)
    every = job.inputs.impressions
    wanted = [i for i in range(len(every)) if 3 in every.history[i]]
    assert 0 < len(wanted) < len(every)
    assert number.tolist() == wanted
    for name in ("history", "candidates", "labels"):
        told, there = getattr(rows, name), getattr(every, name)
        assert [told[j].tolist() for j in range(len(rows))] == [there[i].tolist() for i in wanted]


def test_the_script_writes_a_line_a_place(tmp_path):
    """history.csv holds all places, the one that raised the margin most first; the terminal names articles."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    flags = ("--config", tmp_path / "trak.yaml")
    targets = tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv"
    out = succeed("score", *flags, "--targets", targets, "--history")
    table = pd.read_csv(tmp_path / "results" / "clean_train_clean" / "targets" / "benchmark_mixed" / "history.csv")
    assert len(table) == job.impressions.history.lengths.sum()
    assert table["influence"].is_monotonic_decreasing
    assert f"{len(table)} places of 12 articles" in out
    assert "history.csv" in out
    assert "--history: on which targets?" in fail("score", *flags, "--history", "n1")
