"""Which clicks on an article look injected; where poisoned rows are known, how well each ranking finds them."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_spreadsheet_flag, check_seed, print_paths
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results_dir", required=True, help="the folder that score.py wrote, targets/ in it")
    parser.add_argument("--targets", help="which target set; not needed where there is one")
    parser.add_argument("--promoted", nargs="+", metavar="ID", help="the articles under suspicion, by id")
    parser.add_argument(
        "--poison_column",
        metavar="NAME",
        help="column of the click log (or of --labels) with 1 in the click of a poisoned row, else 0 (default: "
        "`poisoned`; where the log has none, nothing is measured); candidate_is_fake asks for clicks on fake articles "
        "instead",
    )
    parser.add_argument(
        "--labels",
        metavar="CSV",
        help="sample_idx and the poison column for every row, or the sample_idx of the poisoned rows alone",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--history", action="store_true", help="ask about rows with the articles in their history, not about clicks"
    )
    way.add_argument(
        "--shown", action="store_true", help="ask about rows that are shown the articles and click others (slander)"
    )
    parser.add_argument(
        "--known",
        metavar="CSV",
        help="a few rows that you know: sample_idx and poisoned (1 or 0); a small model learns the order from them, "
        "where they are enough and it does better than the fixed rule",
    )
    parser.add_argument("--top_k", type=int, help="precision and recall of the first so many rows; default: the run's")
    parser.add_argument("--data_path", help="the data tree, where it is no longer where the run read it")
    parser.add_argument("--news_items_path", help="the articles, likewise")
    parser.add_argument("--seed", type=int, default=0, help="of the random ranking and the bootstrap")
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.detection.run import find_poison, write_detection
    from rec_trak.detection.suspicion import CLICKS, HISTORIES, SHOWN
    from rec_trak.detection.text import detection_text

    check_seed(args.seed)
    found = find_poison(
        args.results_dir,
        args.targets,
        args.promoted,
        args.poison_column,
        args.labels,
        args.top_k,
        args.data_path,
        args.news_items_path,
        args.seed,
        through=HISTORIES if args.history else SHOWN if args.shown else CLICKS,
        known=args.known,
    )
    say(*detection_text(found.content).split("\n"))
    print_paths(write_detection(args.results_dir, found.content, found.table))
