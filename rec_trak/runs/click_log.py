"""The click log that a finished run was made from, read again and known to be the same. Not here: scores, labels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rec_trak.attribution.rows import sampled
from rec_trak.config.analysis import AnalysisConfig
from rec_trak.config.reading import Reading, reading_of
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.places import click_log_path, data_format
from rec_trak.data.ragged import Growing, Ragged
from rec_trak.data.sources import read_data
from rec_trak.errors import DataError
from rec_trak.results.files import Results
from rec_trak.results.histories import histories_read
from rec_trak.results.lines import Lines
from rec_trak.results.ranking import IDENTITY, rows_table
from rec_trak.words import outline

COMPARED = (*IDENTITY, "other_candidates", "source_lines")


@dataclass(frozen=True)
class ClickLog:
    """A click log and the part of it that a run has scored.

    Attributes:
        path: the file.
        form: `pairwise`, `mind` and so on.
        config: the analysis that the run was made with.
        reading: how the log is read.
        articles: the table that rows refer to.
        everything: all rows of the file, as the run's settings make them.
        places: (N,) places in `everything` of the run's N rows, in their order; not all where the run took a sample.
        rows: the run's rows.
    """

    path: Path
    form: str
    config: AnalysisConfig
    reading: Reading
    articles: Articles
    everything: Impressions
    places: np.ndarray
    rows: Impressions

    __repr__ = outline


def read_click_log(
    results: Results,
    config: AnalysisConfig,
    data_path: str | Path | None = None,
    news_items_path: str | Path | None = None,
) -> ClickLog:
    """The click log of a finished run.

    Args:
        results: the run.
        config: the analysis that it was made with.
        data_path, news_items_path: where the data are now; None for where the run read them (relative to the working
            directory, if the YAML's paths were).

    Raises:
        DataError: a file is missing or cannot be read, or its rows are no longer those of the run.
    """
    given = {"data_path": data_path, "news_items_path": news_items_path}
    config = dataclasses.replace(config, **{key: str(path) for key, path in given.items() if path is not None})
    kind = (config.data_path, results.metadata["dataset_type"], config.data_format)
    reading = _reading(results, config)
    articles, everything = read_data(config.data_path, config.news_items_path, kind[1], reading)
    places = sampled(len(everything), config.sample_size, config.seed, asked_for=False)
    rows = everything if len(places) == len(everything) else everything.subset(places)
    path = click_log_path(*kind)
    _check_same(path, rows_table(rows, articles), results)
    return ClickLog(path, data_format(*kind), config, reading, articles, everything, places, rows)


def _reading(results: Results, config: AnalysisConfig) -> Reading:
    """How the run read its log: a code base may have said more than the configuration."""
    told, known = results.metadata.get("reading"), {f.name for f in dataclasses.fields(Reading)}
    if isinstance(told, dict) and told.keys() <= known:
        return Reading(**told)
    return dataclasses.replace(reading_of(config), titles="table")  # as runs from before it was told were read


def check_same_rows(results: Results, other: Results) -> None:
    """Refuse two runs that did not score the same rows.

    Raises:
        DataError: names the first row that differs.
    """
    if other.rows.held.get(COMPARED) is not results.rows:  # a command opens a set several times
        _check_same(other.folder, other.rows, results)
        other.rows.held[COMPARED] = results.rows


def history_as_read(results: Results, log: ClickLog) -> Ragged:
    """N sequences of article positions: what the model read of each row's history; all of it where the run, of an
    earlier build, does not say. Where it read all of each, they are the log's own, not held a second time."""
    position, read, whole = log.articles.position, Growing(), log.rows.history
    for ids in histories_read(results.rows, results.metadata.get("model")):
        if ids is None:
            return whole
        read.add([position[a] for a in ids])
    found = read.table()
    parts = zip((found.offsets, found.values), (whole.offsets, whole.values), strict=True)
    return whole if all(np.array_equal(*part) for part in parts) else found


def line_numbers(source: str) -> list[int]:
    """The lines that a row's source names: "2-4,9" gives 2, 3, 4, 9."""
    spans = [span.split("-") for span in source.split(",")]
    return [line for span in spans for line in range(int(span[0]), int(span[-1]) + 1)]


def _check_same(path: Path, found: Lines, results: Results) -> None:
    """Refuse rows that are not the run's."""
    wanted = results.rows
    advice = f"Score again, or give the data that {results.folder} was made from."
    if len(found) != len(wanted):
        raise DataError(
            f"{path}: not the rows of {results.folder}, it changed since. Got {len(found):,} rows, expected "
            f"{len(wanted):,}. {advice}"
        )
    start, moved, first = 0, 0, ()
    for parts in zip(found.parts(COMPARED), wanted.parts(COMPARED), strict=True):
        ours, theirs = (part.astype(str) for part in parts)
        differing = ours.to_numpy() != theirs.to_numpy()
        places = np.flatnonzero(differing.any(axis=1))
        if len(places) and not moved:
            i, column = places[0], COMPARED[int(np.argmax(differing[places[0]]))]
            first = (start + i, column, *(repr(part[column].iloc[i]) for part in (ours, theirs)))
        start, moved = start + len(ours), moved + len(places)
    if moved:
        i, column, got, expected = first
        raise DataError(
            f"{path}: not the rows of {results.folder}, it changed since. Got `{column}` {got[:60]} in row {i} "
            f"({moved:,} such rows), expected {expected[:60]}. {advice}"
        )
