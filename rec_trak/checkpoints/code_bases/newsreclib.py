"""Checkpoints of newsreclib: NRMS, NAML and LSTUR. Not here: reading files, or its other models.

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

- Over a language model (`use_plm`) each text goes through attention over tokens, that of NAML and LSTUR too, and this
  attention runs across the articles of a batch: the token at a place attends to those at the same place of the batch's
  other articles, of histories or of candidates, padding among them (`tokens_across`). Of a row alone these are the
  articles of its history, or its candidates. Texts are read up to the end of the longest among them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from rec_trak.checkpoints.code_bases.newsreclib_rules import (
    ENCODERS,
    LANGUAGE_MODEL,
    LENGTHS,
    POOLER,
    TEXT,
    TOPICS,
    USERS,
    WORDS,
    heads_of,
    idle_slices,
    lstur_rules,
    naml_rules,
    nrms_rules,
)
from rec_trak.checkpoints.code_bases.newsreclib_settings import (
    Settings,
    chosen_keys,
    dictionaries,
    frozen_names,
    hyper_parameters,
    language_model,
)
from rec_trak.checkpoints.code_bases.tables import Translated, Validation, apply_rules
from rec_trak.checkpoints.code_bases.turns import (
    check_needed,
    check_settings,
    check_zero_row,
    head_dim,
    joined,
    odd,
    plain,
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
COUNTERS = (".embeddings.position_ids", ".embeddings.token_type_ids")  # that older language models keep beside weights
USER_LAYERS = {
    "nrms": {"multihead_attention", "additive_attention"},
    "naml": {"additive_attention"},
    "lstur": {"long_term_user_embedding", "gru"},
}
MIXES = {
    "nrms": "attends to the same place of the other users' histories, and reads zero vectors behind short ones",
    "naml": "reads zero vectors behind the shorter histories of a batch",
}
ACROSS = "attends from each token to the same place of all other articles in the batch"


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
        stands_beside = ".cnn." in texts or any(name.startswith(ENCODERS[1]) for name in names)
        return "naml" if "news_encoder.combine_layer.query" in names else "lstur" if stands_beside else "nrms"
    return next((architecture for architecture, those in USER_LAYERS.items() if layers == those), None)


def translate(architecture: str, state: Mapping[str, Tensor], where: str) -> Translated:
    """Their state dict under our names, strictly, without the bias of keys, which softmax takes out again.

    `unreached` names slices: `...in_proj_bias[300:600]`.

    Raises:
        CheckpointError: as `apply_rules`; a variant that is not supported; encoders that share a tensor differ; an
            embedding of topics or users whose row of padding was changed.
    """
    held = plain(state)
    _check_supported(architecture, held, where)
    views, late, pooler = _views(held), _late(held), tuple(name for name in held if POOLER in name)
    state = _joined(held, where)
    check_zero_row(state, (TOPICS, USERS), where)
    if architecture == "nrms":
        translated = apply_rules(nrms_rules(state, late), state, (), where)
    else:
        rules = (naml_rules if architecture == "naml" else lstur_rules)(state, views, late)
        unreached = ("news_encoder.combine_layer.*",) if len(views) == 1 else ()
        translated = apply_rules(rules, state, unreached, where)
    idle = idle_slices(held, architecture == "nrms" and not late)
    return Translated(translated.state, (*idle, *pooler, *translated.unreached))


def chosen(settings: Mapping[str, Any], architecture: str, where: str) -> dict[str, Any]:
    """The keys that decide the scores, from a flat file or from the sections `data` and `model` of a Hydra one."""
    return chosen_keys(settings, [f.name for f in fields(Settings)], where)


def carried(extras: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning keeps of its model's and its data module's arguments; {} where it is not there."""
    return chosen(hyper_parameters(extras), "", "the checkpoint's own settings")


