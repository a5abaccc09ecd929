"""What plm4newsrs calls things, and what it does not: names, shapes and settings, on small made-up tensors.

What its checkpoints score stands in test_plm4newsrs_fixtures.py.
"""

import pytest
import torch
from support.plm4newsrs import ARTICLES, SETTINGS, naml_state, nrms_state

from rec_trak.checkpoints.code_bases import plm4newsrs
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.config.model import ModelConfig
from rec_trak.errors import CheckpointError, ConfigError, DataError
from rec_trak.models.build import build_model


def describe(state, where="configs/nrms.yaml", **changes) -> ModelConfig:
    """The configuration by SETTINGS with changes; a change to None leaves the key out."""
    settings = {key: value for key, value in (SETTINGS | changes).items() if value is not None}
    return plm4newsrs.describe(settings, state, ARTICLES, where)


@pytest.mark.parametrize(("architecture", "state"), [("nrms", nrms_state()), ("naml", naml_state())])
def test_recognised_by_names(architecture, state):
    """With Lightning's prefix or without it; our own names are not theirs."""
    assert plm4newsrs.recognise(state) == architecture
    assert plm4newsrs.recognise(name.removeprefix("model.") for name in state) == architecture
    assert plm4newsrs.recognise(plm4newsrs.translate(architecture, state, "f").state) is None


def test_the_model_that_is_described_takes_the_tensors(tmp_path):
    """Sizes come from tensors and settings, and everything that is left fits."""
    (tmp_path / "glove.txt").write_text("".join(f"{w} {'0.5 ' * 7}1\n" for w in ("vote", "market")))
    for state, length in ((nrms_state(), 5), (naml_state(), 4)):
        config = describe(state)
        assert (config.text.title_length, config.max_history, config.history_truncation) == (length, 3, "first")
        assert config.text.words == ("vote", "market", "storm,")
        where = str(tmp_path / "configs" / "experiments" / "nrms.yaml")
        fixed = plm4newsrs.fixed(SETTINGS, config, where)
        vectors = fixed["word_embedding.weight"]
        assert vectors.shape == (5, 8)
        assert (vectors[2:4, 7] == 1).all()
        assert not vectors[[0, 1, 4]].any()
        translated = plm4newsrs.translate(config.architecture, state, "f.ckpt")
        model = build_model(config)
        load_into(model, translated.state | fixed, "f.ckpt")
        assert not model.word_embedding.weight.requires_grad


def test_what_is_never_fed_never_reaches_a_score():
    """NAML's data hold titles alone, so a body encoder and the attention over views are left out; key biases too."""
    unreached = plm4newsrs.translate("naml", naml_state(), "f").unreached
    assert {name.split(".")[1].split("_")[0] for name in unreached} == {"view", "body"}
    unreached = plm4newsrs.translate("nrms", nrms_state(), "f").unreached
    assert unreached == (
        "news_encoder.word_self_attention.qkv_proj.bias[8:16]",
        "user_encoder.news_self_attention.qkv_proj.bias[8:16]",
    )


def test_a_language_model_is_taken_as_it_is():
    """Its parameters keep their names, without the pooler and without the counter that older versions kept."""
    parts = ("encoder.x", "pooler.dense.weight", "embeddings.position_ids")
    state = nrms_state() | {f"model.news_encoder.lm.{part}": torch.zeros(1) for part in parts}
    translated = plm4newsrs.translate("nrms", state, "f")
    assert [name for name in translated.state if ".lm." in name] == ["word_embedding.lm.encoder.x"]
    assert translated.unreached[-1] == "news_encoder.lm.pooler.dense.weight"
    config = describe(state, model_name="bert-base-uncased", glove_file_path=None)
    assert (config.text.tokeniser, config.text.pretrained) == ("pretrained", "bert-base-uncased")
    assert (config.text.padding, config.text.title_length, config.frozen) == ("masked", 5, ())
    assert describe(state, model_name="bert-base-uncased", fine_tune_lm=False).frozen == ("word_embedding.*",)
    assert plm4newsrs.fixed({}, config, "f") == {}


def test_a_key_that_is_left_out_has_their_default():
    """50 words, 30 of a NAML title, 50 articles and 16 heads, as that code has it."""
    gone = {"max_seq_length": None, "max_title_length": None, "max_history_length": None}
    config = describe(nrms_state(width=32), num_attention_heads=None, num_user_attention_heads=None, **gone)
    assert (config.text.title_length, config.max_history) == (50, 50)
    assert (config.sizes["heads"], config.sizes["user_heads"], config.sizes["head_dim"]) == (16, 16, 2)
    assert describe(naml_state(), **gone).text.title_length == 30


