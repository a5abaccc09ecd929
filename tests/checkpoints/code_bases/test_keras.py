"""Laws of recommenders' Keras weights: our scores are what its layers compute, written out here in numpy."""

import json
import pickle

import numpy as np
import pytest
import torch
from support.foreign import SUBTOPICS, TOPICS, USERS, WORDS, check_gradients, numbered, read, scores, world
from support.keras_files import grouped, nested, nrms_config, write_hdf5, write_zip
from support.keras_models import BODY, FILTERS, HEAD_DIM, HEADS, HISTORY, TITLE, lstur, naml, nrms, state_of

from rec_trak.checkpoints.code_bases import keras
from rec_trak.checkpoints.source import read_source
from rec_trak.checkpoints.state_dicts import read_state_dict
from rec_trak.data.batches import unique_batch
from rec_trak.data.inputs import build_inputs
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning

SIZES = {"title_size": TITLE, "body_size": BODY, "his_size": HISTORY, "head_num": HEADS}
ACTIVATIONS = {"cnn_activation": "relu", "dense_activation": "relu"}


@pytest.fixture
def settings(tmp_path):
    """The sizes that no weight tells, in sections as in its YAML, and upstream's dictionaries."""
    files = {"wordDict_file": WORDS, "vertDict_file": TOPICS, "subvertDict_file": SUBTOPICS, "userDict_file": USERS}
    paths = {}
    for key, names in files.items():
        paths[key] = str(tmp_path / f"{key}.pkl")
        with open(paths[key], "wb") as file:
            pickle.dump({name: i + 1 for i, name in enumerate(names)}, file)
    return {"data": SIZES, "model": ACTIVATIONS | {"support_quick_scoring": True}} | paths


def attend(held, place, x, mask=None):
    """AttLayer2 over (..., L, width): exponentials without a shift, a small number in their sum."""
    name = f"att_layer2{place}"
    logits = (np.tanh(x @ held[f"{name}/W:0"] + held[f"{name}/b:0"]) @ held[f"{name}/q:0"])[..., 0]
    exponentials = np.exp(logits) * (1 if mask is None else mask)
    alpha = exponentials / (exponentials.sum(axis=-1, keepdims=True) + 1e-7)
    return (x * alpha[..., None]).sum(axis=-2)


def self_attend(held, place, x, transposed=False):
    """SelfAttention over (..., L, width), without biases and masks; ebnerd-benchmark's has `adjoint_a=True`."""
    q, k, v = ((x @ held[f"self_attention{place}/{w}:0"]) for w in ("WQ", "WK", "WV"))
    q, k, v = (np.moveaxis(y.reshape(*y.shape[:-1], HEADS, HEAD_DIM), -2, -3) for y in (q, k, v))
    logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(HEAD_DIM)
    alpha = np.exp(logits - logits.max(axis=-1, keepdims=True))
    alpha = alpha / alpha.sum(axis=-1, keepdims=True)
    contexts = (np.swapaxes(alpha, -1, -2) if transposed else alpha) @ v
    return np.moveaxis(contexts, -3, -2).reshape(*x.shape[:-1], HEADS * HEAD_DIM)


