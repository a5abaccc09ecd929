"""A language model behind our ids gives what the encoder itself gives, article by article, and runs no foreign code."""

import json
import sys

import pytest
import torch
from support import tiny_lm
from support.tiny_lm import ATTENTION, KINDS, LONGEST, WIDTH

from rec_trak.errors import ConfigError
from rec_trak.models.language import LanguageModel, load_pretrained

LENGTHS = (9, 3, 5, 1, 7)


def some_ids():
    """Five texts of unlike lengths, in our numbers."""
    ids = torch.randint(3, tiny_lm.VOCABULARY, (len(LENGTHS), 9)) + 1
    return ids * (torch.arange(9) < torch.tensor(LENGTHS)[:, None])


def tiny(folder, kind="bert", how="sdpa"):
    model = LanguageModel(str(tiny_lm.write_language_model(folder, kind)), WIDTH).eval()
    model.lm.set_attn_implementation(how)
    return model


@pytest.mark.parametrize(("kind", "how"), ATTENTION)
def test_it_gives_what_the_encoder_gives(kind, how, tmp_path):
    """Hidden states (n, T, dim) equal the encoder's own for ids - 1, its own id of padding, and a mask of real ids."""
    model = tiny(tmp_path, kind, how)
    own = tiny_lm.transformers.AutoModel.from_config(model.lm.config, attn_implementation=how).eval()
    own.load_state_dict(model.lm.state_dict(), strict=False)
    ids = some_ids()
    theirs = torch.where(ids == 0, model.lm.config.pad_token_id or 0, ids - 1)
    expected = own(input_ids=theirs, attention_mask=(ids != 0).long()).last_hidden_state
    found = model(ids)
    assert found.shape == (*ids.shape, WIDTH)
    torch.testing.assert_close(found[ids != 0], expected[ids != 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "how"), ATTENTION)
def test_a_text_does_not_depend_on_its_batch_mates(kind, how, tmp_path):
    """What a text gives alone, cut to its length, it gives among longer ones, and beside a text without a token."""
    model, ids = tiny(tmp_path, kind, how), some_ids()
    among = model(torch.cat([ids, torch.zeros(1, 9, dtype=torch.int64)]))
    for i, length in enumerate(LENGTHS):
        torch.testing.assert_close(among[i, :length], model(ids[i : i + 1, :length])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "how"), ATTENTION)
