"""Rows of one user with one history share the model's pass, and each keeps the gradient of plain autograd."""

import dataclasses

import numpy as np
import pytest
import torch
from support.recommenders import MODELS, topic_world, world
from support.spans import article_path, exact_sketches, worst
from torch import nn

from rec_trak.attribution.trials import sharing
from rec_trak.data.inputs import Inputs
from rec_trak.data.pieces import pieces
from rec_trak.data.spans import make_span
from rec_trak.gradients.factors import Entries
from rec_trak.gradients.steadiness import remembers

SIZES = (1, 3, 2, 11, 4)  # rows of a user


def of_few_users(inputs, sizes=SIZES):
    """As many rows as `sizes` say, of users whose rows share a history and have candidates of their own."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.arange(len(owner)) % len(inputs)
    old, own = inputs.impressions.subset(owner), inputs.impressions.subset(rows)
    shared = dataclasses.replace(own, history=old.history)
    order = np.random.default_rng(0).permutation(len(owner))
    return Inputs(shared.subset(order), inputs.views, inputs.users[owner[order]])


def shared_sketches(computer, projector, inputs, least=4, batch_size=4):
    """Sketches and Q of all rows as one span, whose users share passes wherever they can."""
    span = make_span(inputs, np.arange(len(inputs)), least, batch_size, "cpu", alike=1)
    return projector.project(computer.compute_per_sample_grad(span), 0), computer.compute_loss_grad(span)[:, 0]


@pytest.mark.parametrize(("name", "loss"), [*((name, "softmax") for name in MODELS), ("nrms", "bce"), ("naml", "bpr")])
def test_shared_passes_equal_plain_autograd(tmp_path, name, loss):
    """|s - s'| <= 1e-5 |s'| with articles looked up, encoded with their rows, and some of either."""
    model, inputs = world(tmp_path, name, loss)
    inputs = of_few_users(inputs)
    computer, projector = article_path(model, inputs, loss)
    expected, expected_q = exact_sketches(computer, projector, inputs)
    for least in (1, 6, 1e9):
        found, q = shared_sketches(computer, projector, inputs, least)
        assert worst(found, expected) < 1e-5
        torch.testing.assert_close(q, expected_q, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("architecture", "views"),
    [("naml", ("title", "body", "category", "subcategory")), ("lstur", ("title", "category", "subcategory"))],
)
def test_several_views_and_articles_twice_in_a_row(tmp_path, architecture, views):
    """Articles that stand several times in the shared history and among the candidates too."""
    model, inputs = topic_world(tmp_path, architecture, views)
    inputs = of_few_users(inputs)
    computer, projector = article_path(model, inputs)
    expected, _ = exact_sketches(computer, projector, inputs)
    assert worst(shared_sketches(computer, projector, inputs, 12)[0], expected) < 1e-5


@pytest.mark.parametrize("names", [None, ("user_encoder.*",)])
def test_double_precision_agrees_to_1e_10(tmp_path, names):
    """What is left is rounding, for all parameters and for the user's side alone, which no encoded article reaches."""
    model, inputs = world(tmp_path, "nrms")
    model, inputs = model.double(), of_few_users(inputs)
    if names:
        names = [name for name, _ in model.named_parameters() if name.startswith("user_encoder")]
    computer, projector = article_path(model, inputs, names=names, plain=True)
    expected, _ = exact_sketches(computer, projector, inputs)
    for least in (3, 1e9):
        assert worst(shared_sketches(computer, projector, inputs, least)[0], expected) < 1e-10


def test_a_row_stands_in_one_piece(tmp_path):
    """Pieces hold each row once; a user's many rows are cut, and too few users with as many go with fewer."""
    _, inputs = world(tmp_path, "nrms")
    inputs = of_few_users(inputs)
    for alike, sizes in ((None, {1}), (1, {1, 2, 3, 4, 5, 6}), (8, {1, 2, 3}), (1000, {1})):
        cut = list(pieces(make_span(inputs, np.arange(len(inputs)), 3, 2, "cpu", alike=alike)))
        assert sorted(torch.cat([piece.positions for piece in cut]).tolist()) == list(range(sum(SIZES)))
        assert {piece.each for piece in cut} <= sizes
        assert all(len(piece.batch.user) * piece.each == len(piece.positions) for piece in cut)


class Own(nn.Module):
    """A model whose rows go through `change` on their way out."""

    def __init__(self, inner, change):
        super().__init__()
        self.inner, self.change = inner, change

    def encode(self, articles):
        return self.inner.encode(articles)

    def score(self, vectors, batch):
        return self.change(self.inner.score(vectors, batch), batch)

    def forward(self, batch):
        return self.score(self.encode(batch.articles), batch)


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        (lambda scores, batch: scores, True),
        (lambda scores, batch: scores * torch.tanh(scores.detach()), True),
        (lambda scores, batch: scores / scores.norm(dim=1, keepdim=True), False),
        (lambda scores, batch: scores * batch.candidate_mask.sum(dim=1, keepdim=True), False),
        (lambda scores, batch: scores.reshape(len(scores), 5 // scores.shape[1], -1)[:, 0], False),
    ],
    ids=["alone", "each by itself", "see each other", "are counted", "are too many"],
)
def test_candidates_that_see_each_other_are_found_out(tmp_path, change, alike):
    """Where a row's scores depend on its other candidates, its user's rows cannot share a pass; elsewhere they may."""
    model, inputs = world(tmp_path, "nrms")
    inputs = of_few_users(inputs)
    computer, projector = article_path(Own(model, change), inputs, plain=True)
    assert sharing(computer, projector, inputs, 4) == (64 if alike else None)


def test_rows_that_share_nothing_are_not_tried(tmp_path):
    """A log in which no user has two rows with one history."""
    model, inputs = world(tmp_path, "nrms")
    computer, projector = article_path(model, inputs, plain=True)
    assert sharing(computer, projector, of_few_users(inputs, (1,) * 5), 4) is None


def test_a_number_that_is_not_finite_stays_in_its_row(tmp_path):
    """Where a shared pass has numbers that are not finite, its rows are taken again by themselves."""
    model, inputs = world(tmp_path, "nrms")
    inputs = of_few_users(inputs, (4, 4))
    computer, projector = article_path(model, inputs)
    name, size = next((name, p.numel()) for name, p in computer.parameters.items() if p.dim() == 1)
    right = computer.piece_gradients

    def broken(piece, table):
        factors, *rest = right(piece, table)
        if piece.each > 1:
            spread = Entries(torch.full((len(factors), 1, size), torch.nan), torch.arange(len(factors)))
            factors = dataclasses.replace(factors, parts={name: [spread]})
        return factors, *rest

    computer.piece_gradients = broken
    found, _ = shared_sketches(computer, projector, inputs)
    assert worst(found, exact_sketches(computer, projector, inputs)[0]) < 1e-5


def test_a_model_that_keeps_something_of_a_pass_is_known(tmp_path):
    """Two passes at once could read one another's attributes; buffers and weights are told elsewhere."""
    model, inputs = world(tmp_path, "nrms")
    kept = Own(model, lambda scores, batch: kept.__dict__.__setitem__("last", scores) or scores)
    listed = Own(model, lambda scores, batch: listed.notes.append(scores) or scores)
    listed.notes = []
    batch = next(iter(pieces(make_span(inputs, np.arange(4), 1e9, 4, "cpu"))))
    for own, found in ((model, False), (kept, True), (listed, True)):
        computer, _ = article_path(own, inputs, plain=True)
        assert remembers(own, lambda c=computer: c.piece_gradients(batch, torch.zeros(0, 0))) is found
