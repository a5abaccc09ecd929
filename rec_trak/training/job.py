"""A training as its YAML describes it: data and vocabulary in, checkpoints out. Not here: the training loop.

What a model is (words, categories, users) comes from the articles and from every click log of the tree, never from one
data set alone, so that the clean and the poisoned checkpoint share one model.json.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.config.analysis import DATASET_TYPES
from rec_trak.config.documents import DocumentError, read_json
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.config.reading import reading_of
from rec_trak.config.training import TrainingConfig
from rec_trak.data.articles import Articles, build_vocabulary, read_word_vectors
from rec_trak.data.coverage import LITTLE
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.data.places import click_log_path, data_format, plain_name, validation_name
from rec_trak.data.sources import read_data
from rec_trak.data.validation import in_its_language, read_validation
from rec_trak.errors import ConfigError, DataError, RecTrakWarning
from rec_trak.models.build import read_sizes
from rec_trak.progress import tell
from rec_trak.training.members import train_members
from rec_trak.training.trainer import TrainSettings
from rec_trak.words import quoted

USER_MAP = "user_to_idx_map.json"
TEXT_KEYS = ("tokeniser", "title_length", "body_length")


def train_run(
    config: TrainingConfig, dataset_type: str, members: int = 1, halves: bool = False, device: str = "cpu"
) -> list[Path]:
    """Train the members that are missing; returns their checkpoint files, named after the data set.

    Args:
        config: the training.
        dataset_type: `train_clean`, another data set of the tree or a path; `val_clean` and the like beside it stop
            early.
        members: how many, with seeds `seed`, `seed + 1`, ...
        halves: each member on its own random half of the rows.
        device: cpu or cuda.

    Raises:
        ConfigError, DataError, NumericalError: whatever is wrong with the input, or a training that diverges.
    """
    articles, impressions = _read(config, config.data_path, config.news_items_path, dataset_type)
    vectors, words = _words(config, articles)
    model_config = _model_config(config, dataset_type, articles, words, vectors, impressions)
    inputs = build_inputs(impressions, articles, model_config)
    validation, settings = validation_inputs(config, dataset_type, model_config), train_settings(config)
    name = plain_name(dataset_type).removeprefix("train_")
    return train_members(
        model_config,
        inputs,
        validation,
        settings,
        config.output_dir,
        name,
        config.seed,
        members,
        halves,
        vectors,
        device,
    )


def train_settings(config: TrainingConfig) -> TrainSettings:
    """How the YAML trains."""
    return TrainSettings(
        config.epochs, config.batch_size, config.learning_rate, config.patience, config.weight_decay, loss=config.loss
    )


def check_same_model(config: TrainingConfig, model_config: ModelConfig, where: str) -> None:
    """Refuse a training that would build another model than `model_config`, up to its vocabulary and its users.

    Args:
        config: the training.
        model_config: the model that is there.
        where: the training's file, for the message.

    Raises:
        ConfigError: names the first key that differs, with both values.
    """
    here = (config.history_truncation or model_config.history_truncation, *_texts(config, model_config))
    given = {
        "architecture": config.architecture,
        "views": tuple(config.views),
        "max_history": config.max_history,
        "loss": config.loss,
        "frozen": tuple(config.frozen),
        **dict(zip(("history_truncation", *TEXT_KEYS), here, strict=True)),
        "history_padding": "none",
        "padding": TextConfig().padding,
        "padding_row": TextConfig().padding_row,
        "unknown": TextConfig().unknown,
    }
    for key, value in given.items():
        held = getattr(model_config if hasattr(model_config, key) else model_config.text, key)
        held = tuple(held) if isinstance(value, tuple) else held
        if value != held:
            _refuse_model(where, key, value, held)
    sizes = dict(config.sizes)
    if config.word_vectors is not None and "word_dim" in model_config.sizes:
        sizes.setdefault("word_dim", model_config.sizes["word_dim"])  # that of the vectors, which are checked on use
    built, there = (_layers(replace(model_config, sizes=s)) for s in (sizes, model_config.sizes))
    for key, value in built.items():
        if value != there[key]:
            _refuse_model(where, f"sizes.{key}", value, there[key])


def _layers(config: ModelConfig) -> dict[str, Any]:
    """The architecture's sizes and habits by name."""
    sizes, config = read_sizes(config)
    return asdict(config.habits) | asdict(sizes)


def _texts(config: TrainingConfig, model_config: ModelConfig) -> tuple:
    """The values of TEXT_KEYS; the length of a text that the model does not read counts as equal."""
    lengths = (
        getattr(config if view in config.views else model_config.text, f"{view}_length") for view in ("title", "body")
    )
    return config.tokeniser, *lengths


def _refuse_model(where: str, key: str, value: Any, held: Any) -> None:
    raise ConfigError(
        f"{where}: trains another model than the run's. Got `{key}` {quoted(value)}, the checkpoints have "
        f"{quoted(held)}. Give the YAML that they were trained with."
    )


def start_vectors(config: TrainingConfig, model_config: ModelConfig) -> np.ndarray | None:
    """The word vectors (V + 2, dim) that training starts from for this model's words; None where none are given.

    Raises:
        DataError: the file is missing or malformed.
    """
    if config.word_vectors is None:
        return None
    return read_word_vectors(config.word_vectors, model_config.text.words)[0]


