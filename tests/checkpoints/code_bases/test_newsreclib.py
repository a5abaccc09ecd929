"""Laws of newsreclib's checkpoints: our scores are what its layers compute for one row, written out here by hand."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.foreign import (
    SUBTOPICS,
    TOPICS,
    USERS,
    WORDS,
    check_gradients,
    numbered,
    read,
    scores,
    world,
    write_numbers,
)
from torch import nn

from rec_trak.checkpoints.code_bases import newsreclib
from rec_trak.checkpoints.source import read_source
from rec_trak.data.batches import unique_batch
from rec_trak.data.inputs import build_inputs
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning

WIDTH, HEADS, FILTERS, TITLE, ABSTRACT, HISTORY = 12, 3, 8, 6, 8, 4
SIZES = {"max_title_len": TITLE, "max_abstract_len": ABSTRACT, "max_history_len": HISTORY, "num_heads": HEADS}
TEXT, TOPIC = "news_encoder.text_encoders.{}", "news_encoder.category_encoders.category"
TITLES, SUBTOPIC = TEXT.format("title"), "news_encoder.category_encoders.subcategory"


def attention(name, width):
    return {f"{name}.linear.weight": (5, width), f"{name}.linear.bias": (5,), f"{name}.query": (5,)}


def heads(name):
    shapes = {"in_proj_weight": (3 * WIDTH, WIDTH), "in_proj_bias": (3 * WIDTH,)}
    shapes |= {"out_proj.weight": (WIDTH, WIDTH), "out_proj.bias": (WIDTH,)}
    return {f"{name}.{key}": shape for key, shape in shapes.items()}


def text(view, architecture):
    name = TEXT.format(view)
    shapes = {f"{name}.embedding_layer.weight": (len(WORDS) + 1, WIDTH)}
    if architecture == "nrms":
        return shapes | heads(f"{name}.multihead_attention") | attention(f"{name}.additive_attention", WIDTH)
    shapes |= {f"{name}.cnn.weight": (FILTERS, 1, 3, WIDTH), f"{name}.cnn.bias": (FILTERS,)}
    return shapes | attention(f"{name}.additive_attention", FILTERS)


def state_of(shapes):
    """Random tensors, zero in rows of padding that upstream keeps at zero, one for title and abstract."""
    state = {name: torch.randn(shape) / (shape[-1] if len(shape) > 1 else 4) ** 0.5 for name, shape in shapes.items()}
    for name in state:
        if (name.startswith(TOPIC) and name.endswith("embedding_layer.weight")) or "long_term" in name:
            state[name][0] = 0
        state[name] = state.get(name.replace(".title.", ".abstract."), state[name])
    return state


def nrms():
    user = heads("user_encoder.multihead_attention") | attention("user_encoder.additive_attention", WIDTH)
    return state_of(text("title", "nrms") | user)


def naml(views=("abstract", "title")):
    shapes = {}
    for view in views:
        shapes |= text(view, "naml")
    shapes |= {f"{TOPIC}.embedding_layer.weight": (6, 7)}
    shapes |= {f"{TOPIC}.linear.weight": (FILTERS, 7), f"{TOPIC}.linear.bias": (FILTERS,)}
    shapes |= attention("news_encoder.combine_layer", FILTERS)
    return state_of(shapes | attention("user_encoder.additive_attention", FILTERS))


def lstur(method, views=("abstract", "title")):
    shapes = {}
    for view in views:
        shapes |= text(view, "lstur")
    width = len(views) * FILTERS + 6
    half = width if method == "ini" else width // 2
    shapes |= {f"{TOPIC}.embedding_layer.weight": (6, 6)}
    shapes |= {"user_encoder.long_term_user_embedding.weight": (9, half)}
    gru = {name: tuple(p.shape) for name, p in nn.GRU(width, half).named_parameters()}
    return state_of(shapes | {f"user_encoder.gru.{name}": shape for name, shape in gru.items()})


@pytest.fixture
def settings(tmp_path):
    """The sizes that no tensor tells, and the folder of upstream's numbers."""
    write_numbers(tmp_path / "word2index.tsv", "word", "index", WORDS)
    write_numbers(tmp_path / "categ2index.tsv", "category", "index", TOPICS)
    write_numbers(tmp_path / "subcateg2index.tsv", "subcategory", "index", SUBTOPICS)
    write_numbers(tmp_path / "uid2index.tsv", "uid", "index", USERS)
    return SIZES | {"data": str(tmp_path)}


