"""Featurize and score in one go."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import (
    add_run_flags,
    add_spreadsheet_flag,
    print_diagnostics,
    print_notes,
    print_paths,
    proved,
    run_from,
)
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run_flags(parser)
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.attribution.job import read_job
    from rec_trak.attribution.session import featurize
    from rec_trak.results.nothing import nothing_notes
    from rec_trak.runs.making import ridge_notes, score_rows

    run = run_from(args)
    job = read_job(run)
    print_notes(job)
    done = featurize(job, proved(run, job))
    say(f"featurized {done.computed:,} of {done.rows * done.members:,} rows")
    result, paths = score_rows(run, job)
    print_diagnostics(result.diagnostics, job.proj_dim)
    for note in [*ridge_notes(run, job), *nothing_notes(result.nothing)]:
        say(f"note: {note}")
    print_paths(paths)
