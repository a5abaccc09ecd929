"""Gradients through a transformer: factors add up to plain autograd, and nothing is computed that nobody wants."""

import numpy as np
import pytest
import torch
from support import tiny_lm
from support.tiny_lm import ATTENTION, make_inputs

from rec_trak.clicks import ClickOutput
from rec_trak.data.batches import unique_batch
from rec_trak.errors import ConfigError
from rec_trak.gradients.computers import FactoredComputer, make_batch, row_gradient, select_parameters
from rec_trak.gradients.factors import Outer
from rec_trak.gradients.preflight import choose_gradient

OUTPUT = ClickOutput("softmax")
LAYERS = 2  # of the encoders; ALBERT's share their weights


def tiny(tmp_path, kind="bert", how="sdpa", architecture="nrms", padding="masked", **more):
    return tiny_lm.make_model(tiny_lm.write_language_model(tmp_path, kind), architecture, padding, how, **more)


def factors_of(model, inputs, names, rows):
    return FactoredComputer(model, OUTPUT, grad_wrt=names).compute_per_sample_grad(
        make_batch("factored", model, inputs, np.asarray(rows), "cpu")
    )


def assert_equal_to_autograd(model, inputs, names, sizes=(1, 3, 7)):
    """|g - g'| <= 1e-5 |g'|, row by row, in batches of unlike sizes."""
    parameters = {name: p for name, p in model.named_parameters() if name in set(names)}
    expected = [row_gradient(model, OUTPUT, unique_batch(inputs, [row]), parameters) for row in range(len(inputs))]
    for size in sizes:
        for start in range(0, len(inputs), size):
            rows = range(start, min(start + size, len(inputs)))
            found = factors_of(model, inputs, names, rows).dense()
            assert set(found) == set(names)
            for i, row in enumerate(rows):
                error = sum(float((found[n][i] - g).square().sum()) for n, g in expected[row].items()) ** 0.5
                assert error <= 1e-5 * sum(float(g.square().sum()) for g in expected[row].values()) ** 0.5


@pytest.mark.parametrize(("kind", "how"), ATTENTION)
def test_factors_equal_plain_autograd(kind, how, tmp_path):
    """All parameters of NRMS over each kind of encoder, with either attention: no use is unknown, every row is right
    among any others; one article has no token, one row no history."""
    model = tiny(tmp_path, kind, how)
    assert_equal_to_autograd(model, make_inputs(), select_parameters(model, None))


@pytest.mark.parametrize("how", ["sdpa", "eager"])
@pytest.mark.parametrize("padding", ["masked", "read"])
def test_naml_over_a_transformer(how, padding, tmp_path):
    """The same for convolutions over hidden states, whether they read what stands at padding or not."""
    model = tiny(tmp_path, "roberta", how, "naml", padding)
    assert_equal_to_autograd(model, make_inputs(), select_parameters(model, None), sizes=(3,))


SUBSETS = {
    "upper layer": ["word_embedding.lm.encoder.layer.1.*", "title_*", "user_*"],
    "LoRA-like": ["*.attention.self.query.weight", "*.attention.self.value.weight"],
    "positions alone": ["*.position_embeddings.weight"],
    "norms alone": ["*.LayerNorm.*"],
    "one bias": ["word_embedding.lm.encoder.layer.0.output.dense.bias"],
    "heads": ["title_*", "user_*"],
    "user encoder": ["user_*"],
}


@pytest.mark.parametrize("subset", SUBSETS)
def test_any_subset_of_parameters(subset, tmp_path):
    """`grad_wrt` gives those parameters' gradients and no other."""
    model = tiny(tmp_path)
    assert_equal_to_autograd(model, make_inputs(), select_parameters(model, SUBSETS[subset]), sizes=(3,))


def test_frozen_layers_cost_their_forward_pass_alone(tmp_path):
    """The graph begins at the first wanted parameter: what a lower layer gives needs no gradient."""
    frozen = ("word_embedding.lm.embeddings.*", "word_embedding.lm.encoder.layer.0.*")
    model, inputs = tiny(tmp_path, frozen=frozen), make_inputs()
    names = select_parameters(model, None)
    lm, needs = model.word_embedding.lm, {}
    parts = {"embeddings": lm.embeddings, "first": lm.encoder.layer[0], "second": lm.encoder.layer[1]}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: needs.__setitem__(name, out.requires_grad))
        for name, part in parts.items()
    ]
    factors = factors_of(model, inputs, names, range(7))
    for hook in hooks:
        hook.remove()
    assert needs == {"embeddings": False, "first": False, "second": True}
    assert not any("layer.0" in name or "embeddings" in name for name in factors.parts)
    assert_equal_to_autograd(model, inputs, names, sizes=(7,))


@pytest.mark.parametrize(("kind", "how"), ATTENTION)
def test_no_row_has_a_copy_of_a_weight_gradient(kind, how, tmp_path):
    """What is kept of a layer grows with tokens, not with rows times parameters."""
    model, inputs = tiny(tmp_path, kind, how), make_inputs()
    factors = factors_of(model, inputs, select_parameters(model, None), range(7))
    tokens = sum(len(p.owner) * p.left.shape[1] for p in factors.parts["title_self_attention.w_q.weight"])
    for name, parts in factors.parts.items():
        outer = [part for part in parts if isinstance(part, Outer)]
        for side, width in (("left", factors.shapes[name][0]), ("right", factors.shapes[name][-1])):
            assert sum(getattr(part, side).numel() for part in outer) <= LAYERS * tokens * width


@pytest.mark.parametrize("wanted", ["auto", "functional", "loop"])
def test_every_path_takes_a_transformer(wanted, tmp_path):
    """The preflight chooses the factored path, and finds that traker's vmap and the plain loop agree too."""
    model, inputs = tiny(tmp_path), make_inputs()
    choice = choose_gradient(wanted, model, "softmax", inputs, select_parameters(model, None), 3, "cpu")
    assert choice.name == ("factored" if wanted == "auto" else wanted)


def test_positions_that_rows_share_without_known_owners_are_refused(tmp_path):
    """A model without `encode` that looks positions up before anything else gives no hint whose they are."""

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.places, self.words = torch.nn.Embedding(9, 4), torch.nn.Embedding(tiny_lm.VOCABULARY + 1, 4)

        def forward(self, batch):
            shared = self.places(torch.arange(2)[None])
            words = self.words(batch.articles["title"]).sum(1)
            return words[batch.candidates].sum(-1) * shared.sum()

    model = Own()
    with pytest.raises(ConfigError, match=r"`places.weight`, whose leading dimension 1 is not of 3 rows. Use `loop`"):
        factors_of(model, make_inputs(), select_parameters(model, None), range(3))
