"""Impressions whole, as shown, and which of a table's rows have candidates to compete. Not here: what a target asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rec_trak.config.reading import Reading, without_blanks
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import DEFAULT, Impressions
from rec_trak.data.mind import days, nothing_met
from rec_trak.data.ragged import Growing
from rec_trak.data.sources import log_lines
from rec_trak.data.texts import GrowingTexts, Texts
from rec_trak.errors import DataError


def behavior_slates(
    path: str | Path, articles: Articles, reading: Reading = DEFAULT, form: str = "mind"
) -> Impressions:
    """The impressions of a log whole, clicked candidates before the others; `missing_articles` counts.

    Raises:
        DataError: what reading the lines of this format refuses; the file is empty.
    """
    users, whens, there, met = [], [], [], nothing_met()
    history, candidates, labels, sources = Growing(), Growing(), Growing(), GrowingTexts()
    names: dict[str, str] = {}  # users and times come again: one object for all that are alike
    for line in log_lines(Path(path), articles, form, without_blanks(reading).missing_articles, met):
        shown = [articles.position[a] for a in (*line.clicked, *line.others)]
        if shown:
            there.append(len(whens))
            users.append(names.setdefault(line.user, line.user))
            history.add([articles.position[a] for a in line.history])
            candidates.add(shown)
            labels.add([1] * len(line.clicked) + [0] * len(line.others))
            sources.add(line.told)
        whens.append(names.setdefault(line.when or "", line.when or ""))
    if not there:
        raise DataError(f"{path}: the file is empty. Got no impression, expected some. Give another.")
    dates, told = days(whens)
    found = candidates.table()
    return Impressions(
        user_ids=np.array(users, dtype=object),
        history=history.table(),
        candidates=found,
        labels=labels.table(),
        is_fake=articles.is_fake[found.values[found.offsets[:-1]]],
        sources=sources.table(),
        columns=day_column([dates[i] for i in there]),
        notes=(*met.notes(reading.missing_articles), *told),
    )


def competing(targets: Impressions, where: str) -> Impressions:
    """Those that have another candidate; the others are counted in a note.

    Raises:
        DataError: none has.
    """
    left = np.flatnonzero(targets.candidates.lengths > 1)
    alone = len(targets) - len(left)
    if not len(left):
        raise DataError(
            f"{where}: no target is left. Got {alone} without another candidate to compete with, expected at least one "
            "with. Give impressions that show several articles."
        )
    if not alone:
        return targets
    found = targets.subset(left)
    note = f"{alone} target(s) without other candidates are dropped."
    return replace(found, columns=day_column(found.columns.get("day", ())), notes=(*targets.notes, note))


def day_column(days: Sequence[str]) -> dict[str, Sequence[str]]:
    """The column of days, none where no day is known."""
    return {"day": days if isinstance(days, Texts) else tuple(days)} if any(days) else {}