def _read(
    config: TrainingConfig, data_path: str, news_items_path: str | None, dataset_type: str
) -> tuple[Articles, Impressions]:
    return read_data(data_path, news_items_path, dataset_type, reading_of(config))


def _words(config: TrainingConfig, articles: Articles) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The vocabulary of the articles and, where a vector file is given, its vectors (V + 2, dim)."""
    words = build_vocabulary(articles, config.tokeniser, config.views, config.min_count)
    if config.word_vectors is None:
        return None, words
    vectors, found = read_word_vectors(config.word_vectors, words)
    if not found.any():
        raise DataError(
            f"{config.word_vectors}: none of the articles' {len(words)} words is in it. Got no vector, expected some. "
            "Check `word_vectors` and `tokeniser`."
        )
    tell(f"word vectors: {int(found.sum()):,} of {len(words):,} words ({found.mean():.0%}) have one")
    if found.mean() < LITTLE:
        warnings.warn(
            f"{config.word_vectors}: vectors for few of the words. Got {int(found.sum()):,} of {len(words):,}, "
            "expected most; the others start from zeros. Check `tokeniser`, and that the vectors are of this language.",
            RecTrakWarning,
            stacklevel=4,
        )
    return vectors, words


def _model_config(
    config: TrainingConfig,
    dataset_type: str,
    articles: Articles,
    words: tuple[str, ...],
    vectors: np.ndarray | None,
    impressions: Impressions,
) -> ModelConfig:
    sizes = dict(config.sizes)
    if vectors is not None and sizes.setdefault("word_dim", vectors.shape[1]) != vectors.shape[1]:
        raise ConfigError(
            f"`sizes.word_dim`: not the size of the word vectors. Got {sizes['word_dim']}, expected {vectors.shape[1]} "
            f"({config.word_vectors}). Leave it out."
        )
    pairwise = data_format(config.data_path, dataset_type, config.data_format) == "pairwise"
    return ModelConfig(
        architecture=config.architecture,
        views=config.views,
        sizes=sizes,
        text=TextConfig(
            tokeniser=config.tokeniser,
            title_length=config.title_length,
            body_length=config.body_length,
            words=words,
            categories=tuple(sorted(set(articles.categories) - {""})),
            subcategories=tuple(sorted(set(articles.subcategories) - {""})),
        ),
        max_history=config.max_history,
        history_truncation=config.history_truncation or ("first" if pairwise else "last"),
        users=_users(config, impressions) if config.architecture == "lstur" else (),
        loss=config.loss,
        frozen=config.frozen,
    )


def _users(config: TrainingConfig, impressions: Impressions) -> tuple[str, ...]:
    """The users of the tree's map, in its order, or else of all its training logs, sorted."""
    path = Path(config.data_path) / USER_MAP
    if path.is_file():
        return _mapped_users(path)
    users = set(impressions.user_ids)
    for other in DATASET_TYPES:
        try:
            users |= set(_read(config, config.data_path, config.news_items_path, other)[1].user_ids)
        except DataError:
            continue  # a tree may hold one data set alone
    return tuple(sorted(map(str, users)))


def _mapped_users(path: Path) -> tuple[str, ...]:
    try:
        numbers: Any = read_json(path)
    except DocumentError as error:
        raise DataError(f"{path}: not valid JSON ({error}). Expected user id -> number. Mend or remove it.") from None
    if not isinstance(numbers, dict) or not all(isinstance(n, int) for n in numbers.values()):
        raise DataError(f"{path}: not a user map. Expected user id -> whole number. Mend or remove it.")
    return tuple(sorted(numbers, key=lambda user: (numbers[user], user)))


def validation_inputs(config: TrainingConfig, dataset_type: str, model_config: ModelConfig) -> Inputs | None:
    """The validation impressions, whole: of `validation_path`, or of the tree's own val_ file; None without either.

    Args:
        config: the training.
        dataset_type: what is trained on.
        model_config: how the model reads rows.

    Raises:
        DataError: a file is malformed, or `validation_path` holds no click log.
    """
    root = config.validation_path or config.data_path
    name = validation_name(dataset_type)
    if config.validation_path is not None:
        name = name if name and _there(config, root, name) else "val_clean"
    elif name is None or _is_one_log(config, dataset_type, name):
        return None
    news = in_its_language(config.news_items_path, root) if config.validation_path else config.news_items_path
    try:
        articles, impressions = read_validation(root, news, name, reading_of(config))
    except DataError as error:
        if config.validation_path is not None or "no click log" not in str(error):
            raise
        warnings.warn(
            f"{root}: no {name} log, so training runs all {config.epochs} epochs.", RecTrakWarning, stacklevel=3
        )
        return None
    return build_inputs(impressions, articles, model_config)


def _there(config: TrainingConfig, root: str, name: str) -> Path | None:
    """The click log of this name in a tree; None where there is none."""
    try:
        return click_log_path(root, name, config.data_format)
    except DataError:
        return None


def _is_one_log(config: TrainingConfig, dataset_type: str, validation: str) -> bool:
    """Whether a tree has one log, which its validation set would be too, or one whose format has no impressions."""
    form = data_format(config.data_path, dataset_type, config.data_format)
    trained, validated = (_there(config, config.data_path, name) for name in (dataset_type, validation))
    return form == "adressa" or (trained is not None and trained == validated)
