"""Each gradient path equals plain autograd row by row."""

import numpy as np
import pytest
import torch
from support.recommenders import MODELS, in_full, relative_error, topic_world, world

from rec_trak.clicks import ClickOutput
from rec_trak.data.batches import unique_batch
from rec_trak.errors import ConfigError
from rec_trak.gradients.computers import COMPUTERS, FactoredComputer, make_batch, row_gradient, select_parameters


@pytest.mark.parametrize("path", COMPUTERS)
@pytest.mark.parametrize("loss", ["softmax", "bce", "bpr", "marginal"])
@pytest.mark.parametrize("name", MODELS)
def test_each_path_equals_plain_autograd_of_the_row_alone(tmp_path, name, loss, path):
    """|g - g'| / |g'| <= 1e-5 for every row of a padded batch; g' is of the row alone, without padding."""
    model, inputs = world(tmp_path, name, loss)
    names = select_parameters(model, None)
    parameters = dict(model.named_parameters())
    output = ClickOutput(loss)
    computer = COMPUTERS[path](model, output, 0, torch.float32, "cpu", grad_wrt=names)
    rows = np.arange(0, len(inputs), max(1, len(inputs) // 8))
    batch = make_batch(path, model, inputs, rows, "cpu")
    grads = in_full(computer.compute_per_sample_grad(batch))
    q = computer.compute_loss_grad(batch)
    alone = [output.get_out_to_loss_grad(model, None, None, unique_batch(inputs, [row])) for row in rows]
    torch.testing.assert_close(q, torch.cat(alone), rtol=1e-5, atol=1e-7)
    for i, row in enumerate(rows):
        expected = row_gradient(model, output, unique_batch(inputs, [row]), parameters)
        assert relative_error({n: g[i] for n, g in grads.items()}, expected) < 1e-5


def test_a_model_in_one_part_gets_flat_articles_by_position(tmp_path):
    """n = B (H + C) articles, a row's boxes side by side, the empty ones all 0; positions lead to the row's titles."""
    _, inputs = world(tmp_path, "nrms")
    rows, rest = np.array([5, 0, 9]), inputs.impressions
    batch = make_batch("factored", torch.nn.Linear(1, 1), inputs, rows, "cpu").batch
    titles, (b, h), c = batch.articles["title"], batch.history.shape, batch.candidates.shape[1]
    assert (b, len(titles), len(batch.user)) == (3, 3 * (h + c), 3)
    assert {leaf.dtype for leaf in (titles, batch.history, batch.candidates, batch.user)} == {torch.int64}
    used = torch.zeros(len(titles), dtype=torch.bool)
    for i, row in enumerate(rows):
        for places, mask, ids in (
            (batch.history, batch.history_mask, rest.history[row]),
            (batch.candidates, batch.candidate_mask, rest.candidates[row]),
        ):
            assert int(mask[i].sum()) == len(ids)
            assert places[i][mask[i]].min() >= i * (h + c)
            assert places[i].max() < (i + 1) * (h + c)
            expected = torch.from_numpy(inputs.views["title"][ids][:, : titles.shape[1]])
            torch.testing.assert_close(titles[places[i][mask[i]]], expected.long())
            used[places[i][mask[i]]] = True
    assert not titles[~used].any()


def test_frozen_parameters_are_never_differentiated(tmp_path):
    """traker differentiates and counts them; here no path returns them."""
    model, inputs = world(tmp_path, "nrms")
    frozen = [n for n, _ in model.named_parameters() if "embedding" in n]
    assert frozen
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    names = select_parameters(model, None)
    assert not set(names) & set(frozen)
    for path, computer in COMPUTERS.items():
        computer = computer(model, ClickOutput("softmax"), 0, torch.float32, "cpu", grad_wrt=names)
        grads = computer.compute_per_sample_grad(make_batch(path, model, inputs, np.arange(2), "cpu"))
        assert set(in_full(grads)) == set(names)
        assert [n for n, p in model.named_parameters() if not p.requires_grad] == frozen


def test_select_parameters_keeps_the_models_order(tmp_path):
    """Patterns choose; the order, on which the fingerprint rests, is the model's."""
    model, _ = world(tmp_path, "nrms")
    names = [n for n, _ in model.named_parameters()]
    assert select_parameters(model, [names[-1], names[0]]) == [names[0], names[-1]]
    assert select_parameters(model, "user*") == [n for n in names if n.startswith("user")]


def test_select_parameters_refuses_a_pattern_without_a_match(tmp_path):
    """A misspelt pattern is named, with what there is."""
    model, _ = world(tmp_path, "nrms")
    with pytest.raises(
        ConfigError, match=r"`grad_wrt`: 'usr\.\*' matches no trainable parameter.*expected a pattern over"
    ):
        select_parameters(model, ["usr.*"])


def test_select_parameters_refuses_a_frozen_model(tmp_path):
    """Nothing left to differentiate."""
    model, _ = world(tmp_path, "nrms")
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="no trainable parameter is left"):
        select_parameters(model, None)


@pytest.mark.parametrize("size", [1, 3, 32])
@pytest.mark.parametrize(
    ("architecture", "views"),
    [
        ("nrms", ("title",)),
        ("naml", ("title", "body", "category", "subcategory")),
        ("naml", ("body", "category")),
        ("naml", ("category",)),
        ("lstur", ("title", "category", "subcategory")),
    ],
)
def test_factors_in_batches_of_any_size_with_any_views(tmp_path, architecture, views, size):
    """Batch sizes 1, 3 and 32, every combination of views, repeated articles: each row's gradient is its own."""
    model, inputs = topic_world(tmp_path, architecture, views)
    assert len(inputs) == 32
    output, parameters = ClickOutput("softmax"), dict(model.named_parameters())
    computer = FactoredComputer(model, output)
    for start in range(0, 32, max(size, 11)):
        rows = np.arange(start, min(start + size, 32))
        grads = computer.compute_per_sample_grad(make_batch("factored", model, inputs, rows, "cpu")).dense()
        for i, row in enumerate(rows):
            expected = row_gradient(model, output, unique_batch(inputs, [row]), parameters)
            size = sum(float(g.square().sum()) for g in expected.values()) ** 0.5
            # A row whose candidates all look alike has no gradient but rounding.
            assert size < 1e-7 or relative_error({n: g[i] for n, g in grads.items()}, expected) < 1e-5
