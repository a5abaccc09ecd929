"""The training click log again, without the rows that a ranking names, and a log of what was dropped and why."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_spreadsheet_flag, print_paths
from rec_trak.errors import ConfigError
from rec_trak.words import say

EPILOG = "Flags narrow each other: a row goes if all that are given name it."


LISTED, LISTED_DRY = 10, 100  # rows printed; a dry run leaves no file that has them all


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument("--results_dir", required=True, help="what score.py wrote, or targets/NAME in it")
    parser.add_argument("--output", help="the new file; <name>_dropped.csv goes beside it")
    parser.add_argument("--top", type=int, metavar="K", help="the K highest rows (of those that other flags name)")
    parser.add_argument(
        "--by",
        default="score",
        metavar="COLUMN",
        help="rank by this column of rows.csv (renormalised), or by suspicion, as detect.py left it",
    )
    parser.add_argument("--user", nargs="+", default=[], metavar="ID", help="rows of these users")
    parser.add_argument("--article", nargs="+", default=[], metavar="ID", help="rows that click these articles")
    parser.add_argument("--above", type=float, metavar="X", help="rows with more than this")
    parser.add_argument("--below", type=float, metavar="X", help="rows with less than this")
    parser.add_argument("--rows", metavar="CSV", help="rows whose sample_idx stands in this file")
    parser.add_argument("--dry_run", action="store_true", help="say what would go, and write nothing")
    parser.add_argument("--data_path", help="the data tree, where it is no longer where the run read it")
    parser.add_argument("--news_items_path", help="the articles, likewise")
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.detection.cleaning import Choice, clean_log
    from rec_trak.results.text_table import format_table

    if args.output is None and not args.dry_run:
        raise ConfigError("--output: missing. Expected the name of a new file, or --dry_run. Give one of them.")
    choice = Choice(args.by, tuple(args.user), tuple(args.article), args.above, args.below, args.rows, args.top)
    output = None if args.dry_run else args.output
    done = clean_log(args.results_dir, output, choice, args.data_path, args.news_items_path)
    rows = len(done.dropped)
    say(f"{rows:,} rows go from {done.source} ({done.lines:,} lines), {done.rows_left:,} stay")
    if done.changed:
        say(f"{done.changed:,} lines lose a click and keep others")
    listed = done.dropped.head(LISTED_DRY if args.dry_run else LISTED)
    say(*format_table(listed.drop(columns="reason")).split("\n"))
    if rows > len(listed):
        more = "without --dry_run, a file has them all" if args.dry_run else "all are in the second file"
        say(f"... the first {len(listed):,} of {rows:,} rows; {more}")
    for line in done.left_aside:
        say(f"note: {line}")
    if args.dry_run:
        say("Nothing was written.")
    print_paths(done.paths)
