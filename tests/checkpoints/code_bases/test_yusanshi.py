"""Laws of yusanshi's checkpoints: our scores, losses and gradients are those that its own code gave."""

import json

import numpy as np
import pytest
import torch
from support.foreign import read, scores
from torch import nn

from rec_trak.attribution.job import Run, read_job
from rec_trak.checkpoints.code_bases import yusanshi
from rec_trak.checkpoints.state_dicts import read_state_dict
from rec_trak.clicks import ClickOutput
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.reading import Reading
from rec_trak.data.batches import unique_batch
from rec_trak.data.inputs import build_inputs
from rec_trak.data.sources import read_data
from rec_trak.errors import CheckpointError, ConfigError
from rec_trak.gradients.computers import COMPUTERS, make_batch
from rec_trak.gradients.factors import Factors

FILES = {"NRMS": "ckpt-40.pth", "NAML": "ckpt-20.pth", "LSTUR": "ckpt-20.pth"}
KEY_BIASES = {"title_self_attention.w_k.bias", "user_self_attention.w_k.bias"}
ROUNDING = 1e-6  # those reach a score through the 1e-8 of the attention alone: both sides hold rounding errors


class Fixture:
    """One genuine checkpoint with its settings, its data and what upstream gives for them."""

    def __init__(self, shared, name):
        folder = shared / "fixtures"
        constants = json.loads((folder / "yusanshi" / "config.json").read_text(encoding="utf-8"))
        self.settings = constants["common"] | constants[name] | {"data": str(folder / "yusanshi" / "data" / "train")}
        self.path = folder / "yusanshi" / "checkpoint" / name / FILES[name]
        self.state = read_state_dict(self.path)
        self.expected = dict(np.load(folder / "expected" / "yusanshi" / f"{name}.npz"))
        self.articles, rows = read_data(folder / "yusanshi" / "data", None, "train_poisoned", Reading("parsed"))
        self.rows = rows.subset(self.expected["dataset_index"])

    def read(self):
        return read(yusanshi, self.state, self.settings, self.articles)


@pytest.fixture(params=list(FILES))
def fixture(request, shared):
    return Fixture(shared, request.param)


@pytest.fixture
def nrms(shared):
    return Fixture(shared, "NRMS")


@pytest.fixture
def lstur(shared):
    return Fixture(shared, "LSTUR")


def test_scores_and_losses_are_upstreams(fixture):
    """Law: to 1e-5, for histories of 2, 3 and 6, which are filled up to 6 with articles of padding."""
    assert set(fixture.expected["history_length"]) == {2, 3, 6}
    got = scores(*fixture.read(), fixture.articles, fixture.rows)
    expected = torch.from_numpy(fixture.expected["scores"])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    loss = nn.functional.cross_entropy(got, torch.from_numpy(fixture.expected["label"]), reduction="none")
    torch.testing.assert_close(loss, torch.from_numpy(fixture.expected["loss"]), atol=1e-5, rtol=0)


def test_gradients_are_upstreams(fixture):
    """Law: of the margin, each parameter's to 1e-4 of its norm, by every path.

    Where a gradient cancels out, the file holds rounding: float32 ends at its epsilon times the norm of the whole row.
    Upstream's gradients go through the name map like weights: it only moves numbers.
    """
    model, config = fixture.read()
    inputs, output, which = build_inputs(fixture.rows, fixture.articles, config), ClickOutput("softmax"), "grad_index"
    parameters, rows = dict(model.named_parameters()), fixture.expected[which]
    theirs = {name[5:]: torch.from_numpy(g) for name, g in fixture.expected.items() if name.startswith("grad/")}
    found = {}
    for path, computer in COMPUTERS.items():
        computer = computer(model, output, 0, torch.float32, "cpu", grad_wrt=list(parameters))
        grads = computer.compute_per_sample_grad(make_batch(path, model, inputs, rows, "cpu"))
        found[path] = grads.dense() if isinstance(grads, Factors) else grads
    for i in range(len(rows)):
        expected = yusanshi.translate(config.architecture, {name: g[i] for name, g in theirs.items()}, "grad").state
        rounding = torch.finfo(torch.float32).eps * sum(float(g.square().sum()) for g in expected.values()) ** 0.5
        for name in parameters:
            for got in (grads[name][i] for grads in found.values()):
                if name in KEY_BIASES:
                    assert max(got.abs().max(), expected[name].abs().max()) < ROUNDING
                else:
                    assert (got - expected[name]).norm() <= 1e-4 * expected[name].norm() + rounding, name


def test_margins_are_upstreams(fixture):
    """Law: f = s_clicked - logsumexp(s_others) to 1e-5."""
    got = scores(*fixture.read(), fixture.articles, fixture.rows)[fixture.expected["grad_index"]]
    margin = got[:, 0] - got[:, 1:].logsumexp(dim=1)
    torch.testing.assert_close(margin, torch.from_numpy(fixture.expected["margin"]), atol=1e-5, rtol=0)


def test_texts_become_upstreams_ids(fixture):
    """Law: the ids that the model reads are those of upstream's dataset, each word's one higher (1 is unused)."""
    _, config = fixture.read()
    inputs = build_inputs(fixture.rows, fixture.articles, config)
    names = {"title": "title", "body": "abstract", "category": "category", "subcategory": "subcategory"}
    for view in config.views:
        expected = fixture.expected[f"in/candidate_{names[view]}"]
        if view in ("title", "body"):
            expected = np.where(expected > 0, expected + 1, 0)
        got = inputs.views[view][fixture.rows.candidates.values].reshape(expected.shape)
        assert np.array_equal(got, expected)


