"""What the preprocessing of yusanshi/news-recommendation leaves: rows as trained, texts as split. Not here: any model.

Source: https://github.com/yusanshi/news-recommendation, commit 8323a4f, src/data_preprocess.py. Beside MIND's news.tsv
stand behaviors_parsed.tsv (a line a row: the click, then the negatives as drawn), news_parsed.tsv (word and category
numbers, 0 for none and padding) and word2int.tsv, category2int.tsv and user2int.tsv, which number names from 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rec_trak.data.articles import Articles, read_mind_news, read_news_items
from rec_trak.data.impressions import Impressions
from rec_trak.data.numbered import read_numbers
from rec_trak.data.ragged import Ragged
from rec_trak.data.tables import Table, read_csv
from rec_trak.errors import DataError, listed
from rec_trak.words import quoted

PARSED_BEHAVIORS = "behaviors_parsed.tsv"


def read_parsed(folder: str | Path, news_path: str | Path | None = None) -> tuple[Articles, Impressions]:
    """The articles and the rows of a preprocessed folder.

    Args:
        folder: holds the six files named above, or five of them.
        news_path: the articles' readable form: news.tsv, or a news_items.csv, which can say what is fake; None for
            the folder's news.tsv.

    Returns:
        articles with their `tokens`, and categories as that preprocessing knows them; the rows, users by name.

    Raises:
        DataError: a file is missing or malformed, or two of them do not belong together.
    """
    folder = Path(folder)
    articles = read_parsed_articles(folder, folder, news_path)
    return articles, _rows(articles, folder)


def read_parsed_articles(folder: str | Path, dictionaries: str | Path, news_path: str | Path | None = None) -> Articles:
    """The articles of a preprocessed folder, of training or of validation.

    Args:
        folder: holds news_parsed.tsv, and news.tsv where no `news_path` is given.
        dictionaries: the folder with word2int.tsv and category2int.tsv, that of training.
        news_path: as `read_parsed`.

    Raises:
        DataError: a file is missing or malformed, or two of them do not belong together.
    """
    folder = Path(folder)
    path = Path(news_path) if news_path else folder / "news.tsv"
    articles = read_news_items(path) if path.suffix == ".csv" else read_mind_news(path)
    return _as_split(articles, folder, Path(dictionaries))


def _as_split(articles: Articles, folder: Path, dictionaries: Path) -> Articles:
    """The articles with the words and categories that news_parsed.tsv gives them."""
    path = folder / "news_parsed.tsv"
    table = read_csv(path, ("id", "category", "subcategory", "title", "abstract"), delimiter="\t")
    words = _by_number(dictionaries / "word2int.tsv", "word")
    categories = _by_number(dictionaries / "category2int.tsv", "category")
    line = {article_id: i for i, article_id in enumerate(table.column("id"))}
    lacking = [article_id for article_id in articles.ids if article_id not in line]
    if lacking or len(line) > len(articles):
        further = [article_id for article_id in line if article_id not in articles.position]
        problems = "; ".join(filter(None, [listed("missing", lacking), listed("further", further)]))
        raise DataError(
            f"{path}: not the articles of {articles.source}. Got {problems}, expected the same. Give both files of one "
            "preprocessing."
        )
    order = [line[article_id] for article_id in articles.ids]
    tokens, names = {}, {}
    for view, column in (("title", "title"), ("body", "abstract")):
        tokens[view] = tuple(_named(table, column, i, words, path, list) for i in order)
    for view in ("category", "subcategory"):
        names[view] = tuple(_named(table, view, i, categories, path, int)[0] for i in order)
    return replace(articles, categories=names["category"], subcategories=names["subcategory"], tokens=tokens)


def _by_number(path: Path, name: str) -> list[str]:
    """The names in order of their numbers, '' for 0."""
    numbers = read_numbers(path, name, "int")
    if sorted(numbers.values()) != list(range(1, len(numbers) + 1)):
        raise DataError(f"{path}: the numbers are not 1 to {len(numbers)}, one each. Make the file anew.")
    return ["", *sorted(numbers, key=numbers.__getitem__)]


def _named(table: Table, column: str, i: int, names: Sequence[str], path: Path, kind: type) -> tuple[str, ...]:
    """The names that a cell, a number or a list of numbers, stands for."""
    cell = table.values[column][table.codes[column][i]]
    try:
        held = json.loads(cell)
    except (ValueError, RecursionError):
        held = None
    numbers = held if kind is list else [held]
    if type(held) is not kind or not all(type(n) is int and 0 <= n < len(names) for n in numbers):
        raise DataError(
            f"{path}, line {table.first[i]}: `{column}` does not hold numbers of known names. Got {quoted(cell)}, "
            f"expected whole numbers from 0 to {len(names) - 1}. Give both files of one preprocessing."
        )
    return tuple(names[n] for n in numbers)


def _rows(articles: Articles, folder: Path) -> Impressions:
    path = folder / PARSED_BEHAVIORS
    table = read_csv(path, ("user", "clicked_news", "candidate_news", "clicked"), delimiter="\t")
    users = {str(number): name for name, number in read_numbers(folder / "user2int.tsv", "user", "int").items()}
    unknown = [number for number in table.values["user"] if number not in users]
    if unknown:
        what = listed("user number(s)", unknown)
        raise DataError(f"{path}: {what} that user2int.tsv does not name. Give both files of one preprocessing.")
    history = [_positions(articles, text, path) for text in table.values["clicked_news"]]
    candidates = [_positions(articles, text, path) for text in table.column("candidate_news")]
    for i, (row, clicked) in enumerate(zip(candidates, table.column("clicked"), strict=True)):
        if len(row) < 2 or clicked.split() != ["1", *"0" * (len(row) - 1)]:
            raise DataError(
                f"{path}, line {table.first[i]}: not one click before its negatives. Got {quoted(clicked)} for "
                f"{len(row)} candidate(s), expected 1, then 0 for each other one."
            )
    return Impressions(
        user_ids=np.array([users[number] for number in table.column("user")], dtype=object),
        history=Ragged.of([history[code] for code in table.codes["clicked_news"]]),
        candidates=Ragged.of(candidates),
        labels=Ragged.of([[1] + [0] * (len(row) - 1) for row in candidates]),
        is_fake=articles.is_fake[[row[0] for row in candidates]],
        sources=tuple(str(number) for number in table.first),
    )


def _positions(articles: Articles, text: str, path: Path) -> list[int]:
    unknown = [article_id for article_id in text.split() if article_id not in articles.position]
    if unknown:
        raise DataError(f"{path}: {listed('article(s)', unknown)} that {articles.source} lacks. Give the same release.")
    return [articles.position[article_id] for article_id in text.split()]
