"""Write CSV, figures and tables again from a finished run, and a page that tells what it found (report.html)."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from rec_trak.commands.shared import add_spreadsheet_flag, print_paths
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results_dir", required=True, help="the folder that score.py wrote")
    parser.add_argument("--compare_dir", help="the folder that compare.py wrote about this run and another")
    parser.add_argument("--output", help="the page, or a folder for report.html (default: --results_dir)")
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.page.page import write_page
    from rec_trak.results.files import rewrite_results
    from rec_trak.runs.finished import open_run

    run = open_run(args.results_dir)
    paths = [path for one in (run.results, *run.target_sets()) for path in rewrite_results(one.folder)]
    command = shlex.join([Path(sys.executable).name, *sys.argv])
    page = write_page(args.results_dir, args.compare_dir, args.output, command, vector=True)
    say(*page.facts, *(f"note: {line}" for line in page.left_aside))
    print_paths([*paths, *page.others, page.path])
