"""Impressions -> rows: a click and others of its impression, drawn once. Not here: the lines of any file."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import DEFAULT, Impressions
from rec_trak.data.mind import BehaviorLine, Met, days, nothing_met, read_behavior_lines
from rec_trak.data.ragged import Growing, Ragged
from rec_trak.data.texts import GrowingTexts, Texts
from rec_trak.errors import ConfigError, DataError


def read_mind_behaviors(path: str | Path, articles: Articles, reading: Reading = DEFAULT) -> Impressions:
    """The rows of MIND's behaviors.tsv; see `rows_of_lines`.

    Raises:
        ConfigError: `negatives` is below 1.
        DataError: what `read_behavior_lines` refuses; no row.
    """
    met = nothing_met()
    lines = read_behavior_lines(path, articles, reading.missing_articles, met)
    return rows_of_lines(path, lines, met, articles, reading, "MIND's behaviors.tsv")


def rows_of_lines(
    path: str | Path,
    lines: Iterable[BehaviorLine],
    met: Met,
    articles: Articles,
    reading: Reading,
    wanted: str,
) -> Impressions:
    """The rows of a log of impressions: one a clicked candidate, with `negatives` others of the same impression.

    The others are drawn without replacement, once: by (seed, impression id, clicked id, occurrence) and nothing else,
    so a row keeps them whatever else the file holds. An impression with fewer gives all it has.

    Args:
        path: the log.
        lines: of it, every article known to `articles`.
        met: what reading them meets, filled in while they are read.
        articles, reading: as `read_mind_behaviors`.
        wanted: what the file should have been, for messages.

    Raises:
        ConfigError: `negatives` is below 1.
        DataError: what reading the lines refuses; no row.
    """
    if reading.negatives < 1:
        raise ConfigError(f"negatives: too few other candidates. Got {reading.negatives}, expected at least 1.")
    users, whens, origin = [], [], array("q")
    histories, candidates, impressions, sources = Growing(), Growing(), GrowingTexts(), GrowingTexts()
    names: dict[str | None, str | None] = {}  # users and times come again: one object for all that are alike
    seen: Counter[tuple[str, str]] = Counter()
    unclicked = alone = few = 0
    for line in lines:
        unclicked += not line.clicked
        for click, article_id in enumerate(line.clicked):
            occurrence = seen[line.impression, article_id]
            seen[line.impression, article_id] += 1
            if not line.others:
                alone += 1
                continue
            few += len(line.others) < reading.negatives
            key = f"{reading.seed}\t{line.impression}\t{article_id}\t{occurrence}"
            shown = (article_id, *_draw(line.others, reading.negatives, key))
            users.append(names.setdefault(line.user, line.user))
            histories.add([articles.position[a] for a in line.history])
            candidates.add([articles.position[a] for a in shown])
            impressions.add(line.impression)
            whens.append(names.setdefault(line.when, line.when))
            sources.add(line.told)
            origin.extend((line.number, click))
    if not users:
        raise DataError(f"{path}: no row is left. Got no click beside a candidate without one. Give {wanted}.")
    columns, told = _columns(whens, impressions.table())
    read, shown = histories.table(), candidates.table()
    notes = {
        "impression(s) without a click are left out.": unclicked,
        "click(s) whose impression has no other candidate are left out.": alone,
        f"row(s) have fewer than {reading.negatives} other candidates and keep all of them.": few,
        "row(s) have no date that can be read.": columns.get("day", ()).count(""),
    }
    return Impressions(
        user_ids=np.array(users, dtype=object),
        history=read,
        candidates=shown,
        labels=_first_clicked(shown),
        is_fake=articles.is_fake[shown.values[shown.offsets[:-1]]],
        sources=sources.table(),
        columns=columns,
        notes=(
            *met.notes(reading.missing_articles),
            *told,
            *(f"{count} {what}" for what, count in notes.items() if count),
        ),
        origin=np.frombuffer(origin, dtype=np.int64).reshape(-1, 2),
    )


def _first_clicked(candidates: Ragged) -> Ragged:
    """1 for the first of each row's candidates, 0 for the others."""
    labels = np.zeros(len(candidates.values), dtype=np.int32)
    labels[candidates.offsets[:-1]] = 1
    return Ragged(labels, candidates.offsets)


def _columns(whens: list[str | None], impressions: Texts) -> tuple[dict[str, Sequence[str]], list[str]]:
    """The columns `day` and `impression`, none where the format has no times (nor names of impressions), and notes."""
    if whens[0] is None:
        return {}, []
    dates, told = days(whens)
    return {"day": tuple(dates), "impression": impressions}, told


def _draw(others: list[str], count: int, key: str) -> list[str]:
    """`count` of the others, or all there are: the head of a shuffle whose numbers are a hash of `key`."""
    pool = list(others)
    if len(pool) <= count:
        return pool
    stream = hashlib.shake_128(key.encode()).digest(8 * count)
    for i in range(count):
        j = i + int.from_bytes(stream[8 * i : 8 * i + 8], "little") % (len(pool) - i)
        pool[i], pool[j] = pool[j], pool[i]
    return pool[:count]
