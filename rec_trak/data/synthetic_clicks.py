"""Readers, bots and their clicks in the demo world. Not here: words (headlines.py), files (synthetic.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rec_trak.data.headlines import BANKS, headline


@dataclass(frozen=True)
class WorldSettings:
    """The sizes of a world.

    Attributes:
        articles, fake_share: how many, all topics together, and the share of them that is fake.
        train_users, val_users, held_out_users: genuine readers.
        most_rows: a reader has 1 to so many impressions, few readers many.
        candidates: articles in an impression, the clicked one among them.
        most_history: a history is the newest so many articles read; a reader's first history has 2.
        other_interest: in a topic that is not one of the reader's own 1 to 3, which have 1, 0.5 and 0.25.
        personalised: the share of an impression that is chosen to the reader's taste.
        promoted: promoted fake articles.
        bots, bot_clicks: bot accounts, and their clicks on each promoted article.
        genuine_clicks: train readers who come across each promoted article and click it; a few more do unprompted.
        curious: the share of those readers who click it whatever their interests are.
        copied: the share of a bot's log that is one genuine reader's; the rest is drawn by how much is read.
        targets: held-out readers to whom each promoted article is shown.
    """

    articles: int = 320
    fake_share: float = 0.12
    train_users: int = 260
    val_users: int = 35
    held_out_users: int = 75
    most_rows: int = 40
    candidates: int = 5
    most_history: int = 8
    other_interest: float = 0.03
    personalised: float = 0.35
    promoted: int = 3
    bots: int = 60
    bot_clicks: int = 40
    genuine_clicks: int = 25
    curious: float = 0.2
    copied: float = 0.7
    targets: int = 20


class Row(NamedTuple):
    user: str
    history: list[int]
    clicked: int
    others: list[int]
    poisoned: int = 0


@dataclass(frozen=True)
class Shelf:
    """A articles by column, and the positions of the promoted ones."""

    ids: list[str]
    titles: list[str]
    texts: list[str]
    topic: np.ndarray
    fake: np.ndarray
    appeal: np.ndarray
    popularity: np.ndarray
    promoted: list[int]


@dataclass(frozen=True)
class Reader:
    """A genuine user: interest in each topic, trust in fakes, `size` rows, row -> planted click, articles read."""

    user: str
    interest: np.ndarray
    trust: float
    size: int
    planted: dict[int, int] = field(default_factory=dict)
    log: list[int] = field(default_factory=list)


def _draw(rng: np.random.Generator, weights: np.ndarray, k: int = 1) -> list[int]:
    """k different positions, one after the other, in proportion to the weights."""
    weights, drawn = np.array(weights, dtype=float), []
    for _ in range(k):
        ends = np.cumsum(weights)
        drawn.append(int(np.searchsorted(ends, rng.random() * ends[-1] * (1 - 1e-12), side="right")))
        weights[drawn[-1]] = 0
    return drawn


def shuffled(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.argsort(rng.random(n), kind="stable")


def new_articles(rng: np.random.Generator, settings: WorldSettings) -> Shelf:
    """The articles: fake and real ones spread evenly over the topics, all titles different."""
    topics, order = list(BANKS), shuffled(rng, settings.articles)
    topic, fake = order % len(topics), order < round(settings.fake_share * settings.articles)
    words: dict[str, str] = {}
    appeal = []
    for t, is_fake in zip(topic, fake, strict=True):
        title, body, pull = headline(rng, topics[t], bool(is_fake))
        while title in words:
            title, body, pull = headline(rng, topics[t], bool(is_fake))
        words[title] = body
        appeal.append(pull * (0.25 + 1.5 * rng.random()))
    one_a_topic = np.flatnonzero(fake & (order < len(topics)))
    promoted = one_a_topic[shuffled(rng, len(one_a_topic))[: settings.promoted]].tolist()
    popularity = 1 / (1 + 4 * rng.random(settings.articles))
    popularity[promoted] = 2  # promotion makes them visible
    ids = [f"N{10000 + i}" for i in range(settings.articles)]
    return Shelf(ids, list(words), list(words.values()), topic, fake, np.array(appeal), popularity, promoted)


def new_readers(rng: np.random.Generator, names: list[str], n: int, settings: WorldSettings) -> list[Reader]:
    """n genuine users, their names taken from the list. How many have how many rows does not depend on the seed."""
    readers = []
    for place in shuffled(rng, n):
        interest = np.full(len(BANKS), settings.other_interest)
        own = _draw(rng, np.ones(len(BANKS)), 1 + int(3 * rng.random()))
        interest[own] = (1, 0.5, 0.25)[: len(own)]
        trust = 1.0 if rng.random() < 0.2 else 0.05
        share = (place + 0.5) / n
        size = 1 + int(settings.most_rows * share * share * share)
        readers.append(Reader(names.pop(), interest, trust, size))
    return readers


def plant_genuine_clicks(
    rng: np.random.Generator, shelf: Shelf, readers: list[Reader], settings: WorldSettings
) -> None:
    """Choose who meets a promoted article, and when; `curious` of them are anybody, the others like its topic."""
    for article in shelf.promoted:
        for i in range(settings.genuine_clicks):
            free = [r.size > len(r.planted) and article not in r.planted.values() for r in readers]
            curious = i < round(settings.curious * settings.genuine_clicks)
            liking = 1 if curious else np.array([r.interest[shelf.topic[article]] for r in readers])
            reader = readers[_draw(rng, np.array(free) * liking)[0]]
            open_rows = [t for t in range(reader.size) if t not in reader.planted]
            reader.planted[open_rows[int(rng.random() * len(open_rows))]] = article


def _slate(
    rng: np.random.Generator, shelf: Shelf, reader: Reader, barred: list[int], size: int, settings: WorldSettings
) -> list[int]:
    """The articles the platform shows: popular ones, a share of them to the reader's taste, none of the barred."""
    popular = shelf.popularity.copy()
    popular[barred] = 0
    shown: list[int] = []
    for _ in range(size):
        taste = reader.interest[shelf.topic] if rng.random() < settings.personalised else 1
        shown += _draw(rng, popular * taste)
        popular[shown[-1]] = 0
    return shown


