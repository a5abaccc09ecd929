"""Weights of recommenders' Keras models, exported to npz: NRMS, NAML and LSTUR. Not here: reading npz, or HDF5.

Export, with `model` an NRMSModel, NAMLModel or LSTURModel:

    names = [weight.name for weight in model.model.weights]
    np.savez("nrms.npz", **dict(zip(names, model.model.get_weights())))

Source: https://github.com/recommenders-team/recommenders, commit b02c95e, recommenders/models/newsrec. What it does
that changes scores, and the option that does the same here:

- Id 0 (padding, a word or topic that it does not know, an unknown user) has a row of its own that is trained like any
  other (`padding_row: learnt`). A user who has number 0 is an unknown one.
- NRMS and NAML mask nothing: attention and convolutions read padding (`padding: read`), and a history has its last
  `his_size` articles, filled up from the left with articles of padding that are read too (`history_padding: left`).
- LSTUR's convolution reads padding; its attention passes over padding and over places where no filter answers
  (`padding: convolved`). Its GRU passes over articles without a word, and gives zeros where no other is left
  (`skip_empty`); it is Keras 1's, with its own gates (`gru: reset_first`), unless its bias has two rows. `con` joins
  both vectors in a linear layer (`fusion: con_dense`). It reads titles alone.
- Weights of additive attention are exp(s) / (sum of exp(s) + 1e-7) (`epsilon`); NRMS has no biases (`bias`).

A click beside fewer than `npratio` other candidates is trained against empty articles there, and against those that it
has here. Probabilities are compared after a softmax over the candidates; scores here are what goes into it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from rec_trak.checkpoints.code_bases.tables import Rule, Translated, apply_rules
from rec_trak.checkpoints.code_bases.turns import (
    check_needed,
    check_settings,
    dims,
    found,
    head_dim,
    plain,
    transposed,
    word_rows,
)
from rec_trak.config.model import Habits, ModelConfig, TextConfig
from rec_trak.config.reader import build
from rec_trak.config.sections import flat
from rec_trak.data.articles import Articles
from rec_trak.data.numbered import named_rows, read_dictionary
from rec_trak.errors import RecTrakWarning, listed

NAME = "keras"
WEIGHT = re.compile(r"(embedding|conv1d|dense|gru|self_attention|att_layer2)((?:_\d+)*)/(?:\w+/)?(\w+?)(?::0)?")
EPSILON = 1e-7
HABITS = Habits(bias=False, epsilon=EPSILON, skip_empty=True)
HALLMARKS = {
    "lstur": {"gru.0.kernel", "conv1d.0.kernel", "att_layer2.0.q", "embedding.1.embeddings"},
    "naml": {"conv1d.1.kernel", "dense.1.kernel", "embedding.2.embeddings", "att_layer2.3.q"},
    "nrms": {"self_attention.1.WQ", "att_layer2.1.q", "embedding.0.embeddings"},
}
NEEDED = {
    "nrms": ("head_num",),
    "naml": ("body_size", "cnn_activation", "dense_activation", "vertDict_file", "subvertDict_file"),
    "lstur": ("cnn_activation", "userDict_file"),
}


@dataclass(frozen=True)
class Settings:
    """The keys of its YAML and of `prepare_hparams` that decide the scores. None: not said.

    The dictionaries are its .pkl files, or the same as JSON. What the tensors tell too must agree with them.
    """

    title_size: int = field(metadata={"least": 1})
    his_size: int = field(metadata={"least": 1})
    wordDict_file: str
    body_size: int | None = field(default=None, metadata={"least": 1})
    vertDict_file: str | None = None
    subvertDict_file: str | None = None
    userDict_file: str | None = None
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


def recognise(names: Iterable[str]) -> str | None:
    """`nrms`, `naml` or `lstur` where these are their weights' names, with or without `model.`; else None."""
    held = _places(plain(dict.fromkeys(names))).keys()
    return next((architecture for architecture, marks in HALLMARKS.items() if marks <= held), None)


def translate(architecture: str, state: Mapping[str, Tensor], where: str) -> Translated:
    """Their weights under our names, strictly.

    Raises:
        CheckpointError: as `apply_rules`.
    """
    state = plain(state)
    places = _places(state)
    after = "gru.0.bias" in places and state[places["gru.0.bias"]].dim() == 2
    rules = {"nrms": _nrms_rules, "naml": _naml_rules, "lstur": lambda: _lstur_rules(after, "dense.0.kernel" in places)}
    named = [Rule(rule.ours, places.get(rule.theirs, rule.theirs), rule.turn) for rule in rules[architecture]()]
    return apply_rules(named, state, (), where)