def test_strict_names_and_shapes():
    """What is missing, what nothing reads and what has another shape is listed in one message."""
    state = nrms_state()
    del state["model.user_encoder.news_attention.attention.2.weight"]
    state["model.extra"] = torch.zeros(1)
    state["model.news_encoder.word_self_attention.qkv_proj.weight"] = torch.zeros(25, 8)
    message = (
        r"f\.ckpt: .*1 missing \(user_encoder\.news_attention\.attention\.2\.weight\); 1 unexpected \(extra\); "
        r".*qkv_proj\.weight \(25, 8\)"
    )
    with pytest.raises(CheckpointError, match=message):
        plm4newsrs.translate("nrms", state, "f.ckpt")
    state = naml_state()
    del state["model.news_encoder.title_cnn.convs.0.weight"]
    state["model.news_encoder.title_cnn.convs.1.weight"] = torch.zeros(5, 8)
    with pytest.raises(CheckpointError, match=r"1 missing \(.*convs\.0\.weight\); .*convs\.1\.weight \(5, 8\)"):
        plm4newsrs.translate("naml", state, "f.ckpt")


@pytest.mark.parametrize(
    ("state", "changes", "message"),
    [
        (nrms_state(), {"model_name": None}, r"nrms\.yaml: missing key `model_name`"),
        (nrms_state(), {"max_seq_length": 0}, r"`max_seq_length` is too small\. Got 0"),
        (nrms_state(), {"max_seq_length": "many"}, "`max_seq_length` has the wrong type"),
        (nrms_state(), {"num_attention_heads": 3}, r"`num_attention_heads` does not fit .*Got 3, expected a divisor"),
        (nrms_state(), {"num_user_attention_heads": 5}, "`num_user_attention_heads` does not fit"),
        (nrms_state(), {"attention_hidden_dim": 4}, r"do not fit .*Got `attention_hidden_dim` 4, expected 3"),
        (nrms_state(), {"glove_dim": 300}, r"do not fit .*Got `glove_dim` 300, expected 8"),
        (nrms_state(), {"architecture": "naml", "num_attention_heads": 7}, r"Got `architecture` naml, expected nrms"),
        (nrms_state(), {"model_name": "bert"}, r"Got 'bert' and a checkpoint that holds no language model"),
        (naml_state(), {"num_filters": 400}, r"do not fit .*Got `num_filters` 400, expected 5"),
        (naml_state(), {"window_sizes": [3, 4]}, r"do not fit .*`window_sizes` \[3, 4\], expected \[2, 3\]"),
        (
            nrms_state() | {"model.news_encoder.lm.encoder.x": torch.zeros(1)},
            {},
            r"Got 'glove' and a checkpoint that holds a language model",
        ),
    ],
)
def test_settings_that_do_not_fit(state, changes, message):
    """A needed key that is missing and a size that the tensors contradict are refused."""
    with pytest.raises(ConfigError, match=message):
        describe(state, **changes)


def test_word_vectors_that_do_not_fit(tmp_path, monkeypatch):
    """Without the right GloVe file there are no scores: not named, not there, of another width, of other words."""
    monkeypatch.chdir(tmp_path)
    config = describe(nrms_state())
    with pytest.raises(ConfigError, match="missing key `glove_file_path`"):
        plm4newsrs.fixed({}, config, "m.yaml")
    with pytest.raises(ConfigError, match=r"m\.yaml: `glove_file_path`: no such file\. Got glove\.txt, which is"):
        plm4newsrs.fixed(SETTINGS, config, "m.yaml")
    (tmp_path / "glove.txt").mkdir()
    with pytest.raises(ConfigError, match=r"`glove_file_path`: is a folder\. Got glove\.txt, expected the file of vec"):
        plm4newsrs.fixed(SETTINGS, config, "m.yaml")
    (tmp_path / "glove.txt").rmdir()
    (tmp_path / "glove.txt").write_text("vote 1 2 3\n")
    with pytest.raises(
        ConfigError, match=r"m\.yaml: .*vectors of another width\. Got 3 numbers .*glove\.txt, expected 8"
    ):
        plm4newsrs.fixed(SETTINGS, config, "m.yaml")
    (tmp_path / "glove.txt").write_text("other 1 2 3\n")
    with pytest.raises(DataError, match="Got none of 3 words"):
        plm4newsrs.fixed(SETTINGS, config, "m.yaml")
