"""The law Q grad f = - grad L on a store's own Q."""

import pytest
import torch
from support import tiny

from rec_trak.attribution.session import featurize
from rec_trak.clicks import LOSSES
from rec_trak.store.reading import read_member
from rec_trak.trust.law import law_error

pytestmark = pytest.mark.filterwarnings("ignore:.*the model was trained with 'softmax'")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_featurized_store_keeps_the_law(tmp_path, loss):
    """Law: of every loss, on all rows; other weights in the model at the start change nothing."""
    job = tiny.make_job(tmp_path, members=2, loss=loss)
    featurize(job)
    q = read_member(job.save_dir, 0)[1]
    with torch.no_grad():
        for parameter in job.model.parameters():
            parameter.zero_()
    assert law_error(job, q, rows=len(q)) < 1e-4


def test_a_q_that_is_off_by_a_factor_breaks_it_by_that(tmp_path):
    """Law: Q times c gives |c - 1|; a row that is not looked at is not seen; no rows, no error."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    q = read_member(job.save_dir, 0)[1]
    assert law_error(job, 1.5 * q) == pytest.approx(0.5, abs=1e-4)
    first = [row for row in range(len(q)) if law_error(job, q + 0.1 * (torch.arange(len(q)) == row).numpy(), 1) > 1e-3]
    assert len(first) == 1
    assert law_error(job, q, rows=0) == 0.0


def test_a_row_without_a_gradient_keeps_it(tmp_path):
    """Law: nothing to compare is no error, and nothing is divided by 0."""
    job = tiny.make_job(tmp_path)
    featurize(job)
    state = {name: torch.zeros_like(value) for name, value in job.model.state_dict().items()}
    object.__setattr__(job.members[0], "origin", state)
    assert law_error(job, read_member(job.save_dir, 0)[1]) == 0.0
