"""Recommendations to explain, as rows of the same shape as train's, the article to explain first.

What a target asks is the margin of that article against the others of its impression. Not here: scores of any kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import DEFAULT, Impressions, read_pairwise
from rec_trak.data.news_tables import read_articles_table, translation_for
from rec_trak.data.pairwise import parse_list
from rec_trak.data.places import log_of_impressions
from rec_trak.data.ragged import Ragged, holding, offsets_of
from rec_trak.data.slates import behavior_slates, competing, day_column
from rec_trak.data.sources import article_table
from rec_trak.data.tables import Table, read_csv
from rec_trak.errors import DataError, listed

EXPLAIN_COLUMNS = ("user_id", "history_ids", "candidate_ids", "explained_id")


@dataclass(frozen=True)
class Targets:
    """A set of recommendations to explain.

    Attributes:
        articles: the table its rows were read against: the run's, then articles that only the targets have.
        impressions: M rows; `notes` say what was left out.
    """

    articles: Articles
    impressions: Impressions


class _Target(NamedTuple):
    """One row to be: article positions, the one to explain first among the candidates, 1 for each that was clicked."""

    user: str
    history: list[int]
    candidates: list[int]
    labels: list[int]
    source: str
    day: str = ""


def read_targets(
    path: str | Path, articles: Articles, rows: str = "per_click", reading: Reading = DEFAULT
) -> Impressions:
    """The clicks of one pairwise benchmark CSV; what has no click or no other candidate is dropped and counted.

    Args:
        rows: `per_click` or `as_trained`, see `read_pairwise`.
        reading: its `titles` and `missing_articles` count.

    Raises:
        ConfigError: `rows` is another word.
        DataError: the file is not a pairwise CSV of these articles, or no impression in it has a click.
    """
    return read_pairwise(path, articles, rows=rows, drop_unclicked=True, reading=reading)


def read_log_targets(log: str | Path, articles: Articles, reading: Reading = DEFAULT) -> Targets:
    """The clicks of a log of impressions, each against the candidates of its impression that were not clicked.

    Raises:
        DataError: as `read_log_slates`, or no click has another candidate.
    """
    read = read_log_slates(log, articles, reading)
    slates, targets = read.impressions, []
    for i in range(len(slates)):
        shown, clicked = slates.candidates[i].tolist(), slates.labels[i] == 1
        others = [article for article, was in zip(shown, clicked, strict=True) if not was]
        for article in shown[: int(clicked.sum())]:
            targets.append(_of(slates, i, [article, *others], [1] + [0] * len(others)))
    return replace(read, impressions=_impressions(targets, read.articles, str(log), slates.notes))


def read_log_slates(log: str | Path, articles: Articles, reading: Reading = DEFAULT) -> Targets:
    """The impressions of a log whole, clicked candidates before the others; `missing_articles` counts.

    Args:
        log: a folder with the log of MIND, EB-NeRD or newsreclib's Adressa, and with the articles that the run lacks,
            if there are any; or the log itself.
        articles: the run's table. Where it is a translation, further articles come from the same translation alone.
        reading: how.

    Raises:
        DataError: a file is missing or malformed, or its articles are of another release.
    """
    form, path = log_of_impressions(log)
    news = None if form == "ebnerd" else article_table(path.parent, path, form)  # whose splits share one table
    if articles.translated:
        news = translation_for(articles.source, path.parent)
    known = joined(articles, read_articles_table(news)) if news is not None and news.is_file() else articles
    slates = behavior_slates(path, known, reading, form)
    alone = [f"{len(known) - len(articles)} article(s) stand in {news} alone."]
    return Targets(known, replace(slates, notes=(*slates.notes, *(alone if len(known) > len(articles) else []))))


def exposure(slates: Targets, article_id: str, where: str) -> Targets:
    """The exposure of one article to the users of some impressions: in each of them it stands first, against all the
    other candidates, clicked or not.

    Args:
        slates: whole impressions, whether or not the article was shown in them.
        article_id: of the article to explain.
        where: for messages.

    Raises:
        DataError: the article is unknown, or no impression has another candidate.
    """
    articles, shown = slates.articles, slates.impressions
    if article_id not in articles.position:
        raise DataError(
            f"{where}: unknown article. Got `{article_id}`, expected one of the {len(articles)} ids of "
            f"{articles.source}, such as {articles.ids[0]}. Mend the id."
        )
    explained, n = articles.position[article_id], len(shown)
    own = shown.candidates.values == explained
    owner = np.repeat(np.arange(n, dtype=np.int32), shown.candidates.lengths)
    offsets = offsets_of(np.bincount(owner[~own], minlength=n) + 1)  # the article, then the others
    candidates, labels = (np.empty(offsets[-1], dtype=np.int32) for _ in range(2))
    others = np.ones(offsets[-1], dtype=bool)
    others[offsets[:-1]] = False
    candidates[offsets[:-1]], candidates[others] = explained, shown.candidates.values[~own]
    clicked = shown.labels.values == 1
    labels[offsets[:-1]], labels[others] = np.bincount(owner[own & clicked], minlength=n) > 0, shown.labels.values[~own]
    found = replace(
        shown,
        user_ids=np.array([str(user) for user in shown.user_ids], dtype=object),
        candidates=Ragged(candidates, offsets),
        labels=Ragged(labels, offsets),
        is_fake=np.full(n, articles.is_fake[explained]),
        columns=day_column(shown.columns.get("day", ())),
        origin=None,
    )
    known = int(holding(shown.history, [explained]).sum())
    notes = (*shown.notes, *([f"{known} user(s) have the article in their history already."] if known else []))
    return replace(slates, impressions=competing(replace(found, notes=notes), where))


def read_explained(path: str | Path, articles: Articles) -> Impressions:
    """The targets of a CSV with EXPLAIN_COLUMNS, a line a target, in file order.

    `history_ids` (oldest first, may be empty) and `candidate_ids` are Python lists or ids with spaces between; whether
    the article to explain is among the candidates makes no difference.

    Raises:
        DataError: what `read_csv` refuses; an empty user id, a cell that is no list of ids, an article that `articles`
            lacks (the first line and the count of each kind); no line has another candidate.
    """
    table = read_csv(path, EXPLAIN_COLUMNS)
    lists = {name: [_ids(cell) for cell in table.values[name]] for name in ("history_ids", "candidate_ids")}
    lists["explained_id"] = [[cell.strip()] for cell in table.values["explained_id"]]
    problems = _problems(table, lists, articles)
    if problems:
        raise DataError(f"{path}, {'; '.join(problems)}. Mend the file.")
    cells = {name: [[articles.position[a] for a in ids] for ids in values] for name, values in lists.items()}
    users, targets = table.column("user_id"), []
    for i, line in enumerate(table.first.tolist()):
        history, candidates, (explained,) = (cells[name][table.codes[name][i]] for name in EXPLAIN_COLUMNS[1:])
        others = [article for article in candidates if article != explained]
        targets.append(_Target(users[i], history, [explained, *others], [0] * (1 + len(others)), str(line)))
    return _impressions(targets, articles, str(path), ())


def _ids(cell: str) -> list[str] | None:
    return parse_list(cell) if cell.lstrip().startswith("[") else cell.split()


def _problems(table: Table, lists: dict[str, list[list[str] | None]], articles: Articles) -> list[str]:
    """What is wrong with the cells of a column, a sentence a kind, each with its first line."""
    problems = []

    def note(name: str, wrong: Iterable[bool], what: str) -> None:
        lines = np.flatnonzero(np.array(list(wrong), dtype=bool)[table.codes[name]])
        if len(lines):
            got = table.values[name][table.codes[name][lines[0]]][:60]
            problems.append(f"line {table.first[lines[0]]}: `{name}` {what} in {len(lines)} line(s). Got {got!r}")

    note("user_id", (not cell.strip() for cell in table.values["user_id"]), "is empty")
    for name, values in lists.items():
        note(name, (ids is None for ids in values), "is no list of ids")
        unknown = sorted({a for ids in values for a in ids or () if a not in articles.position})
        what = f"names {listed('article(s)', unknown, 3)} that {articles.source} lacks,"
        note(name, (bool(set(ids or ()) - articles.position.keys()) for ids in values), what)
    return problems


def joined(articles: Articles, more: Articles) -> Articles:
    """The table with the articles that only `more` has behind its own.

    Raises:
        DataError: an id means another article in `more`, or the texts of `articles` were split beforehand.
    """
    new = [i for i, article_id in enumerate(more.ids) if article_id not in articles.position]
    mine = ((i, articles.position[a]) for i, a in enumerate(more.ids) if a in articles.position)
    other = [more.ids[i] for i, own in mine if more.titles[i] != articles.titles[own]]
    if other:
        raise DataError(
            f"{more.source}: {listed('id(s)', other, 3)} with other titles than in {articles.source}. Got articles of "
            "another release, expected the run's own. Give a folder of the same release."
        )
    if new and articles.tokens:
        raise DataError(
            f"{more.source}: {len(new)} article(s) are not in {articles.source}, whose texts were split beforehand. "
            "Got texts as they are, expected texts split likewise. Preprocess both together."
        )
    if not new:
        return articles
    names = ("ids", "titles", "bodies", "categories", "subcategories")
    columns = {name: (*getattr(articles, name), *(getattr(more, name)[i] for i in new)) for name in names}
    return (
        replace(articles, **columns, is_fake=np.concatenate([articles.is_fake, more.is_fake[new]])) if new else articles
    )


def _of(slates: Impressions, i: int, candidates: list[int], labels: list[int]) -> _Target:
    """A target that row i of whole impressions makes."""
    day = slates.columns["day"][i] if "day" in slates.columns else ""
    return _Target(str(slates.user_ids[i]), slates.history[i].tolist(), candidates, labels, slates.sources[i], day)


def _impressions(targets: list[_Target], articles: Articles, where: str, notes: Iterable[str]) -> Impressions:
    """The table of the targets that have another candidate; the others are counted.

    Raises:
        DataError: none has.
    """
    return competing(_table(targets, articles, notes), where)


def _table(targets: list[_Target], articles: Articles, notes: Iterable[str]) -> Impressions:
    return Impressions(
        user_ids=np.array([target.user for target in targets], dtype=object),
        history=Ragged.of([target.history for target in targets]),
        candidates=Ragged.of([target.candidates for target in targets]),
        labels=Ragged.of([target.labels for target in targets]),
        is_fake=articles.is_fake[np.array([target.candidates[0] for target in targets], dtype=np.int64)],
        sources=tuple(target.source for target in targets),
        columns=day_column([target.day for target in targets]),
        notes=tuple(notes),
    )
