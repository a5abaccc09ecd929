"""Ranked rows as a page tells them: the headline clicked, who clicked it, what that user had read. Not here: HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.page.reasons import Asked, likeness, reasons
from rec_trak.page.tables import read_csv, shown
from rec_trak.results.files import Results
from rec_trak.results.histories import ARTICLES, row_read
from rec_trak.results.lines import Lines
from rec_trak.results.ranking import best_first
from rec_trak.runs.finished import FinishedRun
from rec_trak.words import headline_text

LISTED = 10  # rows in a list
READ = 6  # headlines of a history at first sight, the newest that the model reads
UNREAD = 50  # headlines that it does not read, unfolded; rows.csv has all
SHORT, LONG = 180, 20_000  # characters of a headline at first sight, and unfolded
TITLED = (ARTICLES, "by_article.csv", "by_history_article.csv")
NUMBERS = ("kernel", "q", "leverage")  # of a row, where its scoring tells them
Titles = dict[str, tuple[str, str]]


def known_titles(run: FinishedRun, sets: Sequence[Results] = ()) -> Titles:
    """Article id -> headline and class ('' where unknown), of all articles that a run's files name, clicked or not.

    Raises:
        DataError: a CSV cannot be read.
    """
    found: Titles = {}
    paths = [run.file(name, of) for of in (None, *sets) for name in TITLED]
    for table in (_clicked(run.results.rows), *(read_csv(path) for path in paths if path)):
        if not {"article_id", "title"} <= set(table.columns):
            continue
        table = table.drop_duplicates("article_id")
        labels = table["label"] if "label" in table.columns else [""] * len(table)
        for article, title, label in zip(table["article_id"], table["title"], labels, strict=True):
            known = found.get(article, ("", ""))
            found[article] = (known[0] or headline_text(title), known[1] or ("" if label == "unknown" else label))
    return found


def _clicked(rows: Lines) -> pd.DataFrame:
    """The first row of each article."""
    codes, articles = rows.codes("article_id")
    first = np.full(len(articles), len(rows), dtype=np.int64)
    np.minimum.at(first, codes, np.arange(len(rows)))
    return rows.take(first, ["article_id", "title", "label"])


def strongest(
    results: Results, titles: Titles, lowest: bool = False, asked: Asked | None = None
) -> list[dict[str, Any]]:
    """The LISTED highest rows with a score above 0, or the lowest with one below 0, the strongest first."""
    order = best_first(-results.scores if lowest else results.scores)[:LISTED]
    order = [row for row in order.tolist() if (results.scores[row] < 0 if lowest else results.scores[row] > 0)]
    largest = max((abs(float(results.scores[row])) for row in order), default=1.0)
    return [card(results, row, float(results.scores[row]), largest, titles, True, asked) for row in order]


def headline(title: str) -> dict[str, str]:
    """A headline in two lengths: `short`, and `full` where that says more."""
    title = headline_text(title)
    short, full = shown(title, SHORT), shown(title, LONG)
    return {"short": short, "full": full if full != short else ""}


def card(
    results: Results, number: int, score: float, largest: float, titles: Titles, own: bool = False,
    asked: Asked | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What a list says of a row; its bar is `score` as a share of the list's `largest`.

    `read` are the headlines that the model reads of the history, in order, those of `earlier` before the newest READ;
    `unread` counts the others, `skipped` are the first UNREAD of them. Where the run does not say what was read, `read`
    is the log's history and `told` False. `others` are the candidates that the click was preferred to; `numbers`, what
    the score is made of, where it is the row's `own` in this scoring; `why`, what it has in common with what was
    `asked`.
    """
    row = results.rows.take([number]).iloc[0]
    history, read = row["history_ids"].split(), row_read(row, results.metadata.get("model"))
    told, read = read is not None, history if read is None else read
    items, skipped = list(_read(read, titles)), _skipped(history, read)
    others = row["other_candidates"].split()
    made = row if asked is None or asked.q is None else {"q": asked.q[number], **row}
    numbers = {name: float(made[name]) for name in NUMBERS if own and is_number(made.get(name))}
    first, alike = max(0, len(items) - READ), [] if asked is None else likeness(asked, number)
    return {
        "title": headline(row["title"]),
        "article": shown(row["article_id"], 60),
        "label": row["label"],
        "poisoned": row.get("poisoned", ""),
        "user_id": row["user_id"],
        "user": shown(row["user_id"], 60),
        "article_id": row["article_id"],
        "row": int(row["sample_idx"]),
        "anchor": "",
        "place": "",
        "numbers": numbers,
        "others": list(_read(others, titles)),
        "why": [] if asked is None else reasons(asked, row["article_id"], others, read, titles, score, alike),
        "source": shown(row["source_lines"], 60),
        "score": score,
        "width": round(100 * abs(score) / largest, 1) if largest else 0.0,
        "read": items[first:],
        "earlier": items[:first],
        "unread": len(skipped),
        "skipped": list(_read(skipped[:UNREAD], titles)),
        "told": told,
    }


def _skipped(history: list[str], read: list[str]) -> list[str]:
    """The articles of a history that are not read, in order; models read one end of it."""
    count = len(history) - len(read)
    if history[count:] == read:
        return history[:count]
    left, skipped = Counter(read), []
    for article in history:
        if left[article]:
            left[article] -= 1
        else:
            skipped.append(article)
    return skipped


def is_number(text: Any) -> bool:
    """Whether a cell holds a finite number."""
    try:
        return bool(np.isfinite(float(text)))
    except (TypeError, ValueError):
        return False


def _read(articles: Iterable[str], titles: Titles) -> Iterable[dict[str, str]]:
    for article in articles:
        title, label = titles.get(article, ("", ""))
        yield {"title": shown(title, SHORT) or shown(article, 60), "label": label}


def top_share(scores: np.ndarray, count: int) -> float:
    """The share of all positive scores (N,) that the `count` highest carry, in [0, 1]; 0 where none is positive."""
    positive = np.sort(np.clip(scores.astype(np.float64), 0, None))[::-1]
    total = positive.sum()
    return float(positive[:count].sum() / total) if total > 0 else 0.0
