"""Own models of torch's layers, in any number format, on rows of every kind: each path has the right numbers."""

import csv
import json
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support import tiny
from support.recommenders import in_full, relative_error
from torch import nn

from rec_trak.api import TRAKScorer, load_train_data
from rec_trak.attribution.digests import state_digest
from rec_trak.clicks import ClickOutput, expand
from rec_trak.data.articles import build_vocabulary, read_news_items
from rec_trak.data.batches import unique_batch
from rec_trak.data.inputs import build_inputs
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, NumericalError
from rec_trak.gradients.computers import COMPUTERS, make_batch, row_gradient, select_parameters
from rec_trak.gradients.preflight import choose_gradient
from rec_trak.models.tables import standing_still
from rec_trak.store.manifest import read_manifest

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
    pytest.mark.filterwarnings("ignore:.*table.s. that a pass changes"),
]


class Own(nn.Module):
    """Titles as means of words, users by torch's attention over them, scores by dot products."""

    def __init__(self, user="attention", scores=None, **words):
        super().__init__()
        self.words, self.scores = nn.Embedding(40, 8, **words), scores
        if user == "encoder":
            self.user = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
        else:
            self.user = nn.MultiheadAttention(8, 2, batch_first=True)
        self.needed = user == "attention with weights"

    def forward(self, batch):
        ids = batch.articles["title"]
        vectors = mean(torch.tanh(self.words(ids)), ids != 0)
        x, padding = F.embedding(batch.history, vectors), ~batch.history_mask
        if isinstance(self.user, nn.TransformerEncoder):
            x = self.user(x, src_key_padding_mask=padding)
        else:
            x = self.user(x, x, x, key_padding_mask=padding, need_weights=self.needed)[0]
        user = mean(x, batch.history_mask)
        scores = (F.embedding(batch.candidates, vectors) @ user.unsqueeze(-1)).squeeze(-1)
        return scores if self.scores is None else scores.to(self.scores)


class NaNWithoutGraph(Own):
    """Another model where nobody differentiates."""

    def forward(self, batch):
        return super().forward(batch) * (1.0 if torch.is_grad_enabled() else torch.nan)


