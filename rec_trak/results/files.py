"""The results folder: what a run leaves behind, written whole or not at all, and read back. Not here: any computing.

A results folder is finished when it holds trak_scores.npy, trak_labels.npy, rows.csv and metadata.json; the ranking
CSVs and the figures are made from these four alone, so they can be made again without the data or the model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from rec_trak.arrays import read_array
from rec_trak.config.documents import read_json
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.disk import beside, put_in_place
from rec_trak.errors import DataError, StoreError
from rec_trak.results.belongs import bytes_sum, check_sums, claimed, run_digest, scoring_digest
from rec_trak.results.cells import guarded, spreadsheet_safe, unguarded
from rec_trak.results.lines import Lines
from rec_trak.results.metadata import check_metadata
from rec_trak.results.nothing import named
from rec_trak.results.plots import SCORE_NAME, plot_score_distribution, plot_top_influential_samples
from rec_trak.results.ranking import (
    BOTTOM,
    TOP,
    check_scores,
    clip_top_k,
    rank_training_samples,
    ranking_table,
    rows_table,
)
from rec_trak.results.reading import GUARD, METADATA
from rec_trak.results.rows_file import AGAIN, LABELS_FILE, ROWS, SCORES, read_or_refuse, read_rows
from rec_trak.results.style import Writer, figure_files
from rec_trak.words import outline, quoted

GRADIENTS = "trak_gradients.npy"


@dataclass(frozen=True)
class Results:
    """A finished run as its folder holds it.

    Attributes:
        folder: where it was read.
        scores: (N,) float32.
        labels: (N,) int64, 1 fake, 0 real, -1 unknown.
        rows: N lines of rows.csv in row order, all text but `sample_idx`; read from the file when they are asked for.
        metadata: the content of metadata.json.
    """

    folder: Path
    scores: np.ndarray
    labels: np.ndarray
    rows: Lines
    metadata: dict[str, Any]

    __repr__ = outline

    @property
    def nothing(self) -> np.ndarray:
        """(N,) bool, the rows that metadata.json names among those that carry nothing; their score is 0.

        Raises:
            DataError: it names rows that are not there.
        """
        found = np.zeros(len(self.scores), dtype=bool)
        found[named(self.metadata, "rows", len(found), f"{self.folder / METADATA}")] = True
        return found

    def numbers(self, column: str) -> np.ndarray:
        """(N,) float64 of a column of rows.csv; not to be written to.

        Raises:
            DataError: a cell is no number.
        """
        values = self.rows.numbers(column)
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            got = self.rows.take(wrong[:1], [column])[column].iloc[0]
            raise DataError(
                f"{self.folder / ROWS}: `{column}` of row {wrong[0]}. Got {quoted(got)}, expected a finite number. "
                f"{AGAIN}"
            )
        return values

    @property
    def nothing_targets(self) -> np.ndarray:
        """Numbers (int64) of a set's targets that it names so; means over targets go without them."""
        count = (self.metadata.get("score") or {}).get("target_count") or 0
        return named(self.metadata, "targets", count, f"{self.folder / METADATA}")


