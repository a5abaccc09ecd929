"""Laws of damaged files: whatever happened to one, it is one line or the very same tensors."""

import pathlib
import zipfile

import numpy as np
import pytest
import torch
from support.checkpoint_files import REFUSED, weights, write

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.errors import CheckpointError


@pytest.mark.parametrize("name", ["a.pt", "b.pt", "a.npz"])
def test_a_flipped_bit_is_found_or_changes_nothing(tmp_path, name):
    """Law: after one flipped bit anywhere in a zip file, it is refused in one line or gives the very same tensors."""
    state, path = weights(), tmp_path / name
    if name == "b.pt":
        torch.save({"state_dict": state, "path": pathlib.PurePosixPath("a")}, path)
    else:
        write(path, state)
    data, refusals = path.read_bytes(), []
    for bit in range(0, 8 * len(data), 11):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = read_checkpoint_file(path).state
        except CheckpointError as error:
            refusals.append(str(error))
        else:
            assert all(torch.equal(read[key], tensor) for key, tensor in state.items()), bit
    assert len(refusals) > len(data) * 8 / 11 / 4  # the rest is padding, dates and the like
    assert all(message.isprintable() for message in refusals)  # which a newline is not


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.npz", "a.safetensors"])
def test_a_file_cut_short_is_refused(tmp_path, name):
    """Law: no beginning of a file is taken for the whole."""
    path = tmp_path / name
    write(path, weights())
    data = path.read_bytes()
    for length in range(0, len(data), 13):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=f"{name}: {REFUSED}"):
            read_checkpoint_file(path)


def test_files_without_check_sums(tmp_path):
    """Law: a file that torch wrote without check sums can be read."""
    state = weights()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    read = read_checkpoint_file(tmp_path / "a.pt").state
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_a_member_marked_as_a_folder(tmp_path):
    """Law: one bit of a zip file's directory, which makes torch give memory as it finds it, is damage."""
    path = tmp_path / "a.pt"
    write(path, weights())
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[entry + 38] |= 0x10
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="is marked as a folder"):
        read_checkpoint_file(path)


def test_a_member_that_hides_behind_a_comment(tmp_path):
    """Law: an entry of a zip file's directory that claims the next one as its comment does not lose a tensor."""
    path = tmp_path / "a.npz"
    write(path, {"a": torch.zeros(1), "b": torch.zeros(1)})
    data = bytearray(path.read_bytes())
    first = data.index(b"PK\x01\x02")
    data[first + 32] = data.index(b"PK\x01\x02", first + 1) - first
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="its directory lists 1 of 2 members"):
        read_checkpoint_file(path)


def test_what_unpacks_to_far_more(tmp_path, monkeypatch):
    """Law: a small .npz that would fill the memory is refused before it is unpacked."""
    monkeypatch.setattr("rec_trak.checkpoints.files.UNPACKED", 1000)
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(100_000))
    with pytest.raises(CheckpointError, match=r"a.npy unpacks to 800,128 bytes"):
        read_checkpoint_file(tmp_path / "a.npz")


@pytest.mark.parametrize("extra", [{}, {"path": pathlib.PurePosixPath("a")}])
def test_a_tensor_that_shows_one_number_a_trillion_times(tmp_path, extra):
    """Law: a tensor that would fill the memory once it is copied is refused; a small expanded one is not."""
    torch.save({"state_dict": {"a": torch.ones(1).expand(10**12)}, **extra}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"tensor 'a' shows its few numbers many times over. Got 1,000,"):
        read_checkpoint_file(tmp_path / "a.pt")
    torch.save({"state_dict": {"a": torch.ones(1).expand(10)}, **extra}, tmp_path / "a.pt")
    assert read_checkpoint_file(tmp_path / "a.pt").state["a"].sum() == 10


def test_keys_that_end_the_process_in_torch(tmp_path):
    """Law: a key nested so deeply that hashing it crashes Python is refused before torch.load sees it."""
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.")
        archive.writestr("a/version", "3\n")
    with pytest.raises(CheckpointError, match=f"{REFUSED}.*a tuple is used as a key"):
        read_checkpoint_file(tmp_path / "a.pt")