def convolve(held, place, ids):
    """Conv1D with `same` padding and ReLU over (n, T)."""
    kernel = held[f"conv1d{place}/kernel:0"]
    reach = len(kernel) - 1
    x = np.pad(held["embedding/embeddings:0"][ids], ((0, 0), (reach // 2, reach - reach // 2), (0, 0)))
    windows = np.stack([x[:, i : i + ids.shape[1]] for i in range(len(kernel))], axis=2)
    return np.maximum(np.einsum("ntwd,wdf->ntf", windows, kernel) + held[f"conv1d{place}/bias:0"], 0)


def padded(articles, rows):
    """Each row's last HISTORY articles behind places of an article without anything, whose number is len(articles)."""
    histories = [list(rows.history[i])[-HISTORY:] for i in range(len(rows))]
    return np.array([[len(articles)] * (HISTORY - len(history)) + history for history in histories], dtype=np.int64)


def ids_of(strings, names, length=None):
    """Numbers as upstream reads them, with an article without anything behind."""
    ids = numbered(strings, names, length)
    return np.concatenate([ids, np.zeros_like(ids[:1])])


def candidates(rows, vectors, users):
    places = rows.candidates.values.reshape(len(rows), -1).astype(np.int64)
    return torch.from_numpy(np.einsum("bcd,bd->bc", vectors[places], users).astype(np.float32))


@pytest.mark.parametrize("places", [("", "_1"), ("_2", "_10"), ("_4", "_5_1")])
def test_nrms_scores_are_upstreams(settings, places):
    """Law: nothing is masked, no layer has a bias; layers are told apart by their order, wherever its numbers begin."""
    held, (articles, rows) = nrms(*places), world()
    x = held["embedding/embeddings:0"][ids_of(articles.titles, WORDS, TITLE)]
    vectors = attend(held, places[0], self_attend(held, places[0], x))
    users = attend(held, places[1], self_attend(held, places[1], vectors[padded(articles, rows)]))
    model, config = read(keras, state_of(held), settings, articles)
    got = scores(model, config, articles, rows)
    torch.testing.assert_close(got, candidates(rows, vectors, users), atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, rows)


def test_the_self_attention_of_ebnerd_benchmark(settings):
    """Law: its words for the sizes mean its layers: the weights of its attention are transposed."""
    held, (articles, rows) = nrms(), world()
    x = held["embedding/embeddings:0"][ids_of(articles.titles, WORDS, TITLE)]
    vectors = attend(held, "", self_attend(held, "", x, True))
    users = attend(held, "_1", self_attend(held, "_1", vectors[padded(articles, rows)], True))
    sizes = {key: value for key, value in SIZES.items() if key != "his_size"} | {"history_size": HISTORY}
    for said in (sizes, SIZES | {"layers": "ebnerd-benchmark"}, sizes | {"his_size": HISTORY}):
        model, config = read(keras, state_of(held), settings | {"data": said}, articles)
        got = scores(model, config, articles, rows)
        torch.testing.assert_close(got, candidates(rows, vectors, users), atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, rows)
    with pytest.raises(ConfigError, match="two keys say one thing. Got `history_size` 5 and `his_size` 4"):
        read(keras, state_of(held), settings | {"data": {"his_size": 4} | sizes}, articles)


@pytest.mark.parametrize("window", [3, 4])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_naml_scores_are_upstreams(settings, window):
    """Law: nothing is masked, and no topic has a row of its own that is no zero."""
    held, (articles, rows) = naml(window), world()
    views = []
    for place, strings, length in (("", articles.titles, TITLE), ("_1", articles.bodies, BODY)):
        views.append(attend(held, place, convolve(held, place, ids_of(strings, WORDS, length))))
    topics = (("", "_1_1", articles.categories, TOPICS), ("_1", "_2", articles.subcategories, SUBTOPICS))
    for place, table, strings, names in topics:
        x = held[f"embedding{table}/embeddings:0"][ids_of(strings, names)]
        views.append(np.maximum(x @ held[f"dense{place}/kernel:0"] + held[f"dense{place}/bias:0"], 0))
    vectors = attend(held, "_2", np.stack(views, axis=1))
    users = attend(held, "_3", vectors[padded(articles, rows)])
    model, config = read(keras, state_of(held), settings, articles)
    got = scores(model, config, articles, rows)
    torch.testing.assert_close(got, candidates(rows, vectors, users), atol=1e-5, rtol=1e-5)
    check_gradients(model, config, articles, rows)


def recur(held, after, x, h):
    """The GRU cell of Keras 1, or with `after` of Keras 2: gates update, reset and new, in this order."""
    kernel, recurrent, bias = (held[f"gru/gru_cell/{w}:0"] for w in ("kernel", "recurrent_kernel", "bias"))
    n = len(h)
    if after:
        z, r = (1 / (1 + np.exp(-g)) for g in np.split((x @ kernel + bias[0] + h @ recurrent + bias[1])[: 2 * n], 2))
        new = np.tanh((x @ kernel + bias[0])[2 * n :] + r * (h @ recurrent + bias[1])[2 * n :])
    else:
        gates = (x @ kernel + bias)[: 2 * n] + h @ recurrent[:, : 2 * n]
        z, r = np.split(np.clip(0.2 * gates + 0.5, 0, 1), 2)
        new = np.tanh((x @ kernel + bias)[2 * n :] + (r * h) @ recurrent[:, 2 * n :])
    return z * h + (1 - z) * new


@pytest.mark.parametrize(("after", "con"), [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("filters", [FILTERS, 2])  # with two filters some places answer with nothing at all
def test_lstur_scores_are_upstreams(settings, after, con, filters):
    """Law: attention passes over padding and silent places, the GRU over silent articles; nothing left gives zeros."""
    held, (articles, rows) = lstur(after, con, filters), world()
    ids = ids_of(articles.titles, WORDS, TITLE)
    contexts = convolve(held, "", ids) * (ids != 0)[..., None]
    vectors = attend(held, "", contexts, (contexts != 0).any(axis=-1))
    long_term = held["embedding_1/embeddings:0"][numbered(tuple(rows.user_ids), USERS)]
    users = np.zeros((len(rows), filters))
    for i, history in enumerate(padded(articles, rows)):
        state = np.zeros(filters) if con else long_term[i]
        for x in vectors[history]:
            if x.any():
                users[i] = state = recur(held, after, x, state)
    if con:
        users = np.concatenate([users, long_term], axis=1) @ held["dense/kernel:0"] + held["dense/bias:0"]
    assert (vectors[0] == 0).all()
    model, config = read(keras, state_of(held), settings, articles)
    got = scores(model, config, articles, rows)
    torch.testing.assert_close(got, candidates(rows, vectors, users), atol=1e-5, rtol=1e-5)
    if filters == FILTERS:
        check_gradients(model, config, articles, rows)


def test_padding_has_a_row_that_is_trained(settings):
    """Law: where upstream trains row 0, it has a gradient here: of words, of topics and of users."""
    learnt = {naml: ("word_embedding", "topic_encoders.category.embedding"), lstur: ("user_embedding",)}
    for held, names in learnt.items():
        articles, rows = world()
        model, config = read(keras, state_of(held()), settings, articles)
        batch = unique_batch(build_inputs(rows, articles, config), np.arange(len(rows)))
        model(batch).square().sum().backward()
        for name in names:
            assert model.get_parameter(f"{name}.weight").grad[0].abs().max() > 0


def test_the_export_is_read_as_it_is(settings, tmp_path):
    """Law: the lines of the module's docstring make a file that reads back as these weights."""
    np.savez(tmp_path / "nrms.npz", **nrms())
    state = read_state_dict(tmp_path / "nrms.npz")
    assert keras.recognise(state) == "nrms"
    first, second = (scores(*read(keras, s, settings, world()[0]), *world()) for s in (state, state_of(nrms())))
    assert torch.equal(first, second)


@pytest.mark.parametrize("architecture", ["nrms", "naml", "lstur"])
def test_every_layout_of_a_file_is_the_export(architecture, tmp_path):
    """Law: `.h5` of weights and of a model, `.weights.h5` and `.keras` are read as the same weights, bit by bit."""
    held = {"nrms": nrms, "naml": naml, "lstur": lambda: lstur(con=True)}[architecture]()
    expected = keras.translate(architecture, state_of(held), "file").state
    files = [
        write_hdf5(tmp_path / "nrms.h5", grouped(held, architecture), {"keras_version": "2.15.0"}),
        write_hdf5(tmp_path / "model.h5", grouped(held, architecture, "model_weights/"), {"model_config": "{}"}),
        write_hdf5(tmp_path / "nrms.weights.h5", nested(held, architecture)),
        write_zip(tmp_path / "nrms.keras", nested(held, architecture), {}),
    ]
    for path in files:
        state = read_state_dict(path)
        assert keras.recognise(state) == architecture
        found = keras.translate(architecture, state, str(path)).state
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items()), path


def source(path, settings, tmp_path):
    """What a settings file and a checkpoint are read as."""
    given = {key: value for key, value in settings.items() if key.endswith("_file")}
    given |= {key: value for key, value in settings.items() if key not in given}
    return read_source(given, str(tmp_path / "settings.yaml"), "auto", path, world()[0]).config


def test_a_file_that_says_its_settings(settings, tmp_path):
    """Law: sizes that the file says need not stand in the YAML; what both say must agree, but for the dropout."""
    files = {key: value for key, value in settings.items() if key.endswith("_file")}
    ours = source(write_zip(tmp_path / "a.keras", nested(nrms(), "nrms"), nrms_config()), files, tmp_path)
    assert (ours.text.title_length, ours.max_history, ours.sizes["heads"], ours.habits.weights) == (6, 5, 2, "softmax")
    assert ours == source(
        write_hdf5(tmp_path / "a.h5", grouped(nrms(), "nrms")), files | SIZES | {"dropout": 0.1}, tmp_path
    )
    text = json.dumps(nrms_config(package="ebrec", shape="batch_input_shape"))
    whole = write_hdf5(tmp_path / "b.h5", grouped(nrms(), "nrms", "model_weights/"), {"model_config": text})
    assert source(whole, files | {"model": {"dropout": 0.5}}, tmp_path).habits.weights == "transposed"
    with pytest.raises(ConfigError, match="Got `title_size` 30 for 6; `head_num` 4 for 2, expected them to agree"):
        source(tmp_path / "a.keras", files | {"data": {"title_size": 30}, "model": {"head_num": 4}}, tmp_path)
    with pytest.raises(ConfigError, match="Got `layers` 'ebnerd-benchmark' for 'recommenders'"):
        source(tmp_path / "a.keras", files | {"history_size": 5}, tmp_path)


def test_whose_self_attention_it_is_must_be_said(settings, tmp_path):
    """Law: an NRMS that could be either's is refused until settings or file say whose; its words are its own."""
    files = {key: value for key, value in settings.items() if key.endswith("_file")}
    untold = write_zip(tmp_path / "a.keras", nested(nrms(), "nrms"), nrms_config(package=None), version="2.12.0")
    third = write_hdf5(tmp_path / "a.weights.h5", nested(nrms(), "nrms"), {"name": "functional"})
    for path, given in ((untold, files), (third, files | SIZES)):
        with pytest.raises(
            ConfigError, match="`layers` is missing. The checkpoint does not tell it.*or ebnerd-benchmark"
        ):
            source(path, given, tmp_path)
        assert source(path, given | {"layers": "recommenders"}, tmp_path).habits.weights == "softmax"
        assert source(path, given | {"layers": "ebnerd-benchmark"}, tmp_path).habits.weights == "transposed"
    assert source(untold, files | {"history_size": 5}, tmp_path).habits.weights == "transposed"


def test_variants_that_are_not_supported():
    """Law: ebnerd-benchmark's dense layers and its document vectors are refused by name."""
    dense = {
        "dense/kernel": torch.zeros(8, 8),
        "dense/bias": torch.zeros(8),
        "batch_normalization/gamma": torch.zeros(8),
    }
    held = state_of(nrms()) | dense
    documents = {n: t for n, t in held.items() if not n.startswith(("embedding", "self_attention/", "att_layer2/"))}
    for state, match in ((held, "dense layers below pooling"), (documents, "document vectors, as .*NRMSDocVec")):
        assert keras.recognise(state) == "nrms"
        with pytest.raises(CheckpointError, match=f"file: this variant of NRMS is not supported. Got .*{match}"):
            keras.translate("nrms", state, "file")


def test_the_architecture_is_recognised():
    """Law: the names alone tell it, with or without a prefix and the `:0`; others' names tell nothing."""
    for architecture, held in (("nrms", nrms()), ("naml", naml()), ("lstur", lstur())):
        assert keras.recognise(held) == architecture
        assert keras.recognise([f"model.{name.removesuffix(':0')}" for name in held]) == architecture
    assert keras.recognise(["news_encoder.word_embedding.weight"]) is None


def test_dictionaries_may_be_json_and_shorter_or_longer(settings, tmp_path):
    """Law: a name with number 0 is an unknown one; a row without a name is never looked up; a user or a topic beyond
    the rows, which upstream's own numbering makes, is read as unknown with a warning."""
    path = tmp_path / "users.json"
    path.write_text(json.dumps({"U0": 0, "U1": 1, "U3": 3, "U4": 4}), encoding="utf-8")
    with pytest.warns(RecTrakWarning, match=r"users.json: 1 name\(s\) \(U4\) without a row in the checkpoint"):
        _, config = read(keras, state_of(lstur()), settings | {"userDict_file": str(path)}, world()[0])
    assert config.users == ("U1", "(row 2)", "U3")


def test_weights_that_do_not_fit_are_refused():
    """Law: missing, further and mis-shaped weights are listed by their own names."""
    held = state_of(nrms())
    del held["att_layer2_1/b:0"]
    held |= {"adam/m:0": torch.zeros(1), "self_attention/WQ:0": torch.zeros(4)}
    with pytest.raises(CheckpointError, match=r"1 missing \(att_layer2.1.b\); 1 unexpected \(adam/m:0\); .*WQ:0 \(4"):
        keras.translate("nrms", held, "file")


@pytest.mark.parametrize(
    ("held", "changes", "match"),
    [
        (nrms, {"head_num": 3}, "`head_num` does not fit the checkpoint. Got 3, expected a divisor of its width 8"),
        (nrms, {"head_num": None}, r"1 missing key\(s\) \(`head_num`\)"),
        (nrms, {"his_size": None, "wordDict_file": None}, r"2 missing key\(s\) \(`his_size`, `wordDict_file`\)"),
        (nrms, {"word_emb_dim": 300}, "Got `word_emb_dim` 300, expected 6"),
        (nrms, {"his_size": "50"}, "`his_size` has the wrong type"),
        (naml, {"cnn_activation": "tanh"}, "Got `cnn_activation` tanh, expected relu"),
        (naml, {"vertDict_file": None}, r"1 missing key\(s\) \(`vertDict_file`\)"),
        (lstur, {"type": "con"}, "Got `type` con, expected ini"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, held, changes, match):
    """Law: what contradicts the weights or is missing is named."""
    flat = settings["data"] | settings["model"] | {key: settings[key] for key in settings if key.endswith("_file")}
    with pytest.raises(ConfigError, match=match):
        read(keras, state_of(held()), flat | changes, world()[0])


def test_a_vocabulary_beyond_the_rows_is_refused(settings, tmp_path):
    """Law: words are numbered below the rows of their embedding, or it is another vocabulary."""
    path = tmp_path / "words.json"
    path.write_text(json.dumps({"w": 99}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"words.json: more names than the checkpoint has rows. Got 1 beyond \(w\)"):
        read(keras, state_of(nrms()), settings | {"wordDict_file": str(path)}, world()[0])


def test_sections_must_agree(settings):
    """Law: a key in two sections with two values is refused by name; null in one of them says nothing."""
    said = keras.chosen(settings | {"train": {"title_size": None}}, "nrms", "f")
    assert said["title_size"] == SIZES["title_size"]
    with pytest.raises(ConfigError, match=r"`data\.title_size` \d+ and `train\.title_size` 99; keep one"):
        keras.chosen(settings | {"train": {"title_size": 99}}, "nrms", "f")