def attend(state, name, x):
    """Additive attention over (..., L, width), with nothing masked."""
    weights = torch.tanh(x @ state[f"{name}.linear.weight"].T + state[f"{name}.linear.bias"]) @ state[f"{name}.query"]
    return (torch.softmax(weights, dim=-1).unsqueeze(-2) @ x).squeeze(-2)


def self_attend(state, name, x):
    """torch's own multi-head attention over (L, B, width), as upstream calls it."""
    layer = nn.MultiheadAttention(WIDTH, HEADS).requires_grad_(False)
    layer.load_state_dict({key[len(name) + 1 :]: value for key, value in state.items() if key.startswith(f"{name}.")})
    return layer(x, x, x)[0]


def convolve(state, view, ids):
    name = TEXT.format(view)
    x = state[f"{name}.embedding_layer.weight"][ids].unsqueeze(1)
    x = F.conv2d(x, state[f"{name}.cnn.weight"], state[f"{name}.cnn.bias"], padding=(1, 0)).squeeze(3)
    return attend(state, f"{name}.additive_attention", torch.relu(x).transpose(1, 2))


def inputs(articles):
    texts = {"title": numbered(articles.titles, WORDS, TITLE), "abstract": numbered(articles.bodies, WORDS, ABSTRACT)}
    topics = torch.from_numpy(numbered(articles.categories, TOPICS))
    return {view: torch.from_numpy(ids) for view, ids in texts.items()}, topics


def expected(articles, rows, vectors, user_vector):
    """Dot products of each row's candidates with `user_vector(row, the vectors of its first HISTORY articles)`."""
    scores = []
    for i in range(len(rows)):
        user = user_vector(i, vectors[rows.history[i][:HISTORY].astype(np.int64)])
        scores.append(vectors[rows.candidates[i].astype(np.int64)] @ user)
    return torch.stack(scores)


def with_history(rows):
    """The rows that have one; upstream drops the others."""
    return rows.subset(np.flatnonzero(rows.history.lengths))


def test_nrms_scores_are_upstreams_for_a_row_alone(settings):
    """Law: attention within a title, padding read; over a history of a batch of one, each article attends to itself."""
    state, (articles, rows) = nrms(), world()
    rows, name = with_history(rows), TEXT.format("title")
    x = state[f"{name}.embedding_layer.weight"][inputs(articles)[0]["title"]]
    words = self_attend(state, f"{name}.multihead_attention", x.transpose(0, 1)).transpose(0, 1)
    vectors = attend(state, f"{name}.additive_attention", words)

    def user(_, history):
        contexts = self_attend(state, "user_encoder.multihead_attention", history[None])[0]
        return attend(state, "user_encoder.additive_attention", contexts)

    with pytest.warns(RecTrakWarning, match="NRMS a user's score depends on the other users of a batch.*same place"):
        model, config = read(newsreclib, state, settings, articles)
    got = scores(model, config, articles, rows)
    torch.testing.assert_close(got, expected(articles, rows, vectors, user), atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, rows)


