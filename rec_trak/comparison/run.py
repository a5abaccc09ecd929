"""The whole comparison of two finished runs, and its files. Not here: reading click logs, or any step's work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rec_trak.comparison.match import check_alike, check_sides, matched_rows, shift_table
from rec_trak.comparison.null_band import null_band
from rec_trak.comparison.stats import statistics
from rec_trak.comparison.text import movers_text, summary_lines
from rec_trak.results.files import Results, as_csv, as_json, write_files
from rec_trak.results.lines import Lines
from rec_trak.results.plots import SCORE_NAME, plot_score_comparison
from rec_trak.results.style import figure_files
from rec_trak.runs.finished import open_run
from rec_trak.words import outline


@dataclass(frozen=True)
class Comparison:
    """Two runs and what became of the rows that stand in both.

    Attributes:
        clean, poisoned: the runs.
        table: the n matched rows, those that rose most in the poisoned run first, with SHIFT_COLUMNS. `clean_rank` and
            `poisoned_rank` are percentiles among the matched rows, 1 the highest score and 100 the lowest; `shift` is
            their difference, clean less poisoned, so a row that rose in the poisoned run has a positive one. `q_shift`
            and `leverage_shift` are the same of rankings by Q and by leverage alone, NaN where a run does not tell
            them. `beyond_null` is whether |shift| is more than seeds alone do, NA where that is not known.
        stats: the content of comparison_stats.json.
    """

    clean: Results
    poisoned: Results
    table: Lines
    stats: dict[str, Any]

    __repr__ = outline

    def summary(self) -> list[str]:
        """What happened, a sentence a line, for the terminal."""
        return summary_lines(self.stats["comparison"])

    def movers(self) -> str:
        """The rows that rose and fell most, as two tables for the terminal."""
        return movers_text(self.table)


def compare_runs(clean_dir: str | Path, poisoned_dir: str | Path) -> Comparison:
    """The comparison of two results folders that differ in checkpoint and rows alone.

    Where a run has several members, they are solved again from its save directory for the null band; a band that
    cannot be given is no error, `stats` says why.

    Args:
        clean_dir: results of the clean checkpoint.
        poisoned_dir: results of the poisoned checkpoint.

    Raises:
        DataError: a folder holds no finished run, clean and poisoned are crossed, the runs were not made alike, a row
            stands twice in one of them, a Q or leverage is no number, or no row stands in both.
        NumericalError: a score is NaN or infinite.
    """
    runs = open_run(clean_dir), open_run(poisoned_dir)
    clean, poisoned = (run.results for run in runs)
    check_sides(clean, poisoned)
    check_alike(clean, poisoned)
    matched = matched_rows(clean, poisoned)
    null = null_band(*runs, matched)
    beyond = pd.NA if null["reason"] is not None else (matched["shift"].abs() > null["band"]).to_numpy()
    matched = matched.assign(beyond_null=pd.Series(beyond, index=matched.index, dtype="boolean"))
    table = matched.sort_values("shift", ascending=False, kind="stable", ignore_index=True)
    return Comparison(clean, poisoned, shift_table(table, clean), statistics(clean, poisoned, matched, null))


def write_comparison(comparison: Comparison, output_dir: str | Path, vector: bool = False) -> list[Path]:
    """Write model_comparison.png (with `vector`, PDF and SVG too), rank_shift.csv and comparison_stats.json; the paths.

    Raises:
        StoreError: a file cannot be written.
    """
    clean, poisoned, table = comparison.clean, comparison.poisoned, comparison.table
    pairs = (table["clean_sample_idx"].to_numpy(), table["poisoned_sample_idx"].to_numpy())
    name = str(clean.metadata.get("score_name", SCORE_NAME))
    scores = (clean.scores, clean.labels, poisoned.scores, poisoned.labels)
    members = tuple(len(run.metadata.get("members") or []) for run in (clean, poisoned))
    draw = partial(plot_score_comparison, *scores, pairs=pairs, score_name=name, members=members)
    writers = {
        **figure_files("model_comparison", lambda columns: draw(columns=columns), vector),
        "rank_shift.csv": as_csv(table),
        "comparison_stats.json": as_json(comparison.stats),
    }
    return write_files(output_dir, writers)
