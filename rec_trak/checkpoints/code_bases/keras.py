"""Weights of recommenders' Keras models, NRMS, NAML and LSTUR, and ebnerd-benchmark's. Not here: reading files.

They are what `model.model.save_weights("nrms.h5")` or `save` write, or an npz of these two lists, where `model` is an
NRMSModel, NAMLModel or LSTURModel, of Keras 2:

    names = [weight.name for weight in model.model.weights]
    np.savez("nrms.npz", **dict(zip(names, model.model.get_weights())))

Source: https://github.com/recommenders-team/recommenders, commit b02c95e, recommenders/models/newsrec, whose layers
https://github.com/ebanalyse/ebnerd-benchmark, commit 17d2f30, uses too. What it does that changes scores, and the
option that does the same here:

- Id 0 (padding, a word or topic that it does not know, an unknown user) has a row of its own that is trained like any
  other (`padding_row: learnt`). A user who has number 0 is an unknown one.
- NRMS and NAML mask nothing: attention and convolutions read padding (`padding: read`), and a history has its last
  `his_size` articles, filled up from the left with articles of padding that are read too (`history_padding: left`).
- LSTUR's convolution reads padding; its attention passes over padding and over places where no filter answers
  (`padding: convolved`). Its GRU passes over articles without a word, and gives zeros where no other is left
  (`skip_empty`); it is Keras 1's, with its own gates (`gru: reset_first`), unless its bias has two rows. `con` joins
  both vectors in a linear layer (`fusion: con_dense`). It reads titles alone.
- Weights of additive attention are exp(s) / (sum of exp(s) + 1e-7) (`epsilon`); NRMS has no biases (`bias`).

- ebnerd-benchmark's self-attention multiplies the values by the transposed weights: what an element gives to another is
  what it would take from it (`weights: transposed`). The names are the same, so settings or file must say whose it is.

Not supported: ebnerd-benchmark's dense layers between attention and pooling (`newsencoder_units_per_layer`), and its
NRMS over document vectors (`NRMSDocVec`).

A click beside fewer than `npratio` other candidates is trained against empty articles there, and against those that it
has here. Probabilities are compared after a softmax over the candidates; scores here are what goes into it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from torch import Tensor

from rec_trak.checkpoints.code_bases.keras_rules import lstur_rules, naml_rules, nrms_rules
from rec_trak.checkpoints.code_bases.tables import Rule, Translated, apply_rules
from rec_trak.checkpoints.code_bases.turns import check_needed, check_settings, found, head_dim, plain
from rec_trak.config.model import Habits, ModelConfig, TextConfig
from rec_trak.config.reader import build
from rec_trak.config.sections import flat
from rec_trak.data.articles import Articles
from rec_trak.data.numbered import named_rows, read_dictionary
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning, listed
from rec_trak.words import quoted

NAME = "keras"
LEFT_OUT = "the dictionaries, as `wordDict_file`"
KINDS = "embedding|conv1d|dense|gru|self_attention|att_layer2|batch_normalization"
WEIGHT = re.compile(rf"({KINDS})((?:_\d+)*)/(?:\w+/)?(\w+?)(?::0)?")
EPSILON = 1e-7
HABITS = Habits(bias=False, epsilon=EPSILON, skip_empty=True)
HALLMARKS = {
    "lstur": {"gru.0.kernel", "conv1d.0.kernel", "att_layer2.0.q", "embedding.1.embeddings"},
    "naml": {"conv1d.1.kernel", "dense.1.kernel", "embedding.2.embeddings", "att_layer2.3.q"},
    "nrms": {"self_attention.1.WQ", "att_layer2.1.q", "embedding.0.embeddings"},
}
DOCUMENTS = {"self_attention.0.WQ", "att_layer2.0.q", "dense.0.kernel"}
EBNERD = "ebnerd-benchmark"
HISTORY = "history_size"  # which is its word for `his_size`
ALWAYS = ("title_size", "his_size", "wordDict_file")
NEEDED = {
    "nrms": ("head_num",),
    "naml": ("body_size", "cnn_activation", "dense_activation", "vertDict_file", "subvertDict_file"),
    "lstur": ("cnn_activation", "userDict_file"),
}


@dataclass(frozen=True)
class Settings:
    """The keys of its YAML and of `prepare_hparams` that decide the scores. None: not said.

    The dictionaries are its .pkl files, or the same as JSON. What the tensors tell too must agree with them. `layers`
    is whose self-attention NRMS has; `history_size`, ebnerd-benchmark's word for `his_size`, says so too. `untold`: a
    checkpoint that could say it does not, so that `layers` must be there.
    """

    title_size: int | None = field(default=None, metadata={"least": 1})
    his_size: int | None = field(default=None, metadata={"least": 1})
    wordDict_file: str | None = None
    body_size: int | None = field(default=None, metadata={"least": 1})
    vertDict_file: str | None = None
    subvertDict_file: str | None = None
    userDict_file: str | None = None
    layers: str | None = field(default=None, metadata={"choices": ("recommenders", "ebnerd-benchmark")})
    untold: bool = False
    head_num: int | None = field(default=None, metadata={"least": 1})
    head_dim: int | None = None
    cnn_activation: str | None = None
    dense_activation: str | None = None
    word_emb_dim: int | None = None
    attention_hidden_dim: int | None = None
    filter_num: int | None = None
    window_size: int | None = None
    vert_num: int | None = None
    subvert_num: int | None = None
    vert_emb_dim: int | None = None
    subvert_emb_dim: int | None = None
    gru_unit: int | None = None
    type: str | None = None
    dropout: float = field(default=0.2, metadata={"least": 0})
    loss: str = "cross_entropy_loss"


KEYS = tuple(f.name for f in fields(Settings))


def recognise(names: Iterable[str]) -> str | None:
    """`nrms`, `naml` or `lstur` where these are their weights' names, with or without `model.`; else None."""
    held = _places(plain(dict.fromkeys(names))).keys()
    if held >= DOCUMENTS and not any(place.startswith(("embedding.", "conv1d.")) for place in held):
        return "nrms"  # over document vectors, refused below
    return next((architecture for architecture, marks in HALLMARKS.items() if marks <= held), None)


