"""Checkpoints of plm4newsrs: its NRMS and NAML over GloVe vectors or a transformer. Not here: reading files.

Source: https://github.com/thamolwanpo/plm4newsrs, commit 5d1adf6. What it does that changes scores:

- GloVe: a text is split at blanks; unknown words and the places behind a text are zero vectors that everything reads.
  The vectors are not in the checkpoint.
- Transformer: NRMS masks padding; NAML's convolutions read what the language model gives at padding. Titles have
  `max_seq_length` tokens in NAML too.
- Its data hold titles alone: body, category and subcategory encoders can be switched on, but nothing is fed to them,
  so they never reach a score, nor does the attention over views.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from rec_trak.checkpoints.carried import attributes, plain_settings
from rec_trak.checkpoints.code_bases.tables import Rule, Translated, Validation, apply_rules
from rec_trak.checkpoints.code_bases.turns import PREFIX, above, check_settings, dims, plain, third
from rec_trak.config.model import Habits, ModelConfig, TextConfig
from rec_trak.config.reader import build
from rec_trak.config.sections import flat
from rec_trak.data.articles import Articles, build_vocabulary, read_word_vectors
from rec_trak.errors import ConfigError
from rec_trak.words import quoted

NAME = "plm4newsrs"
VALIDATION = Validation(pooled="softmax", one_click=True)  # torchmetrics AUROC over an epoch of validation_step
HABITS = Habits(output_projection=True)
LANGUAGE_MODEL = "news_encoder.lm."
GLOVE = "glove"
HEADS = ("num_attention_heads", "num_user_attention_heads")
HALLMARKS = {
    "nrms": ("news_encoder.word_self_attention.qkv_proj.weight", "user_encoder.news_self_attention.qkv_proj.weight"),
    "naml": ("news_encoder.title_projection.weight", "news_encoder.view_attention_query"),
}
UNREACHED = {
    "nrms": ("news_encoder.lm.pooler.*",),
    "naml": (
        "news_encoder.lm.pooler.*", "news_encoder.view_attention_*", "news_encoder.body_*", "news_encoder.category_*",
        "news_encoder.subcategory_*",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The keys of its YAML that decide the scores, with its own defaults; those without one here must be given.

    `None` stands for a size that the tensors tell; where it is given, it must agree with them.
    """

    model_name: str
    architecture: str | None = None
    fine_tune_lm: bool = True
    glove_file_path: str | None = None
    glove_dim: int | None = None
    max_seq_length: int = field(default=50, metadata={"least": 1})
    max_title_length: int = field(default=30, metadata={"least": 1})
    max_history_length: int = field(default=50, metadata={"least": 1})
    num_attention_heads: int = field(default=16, metadata={"least": 1})
    num_user_attention_heads: int = field(default=16, metadata={"least": 1})
    attention_hidden_dim: int | None = None
    num_filters: int | None = None
    window_sizes: list[int] | None = None

    @property
    def glove(self) -> bool:
        """Whether words are GloVe vectors; its code looks for the word in `model_name` too."""
        return GLOVE in self.model_name.lower()


KEYS = tuple(f.name for f in fields(Settings))


def recognise(names: Iterable[str]) -> str | None:
    """`nrms` or `naml` where these are their parameters' names, with or without the prefix `model.`; else None."""
    there = {name.removeprefix(PREFIX) for name in names}
    return next((architecture for architecture, marks in HALLMARKS.items() if there & set(marks)), None)


def translate(architecture: str, state: Mapping[str, Tensor], where: str) -> Translated:
    """Their state dict under our names, without the bias of the keys, which softmax takes out again.

    `unreached` names that bias as a slice: `...qkv_proj.bias[100:200]`.

    Raises:
        CheckpointError: as `apply_rules`.
    """
    state = _plain(state)
    rules = _nrms_rules() if architecture == "nrms" else _naml_rules(state)
    idle = tuple(name for name in state if name.startswith(f"{LANGUAGE_MODEL}pooler."))
    words = [name for name in state if name.startswith(LANGUAGE_MODEL) and name not in idle]
    rules += [Rule(f"word_embedding.lm.{name.removeprefix(LANGUAGE_MODEL)}", name) for name in words]
    translated = apply_rules(rules, state, UNREACHED[architecture], where)
    joined = [name for name in state if name.endswith("_self_attention.qkv_proj.bias")]
    slices = [f"{name}[{len(state[name]) // 3}:{len(state[name]) // 3 * 2}]" for name in joined]
    return Translated(translated.state, (*slices, *translated.unreached))


