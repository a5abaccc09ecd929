"""Every file of a results folder and its save directory: good, damaged, foreign or missing."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results_dir", metavar="RESULTS", help="the folder that score.py wrote, or its store")


def run(args: argparse.Namespace) -> None:
    from rec_trak.runs.verifying import BAD, verify_run

    found = verify_run(args.results_dir)
    width = max(len(one.word) for one in found)
    for one in found:
        say(f"{one.word:<{width}}  {one.path}" + (f": {one.what}" if one.what else ""))
    counts = Counter(one.word for one in found)
    say(", ".join(f"{count} {word}" for word, count in counts.items()))
    if any(word in counts for word in BAD):
        sys.exit(1)
