"""Laws of newsreclib over language models: scores are what its layers compute for one row, written out by hand."""

import json

import numpy as np
import pytest
import torch
from support import tiny
from support.foreign import TOPICS, USERS, WORDS, check_gradients, numbered, read, scores, world, write_numbers
from torch import nn

from rec_trak.attribution.influence import self_influence
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.checkpoints.code_bases import newsreclib
from rec_trak.checkpoints.info import describe_checkpoint
from rec_trak.checkpoints.source import read_source
from rec_trak.config.analysis import read_analysis_config
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning

lm = pytest.importorskip("support.tiny_lm")
WIDTH, HEADS, TOKENS, HISTORY = lm.WIDTH, 2, 7, 4
TEXT, TOPIC = "news_encoder.text_encoders.{}", "news_encoder.category_encoders.category"
MIXES = pytest.mark.filterwarnings("ignore:.*depends on the other users of a batch")


def attention(name):
    return {f"{name}.linear.weight": (5, WIDTH), f"{name}.linear.bias": (5,), f"{name}.query": (5,)}


def heads(name):
    shapes = {"in_proj_weight": (3 * WIDTH, WIDTH), "in_proj_bias": (3 * WIDTH,)}
    shapes |= {"out_proj.weight": (WIDTH, WIDTH), "out_proj.bias": (WIDTH,)}
    return {f"{name}.multihead_attention.{key}": shape for key, shape in shapes.items()}


def state_of(architecture, views, words):
    """Random tensors under upstream's names; title and abstract hold the same ones."""
    first = TEXT.format(views[0])
    shapes = heads(first) | attention(f"{first}.additive_attention")
    if architecture == "nrms":
        shapes |= heads("user_encoder") | attention("user_encoder.additive_attention")
    if architecture == "naml":
        shapes |= {f"{TOPIC}.embedding_layer.weight": (6, 7), f"{TOPIC}.linear.weight": (WIDTH, 7)}
        shapes |= {f"{TOPIC}.linear.bias": (WIDTH,)}
        shapes |= attention("news_encoder.combine_layer") | attention("user_encoder.additive_attention")
    if architecture == "lstur":
        width = len(views) * WIDTH + 6
        shapes |= {f"{TOPIC}.embedding_layer.weight": (6, 6)}
        shapes |= {"user_encoder.long_term_user_embedding.weight": (9, width)}
        shapes |= {f"user_encoder.gru.{n}": tuple(p.shape) for n, p in nn.GRU(width, width).named_parameters()}
    state = {
        name: torch.randn(shape) / (2 * shape[-1] if len(shape) > 1 else 8) ** 0.5 for name, shape in shapes.items()
    }
    for name in state:
        if (name.startswith(TOPIC) and name.endswith("embedding_layer.weight")) or "long_term" in name:
            state[name][0] = 0
    state |= {f"{first}.plm_model.{name}": tensor for name, tensor in words.items()}
    for view in views[1:]:
        state |= {n.replace(first, TEXT.format(view)): t for n, t in state.items() if n.startswith(first)}
    return state


@pytest.fixture
def language(tmp_path):
    """The folder of a tiny BERT with a tokeniser, dictionaries beside it, and the model."""
    folder = lm.write_tokeniser(lm.write_language_model(tmp_path / "bert"), " ".join((*WORDS, *tiny.WORDS)))
    torch.manual_seed(0)
    model = lm.write_weights(folder).requires_grad_(False)
    write_numbers(tmp_path / "categ2index.tsv", "category", "index", TOPICS)
    write_numbers(tmp_path / "uid2index.tsv", "uid", "index", USERS)
    return folder, model


def settings(language, **more):
    folder, keys = language[0], {"use_plm": True, "tokenizer_max_len": TOKENS, "max_history_len": HISTORY}
    keys |= {"plm_model": str(folder), "frozen_layers": [], "num_heads": HEADS}
    return keys | {"data": str(folder.parent)} | more


def attend(state, name, x):
    weights = torch.tanh(x @ state[f"{name}.linear.weight"].T + state[f"{name}.linear.bias"]) @ state[f"{name}.query"]
    return (torch.softmax(weights, dim=-1).unsqueeze(-2) @ x).squeeze(-2)