def translate(architecture: str, state: Mapping[str, Tensor], where: str) -> Translated:
    """Their weights under our names, strictly.

    Raises:
        CheckpointError: as `apply_rules`; a variant that is not supported.
    """
    state = plain(state)
    places = _places(state)
    _check_supported(architecture, places, where)
    after = "gru.0.bias" in places and state[places["gru.0.bias"]].dim() == 2
    rules = {"nrms": nrms_rules, "naml": naml_rules, "lstur": lambda: lstur_rules(after, "dense.0.kernel" in places)}
    named = [Rule(rule.ours, places.get(rule.theirs, rule.theirs), rule.turn) for rule in rules[architecture]()]
    return apply_rules(named, state, (), where)


def chosen(settings: Mapping[str, Any], architecture: str, where: str) -> dict[str, Any]:
    """The keys that decide the scores, from its YAML, whose sections (data, info, model, train) may stand as they are.

    None is not said.

    Raises:
        ConfigError: as `flat`; `his_size` and `history_size` differ.
    """
    said = {key: value for key, value in flat(settings, (*KEYS, HISTORY), where).items() if value is not None}
    length = said.pop(HISTORY, None)
    if length is None:
        return said
    if said.get("his_size", length) != length:
        raise ConfigError(
            f"{where}: two keys say one thing. Got `{HISTORY}` {quoted(length)} and `his_size` "
            f"{quoted(said['his_size'])}, expected the same. Leave one out."
        )
    return {"layers": EBNERD} | said | {"his_size": length}


def describe(settings: Mapping[str, Any], state: Mapping[str, Tensor], articles: Articles, where: str) -> ModelConfig:
    """Our configuration of their model.

    Args:
        settings: its YAML, whose sections may stand as they are, with the files that `prepare_hparams` was given;
            further keys are left unread.
        state: their weights, complete.
        articles: not read; any data whose texts can be read will do.
        where: the settings file, for messages; files may be relative to its folder.

    Raises:
        ConfigError: a needed key is missing or mistyped, or does not fit the weights or the dictionaries.
        DataError: a dictionary cannot be read.
    """
    state, architecture = plain(state), recognise(state)
    given = build(Settings, chosen(settings, architecture, where), where)
    shapes = {place: tuple(state[name].shape) for place, name in _places(state).items()}
    check_needed(asdict(given), (*ALWAYS, *NEEDED[architecture]), where)
    if architecture == "nrms" and given.untold and given.layers is None:
        raise ConfigError(
            f"{where}: `layers` is missing. The checkpoint does not tell it. Got NRMS weights, expected whose "
            f"self-attention they are of, recommenders or {EBNERD}. Add it."
        )
    sizes, held = _sizes(architecture, given, shapes, where)
    check_settings(asdict(given), held, where)
    naml, lstur = architecture == "naml", architecture == "lstur"
    return ModelConfig(
        architecture=architecture,
        views=("title", "body", "category", "subcategory") if naml else ("title",),
        sizes=sizes | {"dropout": given.dropout},
        habits=replace(HABITS, gru=_gru(shapes), weights="transposed" if given.layers == EBNERD else "softmax"),
        text=TextConfig(
            tokeniser="regex",
            title_length=given.title_size,
            **({"body_length": given.body_size} if naml else {}),
            padding="convolved" if lstur else "read",
            padding_row="learnt",
            unknown="padding",
            words=_names(given.wordDict_file, shapes["embedding.0.embeddings"], where, strict=True),
            categories=_names(given.vertDict_file, shapes["embedding.1.embeddings"], where) if naml else (),
            subcategories=_names(given.subvertDict_file, shapes["embedding.2.embeddings"], where) if naml else (),
        ),
        max_history=given.his_size,
        history_truncation="last",
        history_padding="none" if lstur else "left",
        users=_names(given.userDict_file, shapes["embedding.1.embeddings"], where) if lstur else (),
        loss="softmax" if given.loss == "cross_entropy_loss" else given.loss,
    )


