"""Laws of the click losses, above all Q . grad f = - grad L row by row, and of how traker is given f and Q."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from trak.gradient_computers import FunctionalGradientComputer

from rec_trak.clicks import LOSSES, ClickOutput, expand, flatten_padded, margin, owners, residual, row_loss
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.batches import Batch, padded_batch, pair_batch, unique_batch
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.data.texts import Texts
from rec_trak.errors import ConfigError, DataError
from rec_trak.models.build import build_model

TEXT = TextConfig(words=tuple("abcdefg"), categories=("x", "y"))
SMALL = {"word_dim": 6, "query_dim": 4}
CNN = SMALL | {"filters": 5, "category_dim": 3}
MODELS = {
    "nrms": ModelConfig("nrms", sizes=SMALL | {"heads": 2, "head_dim": 3}, text=TEXT),
    "naml": ModelConfig("naml", ("title", "body", "category"), CNN, TEXT),
    "lstur-ini": ModelConfig("lstur", ("title", "category"), CNN, TEXT, users=("p", "q")),
    "lstur-con": ModelConfig("lstur", ("title",), CNN | {"fusion": "con"}, TEXT, users=("p", "q")),
}


def impressions(candidates, labels, history=None):
    n = len(candidates)
    return Impressions(
        user_ids=np.array(list("pqrpq")[:n], dtype=object),
        history=Ragged.of(history or [[]] * n),
        candidates=Ragged.of(candidates),
        labels=Ragged.of(labels),
        is_fake=np.array([1, 0, -1, 1, 0][:n], dtype=np.int8),
        sources=tuple(f"lines {i}" for i in range(n)),
        columns={"poisoned": tuple("01010"[:n])},
    )


def world():
    """Five rows: several clicks, an empty history, no click at all, an unknown user, one article twice."""
    rows = impressions(
        [[0, 4, 5, 1], [2, 3], [1, 0, 2], [4, 1, 5], [5, 0]],
        [[1, 0, 1, 0], [1, 0], [0, 0, 0], [1, 0, 0], [1, 0]],
        [[1, 2, 3], [4], [0, 5, 1, 2], [], [3, 3]],
    )
    views = {
        "title": np.array([[2, 3, 4], [5, 0, 0], [6, 7, 0], [0, 0, 0], [8, 2, 1], [3, 3, 5]], dtype=np.int32),
        "body": np.array([[2, 3], [4, 4], [5, 0], [1, 6], [0, 0], [7, 0]], dtype=np.int32),
        "category": np.array([1, 2, 1, 2, 1, 0], dtype=np.int32),
    }
    return Inputs(rows, views, np.array([1, 2, 0, 1, 2]))


def cut_for(loss, inputs):
    rows, owner = expand(inputs.impressions, loss)
    return Inputs(rows, inputs.views, inputs.users[owner])


def make(name):
    torch.manual_seed(0)
    model = build_model(MODELS[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.6)
    return model.eval()


def flat_gradient(value, model):
    grads = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, retain_graph=True)
    zipped = zip(grads, model.parameters(), strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zipped])


def plain_loss(loss, scores, labels):
    """The loss of one row as a textbook writes it; scores and labels (C,)."""
    if loss == "softmax":
        return F.cross_entropy(scores[None], torch.tensor([0]))
    if loss == "bce":
        return F.binary_cross_entropy_with_logits(scores[0], labels[0])
    if loss == "bpr":
        return -torch.log(torch.sigmoid(scores[0] - scores[1]))
    clicked = labels == 1 if labels.any() else torch.arange(len(labels)) == 0
    return -torch.log(torch.softmax(scores, dim=0)[clicked].sum())


def bare(scores, labels=None, mask=None):
    """Scores and a batch that has nothing but labels and a mask."""
    scores = torch.tensor(scores, dtype=torch.float32)
    mask = torch.ones(scores.shape, dtype=torch.bool) if mask is None else torch.tensor(mask)
    labels = torch.zeros(scores.shape) if labels is None else torch.tensor(labels, dtype=torch.float32)
    nothing = torch.zeros(len(scores), 1, dtype=torch.int64)
    return scores, Batch({}, nothing, nothing.bool(), torch.zeros_like(mask, dtype=torch.int64), mask, labels, nothing)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MODELS)
def test_q_times_grad_f_is_minus_grad_l(name, loss):
    """Law: Q . grad f = - grad L for each row, against plain autograd of the textbook loss, to 1e-5 relative."""
    model, inputs, moved = make(name), cut_for(loss, world()), 0
    for i in range(len(inputs)):
        batch = unique_batch(inputs, [i])
        scores = model(batch)
        expected = -flat_gradient(plain_loss(loss, scores[0], batch.labels[0]), model)
        with torch.no_grad():
            q = residual(loss, scores, batch)
        got = q * flat_gradient(margin(loss, scores, batch)[0], model)
        moved += bool(expected.norm() > 1e-3)  # a row of nothing but padding has no gradient
        assert (got - expected).norm() <= 1e-5 * expected.norm()
    assert moved > len(inputs) / 2


@pytest.mark.parametrize("loss", LOSSES)
def test_row_loss_is_the_textbooks(loss):
    """Law: L is the textbook's loss of each row's real candidates, whatever the batch's padding."""
    model, inputs = make("nrms"), cut_for(loss, world())
    together = unique_batch(inputs, range(len(inputs)))
    losses = row_loss(loss, model(together), together)
    for i in range(len(inputs)):
        alone = unique_batch(inputs, [i])
        expected = plain_loss(loss, model(alone)[0], alone.labels[0])
        torch.testing.assert_close(losses[i], expected, atol=1e-6, rtol=1e-5)