def mean(x, mask):
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def loader_of(folder, without_history=(), **keys):
    """The tiny tree's rows as an own model reads them; users of these numbers have read nothing."""
    data = tiny.write_tree(folder / "data")
    log = data / "models" / "train_clean.csv"
    with open(log, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    for line in lines[1:]:
        if line[0] in {f"u{i}" for i in without_history}:
            line[1] = line[2] = "[]"
    with open(log, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    words = build_vocabulary(read_news_items(data / "news_items.csv"), "regex", ("title",))
    settings = {"architecture": "nrms", "sizes": {}, "views": ["title"], "text": {"words": words, "title_length": 6}}
    (folder / "model.json").write_text(json.dumps(settings), encoding="utf-8")
    return load_train_data(tiny.write_config(folder, model_config=str(folder / "model.json"), **keys))[1]


def scored(model, loader, folder):
    torch.manual_seed(0)
    return TRAKScorer(model.eval(), "cpu", 16, save_dir=folder).score_samples(loader)


@pytest.mark.parametrize("user", ["attention", "encoder"])
@pytest.mark.parametrize("path", ["auto", "functional", "loop"])
def test_a_user_without_a_history(tmp_path, user, path):
    """Law: it runs on every path; such a row's gradient is 0, Q is that of equal scores, all numbers are finite."""
    loader = loader_of(tmp_path, without_history=[5], gradient=path)
    result = scored(Own(user), loader, tmp_path / "out")
    (row,) = np.flatnonzero(loader.impressions.history.lengths == 0)
    assert all(np.isfinite(values).all() for values in result.values())
    assert not result["gradients"][row].any()
    assert result["q"][row] == pytest.approx(1 - 1 / loader.impressions.candidates.lengths[row])
    assert np.abs(np.delete(result["gradients"], row, axis=0)).max(axis=1).min() > 0
    assert read_manifest(tmp_path / "out" / "store")["recorded"]["gradient"] == (path if path != "auto" else "factored")


def test_attention_over_nothing_that_is_nan_is_named_with_what_helps(tmp_path):
    """Law: asked for its weights torch's attention is NaN over nothing; the row is named, and what is said helps."""
    model = Own("attention with weights")
    with pytest.raises(NumericalError, match=r"has a gradient that .* row has no history: .* `least_history: 1`"):
        scored(model, loader_of(tmp_path, without_history=[5]), tmp_path / "out")
    loader = loader_of(tmp_path / "again", without_history=[5], least_history=1)
    result = scored(model, loader, tmp_path / "again" / "out")
    assert len(result["q"]) == 23
    assert np.isfinite(result["scores"]).all()


def test_a_q_that_is_not_finite_is_named(tmp_path):
    """Law: where gradients are finite and Q is not, the message speaks of Q and of the row."""
    with pytest.raises(NumericalError, match=r"row \d+ \(.*\) has a Q that is not finite. Got a margin of nan"):
        scored(NaNWithoutGraph(), loader_of(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("path", ["auto", "functional", "loop"])
def test_number_formats_of_gradients_and_scores(tmp_path, path):
    """Law: sparse look-ups, scores in float64 and a model in float64 change nothing; scores in bfloat16 a little."""
    loader = loader_of(tmp_path, gradient=path)
    state = Own().state_dict()
    kinds = {"plain": {}, "sparse": {"sparse": True}, "long": {"scores": torch.float64}, "double": {}}
    kinds["short"] = {"scores": torch.bfloat16}
    found = {}
    for name, keys in kinds.items():
        model = Own(**keys)
        model.load_state_dict(state)
        result = scored(model.double() if name == "double" else model, loader, tmp_path / name)
        found[name] = result["gradients"], result["q"]
    for name in ("sparse", "long", "double", "short"):
        rtol = 0.05 if name == "short" else 1e-5
        for value, expected in zip(found[name], found["plain"], strict=True):
            np.testing.assert_allclose(value, expected, atol=rtol * np.abs(expected).max(), err_msg=name)


def test_a_table_that_shortens_itself_has_the_numbers_of_the_row_alone(tmp_path):
    """Law: on every path, in any order of rows, gradients are plain torch's with the weights as they were given."""
    inputs = loader_of(tmp_path).inputs
    given = Own(max_norm=1.0).eval()
    state = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    model, output, rows = standing_still(given, "here"), ClickOutput("softmax"), np.arange(6)
    expected = []
    for row in rows:
        given.load_state_dict(state)  # which a pass has changed
        expected.append(row_gradient(given, output, unique_batch(inputs, [row]), dict(given.named_parameters())))
    given.load_state_dict(state)
    for path, computer in COMPUTERS.items():
        computer = computer(model, output, 0, torch.float32, "cpu", grad_wrt=list(state))
        for order in (rows, rows[::-1]):
            grads = in_full(computer.compute_per_sample_grad(make_batch(path, model, inputs, order, "cpu")))
            for i, row in enumerate(order):
                assert relative_error({n: g[i] for n, g in grads.items()}, expected[row]) < 1e-5
    assert state_digest(given.state_dict()) == state_digest(state)


def test_places_that_share_an_article(tmp_path):
    """Law: an article twice in a history, in the history and among the candidates, or without a title is taken on
    every path, and counts as often as it stands there: gradients are those of each article encoded once."""
    inputs = loader_of(tmp_path).inputs
    rows = inputs.impressions
    inputs.views["title"][3] = 0
    history = Ragged.of([[0, 0, 3], [3], [4, 5, 4, 6], [1]] + [rows.history[i] for i in range(4, len(rows))])
    shown = Ragged.of([[0, 1, 2], [3, 4], [4, 3], [2, 1, 1]] + [rows.candidates[i] for i in range(4, len(rows))])
    labels = Ragged.of([[1] + [0] * (count - 1) for count in shown.lengths])
    for name, table in (("history", history), ("candidates", shown), ("labels", labels)):
        object.__setattr__(rows, name, table)
    model, output = Own().eval(), ClickOutput("softmax")
    names = select_parameters(model, None)
    for path, computer in COMPUTERS.items():
        assert choose_gradient(path, model, "softmax", inputs, names, 8, "cpu").name == path
        computer = computer(model, output, 0, torch.float32, "cpu", grad_wrt=names)
        batch = make_batch(path, model, inputs, np.arange(6), "cpu")
        grads = in_full(computer.compute_per_sample_grad(batch))
        for row in range(6):
            expected = row_gradient(model, output, unique_batch(inputs, [row]), dict(model.named_parameters()))
            size = sum(float(g.square().sum()) for g in expected.values()) ** 0.5
            assert size < 1e-7 or relative_error({n: g[row] for n, g in grads.items()}, expected) < 1e-5


def test_rows_of_one_candidate(tmp_path):
    """Law: single candidates (the rows of bce) are taken on every path, by a model whose scores are (B, 1)."""
    loader = loader_of(tmp_path)
    rows, _ = expand(loader.impressions, "bce")
    inputs = build_inputs(rows, loader.articles, loader.model_config)
    model = Own().eval()
    for path in COMPUTERS:
        names = select_parameters(model, None)
        assert choose_gradient(path, model, "bce", inputs, names, 8, "cpu").name == path


def test_a_complex_parameter_is_refused_by_name(tmp_path):
    """Law: traker projects real numbers; what is said helps."""
    model = Own()
    model.turn = nn.Parameter(torch.ones(2, dtype=torch.cfloat))
    with pytest.raises(ConfigError, match="`grad_wrt`: complex parameters have no real gradient .* Got turn, expected"):
        scored(model, loader_of(tmp_path), tmp_path / "out")
    model.turn.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "turn" not in select_parameters(model, None)
