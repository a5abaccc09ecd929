"""Write CSV, figures and tables again from a finished run, without featurizing or scoring."""

import argparse

from rec_trak import cli
from rec_trak.report import rewrite_results


def main(args) -> None:
    cli.print_paths(rewrite_results(args.results_dir))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results_dir", required=True, help="the folder that score.py wrote")
    cli.run_script(main, parser)
