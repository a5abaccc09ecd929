"""What a checkpoint is: code base, architecture, sizes, what it was trained with. Nothing from the file is run."""

import argparse
import json

from rec_trak import cli
from rec_trak.checkpoints.info import describe_checkpoint, description_lines


def main(args) -> None:
    description = describe_checkpoint(args.checkpoint)
    print(json.dumps(description, indent=1) if args.json else "\n".join(description_lines(description)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=".pt, .pth, .ckpt, .bin, .safetensors or .npz")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    cli.run_script(main, parser)
