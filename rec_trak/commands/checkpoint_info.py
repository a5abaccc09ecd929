"""What a checkpoint is: code base, architecture, sizes, what it was trained with; and the YAML of an analysis of it.

Nothing from the file is run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from rec_trak.errors import ConfigError
from rec_trak.words import say


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints",
        metavar="CHECKPOINT",
        nargs="+",
        help=".pt, .pth, .ckpt, .bin, .safetensors, .npz, .h5 or .keras; with --write the last may be a data folder",
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument("--data", metavar="DATA", help="the folder of the data: also the AUC on its validation set")
    parser.add_argument("--model_config", metavar="FILE", help="with --data: settings that it does not tell itself")
    parser.add_argument("--news_items_path", metavar="FILE", help="with --data: the articles, if they are not in DATA")
    parser.add_argument("--write", metavar="YAML", help="write the YAML of an analysis; never over a file")


def run(args: argparse.Namespace) -> None:
    paths = [Path(path) for path in args.checkpoints]
    if args.data and args.write is not None:
        paths.append(Path(args.data))
    if args.write is not None:
        _write(args.write, paths)
        return
    from rec_trak.checkpoints.info import describe_checkpoint, description_lines

    told, proofs = [describe_checkpoint(path) for path in paths], [None] * len(paths)
    if args.data:
        from rec_trak.attribution.proof import prove_file

        proofs = [prove_file(path, args.data, args.model_config, args.news_items_path) for path in paths]
        told = [one | {"proof": dataclasses.asdict(proof)} for one, proof in zip(told, proofs, strict=True)]
    if args.json:
        say(*json.dumps(told[0] if len(told) == 1 else told, indent=1).split("\n"), limit=None)
    else:
        for i, (one, proof) in enumerate(zip(told, proofs, strict=True)):
            say(*([""] if i else []), *description_lines(one), *([] if proof is None else ["", proof.line()]))


def _write(name: str, paths: list[Path]) -> None:
    from rec_trak.attribution.lookout import find_data, holds_data, look_at
    from rec_trak.attribution.proposal import check_free, propose, write_proposal

    check_free(name)
    folder = paths.pop() if paths[-1].is_dir() and holds_data(paths[-1]) else None
    if not paths:
        raise ConfigError(f"--write: no checkpoint. Got the data folder {folder} alone, expected a file before it.")
    seen = look_at(paths)
    proposal = propose(seen, None if folder is None else find_data(folder, seen[0].code_base), name)
    write_proposal(name, proposal)
    say(*(f"{one.path}: {one.kind}, {one.why}" for one in seen))
    say(f"{name}: written." + (" Still missing:" if proposal.missing else " To run it:"))
    say(*(f"  {line}" for line in proposal.missing))
    for dataset_type, kind in () if proposal.missing else proposal.runs:
        for command in ("featurize", "score"):
            say(f"  rec-trak {command} --config {name} --dataset_type {dataset_type} --model_type {kind}")
