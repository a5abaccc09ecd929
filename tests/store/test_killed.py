"""A process killed while it fills a save directory, at any moment: the next one goes on, and nothing is left over."""

import os

import numpy as np
import pytest
from support import tiny
from support.killed import killed_before, left_over

from rec_trak.attribution.explain import margins
from rec_trak.attribution.session import featurize, featurize_targets

HALF_MADE = {  # what a process leaves that makes a file in its place and is killed
    "created": lambda whole: b"",
    "header": lambda whole: whole[:128],
    "short": lambda whole: whole[:-8],
}


def fill(job):
    """Everything that the store of a run can hold."""
    targets = job.impressions.subset(np.arange(3))
    featurize(job)
    featurize_targets(job, "t", targets)
    return margins(job, "t", targets)


def contents(job):
    """What is in the store, without the notes that name this run."""
    return {str(path.relative_to(job.save_dir)): path.read_bytes() for path in job.save_dir.rglob("*.*")}


def test_killed_at_every_moment(tmp_path):
    """Killed before its second act on a file, the next before its fourth, and so on: none fails, and what they leave
    in the end are the bytes of one that ran through."""
    tiny.write_tree(tmp_path / "data", rows=8)
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    job = tiny.make_job(tmp_path, save_dir=str(tmp_path / "whole"))
    fill(job)
    whole = contents(job)
    job = tiny.make_job(tmp_path, save_dir=str(tmp_path / "killed"))
    act = 2
    while killed_before(act, lambda: fill(job), tmp_path / "killed"):
        act += 2
    assert act > 10
    assert left_over(job.save_dir) == []
    killed = contents(job)
    same = {name for name in whole if name != "experiments.json"}
    assert {name: killed[name] for name in same} == {name: whole[name] for name in same}
    assert killed.keys() == whole.keys()


@pytest.mark.parametrize("how", HALF_MADE)
@pytest.mark.parametrize("name", ["t_done.mmap", "t_grads.mmap", "t_margins.json"])
def test_half_made_files_of_a_set_are_made_again(tmp_path, name, how):
    """As an earlier build, which made them in their place, could leave them: no traceback, and the same numbers."""
    job = tiny.make_job(tmp_path)
    expected = fill(job)
    folder = job.save_dir / "0"
    gradients = (folder / "t_grads.mmap").read_bytes()
    (folder / name).write_bytes(HALF_MADE[how]((folder / name).read_bytes()))
    np.testing.assert_array_equal(fill(job), expected)
    assert (folder / "t_grads.mmap").read_bytes() == gradients
    assert np.load(folder / "t_done.mmap").tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["metadata.json", "experiments.json", "id_0.json"])
def test_what_traker_keeps_is_made_again(tmp_path, name):
    """Empty, half, something else or gone: no run trips over it, and the same bytes come of it."""
    job = tiny.make_job(tmp_path)
    expected = fill(job)
    before = contents(job)
    for content in (b"", b"{", b"[]", None):
        if content is None:
            (job.save_dir / name).unlink()
        else:
            (job.save_dir / name).write_bytes(content)
        (job.save_dir / "0" / "t_done.mmap").unlink()  # so that there is something to do
        np.testing.assert_array_equal(fill(job), expected)
        assert contents(job) == before


def test_leftovers_of_the_dead_are_swept(tmp_path):
    """By whoever writes there next, whatever the file: they can take as much room as the store itself."""
    job = tiny.make_job(tmp_path)
    fill(job)
    dead = 2**22 + 1  # beyond what Linux gives
    for path in (job.save_dir / f".id_7.json.{dead}.tmp", job.save_dir / "0" / f".u_grads.mmap.{dead}-1.tmp"):
        path.write_bytes(b"half")
    former = job.save_dir / f".rec_trak.json.{dead}"
    former.write_text("{")
    os.utime(former, (0, 0))
    (job.save_dir / f".mine.{dead}.tmp").write_text("no file of a store")
    featurize_targets(job, "u", job.impressions.subset(np.arange(2)))
    assert left_over(job.save_dir) == [f".mine.{dead}.tmp"]