def self_attend(state, name, x):
    """torch's own multi-head attention over (L, B, width), as upstream calls it, whatever its first dimension is."""
    layer, name = nn.MultiheadAttention(WIDTH, HEADS).requires_grad_(False), f"{name}.multihead_attention."
    layer.load_state_dict({key.removeprefix(name): value for key, value in state.items() if key.startswith(name)})
    return layer(x, x, x)[0]


def text_vectors(state, view, texts, language):
    """Of texts that upstream puts through its encoder together: articles stand in the first dimension."""
    tokens = lm.transformers.AutoTokenizer.from_pretrained(str(language[0]), model_max_length=TOKENS)
    batch = tokens(texts, return_tensors="pt", return_token_type_ids=False, padding=True, truncation=True)
    hidden, name = language[1](**batch)[0], TEXT.format(view)
    return attend(state, f"{name}.additive_attention", self_attend(state, name, hidden))


def article_vectors(architecture, state, views, articles, places, language):
    """Of a row's history, or of its candidates."""
    held = {"title": articles.titles, "abstract": articles.bodies}
    parts = [text_vectors(state, view, [held[view][i] for i in places], language) for view in views]
    if architecture == "nrms":
        return parts[0]
    topics = state[f"{TOPIC}.embedding_layer.weight"][numbered(tuple(articles.categories[i] for i in places), TOPICS)]
    if architecture == "lstur":
        return torch.cat([*parts, topics], dim=1)
    topics = torch.relu(topics @ state[f"{TOPIC}.linear.weight"].T + state[f"{TOPIC}.linear.bias"])
    return attend(state, "news_encoder.combine_layer", torch.stack([*parts, topics], dim=1))


def user_vector(architecture, state, history, user):
    if not any(name.startswith("user_encoder.") for name in state):
        return history.mean(0)
    if architecture == "lstur":
        gru = nn.GRU(history.shape[1], history.shape[1]).requires_grad_(False)
        name = "user_encoder.gru."
        gru.load_state_dict({key.removeprefix(name): p for key, p in state.items() if key.startswith(name)})
        first = state["user_encoder.long_term_user_embedding.weight"][user]
        return gru(history[:, None], first[None, None])[1][0, 0]
    contexts = self_attend(state, "user_encoder", history[None])[0] if architecture == "nrms" else history
    return attend(state, "user_encoder.additive_attention", contexts)


@MIXES
@pytest.mark.parametrize("late", [False, True], ids=["", "late"])
@pytest.mark.parametrize(
    ("architecture", "views"),
    [("nrms", ("title",)), ("naml", ("abstract", "title")), ("naml", ("title",)), ("lstur", ("abstract", "title"))],
)
def test_scores_are_upstreams_for_a_row_alone(language, architecture, views, late):
    """Law: tokens attend to the same place of the row's other articles, padding read to the longest of them; every
    path gives plain autograd's gradients."""
    state, (articles, rows) = state_of(architecture, views, language[1].state_dict()), world()
    state = {name: tensor for name, tensor in state.items() if not (late and name.startswith("user_encoder."))}
    rows = rows.subset(np.flatnonzero(rows.history.lengths))
    assert newsreclib.recognise(state) == architecture
    users, expected = numbered(tuple(rows.user_ids), USERS), []
    for i in range(len(rows)):
        groups = (rows.history[i][:HISTORY].tolist(), rows.candidates[i].tolist())
        history, candidates = (
            article_vectors(architecture, state, views, articles, group, language) for group in groups
        )
        expected.append(candidates @ user_vector(architecture, state, history, users[i]))
    model, config = read(newsreclib, state, settings(language), articles)
    got = scores(model, config, articles, rows)
    torch.testing.assert_close(got, torch.stack(expected), atol=1e-5, rtol=1e-5)
    if not late and views == ("title",):
        check_gradients(model, config, articles, rows.subset(np.arange(3)))


