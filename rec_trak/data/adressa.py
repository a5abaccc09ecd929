"""Adressa as it is published: a file of events a day, JSON a line. Not here: newsreclib's form (prepared.py), or rows.

Source: the data set of the SmartMedia project (Adressavisen, NTNU), and what newsreclib's adressa_dataframe.py makes of
it, commit f29aea8. An event on an article has `id`, `title`, `userId` and `time`, and says what the article is about in
`category1`, `a|b|c`; other events are of pages without an article. Nothing says what else was shown, so that the other
candidates of a click are drawn among all articles that its user never opened. A user's history is what was opened
before the days whose clicks are rows, the same for all of them; opening an article again counts again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles, sound_articles
from rec_trak.data.mind import BehaviorLine, Met, known_lines
from rec_trak.errors import DataError, told
from rec_trak.words import quoted

EVENTS = re.compile(r"(\d{4})(\d{2})(\d{2})(\.jsonl?)?(\.gz)?")
LATER = "article(s) have another title or category in later events; the first counts."
BEFORE = "click(s) are of the days before {}, which are histories, and {} of later days; neither are rows."


class Event(NamedTuple):
    """A user on an article: where it stands, the day of its file, seconds since 1970."""

    file: str
    number: int
    day: str
    time: int
    user: str
    article: str


def event_files(folder: str | Path) -> list[Path]:
    """The files of a folder that are named as days, in order; none where it is no folder of such files."""
    folder = Path(folder)
    found = (path for path in folder.iterdir() if _day(path)) if folder.is_dir() else ()
    return sorted(path for path in found if path.is_file())


def _day(path: Path) -> str:
    """The day that a file's name says (local to the newspaper; times are UTC), '' where it says none."""
    named = EVENTS.fullmatch(path.name)
    try:
        return date(*map(int, named.group(1, 2, 3))).isoformat() if named else ""
    except ValueError:
        return ""


def read_adressa(folder: str | Path) -> tuple[Articles, list[Event]]:
    """The articles that some event gives a title and a category, in order of appearance, and the events on them.

    Returns:
        articles: categories are the first part of `category1`, subcategories the last; nothing is known of bodies.

    Raises:
        DataError: there are no files; a line is no JSON object, or its user, time, title or category is none; no event
            is on an article.
    """
    files = event_files(folder)
    if not files:
        raise DataError(
            f"{folder}: no click log. Got no file named as a day (20170106), expected Adressa's events. Unpack "
            "them there."
        )
    titles: dict[str, tuple[str, str, str]] = {}
    events, differing = [], set()
    for path in files:
        for number, event in _objects(path):
            if "id" not in event or "title" not in event:
                continue
            where = f"{path}, line {number}"
            article, title = (_text(event, key, where) for key in ("id", "title"))
            if "category1" in event:
                parts = _text(event, "category1", where).split("|")
                said = (title, parts[0], parts[-1])
                if titles.setdefault(article, said) != said:
                    differing.add(article)
            user, time = _text(event, "userId", where), _time(event, where)
            events.append(Event(path.name, number, _day(path), time, user, article))
    events = [event for event in events if event.article in titles]
    if not events:
        got = "Got none with `id`, `title` and `category1`, expected Adressa's events"
        raise DataError(f"{folder}: no event is on an article. {got}. Give that folder.")
    names, blank = list(titles), ("",) * len(titles)
    columns = [tuple(names), *zip(*titles.values(), strict=True)]
    ordered = [columns[0], columns[1], blank, columns[2], columns[3]]
    articles = sound_articles(folder, ordered, np.full(len(names), -1, dtype=np.int8), np.arange(1, len(names) + 1))
    return articles, events


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    how = gzip.open if path.suffix == ".gz" else open
    try:
        with how(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    event = None
                if not isinstance(event, dict):
                    got = quoted(line[:60].decode(errors="replace").strip())
                    raise DataError(
                        f"{path}, line {number}: no JSON object. Got {got}, expected an event. Mend the line."
                    )
                yield number, event
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({told(error)}). Got a damaged file, expected events. Get it anew."
        ) from None


