"""Compare two finished runs, clean against poisoned: rows matched by identity, ranks instead of raw scores."""

import argparse

from rec_trak import cli
from rec_trak.comparison.run import compare_runs, write_comparison


def main(args) -> None:
    comparison = compare_runs(args.clean_dir, args.poisoned_dir)
    for line in comparison.summary():
        print(line)
    print(f"\n{comparison.movers()}\n")
    cli.print_paths(write_comparison(comparison, args.output_dir))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean_dir", required=True, help="results of the clean model")
    parser.add_argument("--poisoned_dir", required=True, help="results of the poisoned model")
    parser.add_argument("--output_dir", default="./trak_comparison", help="where the comparison goes")
    cli.run_script(main, parser)
