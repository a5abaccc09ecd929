"""What a checkpoint is: code base, architecture, sizes, what it was trained with. Nothing from the file is run."""

from __future__ import annotations

import argparse
import json

from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=".pt, .pth, .ckpt, .bin, .safetensors or .npz")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(args: argparse.Namespace) -> None:
    from rec_trak.checkpoints.info import describe_checkpoint, description_lines

    description = describe_checkpoint(args.checkpoint)
    if args.json:
        say(*json.dumps(description, indent=1).split("\n"), limit=None)
    else:
        say(*description_lines(description))
