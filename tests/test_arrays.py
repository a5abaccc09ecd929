"""A file of one array is read, or refused with a reason that is one line."""

import zipfile

import numpy as np
import pytest

from rec_trak.arrays import ArrayError, read_archive, read_array


def test_what_was_saved_is_read(tmp_path):
    """Into memory, or as a read-only map."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    assert read_array(path).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not read_array(path, mapped=True).flags.writeable


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("at", [3, 30, 50, 60, 80, 100])
def test_any_flipped_bit_of_a_header_is_a_reason(tmp_path, at, mapped):
    """Or another array, whose shape and type its reader compares."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0))
    content = path.read_bytes()
    for bit in range(8):
        changed = bytearray(content)
        changed[at] ^= 1 << bit
        path.write_bytes(changed)
        reasons = []
        try:
            assert isinstance(read_array(path, mapped), np.ndarray)
        except ArrayError as error:
            reasons.append(str(error))
        assert not any("\n" in told for told in reasons)


def test_a_header_that_says_more_than_there_is(tmp_path):
    """Refused before any memory is taken for it, in a file of one array and in an archive."""
    np.save(tmp_path / "a.npy", np.arange(6.0))
    content = (tmp_path / "a.npy").read_bytes().replace(b"'shape': (6,)", b"'shape': (6000000000000,)")
    content = content.replace(b" " * 13 + b"\n", b" \n")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ArrayError, match="mmap length is greater than file size"):
        read_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ArrayError, match=r"a\.npy says shape \(6000000000000,\) of float64 and has 176 bytes"):
        read_archive(tmp_path / "a.npz")


def test_a_long_header_of_nothing_is_refused_at_once(tmp_path):
    """As long as numpy takes any: it would look in it for what Python 2 wrote, for 20 s. A whole one is read."""
    np.save(tmp_path / "a.npy", np.arange(6.0))
    content = (tmp_path / "a.npy").read_bytes()
    told = content[10:128].rstrip()
    for path, end in (("whole.npy", b"\n"), ("a.npy", b"$")):
        header = told.ljust(9_000) + end
        long = content[:8] + len(header).to_bytes(2, "little") + header + content[128:]
        (tmp_path / path).write_bytes(long)
        with zipfile.ZipFile(tmp_path / f"{path}.npz", "w") as archive:
            archive.writestr("a.npy", long)
    assert read_array(tmp_path / "whole.npy").tolist() == list(range(6))
    assert read_archive(tmp_path / "whole.npy.npz")["a"].tolist() == list(range(6))
    for read, name in ((read_array, "a.npy"), (read_archive, "a.npy.npz")):
        with pytest.raises(ArrayError, match="a header that says nothing of an array"):
            read(tmp_path / name)


def test_archives(tmp_path):
    """Arrays by name, of any shape and type; Python objects and other files are refused."""
    held = {"a": np.arange(6.0).reshape(2, 3), "none": np.zeros((0, 3)), "text": np.array(["x"]), "one": np.int8(3)}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **held)
        found = read_archive(tmp_path / "a.npz")
        assert all(
            np.array_equal(found[name], value) and found[name].dtype == value.dtype for name, value in held.items()
        )
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ArrayError, match="Object arrays cannot be loaded"):
        read_archive(tmp_path / "objects.npz")
    (tmp_path / "b.npz").write_bytes(b"")
    with pytest.raises(ArrayError, match="not a zip file"):
        read_archive(tmp_path / "b.npz")
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "c.npz")


def test_what_is_no_array_is_refused(tmp_path):
    """Python objects, archives, nothing; a file that is not there is the caller's to tell."""
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "several.npz", a=np.zeros(1))
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("objects.npy", "several.npz", "empty.npy"):
        with pytest.raises(ArrayError):
            read_array(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "gone.npy")
