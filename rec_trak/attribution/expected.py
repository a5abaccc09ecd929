"""Scores that a user's own code gave, beside those of the model that was loaded. Not here: gradients, or an AUC.

The strictest proof that a model was loaded right and reads its rows as it did in training: number by number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rec_trak.arrays import read_array
from rec_trak.attribution.job import Job
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.config.analysis import AnalysisConfig
from rec_trak.data.inputs import build_inputs
from rec_trak.data.tables import DIGITS, read_csv
from rec_trak.errors import CheckpointError, ConfigError, DataError
from rec_trak.training.evaluation import impression_scores
from rec_trak.words import LINE, plain, quoted

COLUMNS = ("row", "candidate", "score")
CLOSE = 1e-3  # of the largest expected score in a row: what number formats and other hardware may do, and no more
BATCH = 32


def check_expected(config: AnalysisConfig, job: Job, model_type: str) -> list[str]:
    """Compare each member's scores with those that `expected_scores` names; a sentence on each, for the terminal.

    Args:
        config: for its `expected_scores`: files, one a member; nothing is compared where there is none.
        job: the analysis, read.
        model_type: what stands for `{model_type}` in a file's name.

    Raises:
        ConfigError: not one file a member.
        DataError: a file cannot be read, or names a row or candidate that is not there.
        CheckpointError: a score differs by more than CLOSE.
    """
    given = config.expected_scores
    if given is None:
        return []
    paths = [Path(path.replace("{model_type}", model_type)) for path in ([given] if isinstance(given, str) else given)]
    if len(paths) != len(job.members):
        raise ConfigError(
            f"`expected_scores`: not one file a checkpoint. Got {len(paths)} for {len(job.members)} checkpoint(s), "
            "expected as many. Name one of each in the order of the checkpoints, or analyse one checkpoint."
        )
    inputs, lines = build_inputs(job.impressions, job.articles, job.model_config), []
    for path, member in zip(paths, job.members, strict=True):
        rows, places, expected = _read(path, job)
        load_into(job.model, member.state_dict(), member.name)
        used, row_of = np.unique(rows, return_inverse=True)
        some = type(inputs)(inputs.impressions.subset(used), inputs.views, inputs.users[used])
        scores = impression_scores(job.model, some, BATCH)
        got = np.array([scores[i][place] for i, place in zip(row_of, places, strict=True)], dtype=np.float64)
        largest = _compare(path, member.name, job, rows, places, expected, got)
        lines.append(
            f"scores agree with {path}: {len(got):,} in {len(used):,} row(s), largest difference {largest:.1e}"
        )
    return lines


def _compare(
    path: Path, checkpoint: str, job: Job, rows: np.ndarray, places: np.ndarray, expected: np.ndarray, got: np.ndarray
) -> float:
    """The largest absolute difference; refuses one that is more than CLOSE of its row's largest expected score."""
    scale = np.zeros(rows.max() + 1)
    np.fmax.at(scale, rows, np.abs(expected))
    differs = np.abs(got - expected)
    bad = np.flatnonzero(~(differs <= CLOSE * scale[rows]))
    if len(bad):
        first = bad[np.lexsort((places[bad], rows[bad]))[0]]
        row, place = int(rows[first]), int(places[first])
        article = job.articles.ids[job.impressions.candidates[row][place]]
        raise CheckpointError(
            f"{checkpoint}: does not give the scores of {path}. Got {got[first]:.6g} for candidate {place} ({article}) "
            f"of row {row} ({job.impressions.sources[row]}), expected {expected[first]:.6g}; {len(bad)} of {len(got)} "
            "scores differ. Compare what the model reads of that row, or whether these are scores before any softmax."
        )
    return float(differs.max())


def _read(path: Path, job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, candidate's place and score of each number in the file, all (n,)."""
    if not path.is_file():
        raise DataError(f"`expected_scores`: no such file. Got {path}, expected a .npy or .csv. Mend the path.")
    found = _from_array(path, job) if path.suffix == ".npy" else _from_table(path, job)
    if not len(found[0]):
        raise DataError(f"{path}: holds no score. Got none, expected at least one. Export it again.")
    return found


def _from_array(path: Path, job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        held = read_array(path)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as an array ({error}). Save it with `np.save`.") from None
    if held.ndim != 2 or held.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: not scores by row and candidate. Got {held.dtype} of shape {held.shape}, expected numbers of "
            "shape (rows, candidates), NaN where a row has fewer candidates."
        )
    count, sizes = len(job.impressions), job.impressions.candidates.lengths
    rows, places = np.nonzero(~np.isnan(held.astype(np.float64)))
    if len(held) > count:
        raise DataError(
            f"{path}: more rows than there are. Got {len(held)}, expected at most {count}. Export it again."
        )
    wide = np.flatnonzero(places >= sizes[rows])
    if len(wide):
        row = int(rows[wide[0]])
        raise DataError(
            f"{path}: row {row} has more candidates than the click log. Got {int(places[rows == row].max()) + 1}, "
            f"expected {sizes[row]} ({job.impressions.sources[row]}). Pad with NaN, and check the order of the rows."
        )
    return rows, places, held[rows, places].astype(np.float64)


def _from_table(path: Path, job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = read_csv(path, COLUMNS)
    rows, places, scores = [], [], []
    for line, row, candidate, score in zip(table.first, *(table.column(name) for name in COLUMNS), strict=True):
        where = f"{path}, line {line}"
        if _number(row) is None or _number(row) >= len(job.impressions):
            raise DataError(
                f"{where}: no such row. Got {quoted(row)}, expected 0 to {len(job.impressions) - 1}, as `sample_idx` "
                "in rows.csv. Mend it."
            )
        shown = [job.articles.ids[a] for a in job.impressions.candidates[int(row)]]
        number = candidate.isdecimal() and len(candidate) < DIGITS
        place = shown.index(candidate) if candidate in shown else int(candidate) if number else len(shown)
        if place >= len(shown):
            raise DataError(
                f"{where}: no such candidate. Got {quoted(candidate)}, expected an article of row {row} "
                f"({plain(', '.join(shown), LINE // 2)}) or a place from 0 to {len(shown) - 1}. "
                "Check the order of the rows."
            )
        try:
            scores.append(float(score))
        except ValueError:
            raise DataError(f"{where}: `score` is no number. Got {quoted(score)}, expected one. Mend it.") from None
        rows.append(int(row))
        places.append(place)
    return np.array(rows, dtype=np.int64), np.array(places, dtype=np.int64), np.array(scores)


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() and len(text) < 10 else None