def test_what_the_settings_say(language):
    """Law: frozen layers take no gradient, the pooler and biases of keys never reach a score, batches are told of."""
    state, (articles, _) = state_of("nrms", ("title",), language[1].state_dict()), world()
    translated, name = newsreclib.translate("nrms", state, "file"), TEXT.format("title")
    pooler = [f"{name}.plm_model.pooler.dense.{kind}" for kind in ("weight", "bias")]
    assert translated.unreached == (
        f"{name}.multihead_attention.in_proj_bias[{WIDTH}:{2 * WIDTH}]",
        f"user_encoder.multihead_attention.in_proj_weight[:{2 * WIDTH}]",
        f"user_encoder.multihead_attention.in_proj_bias[:{2 * WIDTH}]",
        *pooler,
    )
    with pytest.warns(RecTrakWarning, match="attends from each token to the same place of all other articles.*, and "):
        model, config = read(newsreclib, state, settings(language, frozen_layers=[1, 7]), articles)
    assert config.frozen == ("word_embedding.lm.*layer.1.*",)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if ".layer.1." in name}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tokenizer_max_len": None}, r"missing key\(s\) \(`tokenizer_max_len`\)"),
        ({"frozen_layers": None}, r"missing key\(s\) \(`frozen_layers`\)"),
        ({"plm_model": None}, r"missing key\(s\) \(`plm_model`\)"),
        ({"num_heads": 3}, "`num_heads` does not fit the checkpoint. Got 3, expected a divisor of its width 16"),
        ({"use_plm": False}, "Got `use_plm` False, expected True"),
        ({"tokenizer_name": "x/other"}, "the tokeniser is another model's. Got `tokenizer_name` 'x/other' and"),
    ],
)
@MIXES
def test_settings_that_do_not_fit(language, changes, match):
    """Law: what is missing or contradicts the checkpoint is named."""
    state = state_of("nrms", ("title",), language[1].state_dict())
    said = {key: value for key, value in settings(language, **changes).items() if value is not None}
    with pytest.raises(ConfigError, match=match):
        read(newsreclib, state, said, world()[0])


def test_title_and_abstract_in_one_text_are_refused(language):
    """Law: an encoder of both at once, which these three never have there, is named."""
    state = state_of("naml", ("title",), language[1].state_dict())
    state = {name.replace("text_encoders.title", "text_encoders.text"): tensor for name, tensor in state.items()}
    with pytest.raises(CheckpointError, match="Got an encoder of `text`, as `concatenate_inputs` makes"):
        newsreclib.translate("naml", state, "file")


@MIXES
@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_a_lightning_checkpoint_goes_through_the_whole_job(language, tmp_path):
    """Law: its own arguments are enough to featurize and score; others in the settings are refused."""
    tiny.write_tree(tmp_path / "data")
    state, path = state_of("nrms", ("title",), language[1].state_dict()), tmp_path / "x.ckpt"
    state = {name: tensor / 4 if "plm_model" not in name else tensor for name, tensor in state.items()}
    held = settings(language)
    keys = ("use_plm", "plm_model", "frozen_layers", "num_heads")
    model = {key: held[key] for key in keys} | {"embed_dim": WIDTH, "loss": "cross_entropy_loss"}
    data = {"max_history_len": HISTORY, "tokenizer_max_len": TOKENS, "tokenizer_name": str(language[0])}
    torch.save({"state_dict": state, "hyper_parameters": model, "datamodule_hyper_parameters": data}, path)
    told = describe_checkpoint(path)
    assert (told["code_base"], told["architecture"], told["problem"]) == ("newsreclib", "nrms", None)
    json.dumps(told)
    config = tiny.write_config(tmp_path, checkpoints=str(path), model_config=None, sample_size=8)
    job = read_job(Run(read_analysis_config(config), "train_clean", "clean"))
    assert featurize(job).rows == 8
    found = self_influence(job, "self_influence").scores
    assert found.shape == (8,)
    assert (found > 0).all()
    with pytest.raises(ConfigError, match=r"f: the model was trained with other settings.* Got `tokenizer_max_len` 9"):
        read_source({"tokenizer_max_len": 9}, "f", "auto", path, world()[0])