def test_margins_are_their_formulas():
    """Law: each margin on numbers computed by hand."""
    scores, batch = bare([[1.0, 2.0, 0.5, 9.0]], [[1, 0, 1, 0]], [[True, True, True, False]])
    torch.testing.assert_close(margin("softmax", scores, batch), torch.tensor([1 - np.logaddexp(2, 0.5)]).float())
    both = torch.tensor([np.logaddexp(1, 0.5) - 2.0]).float()
    torch.testing.assert_close(margin("marginal", scores, batch), both)
    scores, batch = bare([[1.5], [1.5]], [[1], [0]])
    assert margin("bce", scores, batch).tolist() == [1.5, -1.5]
    scores, batch = bare([[1.5, 4.0]])
    assert margin("bpr", scores, batch).tolist() == [-2.5]


def test_marginal_without_a_click_takes_the_first_candidate():
    """Law: labels all 0 count as a click on candidate 0, which is the softmax margin."""
    scores, batch = bare([[1.0, 2.0, 0.5]], [[0, 0, 0]])
    assert torch.equal(margin("marginal", scores, batch), margin("softmax", scores, batch))


@pytest.mark.parametrize("loss", LOSSES)
def test_certain_rows_keep_their_digits(loss):
    """Law: in float32, a row that the model is certain of has Q = exp(-f) and not 0, one it gets wrong has Q = 1."""
    width = {"bce": 1, "bpr": 2}.get(loss, 2)
    sure, wrong = [40.0, 0.0][:width], [-40.0, 0.0][:width]
    scores, batch = bare([sure, wrong], [[1, 0][:width]] * 2)
    q, f = residual(loss, scores, batch), row_loss(loss, scores, batch)
    torch.testing.assert_close(q, torch.tensor([np.exp(-40.0), 1.0]).float(), rtol=1e-5, atol=0)
    torch.testing.assert_close(f, torch.tensor([np.exp(-40.0), 40.0]).float(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("loss", ["softmax", "marginal"])
def test_masked_candidates_do_not_count(loss):
    """Law: what a masked candidate scores, and is labelled, changes nothing, and its score has gradient 0."""
    scores, batch = bare([[1.0, 2.0, 0.5], [1.0, 2.0, 99.0]], [[1, 0, 0], [1, 0, 1]], [[True, True, False]] * 2)
    f = margin(loss, scores.requires_grad_(), batch)
    assert f[0] == f[1]
    assert torch.autograd.grad(f.sum(), scores)[0][:, 2].tolist() == [0, 0]


def test_expand_softmax_and_marginal_keep_rows():
    """Law: a loss over a whole slate leaves the impressions as they are."""
    rows = world().impressions
    for loss in ("softmax", "marginal"):
        expanded, owner = expand(rows, loss)
        assert expanded is rows
        assert owner.tolist() == [0, 1, 2, 3, 4]
        assert owner.dtype == np.int64


def test_expand_bce_makes_a_row_a_candidate():
    """Law: every candidate is a row of its own with its label, its impression's history, source and columns."""
    rows = impressions([[7, 8, 9], [4]], [[1, 0, 1], [0]], [[1, 2], [3]])
    expanded, owner = expand(rows, "bce")
    assert owner.tolist() == [0, 0, 0, 1]
    assert [expanded.candidates[i].tolist() for i in range(4)] == [[7], [8], [9], [4]]
    assert [expanded.labels[i].tolist() for i in range(4)] == [[1], [0], [1], [0]]
    assert [expanded.history[i].tolist() for i in range(4)] == [[1, 2], [1, 2], [1, 2], [3]]
    assert expanded.is_fake.tolist() == [1, -1, -1, 0]
    assert expanded.sources == ("lines 0", "lines 0", "lines 0", "lines 1")
    assert expanded.columns == {"poisoned": ("0", "0", "0", "1")}
    assert expanded.user_ids.tolist() == ["p", "p", "p", "q"]


def test_expand_bpr_makes_a_row_a_pair():
    """Law: each clicked candidate meets each other one; without a click the first counts as clicked."""
    rows = impressions([[7, 8, 9, 6], [4, 5]], [[1, 0, 1, 0], [0, 0]])
    expanded, owner = expand(rows, "bpr")
    assert owner.tolist() == [0, 0, 0, 0, 1]
    pairs = [expanded.candidates[i].tolist() for i in range(5)]
    assert pairs == [[7, 8], [7, 6], [9, 8], [9, 6], [4, 5]]
    assert expanded.is_fake.tolist() == [1, 1, -1, -1, 0]


def pieces(labels, loss):
    """Places of the candidates of each row that bce or bpr makes of one impression."""
    places = range(len(labels))
    clicked = [place for place in places if labels[place] == 1] or [0]
    return [[p] for p in places] if loss == "bce" else [[c, o] for c in clicked for o in places if o not in clicked]


@pytest.mark.parametrize("loss", ["bce", "bpr"])
def test_expand_makes_the_rows_of_one_impression_after_another(loss):
    """Law: rows, labels, owners, sources and words on fakes are those of each impression alone, in its order."""
    rng = np.random.default_rng(3)
    labels = [[*rng.integers(0, 2, size=n).tolist(), 0] for n in rng.integers(2, 9, size=40)]
    lists = [[rng.integers(0, 50, size=n).tolist() for n in sizes] for sizes in (map(len, labels), [3] * 40)]
    rows = replace(
        impressions(lists[0][:5], labels[:5]),
        **{"user_ids": np.array([f"u{i}" for i in range(40)], dtype=object), "history": Ragged.of(lists[1])},
        **{"candidates": Ragged.of(lists[0]), "labels": Ragged.of(labels), "columns": {}},
        **{"is_fake": rng.integers(-1, 2, size=40).astype(np.int8), "sources": tuple(map(str, range(40)))},
    )
    expanded, owner = expand(rows, loss)
    wanted = [(i, group) for i in range(40) for group in pieces(labels[i], loss)]
    assert owner.tolist() == owners(rows, loss).tolist() == [i for i, _ in wanted]
    for name, said in (("candidates", lists[0]), ("labels", labels)):
        told = getattr(expanded, name)
        assert [told[j].tolist() for j in range(len(told))] == [[said[i][p] for p in group] for i, group in wanted]
        assert (told.values.dtype, told.offsets.dtype) == (np.int32, np.int64)
    assert expanded.is_fake.tolist() == [rows.is_fake[i] if group[0] == 0 else -1 for i, group in wanted]
    assert expanded.sources == tuple(str(i) for i, _ in wanted)


@pytest.mark.parametrize("loss", ["bce", "bpr"])
def test_expand_holds_numbers_not_objects(loss):
    """Law: while rows are made, a few numbers are held for each and no list."""
    n, text = 4000, Texts.of(["7"] * 4000)
    table = Ragged(np.tile(np.arange(5, dtype=np.int32), n), np.arange(n + 1) * 5)
    labels = Ragged((table.values == 0).astype(np.int32), table.offsets)
    no_fakes = np.zeros(n, dtype=np.int8)
    one = Ragged(np.zeros(n, dtype=np.int32), np.arange(n + 1))
    rows = Impressions(np.full(n, "u", dtype=object), one, table, labels, no_fakes, text, {})
    tracemalloc.start()
    found, owner = expand(rows, loss)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 160 * len(owner)
    assert len(found) == len(owner) == {"bce": 5, "bpr": 4}[loss] * n


@pytest.mark.parametrize(
    ("loss", "labels"),
    [("softmax", [1]), ("bpr", [1, 1]), ("marginal", [1, 1]), ("marginal", [0]), ("bpr", [1]), ("bce", [])],
)
def test_rows_with_nothing_to_compare(loss, labels):
    """Law: a row in which nothing stands against the clicked candidate is refused by its source."""
    rows = impressions([[1, 2], list(range(len(labels)))], [[1, 0], labels])
    with pytest.raises(DataError, match=f"lines 1: the row has no other candidate. Got {len(labels)} candidates"):
        expand(rows, loss)


def test_losses_that_are_not_known():
    """Law: an unknown loss, and rows that were not expanded, are refused."""
    scores, batch = bare([[1.0, 2.0, 3.0]])
    for call in (
        lambda: ClickOutput("hinge"),
        lambda: margin("hinge", scores, batch),
        lambda: expand(world().impressions, "hinge"),
    ):
        with pytest.raises(ConfigError, match=r"`loss` is not known. Got 'hinge', expected one of softmax, bce"):
            call()
    for loss, width in (("bce", 1), ("bpr", 2)):
        with pytest.raises(DataError, match=f"wrong number of candidates. Got 3, expected {width}"):
            margin(loss, scores, batch)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MODELS)
def test_every_form_of_a_batch_gives_the_same_f_and_q(name, loss):
    """Law: unique, pair and padded form, with the model's own or given weights, have the same f (B,) and Q (B, 1)."""
    model, inputs, output = make(name), cut_for(loss, world()), ClickOutput(loss)
    rows = np.arange(len(inputs))
    given = (dict(model.named_parameters()), dict(model.named_buffers()))
    forms = [unique_batch(inputs, rows), pair_batch(inputs, rows)[0], padded_batch(inputs, rows)]
    longest = (inputs.impressions.history.lengths.max() + 2, inputs.impressions.candidates.lengths.max())
    forms.append(padded_batch(inputs, rows, longest))
    f, q = output.get_output(model, None, None, *forms[0]), output.get_out_to_loss_grad(model, None, None, forms[0])
    assert f.shape == (len(rows),)
    assert q.shape == (len(rows), 1)
    assert not q.requires_grad
    torch.testing.assert_close(q[:, 0], torch.sigmoid(-f.detach()))
    for form in forms:
        for weights in ((None, None), given):
            torch.testing.assert_close(output.get_output(model, *weights, *form), f, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(
                output.get_out_to_loss_grad(model, *weights, tuple(form)), q, atol=1e-6, rtol=1e-5
            )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MODELS)
def test_vmap_gives_the_gradients_of_plain_autograd(name, loss):
    """Law: traker's own functional path on a padded batch has each row's gradient of f, to 1e-5 relative."""
    model, inputs, output = make(name), cut_for(loss, world()), ClickOutput(loss)
    count = sum(p.numel() for p in model.parameters())
    computer = FunctionalGradientComputer(model, output, count, torch.float32, "cpu")
    grads = computer.compute_per_sample_grad(padded_batch(inputs, np.arange(len(inputs))))
    together = torch.cat([grads[name].flatten(1) for name, _ in model.named_parameters()], dim=1)
    for i in range(len(inputs)):
        expected = flat_gradient(output.get_output(model, None, None, *unique_batch(inputs, [i]))[0], model)
        assert (together[i] - expected).norm() <= 1e-5 * expected.norm() + 1e-7


def test_flatten_padded_keeps_what_each_place_holds():
    """Law: position j of row i means the same article before and after; a flat batch comes back as it is."""
    batch = padded_batch(world(), [0, 2, 3])
    flat = flatten_padded(batch)
    for i in range(3):
        for field in ("history", "candidates"):
            before = batch.articles["title"][i][getattr(batch, field)[i]]
            assert torch.equal(flat.articles["title"][getattr(flat, field)[i]], before)
    assert flatten_padded(flat) is flat
    topics = batch._replace(articles={"category": batch.articles["category"]})
    assert torch.equal(flatten_padded(topics).articles["category"], flat.articles["category"])


def test_frozen_parameters_can_travel_among_the_buffers():
    """Law: a parameter handed over among the buffers is used and not differentiated."""
    model = make("nrms")
    named = {name: p.detach() for name, p in model.named_parameters()}
    frozen = {"word_embedding.weight": 2 * named.pop("word_embedding.weight")}
    batch = padded_batch(world(), [0, 1])
    f = ClickOutput("softmax").get_output(model, named, frozen, *batch)
    with torch.no_grad():
        model.word_embedding.weight.mul_(2)
    torch.testing.assert_close(f, ClickOutput("softmax").get_output(model, None, None, *batch))
