"""The whole job on a made-up news platform with planted poison, in under three minutes."""

from __future__ import annotations

import argparse

from rec_trak.commands.shared import add_wait_flag, print_paths
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", default="demo", help="where everything goes")
    parser.add_argument("--seed", type=int, default=0, help="of the world, the training and the sketch")
    add_wait_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.demo import run_demo
    from rec_trak.detection.text import detection_text

    found = run_demo(args.folder, args.seed)
    counts = found.world.counts
    say(
        "",
        f"{counts['poisoned']} of {counts['train_poisoned']:,} training clicks were injected by bots; they and "
        f"{counts['genuine_on_promoted']} genuine",
        f"clicks promote {len(found.world.promoted)} fake articles. How well each ranking finds the bots' clicks:",
        "",
        *detection_text(found.detection).split("\n"),
        "",
        f"How far to trust them: {'; '.join(f'{name}: {word}' for name, word in found.verdicts.items())}",
        "",
        "The ten clicks that taught the model most about the promoted articles:",
        "",
        *found.top.to_string(index=False, max_colwidth=60).split("\n"),
        "",
        "Files:",
    )
    print_paths(found.paths)
    say("", "The report's first screen:", *(f"  {fact}" for fact in found.page.facts))
    say("", f"Open the report: {found.page.path}")
