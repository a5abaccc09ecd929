"""What is measured of a retrained model: margins and lists, against ten lines of numpy and planted scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.training_inputs import CONFIG, make_inputs

from rec_trak.data.articles import Articles
from rec_trak.data.ragged import Ragged
from rec_trak.errors import NumericalError
from rec_trak.models.build import build_model
from rec_trak.validation import outcomes
from rec_trak.validation.outcomes import list_exposure, make_lists, target_margins


def articles(fake=()):
    """The twenty articles of `make_inputs`, some of them fake."""
    marks = np.isin(np.arange(20), list(fake)).astype(np.int8)
    return Articles(tuple(map(str, range(20))), ("t",) * 20, ("",) * 20, ("",) * 20, ("",) * 20, marks, "made up")


class Popular(torch.nn.Module):
    """Scores an article by a table, whoever reads."""

    def __init__(self, table):
        super().__init__()
        self.table = torch.as_tensor(table, dtype=torch.float32)

    def forward(self, batch):
        return self.table[batch.articles["number"]][batch.candidates]


def numbered(inputs):
    """The inputs with one view: an article's own number."""
    return replace(inputs, views={"number": np.arange(20, dtype=np.int32)})


def test_margins_are_the_first_candidate_against_the_others(monkeypatch):
    """Law: f = s_0 - logsumexp of the others of each target, whatever the batches."""
    targets, model = make_inputs(7), build_model(CONFIG).eval()
    whole = target_margins(model, targets)
    monkeypatch.setattr(outcomes, "BATCH", 3)
    np.testing.assert_allclose(target_margins(model, targets), whole, atol=1e-6)
    table = np.random.default_rng(0).normal(size=20).astype(np.float32)
    found = target_margins(Popular(table), numbered(targets))
    for i, value in enumerate(found):
        own, *others = table[targets.impressions.candidates[i]].astype(float)
        assert value == pytest.approx(own - np.log(np.exp(others).sum()), abs=1e-5)


def test_lists_hold_what_a_reader_can_be_offered():
    """Law: all candidates of rows and targets, never what the reader has read but for the article explained."""
    rows, targets = make_inputs(6).impressions, make_inputs(4, 1)
    lists = make_lists(targets, rows, articles())
    offered = lists.inputs.impressions.candidates[0]
    seen = set(rows.candidates.values.tolist()) | set(targets.impressions.candidates.values.tolist())
    assert set(offered.tolist()) == seen
    np.testing.assert_array_equal(offered[lists.own], targets.impressions.clicked)
    for i in range(4):
        read = set(offered[lists.read[i]].tolist())
        history = set(targets.impressions.history[i].tolist())
        assert read == (history & seen) - {int(targets.impressions.clicked[i])}


def test_long_lists_are_cut_but_keep_what_is_explained(monkeypatch):
    """Law: at most so many other articles are offered, drawn by the seed."""
    monkeypatch.setattr(outcomes, "OFFERED", 3)
    targets = make_inputs(4, 1)
    first, again = (make_lists(targets, make_inputs(6).impressions, articles(), seed=5) for _ in range(2))
    assert first.read.shape[1] == 3 + len(np.unique(targets.impressions.clicked))
    np.testing.assert_array_equal(first.inputs.impressions.candidates[0], again.inputs.impressions.candidates[0])


def test_exposure_of_planted_scores(monkeypatch):
    """Law: with popularity as the score, a target's article stands among the first k when fewer than k unread ones are
    as popular; `fake@k` counts lists with an explained fake article."""
    monkeypatch.setattr(outcomes, "BATCH", 2)
    targets = numbered(make_inputs(6, 1))
    table = np.random.default_rng(1).permutation(20).astype(float)
    explained = targets.impressions.clicked
    unasked = int(np.setdiff1d(np.arange(20), explained)[0])
    lists = make_lists(targets, make_inputs(40).impressions, articles(fake=[int(explained[0]), unasked]))
    found = list_exposure(Popular(table), lists)
    offered = lists.inputs.impressions.candidates[0]
    own, fake = [], []
    for i in range(6):
        free = [a for a in offered if a == explained[i] or a not in targets.impressions.history[i]]
        best = sorted(free, key=lambda a: -table[a])[:5]
        own.append(explained[i] in best)
        fake.append(explained[0] in best)
    assert found["explained@5"] == pytest.approx(np.mean(own))
    assert found["fake@5"] == pytest.approx(np.mean(fake))
    assert set(found) == {"explained@5", "explained@10", "fake@5", "fake@10"}
    nobody = make_lists(targets, make_inputs(40).impressions, articles())
    assert set(list_exposure(Popular(table), nobody)) == {"explained@5", "explained@10"}


def test_scores_that_are_not_numbers_are_refused():
    """Law: NaN never becomes a share."""
    targets = numbered(make_inputs(6, 1))
    lists = make_lists(targets, make_inputs(40).impressions, articles())
    with pytest.raises(NumericalError, match=r"exposure: a score is NaN"):
        list_exposure(Popular(np.full(20, np.nan)), lists)


def test_fake_is_known_from_clicks_too():
    """Law: an article is fake where its table says so or a row that clicks it does."""
    targets, rows = make_inputs(4, 1), make_inputs(6).impressions
    article = int(targets.impressions.clicked[0])
    clicked = rows.clicked.copy()
    clicked[0] = article
    rows = replace(rows, candidates=Ragged.of([[c] for c in clicked]), is_fake=(clicked == article).astype(np.int8))
    lists = make_lists(targets, rows, articles())
    assert lists.inputs.impressions.candidates[0][lists.fake].tolist() == [article]
