"""Articles differentiated once each give the gradients of plain autograd, row by row."""

import dataclasses

import numpy as np
import pytest
import torch
from support.recommenders import MODELS, topic_world, world
from support.spans import article_path, exact_sketches, span_sketches, worst

from rec_trak.clicks import ClickOutput
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.data.spans import make_span
from rec_trak.errors import NumericalError
from rec_trak.gradients.computers import FactoredComputer, make_batch
from rec_trak.sketch import transforms
from rec_trak.sketch.spans import SpanProjector


@pytest.mark.parametrize("loss", ["softmax", "bce", "bpr", "marginal"])
@pytest.mark.parametrize("name", MODELS)
def test_article_path_equals_plain_autograd(tmp_path, name, loss):
    """|s - s'| <= 1e-5 |s'| for every row's sketch, with all articles taken once, with some, and with none; the same
    with every direction by itself."""
    model, inputs = world(tmp_path, name, loss)
    rows = np.arange(0, len(inputs), max(1, len(inputs) // 12))
    computer, projector = article_path(model, inputs, loss)
    assert computer.structure is not None
    expected, expected_q = exact_sketches(computer, projector, inputs, rows)
    for least in (1, 4, 1e9):
        found, q = span_sketches(computer, projector, inputs, rows, least)
        assert worst(found, expected) < 1e-5
        torch.testing.assert_close(q, expected_q, rtol=1e-5, atol=1e-7)
    plain, projector = article_path(model, inputs, loss, plain=True)
    assert worst(span_sketches(plain, projector, inputs, rows)[0], expected) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "views"),
    [
        ("naml", ("title", "body", "category", "subcategory")),
        ("naml", ("category",)),
        ("lstur", ("title", "category", "subcategory")),
    ],
)
def test_several_views_and_articles_twice_in_a_row(tmp_path, architecture, views):
    """Attention over views, topics, articles that stand several times in a history and among the candidates too."""
    model, inputs = topic_world(tmp_path, architecture, views)
    computer, projector = article_path(model, inputs)
    assert worst(span_sketches(computer, projector, inputs)[0], exact_sketches(computer, projector, inputs)[0]) < 1e-5


def test_one_pass_serves_all_filters_and_one_a_number_of_a_head(tmp_path):
    """A convolution's directions need one pass together, multi-head attention's as many as a head is wide."""
    for name, colours in (("naml", 1), ("lstur-ini", 1), ("nrms", 4)):
        model, inputs = world(tmp_path / name, name)
        structure = article_path(model, inputs)[0].structure
        assert (structure.colours, structure.cut) == (colours, True)


@pytest.mark.parametrize("name", ["nrms", "naml"])
def test_double_precision_agrees_to_1e_10(tmp_path, name):
    """What is left is rounding: in float64 it is 1e-10 of a row's norm."""
    model, inputs = world(tmp_path, name)
    model, rows = model.double(), np.arange(6)
    computer, projector = article_path(model, inputs)
    found, _ = span_sketches(computer, projector, inputs, rows)
    assert found.dtype == torch.float64
    assert worst(found, exact_sketches(computer, projector, inputs, rows)[0]) < 1e-10


@pytest.mark.parametrize("k", [3, 16, 512])
@pytest.mark.parametrize("cost", [0.0, 1e9])
def test_each_direction_by_itself_agrees_to_1e_10(tmp_path, monkeypatch, cost, k):
    """Along an article's own cotangents where they are fewer than D and along all directions where they are not; by
    transforms of a layer's inputs and by products."""
    monkeypatch.setattr(transforms, "SHARED", cost)
    model, inputs = world(tmp_path, "nrms")
    model, rows = model.double(), np.arange(14)
    computer, projector = article_path(model, inputs, k=k, plain=True)
    counts = np.diff(make_span(inputs, rows, 1, 4, "cpu").starts)
    assert counts.min() < computer.vectors(make_span(inputs, rows, 1, 4, "cpu")).shape[1] <= counts.max()
    found, _ = span_sketches(computer, projector, inputs, rows)
    assert worst(found, exact_sketches(computer, projector, inputs, rows)[0]) < 1e-10


@pytest.mark.parametrize("k", [3, 16, 512])
def test_any_number_of_buckets(tmp_path, k):
    """Parameters that are several tiles wide and high, and blocks of columns that lie across two of them."""
    model, inputs = world(tmp_path, "nrms")
    computer, projector = article_path(model, inputs, k=k)
    rows = np.arange(5)
    found, _ = span_sketches(computer, projector, inputs, rows)
    assert worst(found, exact_sketches(computer, projector, inputs, rows)[0]) < 1e-5