@pytest.mark.parametrize("views", [("abstract", "title"), ("title",)])
def test_naml_scores_are_upstreams_for_a_row_alone(settings, views):
    """Law: one CNN for title and abstract, padding read, topics through ReLU; attention over views and history."""
    state, (articles, rows) = naml(views), world()
    rows = with_history(rows)
    texts, topics = inputs(articles)
    parts = [convolve(state, view, texts[view]) for view in views]
    topic = F.linear(state[f"{TOPIC}.embedding_layer.weight"][topics], state[f"{TOPIC}.linear.weight"])
    parts.append(torch.relu(topic + state[f"{TOPIC}.linear.bias"]))
    vectors = attend(state, "news_encoder.combine_layer", torch.stack(parts, dim=1))
    with pytest.warns(RecTrakWarning, match="NAML .* zero vectors behind the shorter histories"):
        model, config = read(newsreclib, state, settings, articles)
    got = scores(model, config, articles, rows)
    users = expected(articles, rows, vectors, lambda _, h: attend(state, "user_encoder.additive_attention", h))
    torch.testing.assert_close(got, users, atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, rows)


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_naml_with_subcategories_is_upstreams(settings):
    """Law: both topics go through one embedding and one dense layer, each under the numbers of its own dictionary."""
    state, (articles, rows) = naml(), world()
    state |= {n.replace(".category.", ".subcategory."): t for n, t in state.items() if n.startswith(TOPIC)}
    rows, (texts, topics) = with_history(rows), inputs(articles)
    parts = [convolve(state, view, texts[view]) for view in ("title", "abstract")]
    for ids in (topics, torch.from_numpy(numbered(articles.subcategories, SUBTOPICS))):
        vector = F.linear(state[f"{TOPIC}.embedding_layer.weight"][ids], state[f"{TOPIC}.linear.weight"])
        parts.append(torch.relu(vector + state[f"{TOPIC}.linear.bias"]))
    vectors = attend(state, "news_encoder.combine_layer", torch.stack(parts, dim=1))
    model, config = read(newsreclib, state, settings, articles)
    got = scores(model, config, articles, rows)
    users = expected(articles, rows, vectors, lambda _, h: attend(state, "user_encoder.additive_attention", h))
    torch.testing.assert_close(got, users, atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, rows)
    state[f"{SUBTOPIC}.linear.bias"] = state[f"{SUBTOPIC}.linear.bias"] + 1
    with pytest.raises(CheckpointError, match=r"share `.*linear.bias` do not agree"):
        newsreclib.translate("naml", state, "file")


@pytest.mark.parametrize("make", [nrms, naml, lambda: lstur("ini")], ids=["nrms", "naml", "lstur"])
def test_late_fusion_is_the_mean_of_the_history(settings, make):
    """Law: without a user encoder a user is the mean of the vectors of its first articles; zeros where it has none."""
    state, (articles, rows) = make(), world()
    state = {name: tensor for name, tensor in state.items() if not name.startswith("user_encoder.")}
    architecture = newsreclib.recognise(state)
    assert architecture == newsreclib.recognise(make())
    with warnings.catch_warnings():
        warnings.simplefilter("error", RecTrakWarning)  # no row's score depends on its batch
        model, config = read(newsreclib, state, settings, articles)
    batch = unique_batch(build_inputs(rows, articles, config), np.arange(len(rows)))
    with torch.no_grad():
        vectors, held = model.encode(batch.articles), batch.history_mask
        for i, places in enumerate(batch.history):
            user = vectors[places[held[i]]].mean(0) if held[i].any() else torch.zeros(vectors.shape[1])
            got = model.score(vectors, batch)[i]
            torch.testing.assert_close(got, vectors[batch.candidates[i]] @ user, atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, with_history(rows))
    unreached = newsreclib.translate(architecture, state, "file").unreached
    assert [name.split("[")[0] for name in unreached] == [f"{TITLES}.multihead_attention.in_proj_bias"] * (make is nrms)


@pytest.mark.parametrize("method", ["ini", "con"])
@pytest.mark.parametrize("views", [("abstract", "title"), ("title", "abstract"), ("title",)])
def test_lstur_scores_are_upstreams(settings, method, views):
    """Law: views side by side in the order of the file, then the topic; a GRU that starts at the user or beside it."""
    state, (articles, rows) = lstur(method, views), world()
    rows = with_history(rows)
    texts, topics = inputs(articles)
    parts = [convolve(state, view, texts[view]) for view in views]
    vectors = torch.cat([*parts, state[f"{TOPIC}.embedding_layer.weight"][topics]], dim=1)
    name = "user_encoder.gru."
    gru = nn.GRU(vectors.shape[1], state[f"{name}weight_hh_l0"].shape[1]).requires_grad_(False)
    gru.load_state_dict({key.removeprefix(name): p for key, p in state.items() if key.startswith(name)})
    long_term = state["user_encoder.long_term_user_embedding.weight"][numbered(tuple(rows.user_ids), USERS)]

    def user(i, history):
        last = gru(history[:, None], long_term[i][None, None] if method == "ini" else None)[1][0, 0]
        return last if method == "ini" else torch.cat([last, long_term[i]])

    model, config = read(newsreclib, state, settings, articles)
    got = scores(model, config, articles, rows)
    torch.testing.assert_close(got, expected(articles, rows, vectors, user), atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, rows)


