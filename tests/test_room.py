"""Room on disks and in memory: true figures, and refusals before anything is taken."""

import errno
import os
from types import SimpleNamespace

import pytest

from rec_trak import room
from rec_trak.errors import RoomError, StoreError

MB = 10**6


def disk_of(monkeypatch, free):
    """Let every disk have so many bytes free; a function is asked each time."""
    monkeypatch.setattr(
        room.shutil, "disk_usage", lambda path: SimpleNamespace(free=free(path) if callable(free) else free)
    )


def test_what_is_wanted_never_looks_as_much_as_what_is_free():
    """Figures are rounded apart: one byte more than there is shows."""
    for size in (5, 999, 1_000, 999_999, 10**9 - 1, 10**9, 8 * 10**12, 123_456_789):
        free, wanted = room.in_words(size), room.in_words(size + 1, up=True)
        assert free != wanted, size
    assert room.in_words(8 * 10**12) == "8.00 TB"
    assert room.in_words(1_234_567_890) == "1.23 GB"
    assert room.in_words(1_234_567_890, up=True) == "1.24 GB"
    assert room.in_words(0) == "0 bytes"


def test_files_of_a_disk_are_added_up_and_leave_a_margin(tmp_path, monkeypatch):
    """Two files that fit alone and not together are refused with what is free and what is needed; nothing is made."""
    disk_of(monkeypatch, 150 * MB)
    wanted = {tmp_path / "new" / "deep" / "a": 100 * MB, tmp_path / "b": 49 * MB}
    told = "new/deep: no room for features. Got 150.00 MB free, expected 150.49 MB. Make room, or go elsewhere."
    with pytest.raises(StoreError, match=told):
        room.require_disk(wanted, "features", "go elsewhere")
    assert list(tmp_path.iterdir()) == []
    room.require_disk(wanted | {tmp_path / "b": 48 * MB}, "features", "go elsewhere")
    room.require_disk({tmp_path / "a": 100 * MB}, "features", "go elsewhere")


def test_nothing_needs_no_room(tmp_path, monkeypatch):
    """On a full disk what is there already goes on."""
    disk_of(monkeypatch, 0)
    room.require_disk({}, "features", "go elsewhere")
    room.require_disk({tmp_path / "a": 0}, "features", "go elsewhere")
    with pytest.raises(StoreError, match="Got 0 bytes free, expected 1.05 MB"):
        room.require_disk({tmp_path / "a": 1}, "features", "go elsewhere")


def test_each_disk_holds_its_own(tmp_path, monkeypatch):
    """Files of another disk take nothing from this one."""
    places = {"a": SimpleNamespace(stat=lambda: SimpleNamespace(st_dev=1)),
              "b": SimpleNamespace(stat=lambda: SimpleNamespace(st_dev=2))}  # fmt: skip
    monkeypatch.setattr(room, "_there", lambda path: places[path.name])
    disk_of(monkeypatch, lambda place: 60 * MB if place is places["a"] else 10 * MB)
    room.require_disk({tmp_path / "a": 50 * MB, tmp_path / "b": 5 * MB}, "it", "go")
    with pytest.raises(StoreError, match="Got 10.00 MB free, expected 51.0"):
        room.require_disk({tmp_path / "a": 5 * MB, tmp_path / "b": 50 * MB}, "it", "go")


def test_free_room_is_counted_after_what_was_taken_is_given_back(tmp_path, monkeypatch):
    """A full disk leaves a half-taken file, which maps may hold open: its blocks are free before they are counted."""
    path = tmp_path / "grads.mmap"

    def half(descriptor, offset, size):
        os.pwrite(descriptor, b"1" * MB, 0)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room.os, "posix_fallocate", half)
    disk_of(monkeypatch, lambda place: 3 * MB - path.stat().st_size)
    with (
        open(path, "w+b") as file,
        pytest.raises(StoreError, match="No space left.*Got 3.00 MB free, expected 4.00 MB"),
    ):
        room.take(file.fileno(), 4 * MB, tmp_path, "features", "go elsewhere")
    assert path.stat().st_size == 0


def test_what_is_taken_is_on_the_disk(tmp_path):
    """Blocks, not a hole."""
    with open(tmp_path / "a", "w+b") as file:
        room.take(file.fileno(), MB, tmp_path, "features", "go elsewhere")
        held = os.fstat(file.fileno())
    assert held.st_blocks * 512 >= held.st_size == MB


def group(folder, limit, used, cache, names=("memory.max", "memory.current", "inactive_file")):
    """A control group's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used, f"{names[2]} {cache}\nactive_file 0\nother 7"), strict=True):
        (folder / (name if "." in name else "memory.stat")).write_text(f"{value}\n")


def machine(root, available, groups):
    """The `proc` of a machine with so many kB available."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {available} kB\n")
    (root / "proc" / "self" / "cgroup").write_text(groups)


def test_available_memory_of_a_machine(tmp_path):
    """MemAvailable, where no group limits; nothing is known where there is no such file."""
    assert room.available_memory(tmp_path) is None
    machine(tmp_path, 2_000, "0::/\n")
    assert room.available_memory(tmp_path) == 2_000 * 1024
    group(tmp_path / "sys" / "fs" / "cgroup", "max", 5, 5)
    assert room.available_memory(tmp_path) == 2_000 * 1024


def test_available_memory_of_a_group(tmp_path):
    """The least of the machine, the group and the groups around it; the file cache of a group is not in the way."""
    machine(tmp_path, 9_000, "0::/outer/inner\n")
    top = tmp_path / "sys" / "fs" / "cgroup"
    group(top / "outer" / "inner", 5 * MB, 2 * MB, MB)
    assert room.available_memory(tmp_path) == 4 * MB
    group(top / "outer", 3 * MB, 2 * MB, 0)
    assert room.available_memory(tmp_path) == MB
    group(top / "outer", MB, 2 * MB, 0)
    assert room.available_memory(tmp_path) == 0


@pytest.mark.parametrize("place", ["a/b", ""])
def test_available_memory_of_a_group_of_the_first_version(tmp_path, place):
    """Also where a container shows only the top of the tree; the groups of other controllers say nothing."""
    machine(tmp_path, 9_000, "12:cpu,cpuacct:/x\n4:memory:/a/b\n1:name=systemd:/\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    group(tmp_path / "sys" / "fs" / "cgroup" / "memory" / place, 5 * MB, 2 * MB, MB, names)
    assert room.available_memory(tmp_path) == 4 * MB


def test_more_memory_than_there_is_is_refused(monkeypatch):
    """With both figures; where nothing is known nothing is refused."""
    monkeypatch.setattr(room, "available_memory", lambda: 5 * MB)
    room.require_memory(5 * MB, "it", "Take less.")
    with pytest.raises(RoomError, match=r"it: not enough memory. Got 5.00 MB available, expected 5.01 MB. Take less\."):
        room.require_memory(5 * MB + 1, "it", "Take less.")
    monkeypatch.setattr(room, "available_memory", lambda: None)
    room.require_memory(10**18, "it", "Take less.")


def test_this_machine_says_what_it_has():
    """A number, on Linux."""
    if os.path.exists("/proc/meminfo"):
        assert room.available_memory() > 0
