"""Files opened so that no link is followed."""

import errno
import os
import subprocess
import sys

import pytest
from support import finished, tiny

from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.config.analysis import read_analysis_config
from rec_trak.disk import absent, beside, links, open_kept, open_new, replacing, sweep
from rec_trak.errors import StoreError
from rec_trak.results.files import write_files
from rec_trak.runs.making import score_targets


def test_a_new_file_takes_the_place_of_a_link(tmp_path):
    """What the link leads to stays as it is."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "new").symlink_to(tmp_path / "mine")
    with open_new(tmp_path / "new") as file:
        file.write(b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "new").read_text() == "new"
    assert not (tmp_path / "new").is_symlink()


def test_a_kept_file_is_not_opened_through_a_link(tmp_path):
    """It keeps what it holds; a link is an error."""
    with open_kept(tmp_path / "kept") as file:
        file.write("a")
    with open_kept(tmp_path / "kept") as file:
        assert file.read() == "a"
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    with pytest.raises(OSError, match="link") as told:
        open_kept(tmp_path / "link")
    assert told.value.errno == errno.ELOOP


def test_links_are_found_and_not_entered(tmp_path):
    """In a folder and the folders in it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").symlink_to(tmp_path)
    (tmp_path / "two").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "b" / "deeper").symlink_to(tmp_path)
    assert list(links(tmp_path)) == [tmp_path / "a" / "one", tmp_path / "two"]


