"""How far each ranking of a finished run can be trusted, without retraining."""

import argparse

from rec_trak import cli
from rec_trak.trust.run import trust_lines, trust_run, write_trust


def main(args) -> None:
    content = trust_run(args.results_dir, args.seed)
    print("\n".join(trust_lines(content)))
    cli.print_paths(write_trust(args.results_dir, content))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results_dir", required=True, help="the folder that score.py wrote, targets/ in it")
    parser.add_argument("--seed", type=int, default=0, help="of the splits that are compared")
    cli.run_script(main, parser)
