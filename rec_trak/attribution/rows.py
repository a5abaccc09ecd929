"""What an analysis names, read: rows, articles, and the model's settings. Not here: weights, gradients, target sets."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.checkpoints.source import OURS, ModelSource, code_base_reading, read_settings, read_source
from rec_trak.config.analysis import AnalysisConfig
from rec_trak.config.model import OWN, ModelConfig
from rec_trak.config.reading import Reading, reading_of
from rec_trak.data.articles import Articles
from rec_trak.data.further import read_further
from rec_trak.data.impressions import Impressions
from rec_trak.data.places import data_format
from rec_trak.data.sources import read_data
from rec_trak.errors import ConfigError, RecTrakWarning
from rec_trak.words import quoted


@dataclass(frozen=True)
class ReadInput:
    """Rows and settings.

    Attributes:
        articles, impressions: the tables; impressions are what rankings speak of.
        reading: how the click log was read.
        source: where models come from.
        model_config: the source's, as the analysis asks for it.
    """

    articles: Articles
    impressions: Impressions
    reading: Reading
    source: ModelSource
    model_config: ModelConfig


def read_input(
    config: AnalysisConfig, dataset_type: str, where: str | None, checkpoint: str | Path, asked_for: bool = False
) -> ReadInput:
    """Rows and settings of one analysis.

    Args:
        config: the analysis.
        dataset_type: which click log.
        where: the settings file; None where the checkpoint says it.
        checkpoint: one of those that the settings are of.
        asked_for: see `sample`.

    Raises:
        ConfigError, DataError, CheckpointError: whatever is wrong with the input.
    """
    settings = read_settings(where, config.model, config.forward, checkpoint)
    reading = reading_of(config, trained_on(config, dataset_type, settings, Path(checkpoint)))
    articles, impressions = read_rows(config, dataset_type, asked_for, reading)
    source = read_source(settings, where, config.code_base, checkpoint, articles)
    return ReadInput(articles, impressions, reading, source, as_asked(config, source.config, source.code_base))


def as_asked(config: AnalysisConfig, model_config: ModelConfig, code_base: str = OURS) -> ModelConfig:
    """The settings of a model with what the analysis says instead: `history_truncation`, `tokeniser`.

    Raises:
        ConfigError: the analysis has `tokeniser` or `article_ids` where the model cannot have them.
    """
    if config.history_truncation:
        model_config = dataclasses.replace(model_config, history_truncation=config.history_truncation)
    if config.article_ids is not None and model_config.architecture != OWN:
        raise ConfigError(
            f"`article_ids`: {model_config.architecture} reads texts and topics alone. Got "
            f"{quoted(config.article_ids)}, expected none. Leave it out, or name a class of your own as `model`."
        )
    if config.tokeniser is None:
        return model_config
    text, theirs = model_config.text, code_base != OURS
    if theirs or text.tokeniser not in ("regex", "whitespace"):
        said = f"{code_base}'s own code" if theirs else f"`text.tokeniser: {text.tokeniser}` in `model_config`"
        raise ConfigError(
            f"`tokeniser`: the model's settings say how texts are split. Got {quoted(config.tokeniser)} and {said}, "
            "expected one of them. Leave it out" + ("." if theirs else ", or leave `text.tokeniser` out.")
        )
    return dataclasses.replace(model_config, text=dataclasses.replace(text, tokeniser=config.tokeniser))


def read_rows(
    config: AnalysisConfig, dataset_type: str, asked_for: bool, reading: Reading | None = None
) -> tuple[Articles, Impressions]:
    """The articles and the impressions of one data set, sampled as the configuration says; see `sample`."""
    reading = reading or reading_of(config)
    articles, impressions = read_data(config.data_path, config.news_items_path, dataset_type, reading)
    if config.article_ids is not None:
        further = read_further(config.article_ids, articles.ids, articles.source)
        articles = dataclasses.replace(articles, further=further)
    return articles, sample(impressions, config.sample_size, config.seed, asked_for)


def sample(impressions: Impressions, size: int | None, seed: int, asked_for: bool) -> Impressions:
    """A seeded subset of `size` impressions in their own order, or all of them.

    Raises:
        ConfigError: more than there are, asked for by a flag (from a YAML it is clipped with a warning).
    """
    places = sampled(len(impressions), size, seed, asked_for)
    return impressions if len(places) == len(impressions) else impressions.subset(places)


def sampled(count: int, size: int | None, seed: int, asked_for: bool) -> np.ndarray:
    """The places, ascending, of that subset of `count` impressions; see `sample`."""
    if size is None or within(size, count, "sample_size", "impressions", asked_for) == count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size=size, replace=False))


def within(wanted: int, there: int, key: str, what: str, asked_for: bool) -> int:
    """`wanted`, or `there` with a warning where a YAML asks for more; a flag that asks for more is refused."""
    if wanted <= there:
        return wanted
    message = f"`{key}`: more than there are. Got {wanted}, expected at most {there} {what}."
    if asked_for:
        raise ConfigError(f"--{key}: {message} Give a smaller number.")
    warnings.warn(f"{message} Going on with {there}.", RecTrakWarning, stacklevel=3)
    return there


def trained_on(
    config: AnalysisConfig, dataset_type: str, settings: ModelConfig | dict[str, Any] | None, checkpoint: Path
) -> dict[str, Any]:
    """What the checkpoint's code base says of the rows it trains on; its days are MIND's."""
    said = code_base_reading(settings, config.code_base, checkpoint)
    mind = data_format(config.data_path, dataset_type, config.data_format) == "mind"
    return said if mind else {key: value for key, value in said.items() if key not in ("since", "until")}
