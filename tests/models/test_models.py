"""Laws of NRMS, NAML and LSTUR: deaf to padding, every parameter used, built as configured or refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from rec_trak.config.model import Habits, ModelConfig, TextConfig
from rec_trak.config.reader import build
from rec_trak.data.batches import Batch
from rec_trak.errors import ConfigError, RoomError
from rec_trak.models.build import ARCHITECTURES, build_model, read_sizes

TEXT = TextConfig(words=tuple("abcdefg"), categories=("x", "y"), subcategories=("u", "v", "w"))
SMALL = {
    "nrms": {"word_dim": 6, "heads": 2, "head_dim": 3, "query_dim": 4},
    "naml": {"word_dim": 6, "filters": 5, "query_dim": 4, "category_dim": 3},
    "lstur": {"word_dim": 6, "filters": 5, "query_dim": 4, "category_dim": 2},
}
READ = {"padding": "read", "title_length": 7, "body_length": 6}
ACROSS_LSTUR = {"word_dim": 6, "heads": 2, "query_dim": 4, "category_dim": 2, "tokens_across": True}
LSTUR_ACROSS = {"architecture": "lstur", "users": ("p",), "text": replace(TEXT, **READ)}
MODELS = {
    "nrms": ModelConfig("nrms", sizes=SMALL["nrms"], text=TEXT),
    "nrms-transposed": ModelConfig("nrms", sizes=SMALL["nrms"] | {"weights": "transposed"}, text=TEXT),
    "nrms-mean": ModelConfig("nrms", sizes=SMALL["nrms"] | {"user": "mean"}, text=TEXT),
    "naml-title": ModelConfig("naml", sizes=SMALL["naml"], text=TEXT),
    "naml-topics": ModelConfig("naml", ("category", "subcategory"), SMALL["naml"], TEXT),
    "naml-all": ModelConfig("naml", ("title", "body", "category", "subcategory"), SMALL["naml"], TEXT),
    "naml-one-topic": ModelConfig(
        "naml",
        ("title", "category", "subcategory"),
        SMALL["naml"] | {"shared_topics": True, "shared_dense": True, "user": "mean"},
        replace(TEXT, categories=TEXT.subcategories),
    ),
    "lstur-mean": ModelConfig("lstur", ("title", "category"), SMALL["lstur"] | {"user": "mean"}, TEXT),
    "lstur-ini": ModelConfig("lstur", ("title", "category"), SMALL["lstur"], TEXT, users=("p", "q")),
    "lstur-con": ModelConfig(
        "lstur", ("title", "category", "subcategory"), SMALL["lstur"] | {"fusion": "con"}, TEXT, users=("p", "q")
    ),
    "nrms-across": ModelConfig(
        "nrms", sizes=SMALL["nrms"] | {"tokens_across": True, "user_weights": "itself"}, text=replace(TEXT, **READ)
    ),
    "naml-across": ModelConfig(
        "naml",
        ("title", "body", "category"),
        SMALL["naml"] | {"tokens_across": True, "filters": 6, "heads": 3, "shared_texts": True},
        replace(TEXT, **READ),
    ),
    "lstur-across": ModelConfig(
        "lstur", ("body", "title", "category"), ACROSS_LSTUR, replace(TEXT, **READ), users=("p", "q")
    ),
    "lstur-title": ModelConfig("lstur", ("title",), SMALL["lstur"], TEXT, users=("p", "q")),
}


def make(name, seed=0, **changes):
    """The model `name` with weights large enough that everything matters, in evaluation mode."""
    torch.manual_seed(seed)
    model = build_model(replace(MODELS[name], **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    return model.eval()


def positions(rows):
    """(B, longest) positions padded with 0, and the mask."""
    width = max(map(len, rows))
    mask = torch.tensor([[j < len(row) for j in range(width)] for row in rows], dtype=torch.bool).reshape(len(rows), -1)
    filled = [list(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(filled, dtype=torch.int64).reshape(len(rows), -1), mask


def world():
    """Four rows over six articles: article 3 has no title, 4 no body, 5 no category; row 2 has no history."""
    articles = {
        "title": torch.tensor([[2, 3, 4], [5, 0, 0], [6, 7, 0], [0, 0, 0], [8, 2, 1], [3, 3, 5]]),
        "body": torch.tensor([[2, 3], [4, 4], [5, 0], [1, 6], [0, 0], [7, 0]]),
        "category": torch.tensor([1, 2, 1, 2, 1, 0]),
        "subcategory": torch.tensor([1, 2, 3, 0, 1, 2]),
    }
    history, history_mask = positions([[1, 2, 3], [4], [], [0, 5]])
    candidates, candidate_mask = positions([[0, 4, 5], [2, 3], [1, 0, 2], [4, 1]])
    labels = torch.zeros(candidates.shape)
    labels[:, 0] = 1
    return Batch(articles, history, history_mask, candidates, candidate_mask, labels, torch.tensor([1, 2, 1, 0]))


def only_row(batch, i):
    """Row i without any padding in its history and candidates, and the same articles."""
    h, c = batch.history_mask[i], batch.candidate_mask[i]
    return Batch(
        batch.articles,
        batch.history[i, h][None],
        h[h][None],
        batch.candidates[i, c][None],
        c[c][None],
        batch.labels[i, c][None],
        batch.user[i : i + 1],
    )


def padded_more(batch):
    """The same rows with more padding everywhere, its positions pointing at real articles."""
    grow = {"title": 4, "body": 3}
    articles = {view: F.pad(ids, (0, grow[view])) if view in grow else ids for view, ids in batch.articles.items()}
    return Batch(
        articles,
        F.pad(batch.history, (0, 3), value=2),
        F.pad(batch.history_mask, (0, 3)),
        F.pad(batch.candidates, (0, 2), value=1),
        F.pad(batch.candidate_mask, (0, 2)),
        F.pad(batch.labels, (0, 2)),
        batch.user,
    )


@pytest.mark.parametrize("name", MODELS)
def test_padding_never_enters_a_score(name):
    """Law: a row alone, in a batch, and in a batch padded further has the same scores to 1e-6; masked ones are 0."""
    model, batch = make(name).double(), world()
    together, further = model(batch), model(padded_more(batch))
    assert further[:, batch.candidates.shape[1] :].abs().max() == 0
    for i in range(len(batch.user)):
        alone = model(only_row(batch, i))[0]
        for scores in (together, further):
            torch.testing.assert_close(scores[i, : len(alone)], alone, atol=1e-6, rtol=1e-6)
            assert scores[i, len(alone) :].abs().sum() == 0


@pytest.mark.parametrize("name", [name for name in MODELS if not name.endswith("across")])  # which read padding
def test_row_0_of_an_embedding_is_never_read(name):
    """Law: what stands in the padding row of any embedding changes no score."""
    model, batch = make(name), padded_more(world())
    before = model(batch)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.weight[0] = 1e3
    assert torch.equal(model(batch), before)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_real_gives_finite_gradients(name):
    """Law: articles without a word or topic and users without a history give finite scores and gradients."""
    model, batch = make(name), world()
    nothing = {view: torch.zeros_like(ids) for view, ids in batch.articles.items()}
    empty = batch._replace(articles=nothing, history_mask=torch.zeros_like(batch.history_mask))
    scores = model(empty)
    assert torch.isfinite(scores).all()
    scores.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", MODELS)
def test_no_place_for_a_word_or_a_click(name):
    """Law: a text or history of width 0 scores like one of width 1 that is all padding."""
    model, batch = make(name), world()

    def cut(width):
        articles = {
            v: torch.zeros(6, width, dtype=torch.int64) if a.dim() == 2 else a for v, a in batch.articles.items()
        }
        return batch._replace(
            articles=articles, history=batch.history[:, :width], history_mask=batch.history_mask[:, :width] & False
        )

    torch.testing.assert_close(model(cut(0)), model(cut(1)))


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_reaches_the_output(name):
    """Law: each parameter of a built model has a gradient that is not zero (a key bias or an idle layer has none)."""
    model, batch = make(name), world()
    torch.manual_seed(1)
    scores = model(batch)
    (scores * torch.randn(scores.shape)).sum().backward()
    largest = {n: 0.0 if p.grad is None else p.grad.abs().max().item() for n, p in model.named_parameters()}
    assert {n for n, size in largest.items() if size < 1e-4} == set()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "naml-topics"])  # it drops words and contexts
def test_dropout_is_for_training_only(name):
    """Law: in evaluation mode two forwards are equal; in training mode they are not."""
    model, batch = make(name), world()
    assert torch.equal(model(batch), model(batch))
    model.train()
    torch.manual_seed(0)
    assert not torch.equal(model(batch), model(batch))


def test_naml_leaves_an_absent_view_out():
    """Law: an article that has one of the model's views is that view's vector, and one view needs no attention."""
    model, batch = make("naml-all"), world()
    articles = {v: a if v == "title" else torch.zeros_like(a) for v, a in batch.articles.items()}
    words = model.word_embedding(articles["title"]) * (articles["title"] != 0)[..., None]
    alone = model.text_encoders["title"](words, articles["title"] != 0)
    torch.testing.assert_close(model.encode(articles), alone)
    assert not hasattr(make("naml-title"), "view_attention")


def test_an_article_with_nothing_in_a_topic_is_zeros():
    """Law: id 0 of a topic gives zeros, even past the dense layer's bias."""
    model = make("naml-topics", views=("category",))
    vectors = model.encode({"category": torch.tensor([0, 1])})
    assert vectors[0].abs().sum() == 0
    assert vectors[1].abs().sum() > 0


