"""Where a click log and an article table say the same thing: compared, and the one that counts. Not here: reading.

A log names an article by id and often by title too, and says of a click whether its article is fake; the table says
both again. Where they differ, one of the two is not what the model was trained on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from rec_trak.data.articles import Articles
from rec_trak.data.tables import Table
from rec_trak.errors import DataError, RecTrakWarning
from rec_trak.words import QUOTE, plain, quoted

Statement = tuple[int, str, str]  # line, article id, title


def titles_told(table: Table, ids: list[list[str]] | None, titles: list[list[str]]) -> Iterator[Statement]:
    """What a pairwise CSV says of articles' titles: each different statement once, by the first line it stands in.

    Args:
        table: the lines.
        ids, titles: of each distinct value of `history_ids` (None where there is no such column) and `history_titles`,
            the lists that they spell.
    """
    if "candidate_title" in table.values:
        names, told = table.values["candidate_id"], table.values["candidate_title"]
        for line, (a, b) in _pairs(table, "candidate_id", "candidate_title"):
            yield line, names[a], told[b]
    if ids is not None:
        for line, (a, b) in _pairs(table, "history_ids", "history_titles"):
            for article, title in zip(ids[a], titles[b], strict=False):
                yield line, article, title


def _pairs(table: Table, one: str, other: str) -> list[tuple[int, tuple[int, int]]]:
    """The different pairs of values of two columns, each with the first line that holds it."""
    keys = table.codes[one] * len(table.values[other]) + table.codes[other]
    different, first = np.unique(keys, return_index=True)
    return [
        (int(table.first[i]), divmod(int(key), len(table.values[other])))
        for key, i in zip(different, first, strict=True)
    ]


def check_titles(
    path: str | Path, told: Iterator[Statement], articles: Articles, titles: str, blanks: bool = False
) -> tuple[str, ...]:
    """A note where titles of the log differ from the table's and `titles` says which counts; refused where it does not.

    With `blanks`, an article of which the table says nothing is no difference.

    Raises:
        DataError: they differ and `titles` is `compare`; names the first line, the article and both titles.
    """
    position, differing = articles.position, {}
    for line, article, title in told:
        place = position.get(article)
        if place is None or not title.strip() or title.strip() == articles.titles[place].strip():
            continue
        if blanks and not articles.titles[place]:  # an article without text is what was asked for
            continue
        if article not in differing or line < differing[article][0]:
            differing[article] = (line, title)
    if not differing:
        return ()
    article, (line, title) = min(differing.items(), key=lambda item: item[1][0])
    theirs = articles.titles[position[article]]
    if titles == "compare":
        raise DataError(
            f"{path}, line {line}: the title of article `{plain(article, QUOTE)}` is not that of {articles.source} "
            f"({len(differing)} such article(s)). Got {_short(title)}, the table has {_short(theirs)}. Give the table "
            "of this log, or say with `titles: log` or `titles: table` which one the model was trained on."
        )
    return (f"{len(differing)} article(s) have another title in the log than in {articles.source}; the table's count.",)


def with_log_titles(path: str | Path, told: Iterator[Statement], articles: Articles) -> Articles:
    """The articles with the titles that a log tells; those that the table lacks are added, without any other text.

    Raises:
        DataError: the log gives an article two titles.
    """
    titles, where = {}, {}
    for line, article, title in sorted(told):
        if not title.strip():
            continue
        if titles.setdefault(article, title) != title:
            raise DataError(
                f"{path}, line {line}: a second title for article `{plain(article, QUOTE)}`. Got {_short(title)}, line "
                f"{where[article]} has {_short(titles[article])}. Mend the log, or set `titles: table`."
            )
        where.setdefault(article, line)
    grown = with_blanks(articles, [article for article in titles if article not in articles.position])
    told_titles = tuple(titles.get(i, title) for i, title in zip(grown.ids, grown.titles, strict=True))
    return replace(grown, titles=told_titles, blanks=articles.blanks)


def with_blanks(articles: Articles, ids: list[str]) -> Articles:
    """The table with further articles of these ids, of which nothing is known."""
    if not ids:
        return articles
    blank = ("",) * len(ids)
    fake = np.concatenate([articles.is_fake, np.full(len(ids), -1, dtype=np.int8)])
    tokens = {view: (*parts, *((),) * len(ids)) for view, parts in articles.tokens.items()}
    texts = {name: (*getattr(articles, name), *blank) for name in ("titles", "bodies", "categories", "subcategories")}
    blanks = articles.blanks + len(ids)
    return replace(articles, ids=(*articles.ids, *ids), is_fake=fake, tokens=tokens, blanks=blanks, **texts)


def check_fakes(path: str | Path, table: Table, fake: np.ndarray, article: np.ndarray, articles: Articles) -> None:
    """Warn where the log says of one article both that it is fake and that it is not, or says other than the table.

    Args:
        path, table: the log.
        fake: (L,) 0 or 1 of each line's candidate.
        article: (L,) its position.
        articles: the table.
    """
    first = np.full(len(articles), -1, dtype=np.int64)
    order = np.arange(len(article))[::-1]
    first[article[order]] = order
    against = np.flatnonzero(fake != fake[first[article]])
    if len(against):
        i, j = against[0], first[article[against[0]]]
        _warn(
            f"{path}, line {table.first[i]}: `candidate_is_fake` of article `{articles.ids[article[i]]}` is not what "
            f"it was ({len(np.unique(article[against]))} such article(s)). Got {fake[i]}, line {table.first[j]} has "
            f"{fake[j]}. Tables by article show the first word; mend the log if labels matter."
        )
    said = articles.is_fake[article]
    other = np.flatnonzero((said >= 0) & (said != fake))
    if len(other):
        i = other[0]
        _warn(
            f"{path}, line {table.first[i]}: `candidate_is_fake` of `{articles.ids[article[i]]}` is not what "
            f"{articles.source} says ({len(np.unique(article[other]))} such article(s)). Got {fake[i]}, the table has "
            f"{said[i]}. The log's word counts for its rows; mend one of them if labels matter."
        )


def _warn(message: str) -> None:
    warnings.warn(message, RecTrakWarning, stacklevel=4)


def _short(title: str) -> str:
    return quoted(title, 80)
