"""Featurize and score in one go."""

from rec_trak import cli
from rec_trak.attribution.job import read_job
from rec_trak.attribution.session import featurize
from rec_trak.runs.making import score_rows


def main(args) -> None:
    run = cli.run_from(args)
    job = read_job(run)
    cli.print_notes(job)
    done = featurize(job)
    print(f"featurized {done.computed:,} of {done.rows * done.members:,} rows")
    result, paths = score_rows(run, job)
    cli.print_diagnostics(result.diagnostics, job.proj_dim)
    cli.print_paths(paths)


if __name__ == "__main__":
    cli.run_script(main, cli.run_flags(__doc__))
