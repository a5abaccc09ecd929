"""Checkpoints of yusanshi/news-recommendation: NRMS, NAML and LSTUR. Not here: reading files, or its data (`parsed`).

Source: https://github.com/yusanshi/news-recommendation, commit 8323a4f. What it does that changes scores, and the
option that does the same here:

- Padding is a row of the word embedding that attention and convolutions read like a word (`padding: read`); a word that
  it does not know is padding. With pretrained vectors that row is random, and never trained.
- A history has its first `num_clicked_news_a_user` articles, filled up from the left with articles of padding, which
  are encoded and attended to (`history_padding: left`). LSTUR's GRU reads only as many steps of that, from the left, as
  the user clicked articles: padding first, and the last clicks not at all (`left_cut`).
- NRMS: attention is exp(s) / (sum of exp(s) + 1e-8), with a bias of the keys (`weights: exp`); a head is as wide as
  the word vector divided by their number.
- Category and subcategory share one embedding (`shared_topics`). In LSTUR topics stand before the title (`order`).

Scores are those of `forward`, the function that is trained; its evaluation takes a padding article for a zero vector.
Text is split by nltk, so that the tokens must come from its preprocessing: `data_format: parsed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from rec_trak.checkpoints.code_bases.tables import Rule, Translated, Validation, apply_rules
from rec_trak.checkpoints.code_bases.turns import (
    as_conv1d,
    as_row,
    check_needed,
    check_settings,
    check_zero_row,
    dims,
    found,
    gru,
    head_dim,
    joined,
    linear,
    odd,
    plain,
    word_rows,
)
from rec_trak.checkpoints.code_bases.yusanshi_settings import constants
from rec_trak.config.model import Habits, ModelConfig, TextConfig
from rec_trak.config.reader import build
from rec_trak.data.articles import Articles
from rec_trak.data.numbered import named_rows, read_numbers

NAME = "yusanshi"
VALIDATION = Validation(blank=True)  # src/evaluate.py
ENCODERS = ("news_encoder.text_encoders.", "news_encoder.element_encoders.")
WORDS, TOPIC = "news_encoder.text_encoders.*.word_embedding.weight", "news_encoder.element_encoders.*.embedding.weight"
VIEWS = {"title": "title", "body": "abstract", "category": "category", "subcategory": "subcategory"}
TOPICS = ("category", "subcategory")
HABITS = Habits(weights="exp", shared_topics=True, order=(*TOPICS, "title"))
LSTUR_TOPICS = "news_encoder.category_embedding.weight"
USERS = "user_embedding.weight"
IGNORED = frozenset(
    {
        "num_epochs", "num_batches_show_loss", "num_batches_validate", "batch_size", "learning_rate", "num_workers",
        "word_freq_threshold", "entity_freq_threshold", "entity_confidence_threshold", "negative_sampling_ratio",
        "num_entities", "entity_embedding_dim",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The constants of its src/config.py for one model, and `data`, the folder with word2int.tsv.

    None: not said; `data` is then the articles' own folder. What the tensors tell too must agree with them; the rest is
    needed where the model uses it.
    """

    num_clicked_news_a_user: int = field(metadata={"least": 1})
    data: str | None = None
    num_words_title: int | None = field(default=None, metadata={"least": 1})
    num_words_abstract: int | None = field(default=None, metadata={"least": 1})
    num_attention_heads: int | None = field(default=None, metadata={"least": 1})
    news: list[str] | None = None
    num_words: int | None = None
    num_categories: int | None = None
    num_users: int | None = None
    word_embedding_dim: int | None = None
    category_embedding_dim: int | None = None
    query_vector_dim: int | None = None
    num_filters: int | None = None
    window_size: int | None = None
    long_short_term_method: str | None = None
    dropout_probability: float = field(default=0.2, metadata={"least": 0})
    masking_probability: float = field(default=0.5, metadata={"least": 0})


def recognise(names: Iterable[str]) -> str | None:
    """`nrms`, `naml` or `lstur` where these are their parameters' names, with or without `model.`; else None."""
    names = plain(dict.fromkeys(names))
    if {"user_encoder.gru.weight_ih_l0", "news_encoder.title_CNN.weight"} <= names.keys():
        return "lstur"
    if "user_encoder.multihead_self_attention.W_Q.weight" in names and "news_encoder.word_embedding.weight" in names:
        return "nrms"
    views = [name for name in names if name.startswith(ENCODERS[1]) or name.endswith(".CNN.weight")]
    return "naml" if views and "user_encoder.additive_attention.attention_query_vector" in names else None


