"""Predictions for groups of rows: sums of the scores that the run itself gives, and baselines by hand."""

import warnings

import numpy as np
import pytest
from support import tiny, validated
from support.small_ridges import RIDGES, closed_form, steep

from rec_trak.attribution.influence import target_influence
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.attribution.target_sets import named_targets
from rec_trak.config.analysis import read_analysis_config
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.store.reading import read_member
from rec_trak.validation.estimates import (
    ARTICLES,
    CANDIDATES,
    DOT,
    NO_Q,
    RANDOM,
    RUN,
    SIGNED,
    baseline_scores,
    group_scores,
    row_scores,
)


@pytest.fixture(scope="module", params=["softmax", "bpr"])
def run(request, tmp_path_factory):
    """A featurized job of two members, and the (I, M) matrix of its scores."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny.write_tree(folder / "data")
    tiny.write_models(folder / "runs", folder / "data", members=2)
    config = read_analysis_config(tiny.write_config(folder, loss=request.param, lambda_rel=0.3))
    one = Run(config, "train_clean", "clean")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checkpoints' own loss is softmax
        job = read_job(one)
    featurize(job)
    targets = named_targets(one, job, validated.benchmark(folder))
    target_influence(job, targets.name, targets.impressions, matrix=folder / "scores.npy")
    return job, targets, np.load(folder / "scores.npy").astype(np.float64)


def readers(job, name):
    return (
        lambda m: read_member(job.save_dir, m),
        lambda m: np.load(job.save_dir / str(m) / f"{name}_grads.mmap", mmap_mode="r"),
    )


def test_groups_are_sums_of_the_runs_own_scores(run):
    """Law: the prediction for a group is the sum of score.npy's lines over its impressions, whatever rows a loss makes
    of them; without Q and as a dot product it is ten lines of numpy."""
    job, targets, matrix = run
    random = np.random.default_rng(0)
    groups = (random.random((6, len(job.impressions))) < 0.5).astype(float)
    in_rows = groups[:, job.impression_of_row]
    double = {"twice": 2 * np.mean([read_member(job.save_dir, m)[1] for m in range(2)], axis=0)}
    found = group_scores(2, *readers(job, targets.name), in_rows, job.lambda_rel, double)
    np.testing.assert_allclose(found["twice"], 2 * found[RUN])
    np.testing.assert_allclose(found[RUN], groups @ matrix, rtol=1e-4, atol=1e-6 * np.abs(matrix).max())
    no_q, dot = 0, 0
    for m in range(2):
        phi, aims = (np.asarray(read(m)[0] if i == 0 else read(m), float) for i, read in
                     enumerate(readers(job, targets.name)))  # fmt: skip
        xtx = phi.T @ phi
        ridge = 0.3 * np.trace(xtx) / min(phi.shape)
        no_q = no_q + in_rows @ phi @ np.linalg.inv(xtx + ridge * np.eye(len(xtx))) @ aims.T / 2
        dot = dot + in_rows @ phi @ aims.T / 2
    np.testing.assert_allclose(found[NO_Q], no_q, rtol=1e-3, atol=1e-5 * np.abs(no_q).max())
    np.testing.assert_allclose(found[DOT], dot, rtol=1e-3, atol=1e-5 * np.abs(dot).max())


@pytest.mark.filterwarnings("ignore:.*is small for N")
@pytest.mark.parametrize("lambda_rel", RIDGES)
@pytest.mark.parametrize("rows", [200, 20], ids=["N > 2K", "N < K"])
def test_any_ridge_is_the_closed_form(rows, lambda_rel):
    """Law: of gradients that single precision cannot tell apart too, for groups and for single rows."""
    phi, aims, q = steep(rows, 32), steep(5, 32, seed=1), np.linspace(0.1, 1, rows)
    groups = (np.random.default_rng(0).random((6, rows)) < 0.5).astype(float)
    expected = q[:, None] * closed_form(phi, lambda_rel, aims)
    read = (lambda m: (phi, q)), (lambda m: aims)
    found = group_scores(1, *read, groups, lambda_rel)[RUN]
    most = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(found / most, groups @ expected / most, atol=1e-4)
    single = row_scores(1, *read, np.array([0, 3]), lambda_rel)
    np.testing.assert_allclose(single / most[[0, 3]], expected[:, [0, 3]] / most[[0, 3]], atol=1e-4)


def test_scores_of_rows_are_the_matrix(run):
    """Law: summed by impression, the scores of rows on chosen targets are the matrix's columns."""
    job, targets, matrix = run
    chosen = np.array([0, 3])
    rows = row_scores(2, *readers(job, targets.name), chosen, job.lambda_rel)
    sums = np.stack([np.bincount(job.impression_of_row, weights=column) for column in rows.T], axis=1)
    np.testing.assert_allclose(sums, matrix[:, chosen], rtol=1e-4, atol=1e-6 * np.abs(matrix).max())


def table(history, candidates):
    n = len(candidates)
    return Impressions(
        np.array(["u"] * n, dtype=object), Ragged.of(history), Ragged.of(candidates),
        Ragged.of([[1] + [0] * (len(c) - 1) for c in candidates]), np.zeros(n, np.int8), ("",) * n,
    )  # fmt: skip


def test_baselines_by_hand():
    """Law: shared candidates, shared articles, and the signed overlap of clicked and other candidates, summed."""
    rows = table([[1, 2], [3]], [[4, 5, 6], [5, 4]])
    targets = table([[2, 2, 3]], [[4, 5]])
    groups = np.array([[1, 0], [0, 1], [1, 1]])
    found = baseline_scores(rows, targets, groups)
    assert found[CANDIDATES].ravel().tolist() == [2, 2, 4]
    assert found[ARTICLES].ravel().tolist() == [3, 3, 6]
    assert found[SIGNED].ravel().tolist() == [1 + 0.5, -1 - 1, -0.5]
    same = baseline_scores(rows, targets, groups)[RANDOM]
    np.testing.assert_array_equal(found[RANDOM], same)
    assert found[RANDOM][2, 0] == pytest.approx(found[RANDOM][:2, 0].sum())