def decisive(architecture: str, settings: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys on which such a model's scores depend beyond its tensors, and those that name files (none)."""
    if settings.get("use_plm") or (settings.get("plm_model") and settings.get("use_plm") is None):
        return ("max_history_len", "tokenizer_max_len", "frozen_layers", "num_heads", "loss"), ("plm_model",)
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
    views, plm = _views(state), _over_language_model(state)
    lengths = {view: key for view, key in LENGTHS.items() if view in views}
    if plm:
        needed = ("plm_model", "tokenizer_max_len", "num_heads", "frozen_layers")
        lengths = dict.fromkeys(lengths, "tokenizer_max_len")
    else:
        needed = (*lengths.values(), *(["num_heads"] if architecture == "nrms" else []))
    check_needed(asdict(given), needed, where)
    shapes = {name: tensor.shape for name, tensor in _joined(state, where).items()}
    sizes, held = _sizes(architecture, given, views, shapes, where)
    said = asdict(given) | {"attributes2encode": given.attributes2encode and sorted(given.attributes2encode)}
    views_said = sorted(VIEWS[view] for view in views)
    check_settings(said, held | {"attributes2encode": views_said, "use_plm": plm}, where)
    late, topical = _late(state), architecture == "naml" and "subcategory" in views
    _warn_of_batches(architecture, late, plm, where)
    if architecture == "lstur" and {"title", "body"} <= {*views} and list(state) == sorted(state):
        _warn_of_order(views, where)
    users = architecture == "lstur" and not late
    topics = shapes.get(TOPICS)
    tables = {"word2index.tsv": not plm, "categ2index.tsv": "category" in views}
    tables |= {"subcateg2index.tsv": "subcategory" in views, "uid2index.tsv": users}
    folder = dictionaries(given, [file for file, read in tables.items() if read], articles, where)
    read = language_model(given, where) if plm else {"words": _names(folder, "word2index.tsv", "word", shapes[WORDS])}
    return ModelConfig(
        architecture=architecture,
        views=views,
        sizes=sizes | {"dropout": given.dropout_probability},
        habits=replace(HABITS, order=views, shared_dense=topical, user="mean" if late else "", tokens_across=plm),
        text=TextConfig(
            **{"tokeniser": "regex"} | read,
            **{f"{view}_length": getattr(given, key) for view, key in lengths.items()},
            padding="read",
            unknown="padding",
            categories=_names(folder, "categ2index.tsv", "category", topics) if "category" in views else (),
            subcategories=_names(folder, "subcateg2index.tsv", "subcategory", topics) if "subcategory" in views else (),
        ),
        max_history=given.max_history_len,
        history_truncation="first",
        users=_names(folder, "uid2index.tsv", "uid", shapes[USERS]) if users else (),
        loss="softmax" if given.loss == "cross_entropy_loss" else given.loss,
        frozen=frozen_names(given.frozen_layers, state) if plm else (),
    )


def _warn_of_batches(architecture: str, late: bool, plm: bool, where: str) -> None:
    """Warn where a row's score depends on its batch there."""
    what = [text for text in (ACROSS if plm else "", "" if late else MIXES.get(architecture, "")) if text]
    if what:
        warnings.warn(
            f"{where}: in newsreclib's {architecture.upper()} a user's score depends on the other users of a batch: it "
            f"{', and '.join(what)}. Scores here are those of a batch of one row.",
            RecTrakWarning,
            stacklevel=3,
        )


def _warn_of_order(views: tuple[str, ...], where: str) -> None:
    """Its vectors stand side by side in the order of its texts, which only unsorted names tell."""
    texts = [VIEWS[view] for view in views if view in LENGTHS]
    warnings.warn(
        f"{where}: the names in the checkpoint are sorted, as safetensors writes them: the order of its texts is lost. "
        f"They are read as {' and '.join(texts)}: scores are right only if it was trained so. Give the file that it "
        "was made from.",
        RecTrakWarning,
        stacklevel=3,
    )


def _names(folder: Path, file: str, column: str, shape: Sequence[int]) -> tuple[str, ...]:
    return named_rows(read_numbers(folder / file, column, "index"), shape[0], folder / file)


def _check_supported(architecture: str, state: Mapping[str, Tensor], where: str) -> None:
    problem = ""
    other = dict.fromkeys(name.split(".")[2] for name in state if name.startswith(ENCODERS))
    other = [part for part in other if part not in VIEWS.values()]
    if other:
        problem = f"an encoder of `{other[0]}`, as `concatenate_inputs` makes of title and abstract"
    if problem:
        raise CheckpointError(
            f"{where}: this variant of newsreclib's {architecture.upper()} is not supported. Got {problem}, "
            "expected one for each view. Train such a one, or bring the model's own class."
        )


def _views(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Our names of the views, in the order of their encoders: those of texts first, whatever the file's order."""
    ours = {theirs: ours for ours, theirs in VIEWS.items()}
    parts = dict.fromkeys(name.split(".")[2] for kind in ENCODERS for name in state if name.startswith(kind))
    return tuple(ours[part] for part in parts if part in ours)


def _joined(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """With one name for what title and abstract share, and one for what the topics share: their whole encoders; without
    what no score reads of a language model."""
    state = {name: tensor for name, tensor in state.items() if POOLER not in name and not name.endswith(COUNTERS)}
    return joined(joined(state, ENCODERS[0], where), ENCODERS[1], where)


def _over_language_model(state: Mapping[str, Tensor]) -> bool:
    return any(LANGUAGE_MODEL in name for name in state)


def _late(state: Mapping[str, Tensor]) -> bool:
    """Whether it is a model with `late_fusion`."""
    return not any(name.startswith("user_encoder.") for name in state)


def _sizes(
    architecture: str, given: Settings, views: tuple[str, ...], shapes: Mapping[str, Any], where: str
) -> tuple[dict, dict]:
    """Our sizes, and what the tensors say under the settings' keys."""
    query_dim = shapes[f"{TEXT}.additive_attention.query"][0]
    attends = next(iter(heads_of(shapes)), None)
    if attends:
        width, heads = shapes[attends][0], given.num_heads
        sizes = {"word_dim": width, "heads": heads, "query_dim": query_dim}
        per_head, held = head_dim(width, heads, "num_heads", where), {"query_dim": query_dim}
        if architecture == "nrms":
            return sizes | {"head_dim": per_head}, held | {"embed_dim": width}
        sizes |= {"filters": width} if architecture == "naml" else {}
        held |= {"text_embed_dim": width}
    else:
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
