"""Processes that work for another: all items done, errors handed on, and nobody outlives the parent."""

import os
import signal
import subprocess
import sys

import pytest
from support import ROOT
from support import workers as jobs

from rec_trak.errors import WorkerError
from rec_trak.validation.workers import in_processes

PARENT = """
import argparse, sys
from rec_trak.cli import run_script
from rec_trak.validation.workers import in_processes
from support import workers as jobs
folder = sys.argv[1]
run_script(lambda args: in_processes(jobs.hold, folder, [0, 1, 2], 2, print), argparse.ArgumentParser(), [])
"""


def test_every_item_is_done_once(tmp_path):
    """By no more processes than were asked for, other ones than this, each item reported."""
    done = []
    in_processes(jobs.note, tmp_path, range(5), 2, lambda: done.append(len(done)))
    assert done == [0, 1, 2, 3, 4]
    assert {path.name for path in tmp_path.iterdir()} == {f"{i}.done" for i in range(5)}
    pids = {path.read_text() for path in tmp_path.iterdir()}
    assert len(pids) <= 2
    assert str(os.getpid()) not in pids


def test_an_error_is_raised_here(tmp_path):
    """With where it came from as a note; one that cannot be sent as it is, in words."""
    with pytest.raises(KeyError, match="no such thing") as found:
        in_processes(jobs.refuse, tmp_path, [1, 2], 1, lambda: None)
    assert "in refuse" in found.value.__notes__[0]
    with pytest.raises(RuntimeError, match="OddError: 1 and 2"):
        in_processes(jobs.refuse, tmp_path, [3], 1, lambda: None)


def test_a_process_that_is_killed_is_named(tmp_path):
    """With the signal, and what helps where memory was short."""
    with pytest.raises(WorkerError, match=r"ended on its own\. Got signal SIGKILL, .* give fewer --workers"):
        in_processes(jobs.die, tmp_path, [1, 2], 2, lambda: None)


@pytest.mark.parametrize(
    ("sign", "to_all", "code", "word"),
    [
        (signal.SIGKILL, False, -9, ""),
        (signal.SIGTERM, False, 143, "terminated"),
        (signal.SIGINT, False, 130, "interrupted"),
        (signal.SIGINT, True, 130, "interrupted"),
    ],
)
def test_workers_end_with_their_parent(tmp_path, sign, to_all, code, word):
    """Within seconds, however it ends, though they are busy; Ctrl-C in a terminal, which reaches all, is one line."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    files = jobs.held(tmp_path, 2)
    (os.killpg if to_all else os.kill)(process.pid, sign)
    assert jobs.gone(files, 5)
    out, err = process.communicate(timeout=5)
    assert (process.returncode, err.split(":")[0], out) == (code, word, "")
    assert len(err.splitlines()) <= 1
    assert len(list(tmp_path.glob("*.held"))) == 2