def test_naml_shares_one_word_embedding():
    """Law: title and body look words up in the same table."""
    names = [n for n, _ in make("naml-all").named_parameters() if "word_embedding" in n]
    assert names == ["word_embedding.weight"]


def test_lstur_ini_starts_the_gru_at_the_user():
    """Law: without a history the user vector is the user's embedding (ini), or zeros beside it (con)."""
    batch = world()
    batch = batch._replace(history_mask=torch.zeros_like(batch.history_mask), user=torch.tensor([1, 2, 1, 2]))
    for name, zeros in (("lstur-ini", 0), ("lstur-con", 5)):
        model = make(name)
        user = F.pad(model.user_embedding(batch.user), (zeros, 0))
        expected = torch.einsum("bcd,bd->bc", model.encode(batch.articles)[batch.candidates], user)
        torch.testing.assert_close(model(batch), expected * batch.candidate_mask, atol=1e-6, rtol=1e-5)


def test_lstur_hides_users_in_training_as_if_unknown():
    """Law: about half of the users' long-term vectors are zeros in training, the others are not rescaled."""
    model = make("lstur-ini").train()
    torch.manual_seed(0)
    users = torch.ones(2000, dtype=torch.int64)
    vectors = model._long_term(users)
    hidden = (vectors == 0).all(dim=1)
    assert 0.45 < hidden.float().mean() < 0.55
    assert torch.equal(vectors[~hidden], model.user_embedding(users)[~hidden])
    assert model.eval()._long_term(torch.tensor([0])).abs().sum() == 0