def test_span_and_batch_size_change_no_sketch(tmp_path):
    """One span or many, batches of 1 or of 32: the numbers of the factored path, to 1e-5; Q to its last digit."""
    model, inputs = world(tmp_path, "nrms")
    computer, projector = article_path(model, inputs)
    pairs = FactoredComputer(model, ClickOutput("softmax"))
    batch = make_batch("factored", model, inputs, np.arange(len(inputs)), "cpu")
    expected, expected_q = projector.project(pairs.compute_per_sample_grad(batch), 0), pairs.compute_loss_grad(batch)
    for size, batch_size in ((len(inputs), 1), (len(inputs), 32), (5, 3), (1, 1)):
        parts = [
            span_sketches(computer, projector, inputs, np.arange(i, min(i + size, len(inputs))), 2, batch_size)
            for i in range(0, len(inputs), size)
        ]
        found, q = (torch.cat(part) for part in zip(*parts, strict=True))
        assert worst(found, expected) < 1e-5
        torch.testing.assert_close(q, expected_q[:, 0], rtol=0, atol=3e-7)


def test_thousands_of_places_of_one_article(tmp_path):
    """One article at 3,000 places, and one at a single place."""
    model, inputs = world(tmp_path, "nrms")
    rows = inputs.impressions.subset(np.zeros(1000, dtype=np.int64))
    history, candidates = Ragged.of([[3, 3, 3]] * 1000), Ragged.of([[7, 5]] + [[4, 5]] * 999)
    labels = Ragged.of([[1, 0]] * 1000)
    rows = dataclasses.replace(rows, history=history, candidates=candidates, labels=labels)
    inputs = Inputs(rows, inputs.views, np.zeros(1000, dtype=np.int64))
    computer, projector = article_path(model, inputs)
    span = make_span(inputs, np.arange(1000), 1, 32, "cpu")
    assert np.diff(span.starts).tolist() == [3000, 999, 1000, 1]
    found, _ = span_sketches(computer, projector, inputs, batch_size=64)
    assert worst(found[[0, 1, 999]], exact_sketches(computer, projector, inputs, [0, 1, 999])[0]) < 1e-5


def test_padding_of_a_chunk_changes_nothing(tmp_path):
    """The shortest article beside the longest, and one without a word."""
    model, inputs = world(tmp_path, "nrms")
    views = {name: values.copy() for name, values in inputs.views.items()}
    views["title"][0] = 0
    inputs = Inputs(inputs.impressions, views, inputs.users)
    computer, projector = article_path(model, inputs)
    assert worst(span_sketches(computer, projector, inputs)[0], exact_sketches(computer, projector, inputs)[0]) < 1e-5


def test_a_filter_that_no_tried_article_answers_is_not_lost(tmp_path):
    """The structure is read off articles that leave a filter at zero; others that do not still get its gradient."""
    model, inputs = world(tmp_path, "lstur-ini")
    conv = model.title_encoder.conv
    with torch.no_grad():
        conv.bias[2] = -100.0
    computer, projector = article_path(model, inputs)
    assert computer.structure.colours == 1
    with torch.no_grad():
        conv.bias[2] = 0.1
    rows = np.arange(4)
    found, _ = span_sketches(computer, projector, inputs, rows)
    assert worst(found, exact_sketches(computer, projector, inputs, rows)[0]) < 1e-5


def test_a_structure_that_does_not_hold_is_found_out(tmp_path):
    """Where an article touches columns that the structure gives to others, its chunk is taken anew, one by one."""
    model, inputs = world(tmp_path, "nrms")
    computer, projector = article_path(model, inputs)
    columns = tuple(c and dataclasses.replace(c, each=1, width=2) for c in computer.structure.columns)
    computer.structure = dataclasses.replace(computer.structure, colours=1, columns=columns)
    rows = np.arange(3)
    found, _ = span_sketches(computer, projector, inputs, rows)
    assert worst(found, exact_sketches(computer, projector, inputs, rows)[0]) < 1e-5


class Mixing(torch.nn.Module):
    """An article's vector has some of the other articles' mean, as of a batch norm in training mode."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def encode(self, articles):
        vectors = self.inner.encode(articles)
        return vectors + vectors.mean(dim=0, keepdim=True)

    def score(self, vectors, batch):
        return self.inner.score(vectors, batch)

    def forward(self, batch):
        return self.score(self.encode(batch.articles), batch)


@pytest.mark.parametrize("plain", [False, True])
def test_articles_that_see_each_other_are_refused(tmp_path, plain):
    """No Jacobian of an article is its own there."""
    model, inputs = world(tmp_path, "nrms")
    computer, projector = article_path(Mixing(model), inputs, plain=plain)
    with pytest.raises(NumericalError, match="an article's vector depends on the articles beside it.*factored"):
        span_sketches(computer, projector, inputs)


def test_the_projector_takes_factors_as_before(tmp_path):
    """Batches of rows go through the same projector, with the same numbers."""
    model, inputs = world(tmp_path, "nrms")
    pairs = FactoredComputer(model, ClickOutput("softmax"))
    factors = pairs.compute_per_sample_grad(make_batch("factored", model, inputs, np.arange(4), "cpu"))
    dense = {name: torch.stack([g[i] for i in range(4)]) for name, g in factors.dense().items()}
    projector = SpanProjector(0, 16, 0)
    torch.testing.assert_close(projector.project(factors, 0), projector.project(dense, 0), rtol=1e-4, atol=1e-6)
