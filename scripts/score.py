"""Rank every training click by its influence on itself, or on a set of targets."""

from rec_trak import cli
from rec_trak.analysis import score_rows, score_targets
from rec_trak.job import read_job


def main(args) -> None:
    run = cli.run_from(args)
    job = read_job(run)
    if args.targets:
        result, paths = score_targets(run, job, args.targets, args.save_matrix)
        print(f"influence of {len(job.impressions):,} impressions on {result.targets:,} targets")
    else:
        result, paths = score_rows(run, job)
        print(f"self-influence of {len(job.impressions):,} impressions")
    cli.print_diagnostics(result.diagnostics, job.proj_dim)
    cli.print_paths(paths)


if __name__ == "__main__":
    parser = cli.run_flags(__doc__)
    parser.add_argument(
        "--targets", help="a pairwise CSV whose clicks are explained, or a name in the config's targets"
    )
    parser.add_argument(
        "--save_matrix", action="store_true", help="with --targets: keep the (rows, targets) scores too"
    )
    cli.run_script(main, parser)
