"""Laws of batches: three forms of the same rows give the same scores, and padding never shows."""

import dataclasses

import numpy as np
import pytest
import torch

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import Articles, read_news_items
from rec_trak.data.batches import Batch, padded_batch, pair_batch, unique_batch
from rec_trak.data.impressions import Impressions, read_pairwise
from rec_trak.data.inputs import build_inputs
from rec_trak.data.ragged import Ragged
from rec_trak.errors import DataError

VIEWS = ("title", "body", "category", "subcategory")
WORDS = ("a", "b", "c", "d", "e", "f")
N_ARTICLES, N_ROWS = 12, 9


def make_articles(**changes) -> Articles:
    """Twelve articles of 0 to 5 words."""
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice([*WORDS, "other"], size=i % 6)) for i in range(2 * N_ARTICLES)]
    parts = {
        "ids": tuple(f"n{i}" for i in range(N_ARTICLES)),
        "titles": tuple(texts[:N_ARTICLES]),
        "bodies": (*texts[:N_ARTICLES:-1], ""),
        "categories": tuple(draw.choice(["", "x", "y"], size=N_ARTICLES)),
        "subcategories": tuple(draw.choice(["p", "unseen"], size=N_ARTICLES)),
        "is_fake": np.zeros(N_ARTICLES, dtype=np.int8),
        "source": "news_items.csv",
    }
    return Articles(**{**parts, **changes})


def make_rows() -> Impressions:
    """Nine rows with histories of 0 to 6 articles and 2 to 5 candidates; articles repeat within rows."""
    draw = np.random.default_rng(2)
    history = [draw.integers(N_ARTICLES, size=h).tolist() for h in (0, 3, 6, 1, 0, 2, 5, 4, 1)]
    candidates = [draw.integers(N_ARTICLES, size=c).tolist() for c in (2, 5, 3, 4, 2, 2, 5, 3, 4)]
    candidates[1][2] = candidates[1][0]
    candidates[2][1] = history[2][0]
    labels = [[1] + [0] * (len(c) - 1) for c in candidates]
    labels[6][1] = 1
    return Impressions(
        user_ids=np.array([f"u{i % 4}" for i in range(N_ROWS)], dtype=object),
        history=Ragged.of(history),
        candidates=Ragged.of(candidates),
        labels=Ragged.of(labels),
        is_fake=np.zeros(N_ROWS, dtype=np.int8),
        sources=tuple(map(str, range(N_ROWS))),
    )


def make_config(**changes) -> ModelConfig:
    text = TextConfig(title_length=8, body_length=9, words=WORDS, categories=("x", "y"), subcategories=("p",))
    config = ModelConfig("naml", views=VIEWS, text=text, users=("u2", "u0", "u9"))
    return dataclasses.replace(config, **changes)


@pytest.fixture
def inputs():
    return build_inputs(make_rows(), make_articles(), make_config())


class Toy(torch.nn.Module):
    """A two-function model with masks: mean word vector plus names; mean history plus user, dot candidate."""

    def __init__(self):
        super().__init__()
        self.word = torch.nn.Embedding(20, 4, dtype=torch.float64)
        self.name = torch.nn.Embedding(20, 4, dtype=torch.float64)
        self.user = torch.nn.Embedding(20, 4, dtype=torch.float64)

    def encode(self, articles):
        texts = 0
        for view in ("title", "body"):
            mask = (articles[view] > 0).unsqueeze(-1)
            texts = texts + (self.word(articles[view]) * mask).sum(-2) / mask.sum(-2).clamp(min=1)
        return texts + self.name(articles["category"]) + 2 * self.name(articles["subcategory"])

    def score(self, vectors, batch):
        mask = batch.history_mask.unsqueeze(-1)
        history = (vectors[batch.history] * mask).sum(-2) / mask.sum(-2).clamp(min=1)
        scores = (vectors[batch.candidates] * (history + self.user(batch.user)).unsqueeze(-2)).sum(-1)
        return scores * batch.candidate_mask

    def forward(self, batch):
        return self.score(self.encode(batch.articles), batch)


def boxed_scores(model: Toy, batch: Batch) -> torch.Tensor:
    """Scores (B, C) of a padded batch through torch.vmap, one row at a time as the model sees it."""

    def one_row(*leaves):
        return model(Batch(*leaves))

    return torch.vmap(one_row)(*batch)


