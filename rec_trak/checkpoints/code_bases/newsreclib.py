"""Checkpoints of newsreclib over word vectors: NRMS, NAML and LSTUR. Not here: reading files, or its other models.

Source: https://github.com/andreeaiana/newsreclib, commit f29aea8. What it does that changes scores, and the option that
does the same here:

- Padding is row 0 of the word vectors, random and never trained, which attention and convolutions read like a word
  (`padding: read`); a word that it does not know is padding.
- NRMS: its attention over the history runs across the users of a batch, each place of a history with the same place of
  the other users'. A row alone, which is what a row's score means here, attends from each article to itself alone
  (`user_weights: itself`), so that queries and keys of that layer never reach a score.
- NRMS and NAML: the user's attention reads zero vectors behind a batch's shorter histories. A row alone has none.
- Title and abstract go through one encoder (`shared_texts`; LSTUR's does so always). In LSTUR the views stand side by
  side in an order that differs from one run of Python to the next; it is taken from the order of the names in the file.
- Training takes all clicks of an impression as one row, each with probability 1. A row here is one click.

- NAML's categories and subcategories go through one encoder, under the numbers of two dictionaries (`shared_dense`).
- `late_fusion`: a user is the mean of the history's vectors (`user: mean`), in every architecture.

Not supported: language models (`use_plm`), because attention over tokens runs across the articles of a batch there, so
that an article has no vector of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from rec_trak.checkpoints.code_bases.newsreclib_settings import Settings, chosen_keys, dictionaries, hyper_parameters
from rec_trak.checkpoints.code_bases.tables import Rule, Translated, Validation, apply_rules
from rec_trak.checkpoints.code_bases.turns import (
    as_conv1d,
    as_row,
    check_needed,
    check_settings,
    check_zero_row,
    dims,
    gru,
    head_dim,
    joined,
    linear,
    odd,
    plain,
    third,
    word_rows,
)
from rec_trak.config.model import Habits, ModelConfig, TextConfig
from rec_trak.config.reader import build
from rec_trak.data.articles import Articles
from rec_trak.data.numbered import named_rows, read_numbers
from rec_trak.errors import CheckpointError, RecTrakWarning

NAME = "newsreclib"
VALIDATION = Validation(pooled="scores", own_rows="the last days of its training log")
VIEWS = {"title": "title", "body": "abstract", "category": "category", "subcategory": "subcategory"}
READING = {"least_history": 1, "until": "2019-11-14"}  # its MIND reader: no empty history, the last day validates
HABITS = Habits(output_projection=True, user_weights="itself", shared_texts=True, shared_topics=True)
LENGTHS = {"title": "max_title_len", "body": "max_abstract_len"}
ENCODERS = ("news_encoder.text_encoders.", "news_encoder.category_encoders.")
TEXT, TOPIC = (f"{prefix}*" for prefix in ENCODERS)
WORDS, TOPICS = f"{TEXT}.embedding_layer.weight", f"{TOPIC}.embedding_layer.weight"
USERS = "user_encoder.long_term_user_embedding.weight"
USER_ATTENTION = "user_encoder.multihead_attention"
USER_LAYERS = {
    "nrms": {"multihead_attention", "additive_attention"},
    "naml": {"additive_attention"},
    "lstur": {"long_term_user_embedding", "gru"},
}
MIXES = {
    "nrms": "attends to the same place of the other users' histories, and reads zero vectors behind short ones",
    "naml": "reads zero vectors behind the shorter histories of a batch",
}


def recognise(names: Iterable[str]) -> str | None:
    """`nrms`, `naml` or `lstur` where these are their parameters' names, with or without `model.`; else None."""
    names = plain(dict.fromkeys(names))
    if {name.split(".")[0] for name in names} - {"news_encoder", "user_encoder"}:
        return None
    texts = " ".join(name for name in names if name.startswith(ENCODERS[0]))
    if ".embedding_layer." not in texts and ".plm_model." not in texts:
        return None
    layers = {name.split(".")[1] for name in names if name.startswith("user_encoder.")}
    if not layers:  # `late_fusion`
        return "naml" if "news_encoder.combine_layer.query" in names else "lstur" if ".cnn." in texts else "nrms"
    return next((architecture for architecture, those in USER_LAYERS.items() if layers == those), None)


def translate(architecture: str, state: Mapping[str, Tensor], where: str) -> Translated:
    """Their state dict under our names, strictly, without the bias of keys, which softmax takes out again.

    `unreached` names slices: `...in_proj_bias[300:600]`.

    Raises:
        CheckpointError: as `apply_rules`; a variant that is not supported; encoders that share a tensor differ; an
            embedding of topics or users whose row of padding was changed.
    """
    state = plain(state)
    _check_supported(architecture, state, where)
    views, late = _views(state), _late(state)
    state = _joined(state, where)
    check_zero_row(state, (TOPICS, USERS), where)
    if architecture == "nrms":
        translated = apply_rules(_nrms_rules(late), state, (), where)
        return Translated(translated.state, (*_idle_slices(state, late), *translated.unreached))
    rules = _naml_rules(views, late) if architecture == "naml" else _lstur_rules(views, late)
    return apply_rules(rules, state, ("news_encoder.combine_layer.*",) if len(views) == 1 else (), where)