def chosen(settings: Mapping[str, Any], architecture: str, where: str) -> dict[str, Any]:
    """The keys that decide the scores, from its YAML as written by hand or by `config.save()`, or from sections of it.

    Raises:
        ConfigError: as `sections.flat`.
    """
    return flat(settings, KEYS, where)


def carried(extras: Mapping[str, Any]) -> dict[str, Any]:
    """Its configuration, as Lightning pickles it into the checkpoint, with `model_type`, the kind; {} where it is not.

    Values of no plain type are left out.
    """
    return plain_settings(attributes(extras.get("hyper_parameters")).get("config"))


def decisive(architecture: str, settings: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys on which such a model's scores depend beyond its tensors, and those that name files."""
    if GLOVE in str(settings.get("model_name", "")).lower():
        length = "max_seq_length" if architecture == "nrms" else "max_title_length"
        keys, files = ("max_history_length", length), ("glove_file_path",)
    else:
        keys, files = ("max_history_length", "max_seq_length", "fine_tune_lm"), ("model_name",)
    return (*keys, *(HEADS if architecture == "nrms" else ())), files


def describe(settings: Mapping[str, Any], state: Mapping[str, Tensor], articles: Articles, where: str) -> ModelConfig:
    """Our configuration of their model.

    Args:
        settings: what `chosen` gave; keys not needed here are ignored.
        state: their state dict, as in the file; complete (`translate` has been through it).
        articles: their titles' words become the vocabulary of a GloVe model.
        where: the settings file, for messages.

    Raises:
        ConfigError: a needed key is missing or mistyped, or one does not fit the tensors.
    """
    given = build(Settings, {key: value for key, value in settings.items() if key in KEYS}, where)
    state = _plain(state)
    architecture = recognise(state)
    check_settings(vars(given), {"architecture": architecture}, where)  # before sizes that only one of them has
    sizes = _nrms_sizes(given, state, where) if architecture == "nrms" else _naml_sizes(state)
    held = {"attention_hidden_dim": sizes["query_dim"]}
    held |= {"num_filters": sizes["filters"], "window_sizes": sizes["windows"]} if architecture == "naml" else {}
    held |= {"glove_dim": sizes["word_dim"]} if given.glove else {}
    check_settings(vars(given), held, where)
    if given.glove == any(name.startswith(LANGUAGE_MODEL) for name in state):
        there = "a language model" if given.glove else "no language model"
        raise ConfigError(
            f"{where}: `model_name` does not fit the checkpoint. Got {quoted(given.model_name)} and a checkpoint that "
            f"holds {there}, expected them to agree. Give the settings that it was trained with."
        )
    return ModelConfig(
        architecture=architecture,
        sizes=sizes,
        habits=HABITS,
        text=_text(given, architecture, articles, where),
        max_history=given.max_history_length,
        history_truncation="first",
        frozen=("word_embedding.*",) if given.glove or not given.fine_tune_lm else (),
    )


def fixed(settings: Mapping[str, Any], config: ModelConfig, where: str) -> dict[str, Tensor]:
    """The tensors under our names that its checkpoints lack: the GloVe vectors of the vocabulary, zeros for others.

    Args:
        settings, where: as `describe`.
        config: what `describe` gave.

    Raises:
        ConfigError: no `glove_file_path`, no file there, or vectors of another width.
        DataError: the file is not in GloVe's format, or has none of the words.
    """
    if config.text.tokeniser == "pretrained":
        return {}
    path = settings.get("glove_file_path")
    if not path:
        raise ConfigError(f"{where}: missing key `glove_file_path`. Got none, expected the vectors it was trained on.")
    place = above(path, where)
    if place.is_dir():
        raise ConfigError(
            f"{where}: `glove_file_path`: is a folder. Got {place}, expected the file of vectors. Name the file in it."
        )
    if not place.is_file():
        raise ConfigError(
            f"{where}: `glove_file_path`: no such file. Got {path}, which is neither in the working directory nor in a "
            f"folder above {where}. Run from where plm4newsrs ran, or mend the path."
        )
    vectors, _ = read_word_vectors(place, config.text.words)
    if vectors.shape[1] != config.sizes["word_dim"]:
        raise ConfigError(
            f"{where}: `glove_file_path`: vectors of another width. Got {vectors.shape[1]} numbers a word in {place}, "
            f"expected {config.sizes['word_dim']}. Name the vectors that the model was trained on."
        )
    return {"word_embedding.weight": torch.from_numpy(vectors)}


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix, and without the counter of places that older language models keep beside parameters."""
    return {name: tensor for name, tensor in plain(state).items() if not name.endswith(".embeddings.position_ids")}


def _nrms_rules() -> list[Rule]:
    return [
        *_self_attention("title_self_attention", "news_encoder.word_self_attention"),
        *_attention("title_attention", "news_encoder.word_attention"),
        *_self_attention("user_self_attention", "user_encoder.news_self_attention"),
        *_attention("user_attention", "user_encoder.news_attention"),
    ]


def _naml_rules(state: Mapping[str, Tensor]) -> list[Rule]:
    rules = _attention("user_attention", "user_encoder.news_attention")
    for i in range(_convs(state)):
        ours, theirs = f"text_encoders.title.convs.{i}", f"news_encoder.title_cnn.convs.{i}"
        rules += [Rule(f"{ours}.weight", f"{theirs}.weight", dims(3)), Rule(f"{ours}.bias", f"{theirs}.bias")]
    for kind in ("weight", "bias"):
        rules.append(Rule(f"text_encoders.title.projection.{kind}", f"news_encoder.title_projection.{kind}"))
    return rules


def _convs(state: Mapping[str, Tensor]) -> int:
    """How many convolutions a title goes through; at least one."""
    start = "news_encoder.title_cnn.convs."
    return max(len({name.removeprefix(start).split(".")[0] for name in state if name.startswith(start)}), 1)


def _self_attention(ours: str, theirs: str) -> list[Rule]:
    """Query, key and value are three blocks of one layer. No key bias: softmax takes it out again."""
    parts = [("w_q", 0, "weight"), ("w_q", 0, "bias"), ("w_k", 1, "weight"), ("w_v", 2, "weight"), ("w_v", 2, "bias")]
    return [
        *(Rule(f"{ours}.{part}.{kind}", f"{theirs}.qkv_proj.{kind}", third(i)) for part, i, kind in parts),
        Rule(f"{ours}.w_o.weight", f"{theirs}.out_proj.weight", dims(2)),
        Rule(f"{ours}.w_o.bias", f"{theirs}.out_proj.bias"),
    ]


def _attention(ours: str, theirs: str) -> list[Rule]:
    return [
        Rule(f"{ours}.projection.weight", f"{theirs}.attention.0.weight", dims(2)),
        Rule(f"{ours}.projection.bias", f"{theirs}.attention.0.bias"),
        Rule(f"{ours}.query.weight", f"{theirs}.attention.2.weight"),
    ]


def _nrms_sizes(given: Settings, state: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    width = state["news_encoder.word_self_attention.out_proj.weight"].shape[0]
    query_dim = state["news_encoder.word_attention.attention.0.weight"].shape[0]
    for key in HEADS:
        if width % getattr(given, key):
            got = getattr(given, key)
            raise ConfigError(
                f"{where}: `{key}` does not fit the checkpoint. Got {got}, expected a divisor of its width {width}. "
                "Give the settings that it was trained with."
            )
    return {
        "word_dim": width,
        "heads": given.num_attention_heads,
        "head_dim": width // given.num_attention_heads,
        "user_heads": given.num_user_attention_heads,
        "query_dim": query_dim,
    }


def _naml_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    kernels = [state[f"news_encoder.title_cnn.convs.{i}.weight"] for i in range(_convs(state))]
    filters, word_dim, _ = kernels[0].shape
    query_dim = state["user_encoder.news_attention.attention.0.weight"].shape[0]
    windows = [kernel.shape[-1] for kernel in kernels]
    return {"word_dim": word_dim, "filters": filters, "windows": windows, "query_dim": query_dim}


def _text(given: Settings, architecture: str, articles: Articles, where: str) -> TextConfig:
    if not given.glove:
        return TextConfig(
            tokeniser="pretrained",
            pretrained=str(above(given.model_name, where)),
            title_length=given.max_seq_length,
            padding="masked" if architecture == "nrms" else "read",
        )
    return TextConfig(
        tokeniser="whitespace",
        title_length=given.max_seq_length if architecture == "nrms" else given.max_title_length,
        padding="read",
        unknown="padding",
        words=build_vocabulary(articles, "whitespace", ("title",)),
    )
