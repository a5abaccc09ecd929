"""Check a scored target set by retraining: do the rows that its ranking names do what it says?"""

from __future__ import annotations

import argparse
import dataclasses

from rec_trak.commands.shared import add_run_flags, add_spreadsheet_flag, print_paths, run_from
from rec_trak.words import say
from rec_trak.workers import is_first, nothing_more

SHARED = True  # by the workers of a torchrun job


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run_flags(parser)
    parser.add_argument("--training", required=True, help="YAML that the checkpoints were trained with")
    parser.add_argument("--targets", required=True, help="a target set that score.py has scored, named as there")
    parser.add_argument(
        "--what", nargs="+", default=["lds"], metavar="CHECK", help="some of lds, removal, loo, ridge; default: lds"
    )
    parser.add_argument("--subsets", type=int, default=60, help="random half sets to retrain on (lds, ridge)")
    parser.add_argument("--trainings", type=int, default=2, help="models on each; two give a noise ceiling (lds)")
    parser.add_argument("--max_targets", type=int, default=60, help="targets that are measured, a seeded draw")
    parser.add_argument("--removal_seeds", type=int, default=3, help="trainings of each removal")
    parser.add_argument("--removal_targets", type=int, default=10, help="targets whose own proponents are removed")
    parser.add_argument(
        "--workers", type=int, default=2, help="processes that retrain, without torchrun; changes no result"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the subsets, retrainings and draws")
    add_spreadsheet_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.attribution.job import read_job
    from rec_trak.config.training import read_training_config
    from rec_trak.validation.case import make_case
    from rec_trak.validation.retrain import help_retrain
    from rec_trak.validation.run import validate, write_validation

    run = run_from(args)
    moved = {key: getattr(run.config, key) for key in ("data_path", "news_items_path") if key in run.flags}
    training = dataclasses.replace(read_training_config(args.training), **moved)
    job = read_job(run)
    case = make_case(run, job, training, args.training, args.targets, args.max_targets, args.seed, args.workers)
    if not is_first():
        help_retrain(case.experiment, case.folder)
        return
    content = validate(case, args.what, args.subsets, args.trainings, args.removal_seeds, args.removal_targets)
    nothing_more()
    say(f"{case.name}: {content['verdict']}")
    print_paths(write_validation(run.folder, case, content))
    for note in content["notes"]:
        say(f"note: {note}")