def read_rows(rng: np.random.Generator, shelf: Shelf, reader: Reader, settings: WorldSettings) -> list[Row]:
    """A genuine user's rows, and its log filled: each click joins the next row's history."""
    drawn_to = reader.interest[shelf.topic] * shelf.appeal * np.where(shelf.fake, reader.trust, 1)
    before = drawn_to * shelf.popularity
    before[shelf.promoted] = 0  # new articles: nobody has read them before the log begins
    reader.log.extend(_draw(rng, before, 2))
    rows = []
    for t in range(reader.size):
        shown = _slate(rng, shelf, reader, [*reader.log, *reader.planted.values()], settings.candidates, settings)
        chosen = _draw(rng, drawn_to[shown])[0]
        if t in reader.planted:
            shown[chosen] = reader.planted[t]
        clicked = shown.pop(chosen)
        rows.append(Row(reader.user, reader.log[-settings.most_history :], clicked, shown))
        reader.log.append(clicked)
    return rows


def bot_rows(
    rng: np.random.Generator, shelf: Shelf, readers: list[Reader], names: list[str], settings: WorldSettings
) -> list[Row]:
    """The injected clicks: each bot follows one genuine reader's log and clicks promoted articles along the way."""
    clicks: dict[int, list[int]] = {}
    for article in shelf.promoted:
        for bot in shuffled(rng, settings.bots)[: settings.bot_clicks].tolist():
            clicks.setdefault(bot, []).append(article)
    reads = np.bincount([a for r in readers for a in r.log], minlength=len(shelf.ids)).astype(float)
    rows = []
    for _, articles in sorted(clicks.items()):
        active = np.array([r.size >= len(articles) for r in readers])
        source, user = readers[_draw(rng, active)[0]], names.pop()
        log = list(source.log)
        unread = reads + 0.5
        unread[log + shelf.promoted] = 0
        random_share = {int(i) for i in shuffled(rng, len(log))[round(settings.copied * len(log)) :]}
        replaced = sorted(random_share | {i for i, read in enumerate(log) if read in articles})
        for i, filler in zip(replaced, _draw(rng, unread, len(replaced)), strict=True):
            log[i] = filler
        times = sorted(shuffled(rng, source.size)[: len(articles)].tolist())
        for earlier, (t, i) in enumerate(zip(times, shuffled(rng, len(articles)), strict=True)):
            now = 2 + t + earlier
            history = log[max(0, now - settings.most_history) : now]
            shown = _slate(rng, shelf, source, log + articles, settings.candidates - 1, settings)
            rows.append(Row(user, history, articles[i], shown, poisoned=1))
            log.insert(now, articles[i])
    return rows


def clean_rows(rng: np.random.Generator, shelf: Shelf, rows: list[Row]) -> list[Row]:
    """The rows without a fake article in history or as the click; fake other candidates are replaced by real ones."""
    kept = [row for row in rows if not shelf.fake[[*row.history, row.clicked]].any()]
    cleaned = []
    for row in kept:
        others = [a for a in row.others if not shelf.fake[a]]
        real = shelf.popularity * ~shelf.fake
        real[[*row.history, row.clicked, *others]] = 0
        cleaned.append(row._replace(others=others + _draw(rng, real, len(row.others) - len(others))))
    return cleaned


def target_rows(rng: np.random.Generator, shelf: Shelf, readers: list[Reader], settings: WorldSettings) -> list[Row]:
    """Each promoted article shown to readers of its own, before they have read it; it is the candidate to explain."""
    rows = []
    order = shuffled(rng, len(readers))
    for j, article in enumerate(shelf.promoted):
        for i in order[j * settings.targets : (j + 1) * settings.targets]:
            reader = readers[i]
            log = reader.log[: reader.log.index(article)] if article in reader.log else reader.log
            shown = _slate(rng, shelf, reader, [*log, article], settings.candidates - 1, settings)
            rows.append(Row(reader.user, log[-settings.most_history :], article, shown))
    return rows