def test_a_text_without_a_token_is_finite(kind, how, tmp_path):
    """Neither values nor gradients are NaN where every place is padding."""
    model = tiny(tmp_path, kind, how)
    out = model(torch.zeros(2, 4, dtype=torch.int64))
    grads = torch.autograd.grad(out.square().sum(), list(model.parameters()), allow_unused=True)
    assert torch.isfinite(out).all()
    assert all(g is None or torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_reaches_the_output(kind, tmp_path):
    """There is no pooler, nor anything else without a gradient."""
    model = tiny(tmp_path, kind)
    grads = torch.autograd.grad(model(some_ids()).square().sum(), list(model.parameters()), allow_unused=True)
    assert [name for (name, _), g in zip(model.named_parameters(), grads, strict=True) if g is None] == []


@pytest.mark.parametrize("how", ["sdpa", "eager"])
def test_it_runs_inside_vmap(how, tmp_path):
    """torch.func.vmap over texts gives what the batch gives, whatever is padded."""
    model, ids = tiny(tmp_path, "bert", how), some_ids()
    found = torch.func.vmap(lambda one: model(one[None])[0])(ids)
    torch.testing.assert_close(found[ids != 0], model(ids)[ids != 0], rtol=1e-5, atol=1e-6)


def test_weights_are_float32_whatever_the_config_says(tmp_path):
    """A model that was saved in half precision is built in float32."""
    tiny_lm.write_language_model(tmp_path, dtype="float16")
    assert {p.dtype for p in LanguageModel(str(tmp_path), WIDTH).parameters()} == {torch.float32}


def test_pretrained_weights_come_from_safetensors(tmp_path):
    """`load_pretrained` gives the file's weights, without its pooler."""
    own = tiny_lm.write_weights(tiny_lm.write_language_model(tmp_path))
    model = LanguageModel(str(tmp_path), WIDTH).eval()
    load_pretrained(model, str(tmp_path))
    held = own.state_dict()
    assert all(torch.equal(value, held[name]) for name, value in model.lm.state_dict().items())


def test_a_pickle_is_not_read(tmp_path):
    """Weights in pytorch_model.bin are refused: reading one can run code."""
    own = tiny_lm.write_weights(tiny_lm.write_language_model(tmp_path))
    model = LanguageModel(str(tmp_path), WIDTH)
    torch.save(own.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="AutoModel cannot read it .*Give its folder or hub name"):
        load_pretrained(model, str(tmp_path))


def test_weights_of_another_model_are_refused(tmp_path):
    """Missing tensors and other shapes are named, and nothing is changed."""
    model = tiny(tmp_path / "one")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name, more in (("deeper", {"num_hidden_layers": 1}), ("wider", {"intermediate_size": 32})):
        tiny_lm.write_weights(tiny_lm.write_language_model(tmp_path / name, **more))
        with pytest.raises(ConfigError, match="weights of another model. Got .* (missing|of another shape)"):
            load_pretrained(model, str(tmp_path / name))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    """An empty folder, no folder, and a hub name without a network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name, what in ((tmp_path, "this folder"), (tmp_path / "none", "no such folder"), ("no/such", "no such folder")):
        with pytest.raises(ConfigError, match=f"`pretrained` {name}: {what}.*cannot read it") as caught:
            LanguageModel(str(name), WIDTH)
        assert "\n" not in str(caught.value)


def test_code_in_a_folder_is_not_run(tmp_path):
    """A folder that names its own classes is refused, and its module is never imported."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    auto = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}), encoding="utf-8")
    with pytest.raises(ConfigError, match="AutoConfig cannot read it"):
        LanguageModel(str(tmp_path), WIDTH)
    assert not (tmp_path / "ran").exists()


def test_a_model_that_does_not_fit_is_refused(tmp_path):
    """Another width, an encoder with a decoder, and a kind that has no plain model."""
    tiny_lm.write_language_model(tmp_path / "bert")
    with pytest.raises(ConfigError, match="Got 16 numbers a token, expected an encoder with `word_dim` 12"):
        LanguageModel(str(tmp_path / "bert"), 12)
    config = tiny_lm.transformers.AutoConfig.for_model("t5", d_model=WIDTH)
    config.save_pretrained(tmp_path / "t5")
    with pytest.raises(ConfigError, match="Got an encoder and a decoder"):
        LanguageModel(str(tmp_path / "t5"), WIDTH)
    tiny_lm.write_language_model(tmp_path / "odd", num_attention_heads=3)
    with pytest.raises(ConfigError, match="no model can be built from its config.json .*`model_type` 'bert'"):
        LanguageModel(str(tmp_path / "odd"), WIDTH)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_texts_longer_than_the_positions_are_refused(kind, tmp_path):
    """As many tokens as there are positions are read; one more is refused with the number."""
    model = tiny(tmp_path, kind)
    assert model.longest == (LONGEST if kind == "bert" else LONGEST - 2)
    model(torch.full((1, model.longest), 5))
    with pytest.raises(ConfigError, match=f"Got texts of {model.longest + 1} tokens, expected at most {model.longest}"):
        model(torch.full((1, model.longest + 1), 5))


def test_without_transformers_the_message_says_what_to_install(tmp_path, monkeypatch):
    """No ImportError reaches the user."""
    tiny_lm.write_language_model(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'rec-trak\[bert\]'"):
        LanguageModel(str(tmp_path), WIDTH)