def test_what_never_reaches_a_score_is_named():
    """Law: keys' biases, and the queries and keys over the history; NAML's attention over a single view."""
    translated = newsreclib.translate("nrms", nrms(), "file")
    assert translated.unreached == (
        "news_encoder.text_encoders.title.multihead_attention.in_proj_bias[12:24]",
        "user_encoder.multihead_attention.in_proj_weight[:24]",
        "user_encoder.multihead_attention.in_proj_bias[:24]",
    )
    state = {name: tensor for name, tensor in naml(("title",)).items() if not name.startswith(TOPIC)}
    assert set(newsreclib.translate("naml", state, "file").unreached) == {
        f"news_encoder.combine_layer.{name}" for name in ("linear.weight", "linear.bias", "query")
    }


def test_the_architecture_is_recognised():
    """Law: the names alone tell it, with or without a prefix; a model with further parts is none of the three."""
    for architecture, state in (("nrms", nrms()), ("naml", naml()), ("lstur", lstur("ini"))):
        assert newsreclib.recognise(state) == architecture
        assert newsreclib.recognise([f"model.{name}" for name in state]) == architecture
        assert newsreclib.recognise([*state, "topic_predictor.weight"]) is None


@pytest.mark.parametrize(
    ("architecture", "state", "match"),
    [
        ("naml", lambda: naml() | {f"{TITLES}.cnn.bias": torch.zeros(FILTERS)}, r"share `.*\.cnn.bias` do not agree"),
        ("nrms", lambda: nrms() | {"user_encoder.gru.bias": torch.zeros(1)}, r"1 unexpected \(user_encoder.gru.bias"),
        (
            "lstur",
            lambda: lstur("ini") | {"user_encoder.long_term_user_embedding.weight": torch.ones(9, 22)},
            "row 0 of `user_encoder.long_term_user_embedding.weight` is not zero",
        ),
    ],
)
def test_checkpoints_that_cannot_be_mapped_are_refused(architecture, state, match):
    """Law: a variant that mixes articles or lacks a part, and tensors that do not fit, are named."""
    with pytest.raises(CheckpointError, match=match):
        newsreclib.translate(architecture, state(), "file")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"num_heads": None}, r"missing key\(s\) \(`num_heads`\)"),
        ({"max_title_len": None}, r"missing key\(s\) \(`max_title_len`\)"),
        ({"num_heads": 5}, "`num_heads` does not fit the checkpoint. Got 5, expected a divisor of its width 12"),
        ({"embed_dim": 300, "attributes2encode": ["title"]}, "Got `embed_dim` 300, expected 12"),
        ({"max_history_len": "50"}, "`max_history_len` has the wrong type"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, changes, match):
    """Law: what contradicts the tensors or is missing is named; further keys of its configuration are left unread."""
    settings = {key: value for key, value in (settings | changes | {"outputs": {}}).items() if value is not None}
    with pytest.raises(ConfigError, match=match):
        read(newsreclib, nrms(), settings, world()[0])