PLANTED = [
    "rec_trak.lock", "rec_trak.json", "metadata.json", "experiments.json", "id_0.json", "0/grads.mmap",
    "0/out_to_loss.mmap", "0/_is_featurized.mmap", "0/mixed_grads.mmap", "0/mixed_done.mmap", "0/mixed_margins.json",
    "0/blocks/0000000.json", "0/mixed_blocks/0000000.json",
]  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("finished_before", [pytest.param(True, marks=pytest.mark.long), False])
def test_a_link_in_a_store_is_refused_by_name(tmp_path, name, finished_before):
    """Before anything is written, in a new store and in a finished one; what it leads to keeps its bytes."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    run = Run(read_analysis_config(tiny.write_config(tmp_path)), "train_clean", "clean")
    targets = tmp_path / "mixed.csv"
    (tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv").rename(targets)
    job = read_job(run)
    if finished_before:
        featurize(job)
        score_targets(run, job, str(targets))
    (job.save_dir / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "mine").write_text("mine")
    (job.save_dir / name).unlink(missing_ok=True)
    (job.save_dir / name).symlink_to(tmp_path / "mine")
    for action in (lambda: featurize(read_job(run)), lambda: score_targets(run, read_job(run), str(targets))):
        with pytest.raises(StoreError, match=rf"{os.path.basename(name)}: a link where a file of the save directory"):
            action()
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_store_may_be_a_link_itself(tmp_path):
    """Its user put it elsewhere, on a larger disk."""
    (tmp_path / "large").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "large")
    finished.finished_run(tmp_path, save_dir=str(tmp_path / "store"))
    assert (tmp_path / "large" / "0" / "grads.mmap").is_file()


def test_results_replace_links(tmp_path):
    """A result, and the file it is written to first, stand in the place of links, not behind them."""
    (tmp_path / "mine").write_text("mine")
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("a.csv", f".a.csv.{os.getpid()}.tmp"):
        (folder / name).symlink_to(tmp_path / "mine")
    write_files(folder, {"a.csv": lambda file: file.write(b"new")})
    assert (tmp_path / "mine").read_text() == "mine"
    assert (folder / "a.csv").read_text() == "new"
    assert not (folder / "a.csv").is_symlink()


def test_a_file_is_whole_or_as_it_was(tmp_path):
    """It takes its place when the block ends well; otherwise the old one stays, and nothing else."""
    path = tmp_path / "a.json"
    path.write_text("old")

    def half():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            assert path.read_text() == "old"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a.json", "old")]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a.json", "new")]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


DEAD = 2**22 + 1  # a number that Linux gives to no process


def test_leftovers_of_the_same_file_go_when_it_is_written_again(tmp_path):
    """Those of dead processes; what a living one writes, and what is no leftover of this file, stays."""
    path = tmp_path / "a.csv"
    for name in (f".a.csv.{DEAD}.tmp", f".a.csv.{DEAD}-3.tmp", f".a.csv.{os.getpid()}.tmp"):
        (tmp_path / name).write_text("dead")
    kept = {f".b.csv.{DEAD}.tmp", f".a.csv.{DEAD}", ".a.csv.x.tmp", f".a.csv.{os.getppid()}.tmp", f"a.csv.{DEAD}.tmp"}
    for name in kept:
        (tmp_path / name).write_text("mine")
    with beside(path) as writing, replacing(path) as temporary:
        temporary.write_text("new")
        assert writing.exists()
        assert writing != temporary
        assert {one.name for one in tmp_path.iterdir()} == kept | {writing.name, temporary.name}
    assert {one.name for one in tmp_path.iterdir()} == kept | {"a.csv"}


def test_the_file_of_a_living_process_elsewhere_stays(tmp_path):
    """Its number says nothing here (another host, another container); that it is locked does."""
    script = "import os, sys, time\nfrom pathlib import Path\nfrom rec_trak.disk import beside\n"
    script += f"os.getpid = lambda: {DEAD}\nwith beside(Path('a.csv')) as name: print(name, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    name = process.stdout.readline().strip()
    assert name == f".a.csv.{DEAD}.tmp"
    with replacing(tmp_path / "a.csv"):
        assert (tmp_path / name).exists()
    process.kill()
    process.wait()
    with replacing(tmp_path / "a.csv"):
        assert not (tmp_path / name).exists()


def test_leftovers_of_former_builds_go_when_they_are_old(tmp_path):
    """These were not locked: an hour must have passed, and the folder be ours alone."""
    names = [f".a.json.{DEAD}", f".b.json.{DEAD}", f".c.txt.{DEAD}"]
    for name in names:
        (tmp_path / name).write_text("{")
    for name in names[1:]:
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path, lambda name: True)
    assert {one.name for one in tmp_path.iterdir()} == set(names)
    sweep(tmp_path, lambda name: True, former=True)
    assert {one.name for one in tmp_path.iterdir()} == {names[0], names[2]}


def test_without_locks_nothing_is_swept(tmp_path, monkeypatch):
    """Writing goes on as ever; whether a writer lives cannot be told there."""

    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("rec_trak.disk.fcntl.flock", none)
    (tmp_path / f".a.csv.{DEAD}.tmp").write_text("whose?")
    for _ in range(2):
        with replacing(tmp_path / "a.csv") as temporary:
            temporary.write_text("new")
    assert {one.name for one in tmp_path.iterdir()} == {"a.csv", f".a.csv.{DEAD}.tmp"}


def test_what_stands_where_no_file_was_found(tmp_path):
    """A folder is called one; else the nearest folder that exists is named, with what is likely meant, or what is
    there."""
    (tmp_path / "runs").mkdir()
    for name in ("ckpt.index", "ckpt.data", "clean.pt", ".hidden", "zz"):
        (tmp_path / "runs" / name).write_bytes(b"")
    near = f"no such file; {tmp_path / 'runs'}, the nearest folder that exists, holds "
    assert absent(tmp_path / "runs") == "it is a folder, not a file"
    assert absent(tmp_path / "runs" / "ckpt") == near + "ckpt.data, ckpt.index"
    assert absent(tmp_path / "runs" / "claen.pt") == near + "clean.pt"
    assert absent(tmp_path / "runs" / "sub" / "*.pt") == near + "ckpt.data, ckpt.index, clean.pt, ..."
    (tmp_path / "empty").mkdir()
    assert absent(tmp_path / "empty" / "a").endswith("holds nothing")