def chosen(settings: Mapping[str, Any], architecture: str, where: str) -> dict[str, Any]:
    """The keys that decide the scores, from a flat file or from the sections `data` and `model` of a Hydra one."""
    return chosen_keys(settings, [f.name for f in fields(Settings)], where)


def carried(extras: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning keeps of its model's and its data module's arguments; {} where it is not there."""
    return chosen(hyper_parameters(extras), "", "the checkpoint's own settings")


def decisive(architecture: str, settings: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys on which such a model's scores depend beyond its tensors, and those that name files (none)."""
    read = settings.get("attributes2encode") or VIEWS.values()
    lengths = [key for view, key in LENGTHS.items() if VIEWS[view] in read]
    return ("max_history_len", *lengths, "loss", *(("num_heads",) if architecture == "nrms" else ())), ()


def describe(settings: Mapping[str, Any], state: Mapping[str, Tensor], articles: Articles, where: str) -> ModelConfig:
    """Our configuration of their model; warns where a row's score depends on its batch there.

    Args:
        settings: what `Settings` says; further keys of its configuration are left unread.
        state: their state dict, complete, in the file's order.
        articles: any whose texts can be read; the dictionaries may lie in their folder.
        where: the settings file, for messages; `data` may be relative to its folder.

    Raises:
        ConfigError: a needed key is missing or mistyped, or does not fit the tensors or the data.
        DataError: a file of `data` cannot be read.
    """
    state, architecture = plain(state), recognise(state)
    given = build(Settings, chosen(settings, architecture, where), where)
    views = _views(state)
    lengths = {view: key for view, key in LENGTHS.items() if view in views}
    check_needed(asdict(given), [*lengths.values(), *(["num_heads"] if architecture == "nrms" else [])], where)
    shapes = {name: tensor.shape for name, tensor in _joined(state, where).items()}
    sizes, held = _sizes(architecture, given, views, shapes, where)
    said = asdict(given) | {"attributes2encode": given.attributes2encode and sorted(given.attributes2encode)}
    check_settings(said, held | {"attributes2encode": sorted(VIEWS[view] for view in views)}, where)
    late, topical = _late(state), architecture == "naml" and "subcategory" in views
    if architecture in MIXES and not late:
        warnings.warn(
            f"{where}: in newsreclib's {architecture.upper()} a user's score depends on the other users of a batch: it "
            f"{MIXES[architecture]}. Scores here are those of a batch of one row.",
            RecTrakWarning,
            stacklevel=2,
        )
    folder, topics = dictionaries(given.data, given.data_dir, given.dataset_size, articles, where), shapes.get(TOPICS)
    return ModelConfig(
        architecture=architecture,
        views=views,
        sizes=sizes | {"dropout": given.dropout_probability},
        habits=replace(HABITS, order=views, shared_dense=topical, user="mean" if late else ""),
        text=TextConfig(
            tokeniser="regex",
            **{f"{view}_length": getattr(given, key) for view, key in lengths.items()},
            padding="read",
            unknown="padding",
            words=_names(folder, "word2index.tsv", "word", shapes[WORDS]),
            categories=_names(folder, "categ2index.tsv", "category", topics) if "category" in views else (),
            subcategories=_names(folder, "subcateg2index.tsv", "subcategory", topics) if "subcategory" in views else (),
        ),
        max_history=given.max_history_len,
        history_truncation="first",
        users=_names(folder, "uid2index.tsv", "uid", shapes[USERS]) if architecture == "lstur" and not late else (),
        loss="softmax" if given.loss == "cross_entropy_loss" else given.loss,
    )


def _names(folder: Path, file: str, column: str, shape: Sequence[int]) -> tuple[str, ...]:
    return named_rows(read_numbers(folder / file, column, "index"), shape[0], folder / file)


def _check_supported(architecture: str, state: Mapping[str, Tensor], where: str) -> None:
    problem = ""
    if any(".plm_model." in name for name in state):
        problem = "`use_plm`, whose attention over tokens runs across the articles of a batch"
    if problem:
        raise CheckpointError(
            f"{where}: this variant of newsreclib's {architecture.upper()} is not supported. Got {problem}, expected a "
            "user encoder over word vectors. Train such a one, or bring the model's own class."
        )


def _views(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Our names of the views, in the order of their encoders."""
    ours = {theirs: ours for ours, theirs in VIEWS.items()}
    parts = dict.fromkeys(name.split(".")[2] for name in state if name.startswith(ENCODERS))
    return tuple(ours[part] for part in parts if part in ours)


def _joined(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """With one name for what title and abstract share, and one for what the topics share: their whole encoders."""
    return joined(joined(state, ENCODERS[0], where), ENCODERS[1], where)


def _late(state: Mapping[str, Tensor]) -> bool:
    """Whether it is a model with `late_fusion`."""
    return not any(name.startswith("user_encoder.") for name in state)


def _idle_slices(state: Mapping[str, Tensor], late: bool) -> list[str]:
    width = state[f"{TEXT}.multihead_attention.out_proj.weight"].shape[0]
    title = f"{ENCODERS[0]}title.multihead_attention.in_proj_bias[{width}:{2 * width}]"
    if late:
        return [title]
    return [
        title,
        f"{USER_ATTENTION}.in_proj_weight[:{2 * width}]",
        f"{USER_ATTENTION}.in_proj_bias[:{2 * width}]",
    ]


def _sizes(
    architecture: str, given: Settings, views: tuple[str, ...], shapes: Mapping[str, Any], where: str
) -> tuple[dict, dict]:
    """Our sizes, and what the tensors say under the settings' keys."""
    query_dim = shapes[f"{TEXT}.additive_attention.query"][0]
    if architecture == "nrms":
        width, heads = shapes[WORDS][1], given.num_heads
        sizes = {"word_dim": width, "heads": heads, "head_dim": head_dim(width, heads, "num_heads", where)}
        return sizes | {"query_dim": query_dim}, {"embed_dim": width, "query_dim": query_dim}
    filters, _, window, width = shapes[f"{TEXT}.cnn.weight"]
    sizes = {"word_dim": width, "filters": filters, "window": odd(window, where), "query_dim": query_dim}
    held = {"text_embed_dim": width, "num_filters": filters, "window_size": window, "query_dim": query_dim}
    if TOPICS in shapes:
        sizes["category_dim"] = held["categ_embed_dim"] = shapes[TOPICS][1]
        held["num_categ_classes"] = shapes[TOPICS][0] - 1
    if architecture == "naml":
        return sizes, held
    if USERS not in shapes:
        return sizes, held
    rows, long_dim = shapes[USERS]
    fusion = "ini" if long_dim == shapes["user_encoder.gru.weight_ih_l0"][1] else "con"
    more = {"fusion": fusion, "user_dropout": given.user_masking_probability}
    return sizes | more, held | {"num_users": rows - 1, "long_short_term_method": fusion}


def _nrms_rules(late: bool) -> list[Rule]:
    rules = [
        Rule("word_embedding.weight", WORDS, word_rows),
        *_attention("title_attention", f"{TEXT}.additive_attention"),
        *([] if late else _attention("user_attention", "user_encoder.additive_attention")),
    ]
    layers = [("title", f"{TEXT}.multihead_attention", "qkv"), ("user", USER_ATTENTION, "v")]
    for ours, theirs, parts in layers[: 1 if late else 2]:
        for part in parts:
            turn, ours_w = third("qkv".index(part)), f"{ours}_self_attention.w_{part}"
            rules.append(Rule(f"{ours_w}.weight", f"{theirs}.in_proj_weight", turn))
            if part != "k":
                rules.append(Rule(f"{ours_w}.bias", f"{theirs}.in_proj_bias", turn))
        rules += linear(f"{ours}_self_attention.w_o", f"{theirs}.out_proj")
    return rules


def _naml_rules(views: tuple[str, ...], late: bool) -> list[Rule]:
    rules = [Rule("word_embedding.weight", WORDS, word_rows)]
    texts, topics = ([view for view in views if (view in LENGTHS) == wanted] for wanted in (True, False))
    rules += _text(f"text_encoders.{texts[0]}")
    for view in [view for view in ("category", "subcategory") if view in topics][:1]:
        rules.append(Rule(f"topic_encoders.{view}.embedding.weight", TOPICS, dims(2)))
        rules += linear(f"topic_encoders.{view}.dense", f"{TOPIC}.linear")
    if len(views) > 1:
        rules += _attention("view_attention", "news_encoder.combine_layer")
    return rules + ([] if late else _attention("user_attention", "user_encoder.additive_attention"))


def _lstur_rules(views: tuple[str, ...], late: bool) -> list[Rule]:
    topics = [view for view in ("category", "subcategory") if view in views]
    return [
        Rule("word_embedding.weight", WORDS, word_rows),
        *_text("title_encoder"),
        *(Rule(f"topic_embeddings.{view}.weight", TOPICS, dims(2)) for view in topics[:1]),
        *([] if late else [Rule("user_embedding.weight", USERS, dims(2)), *gru("gru", "user_encoder.gru")]),
    ]


def _text(ours: str) -> list[Rule]:
    return [
        Rule(f"{ours}.conv.weight", f"{TEXT}.cnn.weight", as_conv1d),
        Rule(f"{ours}.conv.bias", f"{TEXT}.cnn.bias", dims(1)),
        *_attention(f"{ours}.attention", f"{TEXT}.additive_attention"),
    ]


def _attention(ours: str, theirs: str) -> list[Rule]:
    return [*linear(f"{ours}.projection", f"{theirs}.linear"), Rule(f"{ours}.query.weight", f"{theirs}.query", as_row)]