def chosen(settings: Mapping[str, Any], architecture: str, where: str) -> dict[str, Any]:
    """The keys that decide the scores, from its YAML, whose sections (data, info, model, train) may stand as they are.

    None is not said.
    """
    said = flat(settings, (f.name for f in fields(Settings)), where)
    return {key: value for key, value in said.items() if value is not None}


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
    check_needed(asdict(given), NEEDED[architecture], where)
    sizes, held = _sizes(architecture, given, shapes, where)
    check_settings(asdict(given), held, where)
    naml, lstur = architecture == "naml", architecture == "lstur"
    return ModelConfig(
        architecture=architecture,
        views=("title", "body", "category", "subcategory") if naml else ("title",),
        sizes=sizes | {"dropout": given.dropout},
        habits=replace(HABITS, gru=_gru(shapes)),
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


def _nrms_rules() -> list[Rule]:
    rules = [Rule("word_embedding.weight", "embedding.0.embeddings", word_rows)]
    for i, ours in enumerate(("title", "user")):
        for part in "qkv":
            rule = (f"{ours}_self_attention.w_{part}.weight", f"self_attention.{i}.W{part.upper()}")
            rules.append(Rule(*rule, transposed))
        rules += _attention(f"{ours}_attention", i)
    return rules


def _naml_rules() -> list[Rule]:
    rules = [Rule("word_embedding.weight", "embedding.0.embeddings", word_rows)]
    for i, view in enumerate(("title", "body")):
        rules += _convolution(f"text_encoders.{view}", i)
    for i, view in enumerate(("category", "subcategory")):
        rules.append(Rule(f"topic_encoders.{view}.embedding.weight", f"embedding.{i + 1}.embeddings", dims(2)))
        rules += _dense(f"topic_encoders.{view}.dense", i)
    return [*rules, *_attention("view_attention", 2), *_attention("user_attention", 3)]


def _lstur_rules(after: bool, con: bool) -> list[Rule]:
    rules = [
        Rule("word_embedding.weight", "embedding.0.embeddings", word_rows),
        Rule("user_embedding.weight", "embedding.1.embeddings", dims(2)),
        *_convolution("title_encoder", 0),
    ]
    if after:
        rules += [
            Rule("gru.weight_ih_l0", "gru.0.kernel", lambda kernel: _reset_first(transposed(kernel))),
            Rule("gru.weight_hh_l0", "gru.0.recurrent_kernel", lambda kernel: _reset_first(transposed(kernel))),
            Rule("gru.bias_ih_l0", "gru.0.bias", lambda bias: _reset_first(dims(2)(bias)[0])),
            Rule("gru.bias_hh_l0", "gru.0.bias", lambda bias: _reset_first(dims(2)(bias)[1])),
        ]
    else:
        rules += [
            Rule("gru.inputs.weight", "gru.0.kernel", transposed),
            Rule("gru.inputs.bias", "gru.0.bias", dims(1)),
            Rule("gru.gates.weight", "gru.0.recurrent_kernel", _blocks(slice(0, 2))),
            Rule("gru.new.weight", "gru.0.recurrent_kernel", _blocks(slice(2, 3))),
        ]
    return rules + (_dense("user_dense", 0) if con else [])


def _blocks(which: slice) -> Callable[[Tensor], Tensor]:
    """Some of the three gates, update, reset and new, that stand side by side."""
    return lambda tensor: transposed(tensor).unflatten(0, (3, -1))[which].flatten(0, 1)


def _reset_first(tensor: Tensor) -> Tensor:
    """The gates in torch's order, reset, update and new."""
    return tensor.unflatten(0, (3, -1))[torch.tensor([1, 0, 2])].flatten(0, 1)


def _attention(ours: str, i: int) -> list[Rule]:
    return [
        Rule(f"{ours}.projection.weight", f"att_layer2.{i}.W", transposed),
        Rule(f"{ours}.projection.bias", f"att_layer2.{i}.b", dims(1)),
        Rule(f"{ours}.query.weight", f"att_layer2.{i}.q", transposed),
    ]


def _convolution(ours: str, i: int) -> list[Rule]:
    return [
        Rule(f"{ours}.conv.weight", f"conv1d.{i}.kernel", lambda kernel: dims(3)(kernel).permute(2, 1, 0)),
        Rule(f"{ours}.conv.bias", f"conv1d.{i}.bias", dims(1)),
        *_attention(f"{ours}.attention", i),
    ]


def _dense(ours: str, i: int) -> list[Rule]:
    return [
        Rule(f"{ours}.weight", f"dense.{i}.kernel", transposed),
        Rule(f"{ours}.bias", f"dense.{i}.bias", dims(1)),
    ]
