"""Projected gradients of every training click, for every checkpoint of the run."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_run_flags, print_notes, proved, run_from
from rec_trak.words import say

SHARED = True  # by the workers of a torchrun job


def add_flags(parser: argparse.ArgumentParser) -> None:
    add_run_flags(parser)
    parser.add_argument("--dry_run", action="store_true", help="say what it would cost, scoring too, and write nothing")


def run(args: argparse.Namespace) -> None:
    from rec_trak.attribution.estimate import estimate
    from rec_trak.attribution.job import read_job
    from rec_trak.attribution.needs import require_room_for_features
    from rec_trak.attribution.session import featurize
    from rec_trak.room import in_words

    run = run_from(args)
    job = read_job(run)
    print_notes(job)
    proofs = proved(run, job)
    if args.dry_run:
        cost = estimate(job)
        say(f"rows        {cost.rows:,} x {cost.members} checkpoint(s)")
        say(f"parameters  {cost.parameters:,} (K = {job.proj_dim:,})")
        say(f"gradient    {cost.gradient.name}: {cost.gradient.reason}")
        say(f"articles    {cost.articles}")
        say(f"projector   {job.projector}")
        say(f"time        about {cost.seconds:,.0f} s with {cost.threads} thread(s)")
        say(f"disk        {in_words(cost.disk, up=True)} more in {job.save_dir}, {in_words(cost.free)} free")
        held, span = in_words(cost.held, up=True), in_words(cost.memory - cost.held, up=True)
        whole = in_words(cost.memory, up=True)
        say(f"memory      about {whole} a process: {held} for libraries, rows, a batch, {span} for a span (--memory)")
        kept, passing = in_words(cost.target_disk, up=True), in_words(cost.target_scratch, up=True)
        there = "" if cost.available_memory is None else f", {in_words(cost.available_memory)} available"
        say(f"scoring     about {in_words(cost.scoring_memory)} of memory{there}")
        say(f"            disk, for each target that is explained: {kept}, and {passing} more while it is scored")
        say("Nothing was written.")
        require_room_for_features(job)
        return
    done = featurize(job, proofs)
    there = done.rows * done.members - done.computed
    say(f"featurized {done.computed:,} rows, {there:,} were there already ({done.members} checkpoint(s))")
    if done.gradient:
        say(f"gradient path: {done.gradient.name} ({done.gradient.reason})")
    say(f"save directory: {job.save_dir}")