@pytest.mark.parametrize("rows", [[0], [4, 0], [2, 2, 1], list(range(N_ROWS)), [8, 3, 5]])
def test_the_three_forms_give_the_same_scores(inputs, rows):
    """Encoded once each, once per place, or boxed under vmap: the same scores, labels, masks and users."""
    model = Toy()
    unique, (pairs, _), boxed = unique_batch(inputs, rows), pair_batch(inputs, rows), padded_batch(inputs, rows)
    wide = padded_batch(inputs, rows, sizes=(10, 7))
    scores = model(unique)
    assert torch.allclose(model(pairs), scores, rtol=1e-12, atol=1e-12)
    assert torch.allclose(boxed_scores(model, boxed), scores, rtol=1e-12, atol=1e-12)
    assert torch.allclose(boxed_scores(model, wide)[:, : scores.shape[1]], scores, rtol=1e-12, atol=1e-12)
    for other in (pairs, boxed):
        for name in ("history_mask", "candidate_mask", "labels", "user"):
            assert torch.equal(getattr(other, name), getattr(unique, name))


def test_scores_do_not_depend_on_the_company(inputs):
    """A row's scores are the same alone and in any batch, in every form."""
    model = Toy()
    everyone = model(unique_batch(inputs, np.arange(N_ROWS)))
    for row in range(N_ROWS):
        for batch in (unique_batch(inputs, [row]), pair_batch(inputs, [row])[0]):
            alone = model(batch)[0]
            assert torch.allclose(everyone[row, : len(alone)], alone, rtol=1e-12, atol=1e-12)
            assert not everyone[row, len(alone) :].any()


def test_indices_lead_to_the_articles_of_the_rows(inputs):
    """In every form each real place holds the row's own article in every view, and the others are 0 or masked."""
    rows = np.array([6, 0, 1, 2])
    unique, (pairs, _), boxed = unique_batch(inputs, rows), pair_batch(inputs, rows), padded_batch(inputs, rows)
    for b, row in enumerate(rows):
        for part in ("history", "candidates"):
            truth = getattr(inputs.impressions, part)[row]
            mask_name = "history_mask" if part == "history" else "candidate_mask"
            for batch in (unique, pairs, boxed):
                mask = getattr(batch, mask_name)[b]
                assert mask.tolist() == [i < len(truth) for i in range(len(mask))]
                places = getattr(batch, part)[b]
                assert not places[~mask].any()
                for view, values in inputs.views.items():
                    table = batch.articles[view] if batch is not boxed else batch.articles[view][b]
                    got, expected = table[places[mask]].numpy(), values[truth]
                    width = got.shape[-1] if got.ndim == 2 else None
                    assert np.array_equal(got, expected[..., :width] if width else expected)
                    assert width is None or not expected[..., width:].any()


def test_each_article_is_encoded_once(inputs):
    """A unique batch holds as many articles as the rows have different ones."""
    rows = [1, 2, 6]
    used = {int(a) for i in rows for part in ("history", "candidates") for a in getattr(inputs.impressions, part)[i]}
    assert len(unique_batch(inputs, rows).articles["title"]) == len(used)


def test_each_place_has_one_owner(inputs):
    """A pair batch holds one article a real place, and `owner` names the row that refers to it, and no other does."""
    rows = [1, 4, 2, 2]
    batch, owner = pair_batch(inputs, rows)
    history, candidates = inputs.impressions.history.lengths, inputs.impressions.candidates.lengths
    assert torch.bincount(owner, minlength=4).tolist() == [history[i] + candidates[i] for i in rows]
    assert owner.dtype == torch.int64
    assert len(owner) == len(batch.articles["title"]) == len(batch.articles["category"])
    for b in range(4):
        places = torch.cat([batch.history[b][batch.history_mask[b]], batch.candidates[b][batch.candidate_mask[b]]])
        assert places.tolist() == torch.nonzero(owner == b).flatten().tolist()


def test_gradients_reach_only_the_owner(inputs):
    """A row's score depends on its own articles alone: the gradient with respect to any other's vector is zero."""
    model = Toy()
    batch, owner = pair_batch(inputs, [1, 4, 2, 6])
    vectors = model.encode(batch.articles).detach().requires_grad_()
    for row in range(4):
        (gradient,) = torch.autograd.grad(model.score(vectors, batch)[row].sum(), vectors)
        assert not gradient[owner != row].any()
        assert gradient[owner == row].any()


