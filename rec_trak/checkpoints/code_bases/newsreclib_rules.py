"""newsreclib's tensors as rules, one for each of our parameters. Not here: settings, or which model it is.

Names are theirs, with `*` in place of a view for what several views share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from rec_trak.checkpoints.code_bases.tables import Rule
from rec_trak.checkpoints.code_bases.turns import as_conv1d, as_row, dims, gru, linear, third, word_rows

LENGTHS = {"title": "max_title_len", "body": "max_abstract_len"}
ENCODERS = ("news_encoder.text_encoders.", "news_encoder.category_encoders.")
TEXT, TOPIC = (f"{prefix}*" for prefix in ENCODERS)
LANGUAGE_MODEL, POOLER = ".plm_model.", ".plm_model.pooler."
WORDS, TOPICS = f"{TEXT}.embedding_layer.weight", f"{TOPIC}.embedding_layer.weight"
USERS = "user_encoder.long_term_user_embedding.weight"
USER_ATTENTION = "user_encoder.multihead_attention"


def nrms_rules(state: Mapping[str, Tensor], late: bool) -> list[Rule]:
    """Of NRMS; `late`: without layers for the user."""
    if _over_language_model(state):
        rules = _across(state, "title_encoder")
    else:
        rules = [Rule("word_embedding.weight", WORDS, word_rows)]
        rules += [*_attention("title_attention", f"{TEXT}.additive_attention"), *_heads("title_self_attention", TEXT)]
    if late:
        return rules
    rules += _attention("user_attention", "user_encoder.additive_attention")
    return rules + _heads("user_self_attention", "user_encoder", "v")


def naml_rules(state: Mapping[str, Tensor], views: tuple[str, ...], late: bool) -> list[Rule]:
    """Of NAML."""
    texts, topics = ([view for view in views if (view in LENGTHS) == wanted] for wanted in (True, False))
    rules = _text(state, f"text_encoders.{texts[0]}")
    for view in [view for view in ("category", "subcategory") if view in topics][:1]:
        rules.append(Rule(f"topic_encoders.{view}.embedding.weight", TOPICS, dims(2)))
        rules += linear(f"topic_encoders.{view}.dense", f"{TOPIC}.linear")
    if len(views) > 1:
        rules += _attention("view_attention", "news_encoder.combine_layer")
    return rules + ([] if late else _attention("user_attention", "user_encoder.additive_attention"))


def lstur_rules(state: Mapping[str, Tensor], views: tuple[str, ...], late: bool) -> list[Rule]:
    """Of LSTUR."""
    topics = [view for view in ("category", "subcategory") if view in views]
    return [
        *_text(state, "title_encoder"),
        *(Rule(f"topic_embeddings.{view}.weight", TOPICS, dims(2)) for view in topics[:1]),
        *([] if late else [Rule("user_embedding.weight", USERS, dims(2)), *gru("gru", "user_encoder.gru")]),
    ]


def idle_slices(state: Mapping[str, Tensor], users: bool) -> list[str]:
    """The parts of multi-head attentions' tensors that never reach a score; `users`: one over the history is there.

    A bias of keys is one number more for all that a query attends to, which softmax takes out again.
    """
    slices = []
    for prefix in dict.fromkeys(name.partition(".multihead_attention.")[0] for name in heads_of(state)):
        width = state[f"{prefix}.multihead_attention.out_proj.weight"].shape[0]
        slices.append(f"{prefix}.multihead_attention.in_proj_bias[{width}:{2 * width}]")
    if users:
        width = state[f"{USER_ATTENTION}.out_proj.weight"].shape[0]
        slices += [f"{USER_ATTENTION}.in_proj_{kind}[:{2 * width}]" for kind in ("weight", "bias")]
    return slices


def heads_of(state: Mapping[str, Tensor]) -> Iterable[str]:
    """The names of multi-head attentions over tokens."""
    return (name for name in state if name.startswith(ENCODERS[0]) and ".multihead_attention.out_proj.weight" in name)


def _over_language_model(state: Mapping[str, Tensor]) -> bool:
    return any(LANGUAGE_MODEL in name for name in state)


def _text(state: Mapping[str, Tensor], ours: str) -> list[Rule]:
    if _over_language_model(state):
        return _across(state, ours)
    return [
        Rule("word_embedding.weight", WORDS, word_rows),
        Rule(f"{ours}.conv.weight", f"{TEXT}.cnn.weight", as_conv1d),
        Rule(f"{ours}.conv.bias", f"{TEXT}.cnn.bias", dims(1)),
        *_attention(f"{ours}.attention", f"{TEXT}.additive_attention"),
    ]


def _across(state: Mapping[str, Tensor], ours: str) -> list[Rule]:
    """A language model, and the layers above it."""
    words = [name for name in state if LANGUAGE_MODEL in name]
    return [
        *(Rule(f"word_embedding.lm.{name.partition(LANGUAGE_MODEL)[2]}", name) for name in words),
        *_attention(f"{ours}.attention", f"{TEXT}.additive_attention"),
        *_heads(f"{ours}.self_attention", TEXT),
    ]


def _heads(ours: str, theirs: str, parts: str = "qkv") -> list[Rule]:
    """A multi-head attention; queries, keys and values are blocks of one tensor. No bias of keys."""
    rules, theirs = [], f"{theirs}.multihead_attention"
    for part in parts:
        turn = third("qkv".index(part))
        rules.append(Rule(f"{ours}.w_{part}.weight", f"{theirs}.in_proj_weight", turn))
        if part != "k":
            rules.append(Rule(f"{ours}.w_{part}.bias", f"{theirs}.in_proj_bias", turn))
    return [*rules, *linear(f"{ours}.w_o", f"{theirs}.out_proj")]


def _attention(ours: str, theirs: str) -> list[Rule]:
    return [*linear(f"{ours}.projection", f"{theirs}.linear"), Rule(f"{ours}.query.weight", f"{theirs}.query", as_row)]
