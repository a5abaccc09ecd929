"""What several commands share: the flags of an analysis, and lines to print. Not here: any command."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from rec_trak.config.analysis import MODEL_TYPES, read_analysis_config
from rec_trak.errors import ConfigError
from rec_trak.words import quoted, say

if TYPE_CHECKING:  # both bring torch, which `--help` does without
    from rec_trak.attribution.job import Job, Run
    from rec_trak.scoring.solve import Diagnostics

MOST_SEED = 2**62  # so that members may have those behind it
LEAST_MEMORY, MOST_MEMORY = 0.01, 1e6  # GB
OVERRIDES = (
    "top_k", "proj_dim", "sample_size", "batch_size", "memory", "device", "save_dir", "output_dir", "data_path",
    "news_items_path",
)  # fmt: skip


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that name one analysis: the existing scripts' own, and one for each setting that is often changed."""
    parser.add_argument("--config", required=True, help="YAML of the analysis (configs/trak/*.yaml)")
    add_data_set_flag(parser)
    parser.add_argument("--model_type", default="clean", choices=MODEL_TYPES, help="which checkpoint")
    parser.add_argument("--top_k", type=int, help="rows at each end of ranking_results.csv")
    parser.add_argument("--proj_dim", type=int, help="numbers kept of each gradient (K)")
    parser.add_argument("--sample_size", type=int, help="a seeded subset of the impressions")
    parser.add_argument("--batch_size", type=int, help="rows a batch; changes no result")
    parser.add_argument("--memory", type=float, help="GB for rows whose articles are taken once; changes no result")
    parser.add_argument("--device", help="cpu or cuda")
    parser.add_argument("--save_dir", help="where projected gradients are kept (default: <results>/store)")
    parser.add_argument("--output_dir", help="where results go")
    parser.add_argument("--data_path", help="the data tree, instead of the YAML's")
    parser.add_argument("--news_items_path", help="the articles, instead of the YAML's")
    add_wait_flag(parser)


def add_data_set_flag(parser: argparse.ArgumentParser) -> None:
    """Of every command that reads a click log; which there are, the tree says."""
    parser.add_argument(
        "--dataset_type",
        default="train_clean",
        metavar="NAME",
        help="which click log: a data set of the tree (train_clean, train_poisoned, any other) or a path",
    )


def add_wait_flag(parser: argparse.ArgumentParser) -> None:
    """Of every command that writes where no two may at once; cli.py obeys it."""
    parser.add_argument(
        "--wait", action="store_true", help="where another process writes to the same folder, wait until it has done"
    )


def add_spreadsheet_flag(parser: argparse.ArgumentParser) -> None:
    """Of every command that writes CSV with texts from the data; cli.py obeys it."""
    parser.add_argument(
        "--spreadsheet_safe",
        action="store_true",
        help="CSV: an apostrophe before text that a spreadsheet would compute (begins with = + - @); numbers stay",
    )


def check_seed(seed: int, most: int = MOST_SEED) -> None:
    """Refuse a seed that no generator takes.

    Raises:
        ConfigError: it is below zero or above `most`.
    """
    if not 0 <= seed <= most:
        raise ConfigError(f"--seed: out of range. Got {quoted(seed)}, expected 0 to {most}. Change it.")


def run_from(args: argparse.Namespace) -> Run:
    """The run that parsed flags name; a flag goes before the YAML.

    Raises:
        ConfigError: the YAML is wrong, or a flag is out of range.
    """
    from rec_trak.attribution.job import Run

    given = {key: getattr(args, key) for key in OVERRIDES if getattr(args, key) is not None}
    config = read_analysis_config(args.config)
    for key in ("top_k", "proj_dim", "sample_size", "batch_size"):
        if given.get(key, 1) < 1:
            raise ConfigError(f"--{key}: too small. Got {given[key]}, expected at least 1. Give a larger number.")
    if not LEAST_MEMORY <= given.get("memory", LEAST_MEMORY) < MOST_MEMORY:
        raise ConfigError(
            f"--memory: out of range. Got {given['memory']}, expected {LEAST_MEMORY} to {MOST_MEMORY:,.0f}. Change it."
        )
    return Run(dataclasses.replace(config, **given), args.dataset_type, args.model_type, frozenset(given))


def print_notes(job: Job) -> None:
    """What the readers did that a user should know, and how much of the rows the model knows."""
    for note in job.impressions.notes:
        say(f"note: {note}")
    if job.coverage:
        say(f"the model knows of the rows: {', '.join(map(str, job.coverage))}")


def proved(run: Run, job: Job) -> dict[str, Any]:
    """Print what shows that the right models were loaded: scores that the user expects, and the validation AUC beside
    what the checkpoints say. That AUC is returned for the save directory.

    Raises:
        CheckpointError: a score is not the expected one.
    """
    from rec_trak.attribution.expected import check_expected
    from rec_trak.attribution.proof import prove, recorded

    say(*check_expected(run.config, job, run.model_type))
    proofs = prove(run, job)
    for place, member in enumerate(job.members):
        if member.digest in proofs:
            say(f"checkpoint {place}: {proofs[member.digest].line()}")
    return recorded(proofs)


def print_diagnostics(diagnostics: tuple[Diagnostics, ...], proj_dim: int) -> None:
    """How well posed each member's system was, one line a member."""
    for member, numbers in enumerate(diagnostics):
        say(
            f"checkpoint {member}: K = {proj_dim}, effective dimension {numbers.effective_dimension:.1f}, "
            f"condition number {numbers.condition_number:.3g}, leverage mean {numbers.mean_leverage:.3f} "
            f"max {numbers.max_leverage:.3f}"
        )


def print_paths(paths: list) -> None:
    """The files that were written, one a line."""
    for path in paths:
        say(f"  {path}")