def translate(architecture: str, state: Mapping[str, Tensor], where: str) -> Translated:
    """Their state dict under our names, strictly.

    Raises:
        CheckpointError: as `apply_rules`; two names of one embedding differ; an embedding of topics or users whose
            row of padding was changed.
    """
    state = plain(state)
    views = _naml_views(state)
    state = _joined(state, where)
    check_zero_row(state, (TOPIC, LSTUR_TOPICS, USERS), where)
    rules = {"nrms": _nrms_rules, "naml": lambda: _naml_rules(views), "lstur": _lstur_rules}[architecture]()
    return apply_rules(rules, state, (), where)


def chosen(settings: Mapping[str, Any], architecture: str, where: str) -> dict[str, Any]:
    """The constants of one model: those of a flat file, or from src/config.py those of the model's class."""
    return constants(settings, architecture, [f.name for f in fields(Settings)], where)


def describe(settings: Mapping[str, Any], state: Mapping[str, Tensor], articles: Articles, where: str) -> ModelConfig:
    """Our configuration of their model.

    Args:
        settings: what `Settings` says; further constants of src/config.py may stand there.
        state: their state dict, complete.
        articles: read with `data_format: parsed`.
        where: the settings file, for messages; `data` may be relative to its folder.

    Raises:
        ConfigError: a key is missing, unknown or mistyped, or does not fit the tensors, the articles or the data.
        DataError: a file of `data` cannot be read.
    """
    state, architecture = plain(state), recognise(state)
    given = build(Settings, chosen(settings, architecture, where), where, IGNORED)
    views, sizes, rows = {"nrms": _nrms, "naml": _naml, "lstur": _lstur}[architecture](given, state, where)
    lengths = {view: f"num_words_{VIEWS[view]}" for view in views if view in ("title", "body")}
    check_needed(asdict(given), lengths.values(), where)
    for view, key in lengths.items():
        if view in articles.tokens and len(articles):
            check_settings(asdict(given), {key: len(articles.tokens[view][0])}, f"{where} with {articles.source}")
    folder = Path(articles.source).parent if given.data is None else found(given.data, where)
    categories = _names(folder, "category", rows["num_categories"]) if "num_categories" in rows else ()
    return ModelConfig(
        architecture=architecture,
        views=views,
        sizes=sizes | {"dropout": given.dropout_probability},
        habits=HABITS,
        text=TextConfig(
            tokeniser="parsed",
            **{f"{view}_length": getattr(given, key) for view, key in lengths.items()},
            padding="read",
            unknown="padding",
            words=_names(folder, "word", rows["num_words"]) if "num_words" in rows else (),
            categories=categories,
            subcategories=categories,
        ),
        max_history=given.num_clicked_news_a_user,
        history_truncation="first",
        history_padding="left_cut" if architecture == "lstur" else "left",
        users=_names(folder, "user", rows["num_users"]) if architecture == "lstur" else (),
    )


def _names(folder: Path, name: str, rows: int) -> tuple[str, ...]:
    path = folder / f"{name}2int.tsv"
    return named_rows(read_numbers(path, name, "int"), rows, path)


def _nrms(given: Settings, state: Mapping[str, Tensor], where: str) -> tuple[tuple[str, ...], dict, dict]:
    """Views, sizes, and the rows of each embedding by the key that numbers them; refuses what does not fit."""
    check_needed(asdict(given), ["num_attention_heads"], where)
    rows, width = state["news_encoder.word_embedding.weight"].shape
    query_dim = state["news_encoder.additive_attention.linear.weight"].shape[0]
    held = {"num_words": rows, "word_embedding_dim": width, "query_vector_dim": query_dim}
    heads = given.num_attention_heads
    _check(given, held, ("title",), where)
    sizes = {"heads": heads, "head_dim": head_dim(width, heads, "num_attention_heads", where)}
    return ("title",), sizes | {"word_dim": width, "query_dim": query_dim}, held


def _naml(given: Settings, state: Mapping[str, Tensor], where: str) -> tuple[tuple[str, ...], dict, dict]:
    views, state = _naml_views(state), _joined(state, where)
    query_dim, filters = state["user_encoder.additive_attention.linear.weight"].shape
    held, sizes = {"num_filters": filters, "query_vector_dim": query_dim}, {}
    if WORDS in state:
        kernel = next(tensor for name, tensor in state.items() if name.endswith(".CNN.weight"))
        held["num_words"], held["word_embedding_dim"] = state[WORDS].shape
        held["window_size"] = odd(kernel.shape[2], where)
        sizes |= {"word_dim": held["word_embedding_dim"], "window": held["window_size"]}
    if TOPIC in state:
        held["num_categories"], held["category_embedding_dim"] = state[TOPIC].shape
        sizes["category_dim"] = held["category_embedding_dim"]
    _check(given, held, views, where)
    return views, sizes | {"filters": filters, "query_dim": query_dim}, held


