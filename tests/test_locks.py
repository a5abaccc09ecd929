"""One writer of a folder at a time: refused or waited for, told who it is, gone when the holder is."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rec_trak.errors import StoreError
from rec_trak.locks import LOCK, locked, set_waiting

HOLD = "open('got', 'w').close(); time.sleep(60)"


def other(folder, body, wait=False):
    """Another process that holds the folder's lock while it does `body`."""
    # A shell that started us in the background has Ctrl-C ignored in all that we start.
    code = "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += f"from pathlib import Path\nfrom rec_trak import locks\nlocks.set_waiting({wait})\n"
    code += f"with locks.locked(Path({str(folder)!r})): {body}\n"
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder.parent, stderr=subprocess.PIPE, text=True)


def until(path):
    while not path.exists():
        time.sleep(0.01)


def test_the_second_is_refused_by_name(tmp_path):
    """With process and host of the first, and how to wait; it goes with the first, however that ends."""
    folder = tmp_path / "a"
    holder = other(folder, HOLD)
    until(tmp_path / "got")
    word = rf"a: in use\. Got a lock held by process {holder.pid} on .*--wait does"
    with pytest.raises(StoreError, match=word), locked(folder):
        pass
    holder.kill()
    holder.wait()
    with locked(folder):
        assert f"process {os.getpid()} on" in (folder / LOCK).read_text()


def test_the_second_waits_with_a_word(tmp_path):
    """One line that says for whom, and then it is its turn."""
    folder = tmp_path / "a"
    with locked(folder):
        second = other(folder, "open('done', 'w').close()", wait=True)
        word = second.stderr.readline()
        assert word.startswith(f"waiting: {folder} is in use by process {os.getpid()} on ")
        assert word.endswith("Ctrl-C ends the wait.\n")
        time.sleep(0.3)
        assert second.poll() is None
        assert not (tmp_path / "done").exists()
    assert second.wait(timeout=10) == 0
    assert second.stderr.read() == ""
    assert (tmp_path / "done").exists()


def test_ctrl_c_ends_the_wait(tmp_path):
    """And the holder is not disturbed."""
    with locked(tmp_path / "a"):
        second = other(tmp_path / "a", "open('done', 'w').close()", wait=True)
        second.stderr.readline()
        second.send_signal(signal.SIGINT)
        second.communicate(timeout=10)
    assert second.returncode != 0
    assert not (tmp_path / "done").exists()


def test_many_wait_for_each_other(tmp_path):
    """Never are two in at once, though each takes the lock's file away when it leaves, and perhaps the folder."""
    body = "assert not Path('in').exists(); open('in', 'w').close(); time.sleep(.02); Path('in').unlink()"
    others = [other(tmp_path / "a", f"{body}; open('{i}', 'w').close()", wait=True) for i in range(6)]
    assert [one.wait(timeout=30) for one in others] == [0] * 6
    assert {path.name for path in tmp_path.iterdir()} - {"a"} == set("012345")


def test_no_trace_is_left(tmp_path):
    """The folder is made, and where nothing came to lie in it, gone again; what was there before stays."""
    with locked(tmp_path / "a" / "b"):
        assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a"):
        (tmp_path / "a" / "mine").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_strange_lock_files(tmp_path):
    """A link is refused, a holder that says nothing or nonsense is still one."""
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    word = "a link where the folder's lock belongs. Got one to .*elsewhere"
    with pytest.raises(StoreError, match=word), locked(tmp_path):
        pass
    (tmp_path / LOCK).unlink()
    for said, owner in ((b"", "another process"), (b"\xff" * 9999, "\ufffd")):
        with locked(tmp_path):
            (tmp_path / LOCK).write_bytes(said)
            with pytest.raises(StoreError, match=f"held by {owner}") as refused, locked(tmp_path):
                pass
            assert len(str(refused.value)) < 800


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    """Not written to in silence."""

    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("rec_trak.locks.fcntl.flock", none)
    with pytest.raises(StoreError, match=r"cannot be locked \(No locks available\)"), locked(tmp_path):
        pass


def test_waiting_is_off_unless_asked_for(tmp_path):
    """A program that calls the library is refused at once."""
    with locked(tmp_path):
        for wanted in (False, True, False):
            set_waiting(wanted)
        with pytest.raises(StoreError, match="in use"), locked(tmp_path):
            pass
