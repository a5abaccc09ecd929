"""Laws of evaluation: scores are the model's own, however they are batched, and each article is encoded once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.training_inputs import CONFIG, make_inputs
from torch import nn

from rec_trak.data.batches import unique_batch
from rec_trak.data.ragged import Ragged
from rec_trak.models.build import build_model
from rec_trak.training.evaluation import evaluate, impression_scores

SIZES = {"word_dim": 8, "filters": 4, "query_dim": 4}


def shown(rows=30):
    """Impressions of 2 to 12 candidates with 1 to 3 clicks."""
    inputs, rng = make_inputs(rows), np.random.default_rng(1)
    slates = [rng.choice(20, size=rng.integers(4, 13), replace=False) for _ in range(rows)]
    clicks = [np.arange(len(slate)) < rng.integers(1, 4) for slate in slates]
    table = replace(inputs.impressions, candidates=Ragged.of(slates), labels=Ragged.of([c.astype(int) for c in clicks]))
    return replace(inputs, impressions=table)


@pytest.mark.parametrize("architecture", ["nrms", "naml", "lstur"])
def test_scores_by_kept_vectors_are_the_models_own(architecture):
    """Law: scores of vectors made once are model(batch), row by row, whatever the batch size; the mode stays."""
    torch.manual_seed(0)
    sizes = CONFIG.sizes if architecture == "nrms" else SIZES
    model = build_model(replace(CONFIG, architecture=architecture, sizes=sizes, users=tuple("abcdefg"))).train()
    inputs = shown()
    found = [impression_scores(model, inputs, size) for size in (1, 7, 256)]
    assert model.training
    model.eval()
    for row in range(len(inputs)):
        with torch.no_grad():
            alone = model(unique_batch(inputs, [row]))[0].numpy()
        for scores in found:
            assert np.allclose(scores[row], alone, atol=1e-6)


def test_each_article_is_encoded_once():
    """Law: however many impressions show an article, the encoder sees it once."""
    torch.manual_seed(0)
    model, seen = build_model(CONFIG), []
    encode = model.encode
    model.encode = lambda articles: seen.append(len(articles["title"])) or encode(articles)
    evaluate(model, shown(), batch_size=4)
    assert sum(seen) == 20


class Whole(nn.Module):
    """A model in one piece: a candidate's score is its first word."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        return self.weight * batch.articles["title"][batch.candidates][..., 0]


def test_a_model_in_one_piece_is_evaluated_too():
    """Law: without `encode` and `score` the scores are those of its forward."""
    inputs = shown()
    words = inputs.views["title"][:, 0]
    for row, scores in enumerate(impression_scores(Whole(), inputs, 8)):
        assert np.array_equal(scores, words[inputs.impressions.candidates[row]])


def test_a_blank_article_has_a_vector_of_zeros():
    """Law: with dot products, a candidate that is blank scores 0, and no other impression changes."""
    torch.manual_seed(0)
    model, inputs = build_model(CONFIG), shown()
    blank = int(inputs.impressions.candidates[0][0])
    plain, zeroed = impression_scores(model, inputs), impression_scores(model, inputs, blank=blank)
    assert zeroed[0][0] == 0 != plain[0][0]
    for row in range(len(inputs)):
        if blank not in [*inputs.impressions.history[row], *inputs.impressions.candidates[row]]:
            assert np.array_equal(plain[row], zeroed[row])


def test_means_are_over_impressions_as_shown():
    """Law: an impression counts once, whatever its clicks; one without a click, or with clicks alone, is left out."""
    inputs = shown(3)
    table = replace(
        inputs.impressions,
        candidates=Ragged.of([[0, 1, 2, 3, 4], [5, 6], [7, 8]]),
        labels=Ragged.of([[1, 1, 0, 0, 0], [0, 0], [1, 1]]),
    )
    titles = np.array([[9], [5], [7], [2], [1], *[[3]] * 15], dtype=np.int32)
    found = evaluate(Whole(), replace(inputs, impressions=table, views={"title": titles}))
    assert found["impressions"] == 1
    assert found["auc"] == pytest.approx(5 / 6)
    assert found["mrr"] == pytest.approx((1 + 1 / 3) / 2)
    assert found["ndcg@5"] == pytest.approx((1 + 1 / 2) / (1 + 1 / np.log2(3)))
