"""One small recommender of each kind with rows for it, and gradients in full. Not here: tests."""

import dataclasses

import torch

from rec_trak.clicks import expand
from rec_trak.config.model import ModelConfig, TextConfig, read_model_config
from rec_trak.data.articles import build_vocabulary, read_news_items
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.inputs import build_inputs
from rec_trak.data.ragged import Ragged
from rec_trak.gradients.factors import Factors
from rec_trak.models.build import build_model
from support import tiny

MODELS = {
    "nrms": ("nrms", ("title",), {}),
    "naml": ("naml", ("title", "body"), {}),
    "lstur-ini": ("lstur", ("title",), {"fusion": "ini"}),
    "lstur-con": ("lstur", ("title",), {"fusion": "con"}),
}


def world(tmp_path, name, loss="softmax"):
    """A model in eval mode and the rows of the tiny tree, cut for the loss."""
    architecture, views, sizes = MODELS[name]
    data = tiny.write_tree(tmp_path / "data")
    runs = tiny.write_models(tmp_path / "runs", data, architecture, views=views, sizes=tiny.SIZES[architecture] | sizes)
    config = read_model_config(runs / "model.json")
    articles = read_news_items(data / "news_items.csv")
    rows, _ = expand(read_pairwise(data / "models" / "train_clean.csv", articles), loss)
    torch.manual_seed(0)
    return build_model(config).eval(), build_inputs(rows, articles, config)


def in_full(grads):
    """Gradients as parameter name -> (B, *shape), whatever form a path gives."""
    return grads.dense() if isinstance(grads, Factors) else grads


def relative_error(found, expected):
    error = sum(float((found[n] - g).square().sum()) for n, g in expected.items()) ** 0.5
    return error / sum(float(g.square().sum()) for g in expected.values()) ** 0.5


def topic_world(tmp_path, architecture, views):
    """A model over topics too, and 32 rows of which some hold one article several times."""
    data = tiny.write_tree(tmp_path / "data", rows=24)
    plain = read_news_items(data / "news_items.csv")
    topics = {
        "categories": tuple(f"c{i % 3}" for i in range(12)),
        "subcategories": tuple(f"s{i % 5}" for i in range(12)),
    }
    articles = dataclasses.replace(plain, **topics)
    impressions = read_pairwise(data / "models" / "train_poisoned.csv", articles)
    history = Ragged.of([[*h, h[0], h[0]] for h in (impressions.history[i] for i in range(len(impressions)))])
    words = build_vocabulary(articles, "regex", ("title", "body"))
    text = TextConfig(
        words=words, title_length=6, body_length=9, **{k: tuple(sorted(set(v))) for k, v in topics.items()}
    )
    users = tuple(f"u{i}" for i in range(20)) if architecture == "lstur" else ()
    config = ModelConfig(architecture, views, tiny.SIZES[architecture], text, users=users)
    torch.manual_seed(0)
    return build_model(config).eval(), build_inputs(dataclasses.replace(impressions, history=history), articles, config)
