"""Adressa as newsreclib prepares it: behaviors_<seed>.tsv beside news.tsv. Not here: Adressa as published, or rows.

Source: https://github.com/andreeaiana/newsreclib, commit f29aea8, adressa_dataframe.py. A line is a click: user,
history (what the user opened before the training days), and the click with 20 articles that the user never opened,
labelled as MIND's candidates; training draws 4 of them anew each epoch. Users are known to its models by another U
before theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rec_trak.data.articles import Articles
from rec_trak.data.mind import HEADER, BehaviorLine, Met, known_lines, labelled
from rec_trak.data.tables import read_lines
from rec_trak.errors import DataError
from rec_trak.words import quoted

NAMED = re.compile(r"behaviors_\d+\.tsv")


def prepared_logs(folder: str | Path) -> list[Path]:
    """The files of a folder that are named as newsreclib names its logs, one a seed."""
    folder = Path(folder)
    return sorted(path for path in folder.iterdir() if NAMED.fullmatch(path.name)) if folder.is_dir() else []


def read_prepared_lines(
    path: str | Path, articles: Articles, missing_articles: str, met: Met
) -> Iterator[BehaviorLine]:
    """The lines of a behaviors_<seed>.tsv; the arguments are those of `mind.read_behavior_lines`.

    Raises:
        DataError: what `read_lines` and `known_lines` refuse; a line of other than 3 columns, an empty user id, a
            candidate without its -1 or -0.
    """
    return known_lines(_lines(path, met), path, articles, missing_articles, met)


def _lines(path: str | Path, met: Met) -> Iterator[BehaviorLine]:
    for number, line in enumerate(read_lines(path, newline="\n"), 1):
        fields = line.rstrip("\r\n").split("\t")
        if fields == [""]:
            continue
        where = f"{path}, line {number}"
        if len(fields) != 3:
            raise DataError(
                f"{where}: Got {len(fields)} columns, expected 3 (user id, history, candidates). Give the "
                "behaviors_<seed>.tsv that newsreclib made of Adressa."
            )
        user, history, slate = fields
        if number == 1 and user.strip().lower() in ("uid", "user", "user_id"):
            met.counts[HEADER] += 1
            continue
        if not user.strip():
            raise DataError(f"{where}: the user id is empty. Got {quoted(user)}, expected an id. Mend the line.")
        clicked, others = labelled(slate, where)
        user = f"U{user}"  # as newsreclib reads it, and its uid2index.tsv numbers it
        yield BehaviorLine(number, user, user, None, history.split(), clicked, others, str(number))