def write_results(
    folder: str | Path,
    scores: Any,
    impressions: Impressions,
    articles: Articles,
    top_k: int,
    metadata: dict[str, Any],
    extra: dict[str, Any] | None = None,
    score_name: str = SCORE_NAME,
    gradients: np.ndarray | None = None,
    tables: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> list[Path]:
    """Write a run's results; the paths written.

    Args:
        folder: made where it does not exist. No file in it changes before all are written beside their places.
        scores: (N,) scores; stored, and ranked, as float32.
        impressions, articles: the N rows scored, and the table they were read against.
        top_k: length of the top and bottom lists; beyond N it is cut to N with a warning.
        metadata: what else metadata.json is to say; `config`, `dataset_type`, `model_type` and `proj_dim` stand first.
            The rows that it names as carrying nothing (see `nothing.py`) are left out of the figures and of both ends.
        extra: further columns of rows.csv and ranking_full.csv, name -> (N,) values.
        score_name: the axis label of the figures, with the unit.
        gradients: (N, K) projected gradients, written to trak_gradients.npy if given.
        tables: file name -> what else is of this scoring.

    Raises:
        NumericalError: a score is NaN or infinite.
        DataError: no rows, unequal lengths, or an extra column that does not fit.
        ConfigError: `top_k` is not a whole number of at least 1.
        StoreError: a file cannot be written.
    """
    folder = Path(folder)
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused by name below
        scores = np.asarray(scores).astype(np.float32)
    scores, labels = check_scores(scores, impressions.is_fake, str(folder))
    top_k = clip_top_k(top_k, len(scores))
    rows = rows_table(impressions, articles, extra)
    content = {
        **dict.fromkeys(("config", "dataset_type", "model_type", "proj_dim")),
        **metadata,
        **({"scoring": of} if (of := run_digest(metadata)) else {}),
        **({GUARD: True} if spreadsheet_safe() else {}),
        "top_k": top_k,
        "score_name": score_name,
        **_numbers(scores, labels, len(np.unique(impressions.clicked))),
    }
    writers = _rankings(Results(folder, scores, labels, rows, content)) | {
        ROWS: as_csv(rows),
        SCORES: lambda file: np.save(file, scores),
        LABELS_FILE: lambda file: np.save(file, labels),
    }
    if gradients is not None:
        writers[GRADIENTS] = lambda file: np.save(file, gradients)
    writers |= {name: as_csv(table) for name, table in tables.items()}
    return write_files(folder, writers | {METADATA: as_json(content)}, scoring_digest(content))


def rewrite_results(folder: str | Path) -> list[Path]:
    """Make the ranking CSVs and the figures of a finished run again, those of a paper too; the paths written.

    Raises:
        DataError: a file of the run is missing, damaged, or does not fit the others.
        NumericalError: a score is NaN or infinite.
        ConfigError: the `top_k` in metadata.json is no length of a list.
        StoreError: a file cannot be written.
    """
    results = read_results(folder)
    if "top_k" not in results.metadata:
        raise DataError(f"{results.folder / METADATA}: `top_k` is missing. {AGAIN}")
    return write_files(results.folder, _rankings(results, vector=True), scoring_digest(results.metadata))


def read_results(folder: str | Path) -> Results:
    """The finished run in a folder.

    Raises:
        DataError: a file of the run is missing, damaged, or does not fit the others.
        NumericalError: a score is NaN or infinite.
    """
    folder = Path(folder)
    missing = [name for name in (SCORES, LABELS_FILE, ROWS, METADATA) if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: not a finished run, {', '.join(missing)} missing. Run scripts/score.py first.")
    sums = check_sums(folder, (SCORES, LABELS_FILE, ROWS), AGAIN)
    scores, labels = (read_or_refuse(folder / name, read_array) for name in (SCORES, LABELS_FILE))
    scores, labels = check_scores(scores, labels, str(folder))
    metadata = check_metadata(read_or_refuse(folder / METADATA, read_json), f"{folder / METADATA}", AGAIN)
    change = unguarded if metadata.get(GUARD) is True else None
    return Results(folder, scores, labels, read_rows(folder / ROWS, labels, change, sums.get(ROWS)), metadata)


def write_files(
    folder: str | Path,
    writers: dict[str, Writer],
    of: str | None = None,
    check: Callable[[dict[Path, Path]], None] = lambda places: None,
) -> list[Path]:
    """Write files so that an interruption leaves the old ones whole; their paths.

    All are written beside their places first, and take them only when the last one is complete. Where metadata.json is
    among them, it is the last, and while they take their places there is none.

    Args:
        folder: made where it does not exist.
        writers: file name -> function that writes its content to a binary file.
        of: the scoring that the files are of (`belongs.scoring_digest`); None where they are of none.
        check: given each file's place and where it lies whole, before any takes its place; what it raises stops that.

    Raises:
        StoreError: a file cannot be written (no room, no permission, a file in the folder's place).
    """
    folder, path = Path(folder), Path(folder)
    places: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for name, write in writers.items():
                path = folder / name
                places[path] = stack.enter_context(beside(path))
                with open(places[path], "wb") as file:
                    write(file)
            check(places)
            with claimed(folder, {path.name: bytes_sum(temporary) for path, temporary in places.items()}, of):
                put_in_place(places, folder / METADATA if METADATA in writers else None)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"{path}: cannot be written ({reason}). Make room, or choose another folder.") from None
    return list(places)


def as_csv(table: pd.DataFrame | Lines) -> Writer:
    """A writer of the table as UTF-8 CSV without an index, some lines at a time; see `cells` for text that a
    spreadsheet would compute."""
    lines = Lines.of(table)

    def write(file: BinaryIO) -> None:
        for number, part in enumerate(lines.parts()):
            guarded(part).to_csv(file, mode="wb", index=False, header=number == 0, encoding="utf-8")

    return write


def as_json(content: Any) -> Writer:
    """A writer of the content as JSON that any reader accepts: NaN and infinities become null."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    return lambda file: file.write(f"{text}\n".encode())


def _rankings(results: Results, vector: bool = False) -> dict[str, Writer]:
    """The files that are made from the finished run alone; with `vector`, PDF and SVG too."""
    scores, labels, rows, metadata = results.scores, results.labels, results.rows, results.metadata
    top_k = clip_top_k(metadata["top_k"], len(scores))
    nothing = results.nothing
    table = ranking_table(scores, rows, top_k, nothing)
    told = {"score_name": str(metadata.get("score_name", SCORE_NAME)), "members": len(metadata.get("members") or [])}
    ranking = rank_training_samples(scores, labels, top_k, nothing)
    spread = partial(plot_score_distribution, scores, labels, nothing=nothing, **told)
    listed = np.unique(np.concatenate([places for name, places in ranking.items() if name.endswith("_indices")]))
    titles = dict(zip(listed.tolist(), rows.take(listed, ["title"])["title"], strict=True))
    tops = partial(plot_top_influential_samples, ranking, titles=titles, **told)
    return {
        "ranking_results.csv": as_csv(table.at(np.flatnonzero(table["category"].isin((TOP, BOTTOM))))),
        "ranking_full.csv": as_csv(table),
        **figure_files("score_distribution", lambda columns: spread(columns=columns), vector),
        **figure_files("top_influential_samples", lambda columns: tops(columns=columns), vector),
    }


def _numbers(scores: np.ndarray, labels: np.ndarray, clicked: int) -> dict[str, Any]:
    """`data_stats` and `score_stats` of metadata.json; `clicked`, how many different articles are."""
    wide = scores.astype(np.float64)
    classes = {"n_fake": (labels == 1).sum(), "n_real": (labels == 0).sum()}
    return {
        "data_stats": {"n_total": len(scores), **classes, "n_unique": clicked},
        "score_stats": {"mean": wide.mean(), "std": wide.std(), "min": wide.min(), "max": wide.max()},
    }


def _plain(value: Any) -> Any:
    """The value in JSON's own types."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
