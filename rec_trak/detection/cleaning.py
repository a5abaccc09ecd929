"""A click log written again without the rows that a ranking names, for retraining. Not here: rankings, training.

What is left is the same byte for byte: order, quoting, encoding, line ends. An impression goes whole unless it made
several rows and some of them stay: then the lines, or in a MIND file the words, of the dropped clicks alone go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
import pandas as pd

from rec_trak.detection.labels import read_row_numbers
from rec_trak.detection.left import check_left
from rec_trak.detection.suspicion import SUSPICIOUS, suspicion_scores
from rec_trak.errors import ConfigError, listed
from rec_trak.results.belongs import bytes_sum
from rec_trak.results.files import Results, as_csv, write_files
from rec_trak.results.ranking import best_first
from rec_trak.runs.click_log import ClickLog, line_numbers
from rec_trak.runs.finished import open_run
from rec_trak.words import LINE, outline, plain, quoted

WORD = re.compile(r"\s*\S+|\s+")  # a candidate with the blanks before it, or the end of the line
LOG_COLUMNS = ("sample_idx", "user_id", "article_id", "title", "rank", "score", "source_lines", "reason")


@dataclass(frozen=True)
class Choice:
    """Which rows are to go. What is given narrows: a row goes if every part that is given names it.

    Attributes:
        by: `score`, a numeric column of the run's rows.csv (`renormalised`), or `suspicion` where detect.py wrote
            suspicion.csv: the rows in question alone can go by it. Ranks and bounds are of it.
        users, articles: any of these users; a click on any of these articles. Empty for all.
        above, below: by more than this, by less than this.
        rows: a CSV whose column `sample_idx` lists rows.
        top: the first so many of the rows that the other parts name.
    """

    by: str = "score"
    users: tuple[str, ...] = ()
    articles: tuple[str, ...] = ()
    above: float | None = None
    below: float | None = None
    rows: str | Path | None = None
    top: int | None = None


@dataclass(frozen=True)
class Cleaned:
    """What was dropped, or would be.

    Attributes:
        source: the click log.
        dropped: LOG_COLUMNS, the highest rank first.
        lines: lines of the file that go; `changed`: lines that stay and lose a click (MIND).
        rows_left: rows that the file makes afterwards.
        paths: the files written; none in a dry run.
        left_aside: what lies beside the ranking and is of another scoring, a sentence each.
    """

    source: Path
    dropped: pd.DataFrame
    lines: int
    changed: int
    rows_left: int
    paths: list[Path]
    left_aside: tuple[str, ...]

    __repr__ = outline


def clean_log(
    results_dir: str | Path,
    output: str | Path | None,
    choice: Choice,
    data_path: str | Path | None = None,
    news_items_path: str | Path | None = None,
) -> Cleaned:
    """Write the click log of a finished run without the chosen rows, and beside it `<name>_dropped.csv`.

    Rows that the run did not score (outside its sample) stay. The new file is read again before it takes its place. A
    file that is there is as good as written if it is the same byte for byte, so that a command that was killed can be
    given again.

    Args:
        results_dir: what scripts/score.py wrote, or a target set's folder below it.
        output: a new file; None to write nothing and only say what would go.
        choice: which rows.
        data_path, news_items_path: where the data are now, see `click_log.read_click_log`.

    Raises:
        ConfigError: the choice cannot be meant or names no row, or the output is there already and other.
        DataError: the run is not finished, or its click log changed since.
        StoreError: a file cannot be written.
    """
    run = open_run(results_dir)
    results = run.results
    rows, scores, reason = choose_rows(results, choice, suspicion_scores(run) if choice.by == SUSPICIOUS else None)
    log = run.click_log(data_path, news_items_path)
    if output is not None:
        _check_lines(log)
        output = Path(output)
        record = output.with_name(f"{output.stem}_dropped.csv")
        _check_not_itself(output, log.path)
        _check_not_itself(record, log.path)
    places = log.places[rows]
    left = np.setdiff1d(np.arange(len(log.everything)), places)
    if not len(left):
        raise ConfigError(f"{log.path}: no row would be left. Got all {len(rows)} rows chosen. Choose fewer.")
    gone, changes = _edits(log, places, left)
    dropped = _record(results, rows, scores, reason)
    paths = []
    if output is not None:
        writers = {output.name: partial(_write, log, gone, changes, left), record.name: as_csv(dropped)}
        paths = write_files(output.parent, writers, check=_check_new)
    return Cleaned(log.path, dropped, len(gone), len(changes), len(left), paths, run.left_aside)


def choose_rows(
    results: Results, choice: Choice, suspicion: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, str]:
    """The rows (R,) that a choice names, the highest first, the scores (N,) it ranks by, and the choice in words.

    Args:
        results: the run.
        choice: which rows.
        suspicion: (N,) what to rank by instead of a column; rows with 0 are not in question, and stay.

    Raises:
        ConfigError: nothing is asked for, a part cannot be meant, or no row is named.
        DataError: the file of row numbers is wrong.
    """
    scores = _scores(results, choice.by) if suspicion is None else suspicion
    table, words = results.rows, []
    keep = np.ones(len(scores), dtype=bool) if suspicion is None else suspicion > 0
    for wanted, column, what in ((choice.users, "user_id", "user"), (choice.articles, "article_id", "article")):
        if not wanted:
            continue
        codes, names = table.codes(column)
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ConfigError(f"--{what}: {listed('without any row', unknown)} in {results.folder}. Mend the id.")
        keep &= np.isin(codes, [i for i, name in enumerate(names) if name in wanted])
        words.append(f"{what} {' or '.join(wanted)}")
    if choice.above is not None:
        keep &= scores > choice.above
        words.append(f"{choice.by} above {choice.above:g}")
    if choice.below is not None:
        keep &= scores < choice.below
        words.append(f"{choice.by} below {choice.below:g}")
    if choice.rows is not None:
        keep &= np.isin(np.arange(len(scores)), read_row_numbers(choice.rows, len(scores)))
        words.append(f"listed in {choice.rows}")
    order = best_first(scores)
    rows = order[keep[order]]
    if choice.top is not None:
        if not 1 <= choice.top <= len(rows):
            raise ConfigError(f"--top: out of range. Got {choice.top}, expected 1 to {len(rows)} rows. Change it.")
        rows = rows[: choice.top]
        words.append(f"top {choice.top} by {choice.by}")
    if not words:
        raise ConfigError(
            "clean: which rows? Got nothing to choose by, expected --top, --user, --article, --above, --below or "
            "--rows. Give one."
        )
    if not len(rows):
        raise ConfigError(f"clean: no row is named. Got 0 rows with {', '.join(words)}. Choose more widely.")
    return rows, scores, ", ".join(words)


def _scores(results: Results, by: str) -> np.ndarray:
    """(N,) the numbers to rank by."""
    if by == "score":
        return results.scores.astype(np.float64)
    numeric = results.rows.numbers(by) if by in results.rows else None
    if numeric is None or not np.isfinite(numeric).all():
        raise ConfigError(
            f"--by: not a column of numbers. Got {quoted(by)}, expected `score` or one of "
            f"{plain(', '.join(results.rows.columns), LINE // 2)} in {results.folder} that holds numbers only."
        )
    return numeric


def _check_lines(log: ClickLog) -> None:
    """Refuse to write what is no file of lines."""
    if log.form in ("ebnerd", "adressa"):
        raise ConfigError(
            f"{log.path}: clean.py writes logs of lines that are impressions. Got `data_format` {log.form}, expected "
            "pairwise, mind, parsed or adressa_newsreclib. Give --dry_run instead of --output; `source_lines` says "
            "which impressions or events the rows are."
        )


def _check_not_itself(path: Path, source: Path) -> None:
    if path.exists() and path.samefile(source):
        _refuse_output(path, "it is the click log itself")


def _check_new(places: dict[Path, Path]) -> None:
    """Refuse to write over anything that is not just what would be written."""
    for path, written in places.items():
        if path.exists() and not (path.is_file() and bytes_sum(path) == bytes_sum(written)):
            _refuse_output(path, "it is there already")


def _refuse_output(path: Path, what: str) -> NoReturn:
    raise ConfigError(f"--output: {path} cannot be written, {what}. Expected a new file. Choose another name.")


def _record(results: Results, rows: np.ndarray, scores: np.ndarray, reason: str) -> pd.DataFrame:
    """A line for each dropped row."""
    rank = np.empty(len(scores), dtype=np.int64)
    rank[best_first(scores)] = np.arange(1, len(scores) + 1)
    table = results.rows.take(rows).assign(rank=rank[rows], score=scores[rows], reason=reason)
    return table[[*LOG_COLUMNS]]


def _edits(log: ClickLog, places: np.ndarray, left: np.ndarray) -> tuple[set[int], dict[int, set[int]]]:
    """Lines that go, and line -> clicks that go from it, where they have several (clicks are named for MIND alone).

    Args:
        places, left: rows of `log.everything` that are to go and to stay.
    """
    if log.form != "mind" and log.everything.origin is not None:
        gone, kept = (set(log.everything.origin[part, 0].tolist()) for part in (places, left))
        return gone - kept, {number: set() for number in gone & kept}
    if log.form != "mind":
        gone, kept = ({n for i in part for n in line_numbers(log.everything.sources[i])} for part in (places, left))
        return gone - kept, {}
    named: dict[int, set[int]] = {}
    for number, click in log.everything.origin[places].tolist():
        named.setdefault(number, set()).add(click)
    gone, changes = set(), {}
    for number, line in _lines(log):
        if number in named:
            clicks = sum(candidate[-1] == "1" for candidate in line.split("\t")[-1].split())
            if len(named[number]) == clicks:
                gone.add(number)
            else:
                changes[number] = named[number]
    return gone, changes


def _lines(log: ClickLog) -> Iterator[tuple[int, str]]:
    """The lines of the click log with their numbers, as the readers count them; encoding a line gives its bytes."""
    with open(log.path, encoding="utf-8", newline="\n" if log.form == "mind" else "") as file:
        yield from enumerate(file, 1)


def _without_clicks(line: str, dropped: set[int]) -> str:
    """A line of behaviors.tsv without the clicked candidates of these places among the clicked."""
    head, slate = line.rsplit("\t", 1)
    kept, click = [], -1
    for word in WORD.findall(slate):
        click += word.endswith("1")
        if not (word.endswith("1") and click in dropped):
            kept.append(word)
    if kept[0] != WORD.match(slate).group():
        kept[0] = kept[0].lstrip()  # the first candidate went: the blank that parted the next one from it goes too
    return f"{head}\t{''.join(kept)}"


def _write(log: ClickLog, gone: set[int], changes: dict[int, set[int]], left: np.ndarray, file: BinaryIO) -> None:
    """Write the click log without these lines and clicks, and read it again."""
    for number, line in _lines(log):
        if number not in gone:
            file.write((_without_clicks(line, changes[number]) if number in changes else line).encode())
    file.flush()
    check_left(log, left, Path(file.name))
