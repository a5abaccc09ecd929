"""How far each ranking of a finished run can be trusted, without retraining."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_spreadsheet_flag, check_seed, print_paths
from rec_trak.config.analysis import read_analysis_config
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results_dir", required=True, help="the folder that score.py wrote, targets/ in it")
    parser.add_argument("--config", help="the run's YAML: for a model of your own, it names what is imported")
    parser.add_argument("--seed", type=int, default=0, help="of the splits that are compared")
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.trust.run import trust_lines, trust_run, write_trust

    check_seed(args.seed)
    given = read_analysis_config(args.config) if args.config else None
    content = trust_run(args.results_dir, args.seed, given=given)
    say(*trust_lines(content))
    print_paths(write_trust(args.results_dir, content))
