"""Each gradient path equals plain autograd row by row, and the preflight takes the path that does."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from rec_trak.clicks import ClickOutput, expand
from rec_trak.config.model import ModelConfig, TextConfig, read_model_config
from rec_trak.data.articles import build_vocabulary, read_news_items
from rec_trak.data.batches import build_inputs, unique_batch
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, NumericalError
from rec_trak.factors import Factors
from rec_trak.gradients import COMPUTERS, FactoredComputer, make_batch, row_gradient, select_parameters
from rec_trak.models import build_model
from rec_trak.preflight import choose_gradient

MODELS = {
    "nrms": ("nrms", ("title",), {}),
    "naml": ("naml", ("title", "body"), {}),
    "lstur-ini": ("lstur", ("title",), {"fusion": "ini"}),
    "lstur-con": ("lstur", ("title",), {"fusion": "con"}),
}


def world(tmp_path, name, loss="softmax"):
    """A model in eval mode and the rows of the tiny tree, cut for the loss."""
    architecture, views, sizes = MODELS[name]
    data = tiny.write_tree(tmp_path / "data")
    runs = tiny.write_models(tmp_path / "runs", data, architecture, views=views, sizes=tiny.SIZES[architecture] | sizes)
    config = read_model_config(runs / "model.json")
    articles = read_news_items(data / "news_items.csv")
    rows, _ = expand(read_pairwise(data / "models" / "train_clean.csv", articles), loss)
    torch.manual_seed(0)
    return build_model(config).eval(), build_inputs(rows, articles, config)


def in_full(grads):
    """Gradients as parameter name -> (B, *shape), whatever form a path gives."""
    return grads.dense() if isinstance(grads, Factors) else grads


def relative_error(found, expected):
    error = sum(float((found[n] - g).square().sum()) for n, g in expected.items()) ** 0.5
    return error / sum(float(g.square().sum()) for g in expected.values()) ** 0.5


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


class DataDependent(nn.Module):
    """The wrapped model, with a branch on a value that vmap cannot take."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, batch):
        scores = self.inner(batch)
        return scores if scores.sum().item() > -1e9 else -scores


class OddUse(DataDependent):
    """The wrapped model, with a parameter in a function that has no taker."""

    def __init__(self, inner):
        super().__init__(inner)
        self.odd = nn.Parameter(torch.tensor([0.5, 0.25]))

    def forward(self, batch):
        return self.inner(batch) * torch.cumsum(self.odd, 0)[1]


class MixesRows(DataDependent):
    """The wrapped model, with every score moved by the padding of the batch."""

    def forward(self, batch):
        scores = self.inner(batch)
        return scores * (1 + batch.history.shape[1])


def choose(model, inputs, wanted="auto", names=None):
    names = names or select_parameters(model, None)
    return choose_gradient(wanted, model, "softmax", inputs, names, batch_size=8, device="cpu")


@pytest.mark.parametrize("name", MODELS)
def test_preflight_takes_factors_for_every_model_of_ours(tmp_path, name):
    """NRMS, NAML and LSTUR all take the factored path."""
    assert choose(*world(tmp_path, name)).name == "factored"


def test_preflight_takes_vmap_where_a_parameter_cannot_be_taken_apart(tmp_path):
    """A use outside the known ones is found and named, and the run falls back."""
    model, inputs = world(tmp_path, "nrms")
    choice = choose(OddUse(model).eval(), inputs)
    assert choice.name == "functional"
    assert "`odd` in " in choice.reason


def test_preflight_falls_back_to_the_loop_and_says_why(tmp_path):
    """`.item()` cannot be vmapped; the plain loop can."""
    model, inputs = world(tmp_path, "nrms")
    choice = choose(DataDependent(OddUse(model)).eval(), inputs)
    assert choice.name == "loop"
    assert "not functional: RuntimeError" in choice.reason


def test_model_without_encode_and_score_takes_factors_too(tmp_path):
    """A padded model of somebody else: blocks of the leading dimension belong to rows in order."""
    model, inputs = world(tmp_path, "nrms")
    assert choose(DataDependent(model).eval(), inputs).name == "factored"


def test_preflight_is_not_misled_by_a_row_without_a_gradient(tmp_path):
    """A row whose candidates all look alike has a gradient of rounding alone, on which no two paths agree."""
    model, inputs = topic_world(tmp_path, "naml", ("category",))
    same = [i for i in range(len(inputs)) if len(set(inputs.views["category"][inputs.impressions.candidates[i]])) == 1]
    assert same
    rows = np.array([same[0], *(i for i in range(20) if i not in same)])
    few = dataclasses.replace(inputs, impressions=inputs.impressions.subset(rows), users=inputs.users[rows])
    assert choose(model, few).name == "factored"


def test_preflight_refuses_a_forced_path_that_fails(tmp_path):
    """`gradient: functional` on such a model is an error that says why."""
    model, inputs = world(tmp_path, "nrms")
    with pytest.raises(ConfigError, match="`functional` does not work on this model: RuntimeError"):
        choose(DataDependent(model).eval(), inputs, "functional")


def test_preflight_takes_the_loop_when_asked(tmp_path):
    """No vmap is tried."""
    assert choose(*world(tmp_path, "nrms"), "loop").name == "loop"


def test_preflight_refuses_a_model_whose_rows_depend_on_padding(tmp_path):
    """A row's gradient must be the row's own."""
    model, inputs = world(tmp_path, "nrms")
    with pytest.raises(NumericalError, match="depends on its padding or its batch-mates"):
        choose(MixesRows(model).eval(), inputs)


def test_preflight_names_a_row_whose_gradient_is_not_finite(tmp_path):
    """NaN in a weight that the checks did not see still names the row."""
    model, inputs = world(tmp_path, "nrms")
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if n.startswith("user")).fill_(float("nan"))
    with pytest.raises(NumericalError, match=r"row \d+ \(.*\) has a gradient that is not finite in `"):
        choose(model, inputs)


def topic_world(tmp_path, architecture, views):
    """A model over topics too, and 32 rows of which some hold one article several times."""
    data = tiny.write_tree(tmp_path / "data", rows=24)
    plain = read_news_items(data / "news_items.csv")
    topics = {
        "categories": tuple(f"c{i % 3}" for i in range(12)),
        "subcategories": tuple(f"s{i % 5}" for i in range(12)),
    }
    articles = dataclasses.replace(plain, **topics)
    impressions = read_pairwise(data / "models" / "train_poisoned.csv", articles)
    history = Ragged.of([[*h, h[0], h[0]] for h in (impressions.history[i] for i in range(len(impressions)))])
    words = build_vocabulary(articles, "regex", ("title", "body"))
    text = TextConfig(
        words=words, title_length=6, body_length=9, **{k: tuple(sorted(set(v))) for k, v in topics.items()}
    )
    users = tuple(f"u{i}" for i in range(20)) if architecture == "lstur" else ()
    config = ModelConfig(architecture, views, tiny.SIZES[architecture], text, users=users)
    torch.manual_seed(0)
    return build_model(config).eval(), build_inputs(dataclasses.replace(impressions, history=history), articles, config)


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
