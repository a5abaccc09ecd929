"""What is kept of frozen encoders gives the same gradients as computing it each time, and is computed once."""

import numpy as np
import pytest
import torch
from support import tiny_lm
from support.tiny_lm import make_inputs
from torch import nn

from rec_trak.clicks import ClickOutput
from rec_trak.gradients.computers import FactoredComputer, make_batch, select_parameters
from rec_trak.gradients.preflight import choose_gradient
from rec_trak.models import frozen
from rec_trak.models.frozen import Memory, remembering

WANTED = {"user encoder": ["user_*"], "heads": ["user_*", "t*"]}


def tiny(tmp_path, architecture="nrms", padding="masked"):
    return tiny_lm.make_model(tiny_lm.write_language_model(tmp_path), architecture, padding)


def gradients(model, inputs, names, size=3):
    """(N, p) of the factored path, in batches."""
    computer, out = FactoredComputer(model, ClickOutput("softmax"), grad_wrt=names), []
    for start in range(0, len(inputs), size):
        rows = np.arange(start, min(start + size, len(inputs)))
        dense = computer.compute_per_sample_grad(make_batch("factored", model, inputs, rows, "cpu")).dense()
        out.append(torch.cat([grad.flatten(1) for grad in dense.values()], dim=1))
    return torch.cat(out)


def counted(model):
    """A list that grows by the number of texts that the language model reads."""
    read = []
    model.word_embedding.lm.register_forward_hook(
        lambda _, args, kwargs, out: read.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return read


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize(("architecture", "padding"), [("nrms", "masked"), ("naml", "masked"), ("naml", "read")])
def test_gradients_are_those_of_the_plain_path(wanted, architecture, padding, tmp_path):
    """|g - g'| <= 1e-6 |g'| a row, the first time and the second; in double precision, since small gradients of
    attention over a history are differences of large ones."""
    model, inputs = tiny(tmp_path, architecture, padding).double(), make_inputs()
    names = select_parameters(model, WANTED[wanted])
    twin = remembering(model, inputs, names, "cpu")
    assert twin is not model
    expected = gradients(model, inputs, names)
    for _ in range(2):
        error = (gradients(twin, inputs, names) - expected).norm(dim=1)
        assert (error <= 1e-6 * expected.norm(dim=1)).all()


@pytest.mark.parametrize("wanted", WANTED)
def test_no_article_is_read_twice(wanted, tmp_path):
    """Vectors: one article, one reading, in all rows, passes and batch sizes. States: a second pass reads nothing."""
    model, inputs = tiny(tmp_path), make_inputs()
    names = select_parameters(model, WANTED[wanted])
    twin = remembering(model, inputs, names, "cpu")
    read = counted(model)
    used = len(np.unique(np.concatenate([inputs.impressions.history.values, inputs.impressions.candidates.values])))
    gradients(twin, inputs, names)
    assert used <= sum(read) <= (used if wanted == "user encoder" else 2 * used)
    if wanted == "heads":
        gradients(twin, inputs, names)
    del read[:]
    gradients(twin, inputs, names, size=3)
    assert read == []


def test_another_checkpoint_is_read_anew(tmp_path):
    """Loading weights into the model, or into its twin, forgets what was kept: both hold the same parameters."""
    model, inputs = tiny(tmp_path), make_inputs()
    names = select_parameters(model, ["user_*"])
    twin = remembering(model, inputs, names, "cpu")
    gradients(twin, inputs, names)
    state = {name: value + 0.1 * torch.randn_like(value) for name, value in model.state_dict().items()}
    assert list(twin.state_dict()) == list(state)
    for loaded in (twin, model):
        loaded.load_state_dict({name: value * (1 + 0.1 * (loaded is model)) for name, value in state.items()})
        torch.testing.assert_close(gradients(twin, inputs, names), gradients(model, inputs, names))


def test_a_model_with_wanted_parameters_everywhere_is_left_alone(tmp_path):
    """So is one whose language model is frozen in part, one that fails, and one that encodes nothing by itself."""
    model, inputs = tiny(tmp_path), make_inputs()
    assert remembering(model, inputs, select_parameters(model, None), "cpu") is model
    part = select_parameters(model, ["user_*", "word_embedding.lm.encoder.layer.1.*"])
    assert remembering(model, inputs, part, "cpu") is model
    broken = tiny(tmp_path)
    broken.encode = lambda views: views["no such view"]
    assert remembering(broken, inputs, ["user_attention.query.weight"], "cpu") is broken
    other = nn.Linear(2, 2)
    assert remembering(other, inputs, ["weight"], "cpu") is other


def test_the_plain_paths_take_the_twin_too(tmp_path):
    """The preflight, the loop and traker's vmap, in which nothing can be looked up, agree."""
    model, inputs = tiny(tmp_path), make_inputs()
    names = select_parameters(model, ["user_*"])
    twin = remembering(model, inputs, names, "cpu")
    for path in ("auto", "functional", "loop"):
        choice = choose_gradient(path, twin, "softmax", inputs, names, 3, "cpu")
        assert choice.name == ("factored" if path == "auto" else path)


def test_memory_has_a_limit_and_training_none(tmp_path, monkeypatch):
    """Beyond the limit results are right and not kept; in training mode (dropout) everything is computed."""
    model = tiny(tmp_path)
    views = {"title": torch.tensor([[5, 6, 0], [7, 0, 0], [5, 6, 0]])}
    calls = []
    memory = Memory(lambda v: calls.append(len(v["title"])) or model.encode(v), model)
    monkeypatch.setattr(frozen, "LIMIT", 10)
    expected = model.encode(views)
    for _ in range(2):
        torch.testing.assert_close(memory(views), expected)
    assert (calls, memory.held) == ([2, 2], {})
    monkeypatch.undo()
    for _ in range(2):
        torch.testing.assert_close(memory(views), expected)
    assert calls == [2, 2, 2]
    model.train()
    memory(views)
    assert calls[-1] == 3


def test_what_is_kept_has_no_graph_and_does_not_mix_articles(tmp_path):
    """Texts of one content are one article whatever stands behind them; others are not, nor other topics."""
    model = tiny(tmp_path)
    memory = Memory(lambda v: v["title"].sum(1, keepdim=True) * 10.0 + v["category"][:, None], model)
    first = memory({"title": torch.tensor([[5, 6], [6, 5], [5, 0]]), "category": torch.tensor([1, 1, 1])})
    again = memory({"title": torch.tensor([[5, 6, 0], [5, 0, 6], [5, 0, 0]]), "category": torch.tensor([1, 2, 2])})
    assert not first.requires_grad
    assert first.flatten().tolist() == [111, 111, 51]
    assert again.flatten().tolist() == [111, 112, 52]
    assert len(memory.held) == 5