def test_sizes_default_to_the_papers():
    """Law: without sizes the parameters have the papers' shapes."""
    config = ModelConfig("nrms", text=TEXT, users=("p",))
    nrms = dict(build_model(config).named_parameters())
    naml = dict(build_model(replace(config, architecture="naml", views=("title", "category"))).named_parameters())
    both = replace(config, architecture="lstur", views=("title", "category", "subcategory"))
    ini = dict(build_model(both).named_parameters())
    con = dict(build_model(replace(both, sizes={"fusion": "con"})).named_parameters())
    shapes = {
        (256, 300): nrms["title_self_attention.w_q.weight"],
        (200, 256): nrms["user_attention.projection.weight"],
        (400, 300, 3): naml["text_encoders.title.conv.weight"],
        (400, 100): naml["topic_encoders.category.dense.weight"],
        (200, 400): naml["view_attention.projection.weight"],
        (300, 300, 3): ini["title_encoder.conv.weight"],
        (2, 500): ini["user_embedding.weight"],
        (1500, 500): ini["gru.weight_hh_l0"],
        (2, 250): con["user_embedding.weight"],
        (750, 500): con["gru.weight_ih_l0"],
    }
    assert {shape: tuple(p.shape) for shape, p in shapes.items()} == {shape: shape for shape in shapes}


def test_word_vectors_start_the_embedding():
    """Law: the embedding begins as the given matrix."""
    vectors = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    model = build_model(MODELS["nrms"], vectors)
    assert np.array_equal(model.word_embedding.weight.detach().numpy(), vectors)


