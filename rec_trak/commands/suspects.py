"""Which articles may be promoted: articles that unusual users click, read or pass over, from a click log alone."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_spreadsheet_flag, print_paths
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data_path", help="the data tree; no model is needed")
    parser.add_argument("--news_items_path", help="the articles, if they are not in it")
    parser.add_argument("--dataset_type", default="train_poisoned", help="which click log of the tree, or a path")
    parser.add_argument("--results_dir", help="a finished run instead: its click log, and its influence beside")
    parser.add_argument("--targets", help="of the run: the target set whose influence stands beside; default its own")
    parser.add_argument("--level", type=float, help="the score from which an article is suspicious (default: 4)")
    parser.add_argument("--output_dir", help="where suspects.csv and suspects.json go; default: the run, or nowhere")
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.detection.suspects import LEVEL, read_suspects, suspects_text, write_suspects

    level = LEVEL if args.level is None else args.level
    given = (args.data_path, args.news_items_path, args.dataset_type, args.results_dir, args.targets)
    found = read_suspects(*given, level)
    say(*suspects_text(found))
    folder = args.output_dir or args.results_dir
    if folder:
        print_paths(write_suspects(folder, found))