def carried(extras: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside the weights of what they were trained with."""
    said, third = extras.get("config"), str(extras.get("keras_version", "")).startswith("3")
    held = {key: value for key, value in said.items() if key in KEYS} if isinstance(said, dict) else {}
    return held | ({"untold": True} if (held or third) and "layers" not in held else {})


def decisive(architecture: str, settings: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys on which such a model's scores depend beyond its weights, and those that name files."""
    keys = [key for key in NEEDED[architecture] if not key.endswith("_file")]
    return ("title_size", "his_size", *keys, "loss", *(("layers",) if architecture == "nrms" else ())), ()


def _check_supported(architecture: str, places: Mapping[str, str], where: str) -> None:
    problem = ""
    if architecture == "nrms" and "embedding.0.embeddings" not in places:
        problem = "an article encoder over document vectors, as ebnerd-benchmark's NRMSDocVec has"
    elif architecture == "nrms" and "dense.0.kernel" in places:
        problem = "dense layers below pooling, as ebnerd-benchmark's `newsencoder_units_per_layer` makes"
    if problem:
        raise CheckpointError(
            f"{where}: this variant of NRMS is not supported. Got {problem}, expected attention and pooling over "
            "words. Train such a one, or bring the model's own class."
        )


def _places(state: Mapping[str, Any]) -> dict[str, str]:
    """Kind of layer, place among its kind and weight (`att_layer2.1.q`) -> name. Keras numbers layers as they are made,
    from wherever the session had got to, and may put a further number behind."""
    matches = [match for name in state if (match := WEIGHT.fullmatch(name))]
    numbers = {(m[1], tuple(int(n) for n in m[2].split("_")[1:])) for m in matches}
    order: dict[str, list] = {kind: sorted(n for k, n in numbers if k == kind) for kind, _ in numbers}
    return {f"{m[1]}.{order[m[1]].index(tuple(int(n) for n in m[2].split('_')[1:]))}.{m[3]}": m[0] for m in matches}


def _names(path: str, shape: tuple[int, ...], where: str, strict: bool = False) -> tuple[str, ...]:
    """The names of an embedding's rows. That code numbers users and topics from 1 but may make one row too few; it then
    stops at the last name, or reads zeros on some devices."""
    numbers = read_dictionary(found(path, where))
    beyond = [] if strict else [name for name, number in numbers.items() if number >= shape[0]]
    if beyond:
        warnings.warn(
            f"{path}: {listed('name(s)', beyond)} without a row in the checkpoint, which has {shape[0]}. They are read "
            "as unknown, which is row 0.",
            RecTrakWarning,
            stacklevel=3,
        )
        numbers = {name: number for name, number in numbers.items() if number < shape[0]}
    return named_rows(numbers, shape[0], path)


def _sizes(architecture: str, given: Settings, shapes: Mapping[str, Any], where: str) -> tuple[dict, dict]:
    """Our sizes, and what the weights say under the settings' keys."""
    word_dim, query_dim = shapes["embedding.0.embeddings"][1], shapes["att_layer2.0.q"][0]
    sizes = {"word_dim": word_dim, "query_dim": query_dim}
    held = {"word_emb_dim": word_dim, "attention_hidden_dim": query_dim}
    if architecture == "nrms":
        heads, width = given.head_num, shapes["self_attention.0.WQ"][1]
        held["head_dim"] = head_dim(width, heads, "head_num", where)
        return sizes | {"heads": heads, "head_dim": held["head_dim"]}, held
    window, _, filters = shapes["conv1d.0.kernel"]
    sizes |= {"filters": filters, "window": window}
    held |= {"filter_num": filters, "window_size": window, "cnn_activation": "relu"}
    if architecture == "naml":
        (verts, dim), (subverts, subdim) = shapes["embedding.1.embeddings"], shapes["embedding.2.embeddings"]
        held |= {"vert_num": verts, "vert_emb_dim": dim, "subvert_num": subverts, "subvert_emb_dim": subdim}
        return sizes | {"category_dim": dim, "subcategory_dim": subdim}, held | {"dense_activation": "relu"}
    con = "dense.0.kernel" in shapes
    held |= {"gru_unit": shapes["gru.0.kernel"][1] // 3, "type": "con" if con else "ini"}
    return sizes | {"fusion": "con_dense" if con else "ini"}, held


def _gru(shapes: Mapping[str, Any]) -> str:
    """Which of Keras' GRUs has such a bias; ours where there is none."""
    return "reset_first" if len(shapes.get("gru.0.bias", (2, 0))) != 2 else "reset_after"