def test_con_sets_the_user_beside_the_gru(lstur):
    """Law: half as wide as the articles each, GRU first, on the first `length` steps of the padded history."""
    width = 30
    gru = nn.GRU(width, width // 2, batch_first=True)
    held = {f"user_encoder.gru.{name}": p.detach() for name, p in gru.named_parameters()}
    users = torch.randn(149, width // 2) * (torch.arange(149) > 0)[:, None]
    lstur.state |= held | {"user_embedding.weight": users}
    lstur.settings["long_short_term_method"] = "con"
    model, config = lstur.read()
    got = scores(model, config, lstur.articles, lstur.rows)
    for i in range(len(lstur.rows)):
        read = lstur.rows.history[i][:6]
        steps = [None] * (6 - len(read)) + list(read)
        inputs = build_inputs(lstur.rows, lstur.articles, config).views
        vectors = model.encode({view: torch.from_numpy(ids.astype(np.int64)) for view, ids in inputs.items()}).detach()
        packed = torch.stack([vectors[-1 if a is None else a] for a in steps[: len(read)]])
        user = torch.cat([gru(packed[None])[1][0, 0], users[lstur.expected["user_int"][i]]])
        torch.testing.assert_close(got[i], vectors[lstur.rows.candidates[i]] @ user, atol=1e-5, rtol=1e-5)


def test_recognised_with_and_without_a_prefix(fixture):
    """Law: the names alone tell the architecture; others' names tell nothing."""
    architecture = yusanshi.recognise(fixture.state)
    assert yusanshi.recognise([f"model.{name}" for name in fixture.state]) == architecture
    assert fixture.read()[1].architecture == architecture
    assert yusanshi.recognise(["news_encoder.text_encoders.title.cnn.weight"]) is None


def test_a_checkpoint_that_does_not_fit_is_refused(nrms):
    """Law: missing, further and mis-shaped tensors are listed together."""
    del nrms.state["user_encoder.additive_attention.linear.bias"]
    nrms.state["news_encoder.position"] = torch.zeros(2)
    nrms.state["news_encoder.multihead_self_attention.W_Q.weight"] = torch.zeros(4)
    with pytest.raises(CheckpointError, match=r"1 missing .*linear.bias.*1 unexpected .*position.*W_Q.weight \(4,\)"):
        yusanshi.translate("nrms", nrms.state, "file")


def test_embeddings_that_are_not_upstreams_are_refused(lstur, shared):
    """Law: a changed row of padding, and views that do not share their embedding, cannot come from that code."""
    lstur.state["user_embedding.weight"][0] = 1
    with pytest.raises(CheckpointError, match="row 0 of `user_embedding.weight` is not zero"):
        yusanshi.translate("lstur", lstur.state, "file")
    naml = Fixture(shared, "NAML")
    name = "news_encoder.text_encoders.title.word_embedding.weight"
    naml.state[name] = naml.state[name] + 1
    with pytest.raises(CheckpointError, match=r"share `news_encoder.text_encoders.\*.word_embedding.weight` do not"):
        yusanshi.translate("naml", naml.state, "file")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"num_attention_heads": 3},
            "`num_attention_heads` does not fit the checkpoint. Got 3, expected a divisor",
        ),
        ({"num_attention_heads": None}, r"1 missing key\(s\) \(`num_attention_heads`\)"),
        (
            {"num_words": 12, "query_vector_dim": 200},
            "Got `num_words` 12, expected 1589; `query_vector_dim` 200",
        ),
        ({"num_words_title": 20}, "train/news.tsv: the settings do not fit .* Got `num_words_title` 20, expected 12"),
        ({"news": ["title", "abstract"]}, r"Got `news` \['abstract', 'title'\], expected \['title'\]"),
        ({"num_word_title": 12}, r"unknown key `num_word_title` \(did you mean `num_words_title`"),
    ],
)
def test_settings_that_do_not_fit_are_refused(nrms, changes, match):
    """Law: what contradicts the tensors or the data, is missing or unknown is named."""
    nrms.settings = {key: value for key, value in (nrms.settings | changes).items() if value is not None}
    with pytest.raises(ConfigError, match=match):
        nrms.read()


def test_an_even_window_is_refused(lstur):
    """Law: upstream's convolution of even width loses a place, which ours does not."""
    lstur.state["news_encoder.title_CNN.weight"] = torch.zeros(10, 1, 4, 20)
    with pytest.raises(ConfigError, match="even width is not supported.* Got 4"):
        lstur.read()


def test_an_analysis_takes_the_checkpoint_as_it_is(fixture, tmp_path):
    """Law: a YAML that names the checkpoint, the settings and the preprocessed data gives upstream's scores."""
    (tmp_path / "settings.json").write_text(json.dumps(fixture.settings), encoding="utf-8")
    analysis = {
        "poisoned_model_checkpoint": str(fixture.path),
        "model_config": str(tmp_path / "settings.json"),
        "data_path": str(fixture.settings["data"]).removesuffix("train"),
        "data_format": "parsed",
        "output_dir": str(tmp_path / "results"),
    }
    (tmp_path / "trak.yaml").write_text(json.dumps(analysis), encoding="utf-8")
    job = read_job(Run(read_analysis_config(tmp_path / "trak.yaml"), "train_poisoned", "poisoned"))
    with torch.no_grad():
        got = job.model(unique_batch(job.inputs, fixture.expected["dataset_index"]))
    torch.testing.assert_close(got, torch.from_numpy(fixture.expected["scores"]), atol=1e-5, rtol=0)
