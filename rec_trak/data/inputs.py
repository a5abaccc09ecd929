"""Rows and articles -> what one model reads of them, as arrays. Not here: which rows go together, tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rec_trak.config.model import ModelConfig
from rec_trak.data.articles import Articles, encode_articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import AT_ONCE, Ragged, distinct, gathered, offsets_of
from rec_trak.errors import ConfigError, DataError
from rec_trak.words import outline


@dataclass(frozen=True)
class Inputs:
    """Everything a batch is cut from: N rows (histories already truncated), the articles' views, the users' numbers.

    Attributes:
        impressions: N rows.
        views: view name -> (A, T) or (A,) int32 array over the whole `Articles` table, or (A, ...) of a view of the
            user's own; one article without any text, all zeros, stands behind them where histories are padded.
        users: (N,) int64 numbers for the user embedding, 0 for an unknown user.
    """

    impressions: Impressions
    views: dict[str, np.ndarray]
    users: np.ndarray

    __repr__ = outline

    def __len__(self) -> int:
        return len(self.impressions)


def build_inputs(impressions: Impressions, articles: Articles, config: ModelConfig) -> Inputs:
    """The rows as one model reads them: histories cut to `max_history`, articles encoded, users numbered.

    Raises:
        DataError: no article has anything to read in a view, or the rows show one that a view of the user's own lacks.
        ConfigError: the model reads nothing of an article.
    """
    views = encode_articles(articles, config.text, config.views)
    empty = [f"`{name}`" for name, values in views.items() if not values.any()]
    if empty:
        known = "a word" if empty[0] in ("`title`", "`body`") else "a name that the model knows"
        raise DataError(
            f"{articles.source}: nothing to read in view(s) {', '.join(empty)}. Got none in {len(articles)} articles, "
            f"expected {known} in some. Give articles that have them, or leave them out of the model's `views`."
        )
    numbers = {user: i + 1 for i, user in enumerate(config.users)}
    users = (numbers.get(str(user), 0) for user in impressions.user_ids)
    users = np.fromiter(users, dtype=np.int64, count=len(impressions))
    history = truncated(impressions.history, config)
    if articles.further is not None:
        used = distinct(np.concatenate([history.values, impressions.candidates.values]))
        views |= articles.further.of(articles.ids, used)
    if not views:
        said = "Got neither `views` in `model_config` nor `article_ids` in the YAML, expected one of them. Give it."
        raise ConfigError(f"model: nothing of an article is read. {said}")
    if config.history_padding != "none":
        history = _left_padded(history, config.max_history, len(articles), config.history_padding == "left_cut")
        views = {name: np.concatenate([values, np.zeros_like(values[:1])]) for name, values in views.items()}
    return Inputs(replace(impressions, history=history), views, users)


def truncated(history: Ragged, config: ModelConfig) -> Ragged:
    """What one model reads of each sequence, the first or the last `max_history`; without padding."""
    most, kept = config.max_history, config.history_truncation
    if history.lengths.max(initial=0) <= most:
        return history
    lengths = np.minimum(history.lengths, most)
    starts = history.offsets[:-1] if kept == "first" else history.offsets[1:] - lengths
    return Ragged(*gathered(history.values, starts, lengths))


def _left_padded(history: Ragged, width: int, padding: int, cut: bool) -> Ragged:
    """Each sequence filled up to `width` from the left with article `padding`, an article without any text; with `cut`
    only the first so many of that as the sequence has entries, at least one."""
    lengths = history.lengths
    kept = np.maximum(lengths, 1) if cut else np.full(len(history), width)
    offsets = offsets_of(kept)
    values = np.empty(offsets[-1], dtype=np.int64)
    for a in range(0, len(history), AT_ONCE):
        own, ends = lengths[a : a + AT_ONCE, None], history.offsets[a : a + AT_ONCE + 1]
        filled = np.full((len(own), width), padding, dtype=np.int64)
        filled[np.arange(width) >= width - own] = history.values[ends[0] : ends[-1]]
        values[offsets[a] : offsets[a + len(own)]] = filled[np.arange(width) < kept[a : a + AT_ONCE, None]]
    return Ragged(values, offsets)
