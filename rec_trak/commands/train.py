"""Train a checkpoint, or several for an ensemble, that the other scripts can read."""

from __future__ import annotations

import argparse
import dataclasses

from rec_trak.commands.shared import add_data_set_flag, add_wait_flag, check_seed
from rec_trak.errors import ConfigError
from rec_trak.words import say

SHARED = True  # by the workers of a torchrun job


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="YAML of the training (configs/train/*.yaml)")
    add_data_set_flag(parser)
    parser.add_argument("--members", type=int, default=1, help="how many checkpoints, with consecutive seeds")
    parser.add_argument("--halves", action="store_true", help="each member on its own random half of the rows")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--output_dir", help="where the checkpoints go, instead of the YAML's")
    parser.add_argument("--data_path", help="the data tree, instead of the YAML's")
    parser.add_argument("--news_items_path", help="the articles, instead of the YAML's")
    parser.add_argument("--seed", type=int, help="of the first member, instead of the YAML's")
    add_wait_flag(parser)


def run(args: argparse.Namespace) -> None:
    from rec_trak.attribution.job import choose_device
    from rec_trak.config.reader import read_mapping
    from rec_trak.config.training import read_training_config
    from rec_trak.progress import telling
    from rec_trak.training.job import train_run

    overrides = ("output_dir", "data_path", "news_items_path", "seed")
    given = {key: getattr(args, key) for key in overrides if getattr(args, key) is not None}
    config = dataclasses.replace(read_training_config(args.config), **given)
    if args.members < 1:
        raise ConfigError(f"--members: too few. Got {args.members}, expected at least 1. Give a larger number.")
    check_seed(config.seed)
    device = choose_device(args.device, asked_for=True)
    with telling():
        paths = train_run(config, args.dataset_type, args.members, args.halves, device)
    for path in paths:
        epochs = read_mapping(path.with_suffix(".json")).get("epochs") or [{}]
        best = max(epochs, key=lambda e: e.get("auc", e.get("epoch", 0)))
        told = (f"{key} {value:,}" if isinstance(value, int) else f"{key} {value:.4g}" for key, value in best.items())
        say(f"{path}: {', '.join(told)}")