def _text(event: dict[str, Any], key: str, where: str) -> str:
    value = event.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise DataError(f"{where}: `{key}` is no text. Got {quoted(value)}, expected some. Mend the line.")
    return str(value)


def _time(event: dict[str, Any], where: str) -> int:
    value = event.get("time")
    try:
        return int(datetime.fromtimestamp(int(value), UTC).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        raise DataError(
            f"{where}: `time` is no time. Got {quoted(value)}, expected seconds since 1970. Mend the line."
        ) from None


def training_days(events: Sequence[Event], reading: Reading, where: str | Path) -> tuple[str, str]:
    """The first day whose clicks are rows, and the first that is later: `since` and `until`, or else the last day but
    one, as newsreclib has it for a week; '' for no later one.

    Raises:
        DataError: fewer than three days where neither is given.
    """
    days = sorted({event.day for event in events})
    if reading.since:
        return reading.since, reading.until
    earlier = [day for day in days if not reading.until or day < reading.until]
    needed = 1 if reading.until else 2
    if len(earlier) <= needed:
        raise DataError(
            f"{where}: too few days. Got {len(days)}, expected some for histories, one for rows and one after it. Say "
            "with `since` from which day on clicks are rows."
        )
    return earlier[-needed], reading.until or days[-1]


def read_adressa_lines(
    folder: str | Path, events: Sequence[Event], articles: Articles, reading: Reading, met: Met
) -> Iterator[BehaviorLine]:
    """A line for each click of the training days, in the order of the log, with `negatives` other candidates as drawn.

    Args:
        folder, events: as read.
        articles: the table, whose articles are drawn from.
        reading: `since` and `until` say which days, `negatives` and `seed` the draw, `missing_articles` as elsewhere.
        met: is filled in.

    Raises:
        DataError: as `training_days` and `known_lines`.
    """
    since, until = training_days(events, reading, folder)
    days = [event.day for event in events]
    counts = sum(day < since for day in days), sum(bool(until) and day >= until for day in days)
    met.counts[BEFORE.format(since, counts[1])] += counts[0]
    lines = _lines(events, articles, reading, since, until)
    return known_lines(lines, folder, articles, reading.missing_articles, met)


def _lines(
    events: Sequence[Event], articles: Articles, reading: Reading, since: str, until: str
) -> Iterator[BehaviorLine]:
    opened: dict[str, set[str]] = {}
    past: dict[str, list[Event]] = {}
    for event in events:
        opened.setdefault(event.user, set()).add(event.article)
        if event.day < since:
            past.setdefault(event.user, []).append(event)
    history = {user: [e.article for e in sorted(those, key=lambda e: e.time)] for user, those in past.items()}
    there = {event.article for event in events}.intersection(articles.position)
    pool = [article for article in articles.ids if article in there]
    seen: Counter[tuple[str, str]] = Counter()
    for number, event in enumerate(events, 1):
        if event.day < since or (until and event.day >= until):
            continue
        occurrence = seen[event.user, event.article]
        seen[event.user, event.article] += 1
        key = f"{reading.seed}\t{event.user}\t{event.article}\t{occurrence}\tnever opened"
        others = _drawn(pool, there & opened[event.user], reading.negatives, key)
        yield BehaviorLine(
            number,
            event.user,
            event.user,
            event.day,
            history.get(event.user, []),
            [event.article],
            others,
            f"{event.file}, line {event.number}",
        )


def _drawn(pool: list[str], not_these: set[str], count: int, key: str) -> list[str]:
    """`count` of the pool, no two alike and none of `not_these`, which it holds, by a hash of `key`; all where few."""
    if len(pool) - len(not_these) <= count * 2:
        rest = [article for article in pool if article not in not_these]
        order = sorted(rest, key=lambda article: hashlib.sha256(f"{key}\t{article}".encode()).digest())
        return order[:count]
    drawn: dict[str, None] = {}
    turn = 0
    while len(drawn) < count:
        number = int.from_bytes(hashlib.sha256(f"{key}\t{turn}".encode()).digest()[:8], "little")
        article, turn = pool[number % len(pool)], turn + 1
        if article not in not_these:
            drawn.setdefault(article)
    return list(drawn)