@pytest.mark.parametrize(
    "sizes", [{"word_dim": 2**40}, {"head_dim": 2**62, "heads": 4}, {"query_dim": 10**12}, {"heads": 2**31}]
)
def test_sizes_beyond_the_memory(sizes):
    """Law: they are refused before any memory is taken; counting draws no random number."""
    config = MODELS["nrms"]
    with pytest.raises(
        RoomError, match=r"model nrms: parameters of the sizes.*not enough memory.*model\.json that the"
    ):
        build_model(replace(config, sizes=config.sizes | sizes))
    torch.manual_seed(0)
    model = build_model(config)
    torch.manual_seed(0)
    module, _, _ = ARCHITECTURES["nrms"]
    again = module(*read_sizes(config))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_frozen_patterns_switch_gradients_off():
    """Law: exactly the parameters that match a pattern lose requires_grad."""
    model = make("nrms", frozen=("word_embedding.*", "*.query.weight"))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"word_embedding.weight", "title_attention.query.weight", "user_attention.query.weight"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"architecture": "fastformer"}, "`architecture` is not known. Got 'fastformer', expected one of nrms, naml"),
        ({"views": ("body",)}, r"nrms: `views` cannot be used. Got \['body'\]"),
        ({"views": ()}, "`views` cannot be used"),
        ({"views": ("title", "title")}, "`views` cannot be used"),
        ({"architecture": "lstur", "views": ("category",), "sizes": {}}, "lstur: `views` lacks the title"),
        ({"sizes": {"head": 2}}, r"unknown key `head` \(did you mean `heads`"),
        ({"sizes": {"heads": 0}}, "`heads` is too small"),
        ({"sizes": {"dropout": 1.0}}, "`dropout` is too large. Got 1.0"),
        ({"text": TextConfig()}, "view `title` has nothing to look up. Got no `text.words`"),
        ({"text": TextConfig("pretrained")}, "view `title` has nothing to look up. Got no `text.pretrained`"),
        ({"architecture": "naml", "views": ("category",), "sizes": {}, "text": TextConfig()}, "no `text.categories`"),
        ({"architecture": "lstur", "sizes": {}}, "lstur: there is no user to embed"),
        (
            {"architecture": "lstur", "users": ("p",), "sizes": {"order": ("title", "body")}},
            r"lstur: `order` does not hold the views once each. Got \['title', 'body'\], expected \['title'\]",
        ),
        ({"architecture": "naml", "sizes": {"windows": (2, 3)}}, "naml: `windows` read padding. Got `padding` masked"),
        ({"sizes": SMALL["nrms"] | {"tokens_across": True}}, "`tokens_across` reads padding. Got `padding` masked"),
        (LSTUR_ACROSS | {"sizes": ACROSS_LSTUR | {"heads": 4}}, "`heads` does not divide the word vectors. Got 4"),
        (
            {"architecture": "naml", "sizes": SMALL["naml"] | {"tokens_across": True}, "text": replace(TEXT, **READ)},
            "naml: `tokens_across` gives vectors as wide as words. Got `filters` 5 and `word_dim` 6",
        ),
        ({"frozen": ("encoder.*",)}, r"pattern `encoder.\*` matches no parameter"),
    ],
)
def test_models_that_cannot_be_built(changes, match):
    """Law: a configuration that the architecture cannot mean is refused by name."""
    with pytest.raises(ConfigError, match=match):
        build_model(replace(MODELS["nrms"], **changes))


@pytest.mark.parametrize(
    ("name", "vectors", "match"),
    [
        ("nrms", np.zeros((8, 6)), r"another shape. Got \(8, 6\), expected \(9, 6\)"),
        ("nrms", np.full((9, 6), np.nan), "NaN or Inf in row 0"),
        ("naml-topics", np.zeros((9, 6)), "no view has words"),
    ],
)
def test_word_vectors_that_do_not_fit(name, vectors, match):
    """Law: word vectors of another vocabulary, width, or with NaN are refused."""
    with pytest.raises(ConfigError, match=match):
        build_model(MODELS[name], vectors)


@pytest.mark.parametrize(
    ("architecture", "habit", "more"),
    [
        ("nrms", {"weights": "exp", "bias": False}, {}),
        ("naml", {"shared_topics": True}, {}),
        ("lstur", {"skip_empty": True, "order": ["title"]}, {"users": ("u",)}),
    ],
)
def test_a_habit_among_the_sizes_is_a_habit(architecture, habit, more):
    """Files from before habits had a place of their own mean the same model, and are recorded the same."""
    text = TextConfig(words=("a", "b"))
    one = ModelConfig(architecture, ("title",), {"query_dim": 3} | habit, text, **more)
    other = ModelConfig(architecture, ("title",), {"query_dim": 3}, text, habits=build(Habits, habit, ""), **more)
    assert read_sizes(one) == (read_sizes(other)[0], replace(other, sizes=one.sizes))
    assert json.dumps(one.recorded()) == json.dumps(other.recorded())
    with pytest.raises(ConfigError, match="unknown key `wieghts`"):
        read_sizes(replace(one, sizes={"wieghts": "exp"}))
