"""From a data tree to its articles and rows, whatever their format. Not here: the readers, or where files lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rec_trak.config.reading import Reading
from rec_trak.data.adressa import read_adressa, read_adressa_lines
from rec_trak.data.agreement import with_blanks
from rec_trak.data.articles import Articles
from rec_trak.data.ebnerd import ARTICLES, HISTORY, read_ebnerd_lines
from rec_trak.data.impressions import Impressions, read_pairwise
from rec_trak.data.kept import kept
from rec_trak.data.mind import BehaviorLine, Met, nothing_met, read_behavior_lines
from rec_trak.data.mind_rows import rows_of_lines
from rec_trak.data.news_tables import read_articles_table
from rec_trak.data.pairwise import log_articles
from rec_trak.data.parsed import read_parsed
from rec_trak.data.places import click_log_path, data_format
from rec_trak.data.prepared import read_prepared_lines
from rec_trak.data.trained import only_trained

DEFAULT = Reading()
LINES = {"mind": read_behavior_lines, "ebnerd": read_ebnerd_lines, "adressa_newsreclib": read_prepared_lines}
BESIDE = {  # format -> files beside a log that are read, or looked for, with it; of a format that can be kept as read
    "pairwise": (),
    "mind": ("news.tsv",),
    "ebnerd": (HISTORY, "news.tsv"),
    "adressa_newsreclib": ("news.tsv",),
}
WANTED = {
    "mind": "MIND's behaviors.tsv",
    "ebnerd": "EB-NeRD's behaviors.parquet, with clicks",
    "adressa_newsreclib": "newsreclib's behaviors_<seed>.tsv",
    "adressa": "days with clicks, in `since` and `until`",
}


def read_data(
    data_path: str | Path, news_items_path: str | Path | None, dataset_type: str, reading: Reading = DEFAULT
) -> tuple[Articles, Impressions]:
    """The articles and the rows of one data set of a tree.

    Args:
        data_path: a tree of any format; see `places.click_log_path` and docs/data.md.
        news_items_path: the articles; None for the table in the tree or beside the log, of Adressa for its own events.
        dataset_type: `train_clean`, `train_poisoned`, `val_clean`, any other name, or a path.
        reading: how.

    Raises:
        DataError: a file is missing, or does not hold what it should; no row is left.
    """
    form = data_format(data_path, dataset_type, reading.data_format)
    clicks = click_log_path(data_path, dataset_type, form)
    table = Path(news_items_path or article_table(data_path, clicks, form))
    files = [clicks, table, *(clicks.with_name(name) for name in BESIDE.get(form, ()))]

    def read() -> tuple[Articles, Impressions]:
        return _read(form, clicks, data_path, news_items_path, reading)

    if form not in BESIDE:
        return read()
    return kept(files, [form, str(news_items_path), asdict(reading)], read)


def _read(
    form: str, clicks: Path, data_path: str | Path, news_items_path: str | Path | None, reading: Reading
) -> tuple[Articles, Impressions]:
    """As `read_data`, of files that are found."""
    if form == "parsed":
        articles, rows = read_parsed(clicks.parent, news_items_path)
    elif form == "adressa":
        articles, rows = _read_events(clicks, news_items_path, reading)
    else:
        articles = read_articles(data_path, news_items_path, clicks, form, reading)
        rows = read_clicks(clicks, articles, form, reading)
    if articles.blanks:
        note = f"{articles.blanks} article(s) are missing; they are read as articles without text."
        rows = replace(rows, notes=(*rows.notes, note))
    return articles, only_trained(rows, reading)


def read_articles(
    data_path: str | Path, news_items_path: str | Path | None, clicks: Path, form: str, reading: Reading
) -> Articles:
    """The table that a click log is read against, grown by what `reading` says of titles and missing articles."""
    path = news_items_path or article_table(data_path, clicks, form)
    if form not in LINES:
        return log_articles(clicks, read_articles_table(path), reading)
    articles = read_articles_table(path, clicks.with_name("news.tsv"))
    if reading.missing_articles != "blank":
        return articles
    met = nothing_met()
    for _ in log_lines(clicks, articles, form, "drop_row", met):
        pass
    return with_blanks(articles, list(met.missing))


def article_table(data_path: str | Path, clicks: Path, form: str) -> Path:
    """Where a click log's articles lie, if nothing says where."""
    if form == "ebnerd":  # the splits share one table
        return next(
            (path for folder in (clicks.parent, clicks.parent.parent) if (path := folder / ARTICLES).is_file()),
            clicks.with_name(ARTICLES),
        )
    return Path(data_path) / "news_items.csv" if form == "pairwise" else clicks.with_name("news.tsv")


def log_lines(
    path: Path, articles: Articles, form: str, missing_articles: str = "refuse", met: Met | None = None
) -> Iterator[BehaviorLine]:
    """The impressions of a log of any format that has some, one by one; see `mind.read_behavior_lines`."""
    return LINES[form](path, articles, missing_articles, nothing_met() if met is None else met)


def read_clicks(path: Path, articles: Articles, form: str, reading: Reading) -> Impressions:
    """All rows of a click log, whether or not they were trained on."""
    if form in LINES:
        met = nothing_met()
        lines = log_lines(path, articles, form, reading.missing_articles, met)
        return rows_of_lines(path, lines, met, articles, reading, WANTED[form])
    return read_pairwise(path, articles, rows=reading.rows, reading=reading)


def _read_events(folder: Path, news_items_path: str | Path | None, reading: Reading) -> tuple[Articles, Impressions]:
    """Adressa's articles, or those of the table that was given, and the rows of its events."""
    articles, events = read_adressa(folder)
    if news_items_path is not None:
        articles = read_articles_table(news_items_path)
        if reading.missing_articles == "blank":
            missing = dict.fromkeys(event.article for event in events if event.article not in articles.position)
            articles = with_blanks(articles, list(missing))
    met = nothing_met()
    lines = read_adressa_lines(folder, events, articles, reading, met)
    return articles, rows_of_lines(folder, lines, met, articles, reading, WANTED["adressa"])