def _lstur(given: Settings, state: Mapping[str, Tensor], where: str) -> tuple[tuple[str, ...], dict, dict]:
    filters, _, window, width = state["news_encoder.title_CNN.weight"].shape
    ini = state["user_encoder.gru.weight_hh_l0"].shape[1] == 3 * filters
    held = {
        "num_words": state["news_encoder.word_embedding.weight"].shape[0],
        "word_embedding_dim": width,
        "num_categories": state[LSTUR_TOPICS].shape[0],
        "query_vector_dim": state["news_encoder.title_attention.linear.weight"].shape[0],
        "num_filters": filters,
        "window_size": odd(window, where),
        "num_users": state[USERS].shape[0],
        "long_short_term_method": "ini" if ini else "con",
    }
    views = ("title", *TOPICS)
    _check(given, held, views, where)
    sizes = {
        "word_dim": width,
        "filters": filters,
        "window": window,
        "query_dim": held["query_vector_dim"],
        "category_dim": state[LSTUR_TOPICS].shape[1],
        "fusion": held["long_short_term_method"],
        "user_dropout": given.masking_probability,
    }
    return views, sizes, held


def _check(given: Settings, held: dict[str, Any], views: Iterable[str], where: str) -> None:
    said = asdict(given) | {"news": sorted(given.news) if given.news else None}
    check_settings(said, held | {"news": sorted(VIEWS[view] for view in views)}, where)


def _naml_views(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    parts = {name.split(".")[2] for name in state if name.startswith(ENCODERS)}
    return tuple(ours for ours, theirs in VIEWS.items() if theirs in parts)


def _joined(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """With one name for the word embedding, and one for the topic embedding, which all of NAML's views share."""
    state = joined(state, ENCODERS[0], where, ".word_embedding.weight")
    return joined(state, ENCODERS[1], where, ".embedding.weight")


def _nrms_rules() -> list[Rule]:
    rules = [Rule("word_embedding.weight", "news_encoder.word_embedding.weight", word_rows)]
    for ours, theirs in (("title", "news_encoder"), ("user", "user_encoder")):
        for part in "qkv":
            names = (f"{ours}_self_attention.w_{part}", f"{theirs}.multihead_self_attention.W_{part.upper()}")
            rules += linear(*names)
        rules += _attention(f"{ours}_attention", f"{theirs}.additive_attention")
    return rules


def _naml_rules(views: tuple[str, ...]) -> list[Rule]:
    rules = [] if set(views) <= set(TOPICS) else [Rule("word_embedding.weight", WORDS, word_rows)]
    for view in views:
        if view in TOPICS:
            ours = f"topic_encoders.{view}"
            if view == next(view for view in views if view in TOPICS):
                rules.append(Rule(f"{ours}.embedding.weight", TOPIC, dims(2)))
            rules += linear(f"{ours}.dense", f"news_encoder.element_encoders.{view}.linear")
        else:
            ours, theirs = f"text_encoders.{view}", f"news_encoder.text_encoders.{VIEWS[view]}"
            rules += _convolution(ours, f"{theirs}.CNN")
            rules += _attention(f"{ours}.attention", f"{theirs}.additive_attention")
    if len(views) > 1:
        rules += _attention("view_attention", "news_encoder.final_attention")
    return rules + _attention("user_attention", "user_encoder.additive_attention")


def _lstur_rules() -> list[Rule]:
    return [
        Rule("word_embedding.weight", "news_encoder.word_embedding.weight", word_rows),
        Rule("topic_embeddings.category.weight", LSTUR_TOPICS, dims(2)),
        *_convolution("title_encoder", "news_encoder.title_CNN"),
        *_attention("title_encoder.attention", "news_encoder.title_attention"),
        *gru("gru", "user_encoder.gru"),
        Rule("user_embedding.weight", USERS, dims(2)),
    ]


def _convolution(ours: str, theirs: str) -> list[Rule]:
    return [Rule(f"{ours}.conv.weight", f"{theirs}.weight", as_conv1d), Rule(f"{ours}.conv.bias", f"{theirs}.bias")]


def _attention(ours: str, theirs: str) -> list[Rule]:
    rules = linear(f"{ours}.projection", f"{theirs}.linear")
    return [*rules, Rule(f"{ours}.query.weight", f"{theirs}.attention_query_vector", as_row)]
