"""A featurized job with targets. Not here: tests."""

from rec_trak.attribution.session import featurize
from rec_trak.data.targets import read_targets
from support import tiny


def featurized(tmp_path, architecture="nrms", **keys):
    """A featurized job and its targets."""
    job = tiny.make_job(tmp_path, architecture, **keys)
    featurize(job)
    return job, read_targets(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv", job.articles)
