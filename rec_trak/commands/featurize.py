"""Projected gradients of every training click, for every checkpoint of the run."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_run_flags, print_notes, run_from


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run_flags(parser)
    parser.add_argument("--dry_run", action="store_true", help="say what it would cost, and write nothing")


def run(args: argparse.Namespace) -> None:
    from rec_trak.attribution.estimate import estimate
    from rec_trak.attribution.job import read_job
    from rec_trak.attribution.session import featurize

    run = run_from(args)
    job = read_job(run)
    print_notes(job)
    if args.dry_run:
        cost = estimate(job)
        print(f"rows        {cost.rows:,} x {cost.members} checkpoint(s)")
        print(f"parameters  {cost.parameters:,} (K = {job.proj_dim:,})")
        print(f"gradient    {cost.gradient.name}: {cost.gradient.reason}")
        print(f"projector   {job.projector}")
        print(f"time        about {cost.seconds:,.0f} s")
        print(f"disk        {cost.disk / 1e6:,.0f} MB in {job.save_dir}")
        print(f"memory      about {cost.memory / 1e6:,.0f} MB beyond the libraries")
        print("Nothing was written.")
        return
    done = featurize(job)
    there = done.rows * done.members - done.computed
    print(f"featurized {done.computed:,} rows, {there:,} were there already ({done.members} checkpoint(s))")
    if done.gradient:
        print(f"gradient path: {done.gradient.name} ({done.gradient.reason})")
    print(f"save directory: {job.save_dir}")
