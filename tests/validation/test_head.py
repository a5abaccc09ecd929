"""The convex head's features are the model's own score, taken apart."""

import pytest
import torch
from support.tiny import make_job
from torch import nn

from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.data.batches import unique_batch
from rec_trak.errors import ConfigError, NumericalError
from rec_trak.validation import head


@pytest.fixture(params=["nrms", "naml", "lstur"])
def job(request, tmp_path):
    """A tiny job with its checkpoint loaded."""
    job = make_job(tmp_path, request.param)
    load_into(job.model, job.members[0].state_dict(), "tiny")
    return job


def test_features_add_up_to_the_models_scores(job, monkeypatch):
    """With weights of 1 the head is the model, whatever the batches; masked candidates are zero."""
    monkeypatch.setattr(head, "BATCH", 5)
    rows = head.head_rows(job.model, job.inputs)
    batch = unique_batch(job.inputs, range(len(job.inputs)))
    with torch.no_grad():
        scores = job.model(batch)
    assert torch.equal(rows.mask, batch.candidate_mask)
    torch.testing.assert_close(rows.predictors(torch.ones(rows.features.shape[-1]).double()).float(), scores)
    assert not rows.features[~rows.mask].any()


def test_a_model_without_encode_and_score_is_refused(job):
    """It has no vectors."""
    with pytest.raises(ConfigError, match="Got no `encode` and `score`, expected both"):
        head.head_rows(nn.Linear(3, 1), job.inputs)


def test_candidates_that_attend_to_each_other_are_refused(job):
    """Articles without vectors of their own have no such head."""
    job.model.across = True
    with pytest.raises(ConfigError, match="articles have no vectors of their own. Got one whose candidates attend"):
        head.head_rows(job.model, job.inputs)


def test_scores_that_are_no_dot_products_are_refused(job):
    """A score that is not linear in the article's vector has no such head."""
    score = job.model.score
    job.model.score = lambda vectors, batch: score(vectors, batch) ** 2 + 1
    with pytest.raises(ConfigError, match="scores are no dot products"):
        head.head_rows(job.model, job.inputs)


def test_a_score_that_raises_is_refused(job):
    """What the model raised is told."""

    def score(vectors, batch):
        raise RuntimeError("no such place")

    job.model.score = score
    with pytest.raises(ConfigError, match="cannot be cut into vectors and a head. Got RuntimeError: no such place"):
        head.head_rows(job.model, job.inputs)


def test_vectors_must_be_finite(job):
    """A damaged checkpoint is named by its first row."""
    with torch.no_grad():
        for parameter in job.model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(NumericalError, match="features are not finite in row 0"):
        head.head_rows(job.model, job.inputs)
