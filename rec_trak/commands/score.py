"""Rank every training click by its influence on itself or on a set of targets, or explain one row's influence."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_run_flags, add_spreadsheet_flag, print_diagnostics, print_paths, run_from
from rec_trak.errors import ConfigError
from rec_trak.words import say
from rec_trak.workers import is_first

SHARED = True  # by the workers of a torchrun job


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run_flags(parser)
    parser.add_argument(
        "--targets", help="a name in the config's targets, or a pairwise CSV whose clicks are explained"
    )
    parser.add_argument(
        "--save_matrix", action="store_true", help="with --targets: write the (impressions, targets) scores too"
    )
    parser.add_argument(
        "--group_by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="also sum by a column of the click log, or by the articles' category or subcategory",
    )
    parser.add_argument(
        "--history",
        nargs="*",
        metavar="ARTICLE",
        help="with --targets: what the places of these articles (or of all) in training histories did to the targets",
    )
    parser.add_argument(
        "--explain",
        nargs=2,
        metavar=("ROW", "TARGET"),
        help="why row ROW (its sample_idx) has its influence on a target, named as its set, a colon and its number",
    )
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.attribution.job import read_job
    from rec_trak.results.groups import NOT_A_COUNTERFACTUAL
    from rec_trak.results.nothing import nothing_notes, nothing_targets_notes
    from rec_trak.runs.making import (
        explain_row,
        help_with_targets,
        ridge_notes,
        score_history,
        score_rows,
        score_targets,
    )

    run = run_from(args)
    job = read_job(run)
    if not is_first():
        if args.targets and args.history is None and not args.explain:
            help_with_targets(run, job, args.targets)
        return
    if args.explain:
        lines, path = explain_row(run, job, *args.explain)
        say(*lines)
        print_paths([path])
        return
    if args.history is not None:
        if not args.targets:
            raise ConfigError("--history: on which targets? Got no --targets, expected a target set. Name one.")
        lines, path = score_history(run, job, args.targets, args.history)
        say(*lines)
        print_paths([path])
        return
    if args.targets:
        result, paths = score_targets(run, job, args.targets, args.save_matrix, args.group_by)
        say(f"influence of {len(job.impressions):,} impressions on {result.targets:,} targets")
        notes = nothing_targets_notes(result.nothing_targets)
    else:
        (result, paths), notes = score_rows(run, job, args.group_by), []
        say(f"self-influence of {len(job.impressions):,} impressions")
    print_diagnostics(result.diagnostics, job.proj_dim)
    print_paths(paths)
    for note in [NOT_A_COUNTERFACTUAL, *ridge_notes(run, job), *nothing_notes(result.nothing), *notes]:
        say(f"note: {note}")