def test_padded_leaves_all_lead_with_the_row(inputs):
    """Every leaf is (B, ...); boxes without an article are zeros; given sizes fix every shape."""
    boxed = padded_batch(inputs, [0, 3])
    assert boxed.articles["title"].shape[:2] == boxed.articles["category"].shape == (2, 1 + 4)
    assert not boxed.articles["title"][0, 0].any()
    assert not boxed.articles["body"][0, 3:].any()
    shapes = [
        [leaf.shape for leaf in (*batch.articles.values(), *batch[1:])]
        for batch in (padded_batch(inputs, rows, sizes=(6, 5)) for rows in ([0, 4], [6, 1], [3, 3]))
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert shapes[0][:2] == [(2, 11, 8), (2, 11, 9)]


def test_texts_are_cut_to_the_longest_present(inputs):
    """No column of padding is carried, but at least one token; types are int64, bool and float32."""
    for batch in (unique_batch(inputs, [0, 3]), pair_batch(inputs, [5])[0], padded_batch(inputs, [7])):
        for view in ("title", "body"):
            tokens = batch.articles[view]
            assert tokens.dtype == torch.int64
            assert tokens.shape[-1] == 1 or tokens[..., -1].any()
        assert batch.articles["category"].dtype == batch.history.dtype == batch.candidates.dtype == torch.int64
        assert batch.history_mask.dtype == batch.candidate_mask.dtype == torch.bool
        assert (batch.labels.dtype, batch.user.dtype) == (torch.float32, torch.int64)


def test_nothing_has_size_zero():
    """Rows without any history, of articles without a word, still have H = 1 and T = 1, all masked or padding."""
    rows = make_rows()
    bare = dataclasses.replace(rows, history=Ragged.of([[]] * N_ROWS), candidates=Ragged.of([[0, 0]] * N_ROWS))
    bare = dataclasses.replace(bare, labels=Ragged.of([[1, 0]] * N_ROWS))
    inputs = build_inputs(bare, make_articles(), make_config())
    for batch in (unique_batch(inputs, [0, 1]), pair_batch(inputs, [0, 1])[0], padded_batch(inputs, [0, 1])):
        assert batch.history.shape == (2, 1)
        assert not batch.history_mask.any()
        assert batch.articles["title"].shape[-1] == 1
        assert not batch.articles["title"].any()


@pytest.mark.parametrize(("kept", "expected"), [("first", slice(None, 2)), ("last", slice(-2, None))])
def test_histories_are_cut_at_the_right_end(kept, expected):
    """`first` keeps the oldest articles, `last` the newest; shorter histories stay; the given table is not changed."""
    rows = make_rows()
    before = rows.history.values.copy()
    cut = build_inputs(rows, make_articles(), make_config(max_history=2, history_truncation=kept)).impressions.history
    assert [list(cut[i]) for i in range(N_ROWS)] == [list(rows.history[i])[expected] for i in range(N_ROWS)]
    assert np.array_equal(rows.history.values, before)


def test_users_are_numbered_by_the_model(inputs):
    """User i of the configuration is i + 1, anybody else 0, in inputs and batches."""
    assert inputs.users[:4].tolist() == [2, 0, 1, 0]
    assert unique_batch(inputs, [2, 0, 1]).user.tolist() == [1, 2, 0]
    assert len(inputs) == N_ROWS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"categories": ("",) * N_ARTICLES},
            r"news_items\.csv: nothing to read in view\(s\) `category`\. Got none in 12",
        ),
        ({"subcategories": ("unseen",) * N_ARTICLES}, "`subcategory`.*a name that the model knows"),
        ({"bodies": (" ",) * N_ARTICLES, "categories": ("z",) * N_ARTICLES}, r"`body`, `category`.*expected a word in"),
    ],
)
def test_a_view_that_the_articles_lack(changes, message):
    """A model that reads what no article has is refused, all such views named."""
    with pytest.raises(DataError, match=message):
        build_inputs(make_rows(), make_articles(**changes), make_config())


@pytest.mark.parametrize("form", [unique_batch, pair_batch, padded_batch])
@pytest.mark.parametrize(("rows", "got"), [([], "no row"), ([0, 9], "rows 0 to 9"), ([-1], "rows -1 to -1")])
def test_rows_that_are_not_there(inputs, form, rows, got):
    """No row, a row past the end and a negative one are refused, not wrapped around."""
    with pytest.raises(DataError, match=f"rows that are not there. Got {got}, expected some of 0 to 8"):
        form(inputs, rows)


@pytest.mark.parametrize("sizes", [(5, 5), (6, 2)])
def test_a_row_that_does_not_fit_the_sizes(inputs, sizes):
    """Nothing is cut silently: a row longer than the given sizes is named."""
    with pytest.raises(DataError, match=r"row 2 does not fit the given sizes\. Got [36] articles, expected up to"):
        padded_batch(inputs, [0, 2], sizes=sizes)


def test_real_rows_in_all_forms(shared):
    """On real clicks, too, the three forms agree, and every title is read."""
    folder = shared / "data/upfd_politifact"
    articles = read_news_items(folder / "news_items.csv")
    rows = read_pairwise(folder / "models/train_poisoned.csv", articles)
    config = make_config(views=("title",), text=TextConfig(words=("the", "a", "of", "to")), max_history=4)
    inputs = build_inputs(rows, articles, config)
    assert inputs.impressions.history.lengths.max() == 4
    chosen = np.random.default_rng(0).integers(len(rows), size=64)
    model = Toy()
    model.encode = lambda views: (model.word(views["title"]) * (views["title"] > 0).unsqueeze(-1)).sum(-2)
    scores = model(unique_batch(inputs, chosen))
    assert torch.allclose(model(pair_batch(inputs, chosen)[0]), scores)
    assert torch.allclose(boxed_scores(model, padded_batch(inputs, chosen)), scores)
