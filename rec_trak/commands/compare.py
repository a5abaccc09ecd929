"""Compare two finished runs, clean against poisoned: rows matched by identity, ranks instead of raw scores."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_spreadsheet_flag, print_paths
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clean_dir", required=True, help="results of the clean model")
    parser.add_argument("--poisoned_dir", required=True, help="results of the poisoned model")
    parser.add_argument("--output_dir", default="./trak_comparison", help="where the comparison goes")
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.comparison.run import compare_runs, write_comparison

    comparison = compare_runs(args.clean_dir, args.poisoned_dir)
    say(*comparison.summary(), "", *comparison.movers().split("\n"), "")
    print_paths(write_comparison(comparison, args.output_dir, vector=True))