def test_texts_stand_before_topics_whatever_the_files_order(settings):
    """Law: in LSTUR a topic stands behind the texts, in a file whose names are sorted too, which warns of the texts."""
    state = lstur("ini", ("title", "abstract"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read(newsreclib, state, settings, world()[0])[1].habits.order == ("title", "body", "category")
    assert not any("are sorted" in str(one.message) for one in caught)
    with pytest.warns(RecTrakWarning, match=r"names in the checkpoint are sorted.*read as abstract and title: scores"):
        config = read(newsreclib, dict(sorted(state.items())), settings, world()[0])[1]
    assert config.habits.order == ("body", "title", "category")


def test_another_loss_is_recorded(settings):
    """Law: a loss that is not the cross entropy keeps its name, so that an analysis of another one warns."""
    with pytest.warns(RecTrakWarning):
        _, config = read(newsreclib, nrms(), settings | {"loss": "sup_con_loss"}, world()[0])
    assert config.loss == "sup_con_loss"
    assert config.text.tokeniser == "regex"


def hydra(settings, **paths):
    """What Hydra composes of these settings, with what only it could fill in where nobody needs it."""
    data = {key: value for key, value in settings.items() if key.startswith("max_")}
    model = {"_target_": "newsreclib.models.NRMSModule", "num_heads": HEADS, "attributes2encode": ["title"]}
    outside = {"output_dir": "${hydra:runtime.output_dir}", "root_dir": "${oc.env:PROJECT_ROOT}"}
    return {
        "data": {"_target_": "x", "data_dir": "${paths.data_dir}", "dataset_size": "small"} | data,
        "model": model | {"embed_dim": "${model.width}", "width": WIDTH, "recs_fpath": "${paths.output_dir}/r.json"},
        "paths": outside | {"data_dir": "${paths.root_dir}/data"} | paths,
        "seed": 42,
    }


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_what_hydra_composes_gives_the_model_of_a_flat_file(settings, tmp_path):
    """Law: sections are flattened, references put in; dictionaries below `data_dir`, or else beside the articles."""
    state, articles = nrms(), world()[0]
    flat = read(newsreclib, state, settings, articles)[1]
    assert read(newsreclib, state, hydra(settings, data_dir=str(tmp_path)), articles)[1] == flat
    beside = dataclasses.replace(articles, source=str(tmp_path / "news.tsv"))
    assert read(newsreclib, state, hydra(settings), beside)[1] == flat
    (tmp_path / "MINDsmall_train").mkdir()
    for file in tmp_path.glob("*.tsv"):
        file.rename(tmp_path / "MINDsmall_train" / file.name)
    assert read(newsreclib, state, hydra(settings, data_dir=str(tmp_path)), articles)[1] == flat
    with pytest.raises(ConfigError, match=r"missing key `data`.* with `\$\{oc\.env:PROJECT_ROOT\}`, which only"):
        read(newsreclib, state, hydra(settings), articles)


def test_sections_that_contradict_each_other_are_refused(settings):
    """Law: `data` and `model` must agree where both say a key; other sections do not count against them."""
    sections = hydra(settings)
    assert newsreclib.chosen(sections | {"x": {"num_heads": 99}}, "nrms", "f")["num_heads"] == HEADS
    with pytest.raises(ConfigError, match=r"`data\.num_heads` 4 and `model\.num_heads` 3; keep one"):
        newsreclib.chosen(sections | {"data": sections["data"] | {"num_heads": 4}}, "nrms", "f")
    sections["model"]["num_heads"] = "${oc.env:HEADS}"
    with pytest.raises(ConfigError, match=r"`model\.num_heads` with `\$\{oc\.env:HEADS\}`, which only the program"):
        newsreclib.chosen(sections, "nrms", "f")


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_lightnings_arguments_are_the_settings(settings, tmp_path):
    """Law: what the checkpoint keeps of model and data module is enough, and settings must agree with it."""
    articles, path = world()[0], tmp_path / "epoch_1.ckpt"
    model = {
        "num_heads": HEADS,
        "attributes2encode": ["title"],
        "loss": "cross_entropy_loss",
        "optimizer": torch.nn.GRU,
    }
    data = {"max_history_len": HISTORY, "max_title_len": TITLE, "data_dir": str(tmp_path), "dataset_size": "small"}
    torch.save({"state_dict": nrms(), "hyper_parameters": model, "datamodule_hyper_parameters": data}, path)
    source = read_source(None, None, "auto", path, articles)
    assert source.config == read_source(dict(settings), "f", "auto", path, articles).config
    for key, value in (("num_heads", 4), ("max_history_len", 5), ("max_title_len", 7), ("loss", "sup_con_loss")):
        with pytest.raises(
            ConfigError, match=f"f: the model was trained with other settings, .* Got `{key}` '?{value}"
        ):
            read_source(settings | {key: value}, "f", "auto", path, articles)
    read_source(settings | {"max_abstract_len": 99, "dropout_probability": 0.9}, "f", "auto", path, articles)
