"""Exact leave-one-out on a head: against naive refits of the same head, and what must be refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from support.tiny import make_job

from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, DataError
from rec_trak.validation import glm, ladder, leave_one_out
from rec_trak.validation.head import head_rows


@pytest.fixture
def job(tmp_path):
    """24 impressions and one checkpoint."""
    return make_job(tmp_path)


def test_rungs_are_compared_with_naive_refits(job):
    """TRAK's Spearman is that with effects of heads that were fitted from scratch without each row."""
    targets = job.impressions.subset(np.arange(6))
    told = leave_one_out.leave_one_out(job, targets, l2_rel=0.1, members=(1, 3))
    rows = head_rows(job.model, job.inputs)
    everything = glm.fit(rows, told["l2"])
    own = glm.picked(rows, torch.arange(6))
    f = glm.margins(own, own.predictors(everything.weights))
    effect = np.empty((len(rows), 6))
    for i in range(len(rows)):
        kept = torch.tensor([j for j in range(len(rows)) if j != i])
        weights = glm.fit(glm.picked(rows, kept), told["l2"]).weights
        effect[i] = (f - glm.margins(own, own.predictors(weights))).numpy()
    whole = ladder.system(rows, everything, own)
    for name, ridge in (("TRAK", 0.1), ("TRAK, matched ridge", None)):
        (rung,) = [r for r in ladder.rungs(whole, np.arange(len(rows)), [ridge]) if r.name == name]
        expected = np.mean([spearmanr(rung.effect[:, t], effect[:, t]).statistic for t in range(6)])
        (line,) = [
            line for line in told["rungs"] if line["rung"] == name and (ridge is None or line["lambda_rel"] == ridge)
        ]
        assert line["spearman"] == pytest.approx(expected, abs=0.005)
    assert told["gradient"] <= glm.TOLERANCE


def test_the_result_is_plain_data_with_the_runs_own_rung(job):
    """It goes into JSON; the run's K and ridge are among the rungs, and a Newton step agrees with the truth."""
    told = leave_one_out.leave_one_out(job, job.impressions.subset(np.arange(4)))
    json.dumps(told, allow_nan=False)
    assert told["rows"] == told["left_out"] == len(job.impressions)
    assert (told["headline"]["K"], told["headline"]["lambda_rel"], told["headline"]["members"]) == (16, 1.0, 1)
    assert told["matched"]["K"] == 16
    assert told["matched"]["predicted"] == pytest.approx(told["matched"]["pearson"], abs=0.15)
    assert told["rungs"][0]["rung"] == "one Newton step"
    assert told["rungs"][0]["spearman"] > 0.99
    assert told["l2_rel"] == min(leave_one_out.L2_GRID, key=lambda rel: told["left_out_loss"][str(rel)])
    assert told["loss"] < told["loss_at_zero"]


def test_a_sample_of_rows_leaves_the_head_as_it_is(job):
    """Fewer rows are left out; the same seed gives the same sample, and the penalty is that of all rows."""
    targets = job.impressions.subset(np.arange(4))
    first, again = (leave_one_out.leave_one_out(job, targets, rows=12, seed=3) for _ in range(2))
    assert first == again
    assert first["left_out"] == 12
    assert first["l2"] == leave_one_out.leave_one_out(job, targets)["l2"]


def test_another_loss_has_the_same_head(job, tmp_path):
    """A run under BCE makes several rows of an impression; its head has impressions."""
    other = make_job(tmp_path, loss="bce")
    assert len(other.inputs) > len(other.impressions)
    targets = job.impressions.subset(np.arange(3))
    assert leave_one_out.leave_one_out(other, targets) == leave_one_out.leave_one_out(job, targets)


@pytest.mark.parametrize("rows", [9, 25])
def test_too_few_or_too_many_rows_are_refused(job, rows):
    """A rank correlation of a few rows says nothing."""
    with pytest.raises(ConfigError, match=f"not so many rows can be left out. Got {rows} of 24, expected 10 to 24"):
        leave_one_out.leave_one_out(job, job.impressions.subset(np.arange(3)), rows=rows)


def test_no_target_is_refused(job):
    """There is nothing to explain."""
    with pytest.raises(ConfigError, match="leave-one-out: there is no target"):
        leave_one_out.leave_one_out(job, job.impressions.subset(np.arange(0)))


def test_a_target_without_another_candidate_is_refused(job):
    """It has no margin."""
    target = job.impressions.subset(np.arange(1))
    alone = dataclasses.replace(
        target, candidates=Ragged.of([target.candidates[0][:1]]), labels=Ragged.of([target.labels[0][:1]])
    )
    with pytest.raises(DataError, match="the row has no other candidate"):
        leave_one_out.leave_one_out(job, alone)
