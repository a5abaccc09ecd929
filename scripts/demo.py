"""The whole job on a made-up news platform with planted poison, in under three minutes."""

import argparse

from rec_trak import cli
from rec_trak.demo import run_demo
from rec_trak.detection import format_table


def main(args) -> None:
    found = run_demo(args.folder, args.seed)
    counts = found.world.counts
    print(
        f"\n{counts['poisoned']} of {counts['train_poisoned']:,} training clicks were injected by bots; they and "
        f"{counts['genuine_on_promoted']} genuine\nclicks promote {len(found.world.promoted)} fake articles. "
        "Who is found first, by each ranking:\n"
    )
    print(format_table(found.table))
    print("\nfound: injected clicks in the top k. auroc_same_article: against genuine clicks on the same articles.")
    print("\nThe ten clicks that taught the model most about the promoted articles:\n")
    print(found.top.to_string(index=False, max_colwidth=60))
    print("\nClean against poisoned:")
    for line in found.comparison:
        print(f"  {line}")
    print("\nFiles:")
    cli.print_paths(found.paths)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="demo", help="where everything goes")
    parser.add_argument("--seed", type=int, default=0, help="of the world, the training and the sketch")
    cli.run_script(main, parser)
