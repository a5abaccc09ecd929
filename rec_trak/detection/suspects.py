"""Which articles may be promoted, from the click log alone: `rec-trak suspects`. Not here: which of their clicks.

The numbers of readers.py, each set against those of the log's other articles: less their median, over their spread
(1.4826 times the median absolute deviation, at least 1), so that a log whose articles all vary much is no alarm. KINDS
of evidence are sums of them over the root of their number, `unlike` cut to +-CUT, each divided by how widely it varies
in clean logs: articles that a platform pushes stand out, too, in all but what is about histories that the log does not
back. The score is the largest kind: one strong kind is enough, and what speaks against it in another is not counted. An
article is suspicious from LEVEL on, which no clean log reached where it was fixed, pushed articles included;
docs/detection.md says how many did elsewhere. Growth (clicks on its busiest day, where the log has days) and influence
(of a finished run) stand beside the score and are no part of it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.sources import read_data
from rec_trak.data.tables import one_line
from rec_trak.detection.rarity import against_others
from rec_trak.detection.readers import CLICKED, LEAST_USERS, SHOWN, SIGNALS, readers_table
from rec_trak.detection.unbacked import UNBACKED
from rec_trak.errors import ConfigError
from rec_trak.results.files import as_csv, as_json, write_files
from rec_trak.results.text_table import format_table
from rec_trak.runs.finished import open_run
from rec_trak.words import outline

LEVEL, CUT = 4.0, 4.0
KINDS = {CLICKED: 1.5, SHOWN: 1.5} | {(name,): 1.0 for name in UNBACKED}  # kind -> what it is divided by
FEW = 20  # articles to set one against, before a note
LINES = 10  # of a terminal
COUNTS = ("clicks", "users", "readers")


@dataclass(frozen=True)
class Suspects:
    """Articles by how suspicious they are.

    Attributes:
        table: rank, article_id, title, score, suspicious (0 or 1), COUNTS, SIGNALS in units of the other articles'
            spread, and where it is known growth and influence; the most suspicious first.
        answer: sentences for a reader who decides.
        notes: what the reader of the log did, and what could not be said.
        level: the score from which an article is suspicious.
        of: the scoring whose influence was joined, None without.
    """

    table: pd.DataFrame
    answer: list[str]
    notes: list[str]
    level: float
    of: str | None = None

    __repr__ = outline

    def record(self) -> dict[str, Any]:
        """What suspects.json holds: answer, notes, level, judged (articles) and the suspicious ones as records."""
        found = self.table[self.table["suspicious"] == 1]
        told = {"answer": self.answer, "notes": self.notes, "level": self.level, "judged": len(self.table)}
        return told | {"suspicious": found.to_dict("records")}


def suspects_of(rows: Impressions, articles: Articles, level: float = LEVEL, seed: int = 0) -> Suspects:
    """Articles of a click log by how suspicious they are.

    Args:
        rows: N rows; their column `day` is read where there is one.
        articles: the table.
        level: see the module.
        seed: of `readers_table`.
    """
    table = readers_table(rows, len(articles), seed)
    for name in SIGNALS:
        table[name] = against_others(table[name].to_numpy(dtype=float))
    table["score"] = _kinds(table).max(axis=1)
    table["suspicious"] = (table["score"] >= level).astype(int)
    table["article_id"] = [articles.ids[a] for a in table["article"]]
    table["title"] = [one_line(articles.titles[a]) for a in table["article"]]
    days = rows.columns.get("day")
    growth = [] if days is None or not all(days) else ["growth"]
    if growth:
        table["growth"] = _growth(np.array(days), rows.clicked, table["article"].to_numpy())
    table = table.sort_values(["score", "clicks"], ascending=False, kind="stable").reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    columns = ["rank", "article_id", "title", "score", "suspicious", *COUNTS, *SIGNALS, *growth]
    return Suspects(table[columns], answer_of(table, level), [*rows.notes, *_cautions(len(table))], level)


def answer_of(table: pd.DataFrame, level: float) -> list[str]:
    """What was found in plain lines."""
    found = table[table["suspicious"] == 1]
    judged = f"{len(table):,} article(s) with clicks of at least {LEAST_USERS} users were judged"
    if not len(found):
        most = f"; the highest score is {table['score'].max():.1f}, suspicious from {level:g} on" if len(table) else ""
        return [f"Nothing suspicious: {judged}{most}."]
    lines = [f"{len(found)} suspicious article(s); {judged}, suspicious from a score of {level:g} on:"]
    for line in found.head(LINES).to_dict("records"):
        lines.append(f"  {line['article_id']} ({line['title']}): score {line['score']:.1f}, {_why(line)}")
    return [
        *lines,
        "A score says that those who meet it are not its readers, not why: a strong push by the platform looks alike.",
        f"Which clicks: put `asked: {{article: {found['article_id'].iloc[0]}, users: val}}` under `targets` in the "
        "YAML of an analysis, then rec-trak score --targets asked, then rec-trak detect.",
    ]


def read_suspects(
    data_path: str | Path | None = None,
    news_items_path: str | Path | None = None,
    dataset_type: str = "train_poisoned",
    results_dir: str | Path | None = None,
    targets: str | None = None,
    level: float = LEVEL,
) -> Suspects:
    """Suspects of a click log, or of a finished run's with its influence beside.

    Args:
        data_path, news_items_path, dataset_type: as `read_data`; of a run, where its data are now.
        results_dir: the run; None for none.
        targets: the target set whose influence is joined; None for the run's own scores.
        level: see the module.

    Raises:
        ConfigError: neither data nor a run, or no such target set.
        DataError: what cannot be read.
    """
    if results_dir is None:
        if data_path is None:
            raise ConfigError("suspects: which click log? Got none, expected --data_path or --results_dir. Give one.")
        return suspects_of(*reversed(read_data(data_path, news_items_path, dataset_type, Reading())), level)
    run = open_run(results_dir)
    log = run.click_log(data_path, news_items_path)
    found = suspects_of(log.rows, log.articles, level)
    results = run.results if targets is None else run.target_set(targets)
    if targets is not None and "renormalised" in results.rows:
        scores = results.numbers("renormalised")
    else:
        scores = results.scores.astype(float)
    codes, named = results.rows.codes("article_id")
    mean = pd.Series(scores).groupby(codes).mean()
    mean.index = named
    table = found.table.assign(influence=against_others(mean.reindex(found.table["article_id"]).to_numpy()))
    return dataclasses.replace(found, table=table, of=run.scoring)


def write_suspects(folder: str | Path, found: Suspects) -> list[Path]:
    """Write suspects.csv and suspects.json; their paths.

    Raises:
        StoreError: a file cannot be written.
    """
    files = {"suspects.csv": as_csv(found.table), "suspects.json": as_json(found.record())}
    return write_files(folder, files, found.of)


def suspects_text(found: Suspects, width: int = 120) -> list[str]:
    """What a terminal shows, in lines: the answer, the first articles, notes."""
    table = found.table.head(LINES).drop(columns=["suspicious", "title"])
    lines = [*found.answer, "", *(format_table(table, width).split("\n") if len(table) else [])]
    return [*lines, *(f"note: {note}" for note in found.notes)]


def _why(line: dict[str, Any]) -> str:
    """The strongest kind of evidence in words, and of its signals the strongest two."""
    said = {
        "unlike": "its clickers read other things than its readers",
        "gone": "many of its clickers never turn up as its readers",
        "alone": "many of its clickers click nothing else",
        "passing": "many who are shown it and click another click a single time",
        "unbacked": "many of its clickers never clicked what stands in their histories",
        "unbacked_held": "many who have it in their history never clicked what else stands there",
        "unbacked_shown": "many who are shown it and click another never clicked what stands in their histories",
    }
    kind = list(KINDS)[int(_kinds(pd.DataFrame([line])).iloc[0].argmax())]
    strong = sorted(kind, key=lambda name: -line[name])[:2]
    return " and ".join(said[name] for name in strong if line[name] > 1) or "each signal a little"


def _kinds(table: pd.DataFrame) -> pd.DataFrame:
    """The evidence of each of KINDS, a column each."""
    cut = table.assign(unlike=table["unlike"].clip(-CUT, CUT))
    return pd.DataFrame({"+".join(kind): cut[[*kind]].sum(axis=1) / len(kind) ** 0.5 / KINDS[kind] for kind in KINDS})


def _growth(days: np.ndarray, clicked: np.ndarray, articles: np.ndarray) -> np.ndarray:
    """(n,) the share of an article's clicks on its busiest day, against that of the others."""
    if not len(articles):
        return np.zeros(0)
    _, day = np.unique(days, return_inverse=True)
    keys, counts = np.unique(clicked.astype(np.int64) * (day.max() + 1) + day, return_counts=True)
    starts = np.searchsorted(keys // (day.max() + 1), np.arange(clicked.max() + 2))
    some = np.flatnonzero(np.diff(starts))
    busiest, total = np.zeros((2, clicked.max() + 1))
    busiest[some], total[some] = (of.reduceat(counts, starts[some]) for of in (np.maximum, np.add))
    shares = busiest[articles] / total[articles]
    return (shares - np.median(shares)) / (np.std(shares) or 1.0)


def _cautions(judged: int) -> list[str]:
    few = f"Only {judged} article(s) could be judged: fewer than {FEW} say little about what is usual in this log."
    return [few] if judged < FEW else []
