"""How much of what rows show a model's dictionaries know: words, users, topics. Not here: looking anything up."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from rec_trak.config.model import ModelConfig
from rec_trak.data.articles import Articles, tokenise
from rec_trak.data.impressions import Impressions
from rec_trak.data.own_tokens import is_own, own_tokens
from rec_trak.errors import DataError, RecTrakWarning
from rec_trak.words import QUOTE, plain

AT_ONCE = 1_000_000  # places in rows that are looked at together
LITTLE = 0.5  # of what is looked up: a dictionary that knows less is hardly the one that the model was trained with
TEXTS = {"title": "titles", "body": "bodies"}
TOPICS = {"category": "categories", "subcategory": "subcategories"}


@dataclass(frozen=True)
class Coverage:
    """Of the different things of a kind that rows show, how many a model knows.

    Attributes:
        what: `words of titles`, `users`, `categories` and the like.
        known, shown: counts; of words, each time one occurs in an article counts.
    """

    what: str
    known: int
    shown: int

    @property
    def share(self) -> float:
        """In [0, 1]; 1 where nothing was looked up."""
        return self.known / self.shown if self.shown else 1.0

    def __str__(self) -> str:
        return f"{self.what} {100 * self.share:.0f} % ({self.known:,} of {self.shown:,})"


def coverage(rows: Impressions, articles: Articles, config: ModelConfig) -> tuple[Coverage, ...]:
    """What a model knows of the rows: the words and topics of the articles in them, and with an embedding the users.

    Args:
        rows: whose histories and candidates count.
        articles: the table.
        config: of the model; a language model's tokeniser knows all words in some way, and is left out.
    """
    shown = np.zeros(len(articles), dtype=bool)
    for values in (rows.history.values, rows.candidates.values):
        for start in range(0, len(values), AT_ONCE):
            part = values[start : start + AT_ONCE]
            shown[part[part < len(articles)]] = True  # those behind them pad
    used = np.flatnonzero(shown).tolist()
    found = []
    for view in config.views:
        if view in TEXTS and (config.text.tokeniser in ("regex", "whitespace") or is_own(config.text.tokeniser)):
            found += _words(view, used, articles, config)
        elif view in TOPICS:
            told, names = getattr(articles, TOPICS[view]), set(getattr(config.text, TOPICS[view]))
            different = {told[a] for a in used} - {""}
            found.append(Coverage(TOPICS[view], len(different & names), len(different)))
    if articles.further is not None:
        ids = [articles.ids[a] for a in used]
        known = sum(article in articles.further.position for article in ids)
        found.append(Coverage(f"articles in {articles.further.source}", known, len(ids)))
    if config.users:
        different = set(map(str, rows.user_ids))
        found.append(Coverage("users", len(different.intersection(config.users)), len(different)))
    return tuple(found)


def check_coverage(covered: tuple[Coverage, ...], config: ModelConfig) -> None:
    """Warn where a dictionary knows little of the rows.

    Raises:
        DataError: a model with an embedding of users knows none of them.
    """
    for one in covered:
        if one.what == "users" and one.shown and not one.known:
            raise DataError(
                f"model {config.architecture}: no user of the click log is known. Got {one.shown:,} users, expected "
                f"some of its {len(config.users):,}, such as {plain(config.users[0], QUOTE)}. Give the log and the "
                "user map that it was trained with."
            )
        if one.share < LITTLE:
            warnings.warn(
                f"model {config.architecture}: little of the rows is known: {one}. Expected nearly all. Is this the "
                "vocabulary, the tokeniser and the data that it was trained with?",
                RecTrakWarning,
                stacklevel=3,
            )


def _words(view: str, used: list[int], articles: Articles, config: ModelConfig) -> list[Coverage]:
    """Of one view; nothing where a tokeniser of the user's own gives numbers, all of which it knows."""
    vocabulary, known, shown = set(config.text.words), 0, 0
    texts = getattr(articles, TEXTS[view])
    length = config.text.title_length if view == "title" else config.text.body_length
    tokeniser, told = config.text.tokeniser, ((articles.ids[a], texts[a]) for a in used)
    split = own_tokens(told, tokeniser) if is_own(tokeniser) else (tokenise(text, tokeniser) for _, text in told)
    for tokens in (tokens[:length] for tokens in split):
        if tokens and type(tokens[0]) is int:
            return []
        known += sum(token in vocabulary for token in tokens)
        shown += len(tokens)
    return [Coverage(f"words of {TEXTS[view]}", known, shown)]
