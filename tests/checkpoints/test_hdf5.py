"""Laws of HDF5 files: numbers as they were written; what points elsewhere, or is not there, is refused in one line."""

import sys

import numpy as np
import pytest
import torch
from support.keras_files import write_hdf5

from rec_trak.checkpoints import hdf5
from rec_trak.checkpoints.hdf5 import read_hdf5
from rec_trak.errors import CheckpointError

h5py = pytest.importorskip("h5py")


def refused(path, match):
    """It is one line, and ends in what to do."""
    with pytest.raises(CheckpointError, match=match) as caught:
        read_hdf5(path)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(("'NAME.weights.h5'.", "Copy or download it again."))


def test_numbers_are_those_that_were_written(tmp_path):
    """Law: number formats, byte order, compression, scalars and empty arrays change nothing."""
    arrays = {f"g/{kind}": np.arange(6, dtype=kind).reshape(2, 3) for kind in ("f2", "<f4", ">f4", "f8", "i8", "u1")}
    arrays |= {"a": np.float32(7), "e": np.zeros((0, 3), "f4")}
    with h5py.File(write_hdf5(tmp_path / "a.h5", arrays), "a") as root:
        root.create_dataset("g/packed", data=np.arange(6.0), compression="gzip", shuffle=True, fletcher32=True)
        root.attrs["keras_version"], root["g"].attrs["name"], root.attrs["other"] = "3", b"layer", "not asked for"
        root.attrs["model_config"] = np.array(["two", "texts"], dtype=object)
    found = read_hdf5(tmp_path / "a.h5")
    assert found.texts == {"": {"keras_version": "3"}, "g": {"name": "layer"}}
    for name, expected in (arrays | {"g/packed": np.arange(6.0)}).items():
        expected = np.asarray(expected)
        assert found.arrays[name].dtype == torch.from_numpy(expected.astype(expected.dtype.newbyteorder("="))).dtype
        assert np.array_equal(found.arrays[name].numpy(), expected), name


def test_bfloat16_as_ml_dtypes_leaves_it(tmp_path):
    """Law: two opaque bytes a number are bfloat16, as Keras writes it."""
    value = torch.tensor([1.5, -2.0, 3.25], dtype=torch.bfloat16)
    write_hdf5(tmp_path / "a.h5", {"w": value.view(torch.int16).numpy().view("V2")})
    assert torch.equal(read_hdf5(tmp_path / "a.h5").arrays["w"], value)


def test_nothing_is_followed_out_of_the_file(tmp_path):
    """Law: links and storage elsewhere are refused, whether or not what they name is there."""
    write_hdf5(tmp_path / "other.h5", {"w": np.ones(3)})
    np.ones(3).tofile(tmp_path / "raw")
    with h5py.File(tmp_path / "link.h5", "w") as root:
        root["g/w"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "w")
    with h5py.File(tmp_path / "soft.h5", "w") as root:
        root["w"], root["v"] = np.ones(3), h5py.SoftLink("/w")
    with h5py.File(tmp_path / "raw.h5", "w") as root:
        root.create_dataset("w", shape=3, dtype="f8", external=[(str(tmp_path / "raw"), 0, 24)])
    with h5py.File(tmp_path / "virtual.h5", "w") as root:
        layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "w", shape=(3,))
        root.create_virtual_dataset("w", layout)
    refused(tmp_path / "link.h5", "link.h5: this HDF5 file is not read. Got a ExternalLink at 'g/w'")
    refused(tmp_path / "soft.h5", "Got a SoftLink at 'v', expected groups and arrays alone")
    refused(tmp_path / "raw.h5", "an array at 'w' that lies in other files")
    refused(tmp_path / "virtual.h5", "an array at 'w' that lies in other files")


def test_what_is_no_number_is_refused(tmp_path):
    """Law: references, texts, records and named types are not read."""
    for name, value in {
        "ref": h5py.ref_dtype,
        "text": h5py.string_dtype(),
        "record": [("a", "f4"), ("b", "f4")],
    }.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as root:
            root.create_dataset("w", shape=2, dtype=value, chunks=(2,))
        refused(tmp_path / f"{name}.h5", "at 'w', expected numbers")
    with h5py.File(tmp_path / "type.h5", "w") as root:
        root["t"] = np.dtype("f4")
    refused(tmp_path / "type.h5", "a Datatype at 't'")
    with h5py.File(tmp_path / "null.h5", "w") as root:
        root["w"] = h5py.Empty("f4")
    refused(tmp_path / "null.h5", "at 'w', expected numbers")


def test_what_is_declared_must_be_there(tmp_path):
    """Law: no array is read that was never written, in part or whole, or that would fill the memory."""
    with h5py.File(tmp_path / "none.h5", "w") as root:
        root.create_dataset("w", shape=1000, dtype="f4")
    refused(tmp_path / "none.h5", "4,000 bytes at 'w' of which 0 are there")
    with h5py.File(tmp_path / "part.h5", "w") as root:
        root.create_dataset("w", shape=1000, dtype="f4", chunks=(100,), compression="gzip")[:100] = 1
    refused(tmp_path / "part.h5", "10 chunks at 'w' of which 1 are there")
    with h5py.File(tmp_path / "chunks.h5", "w") as root:
        root.create_dataset("w", shape=(2**40,), dtype="f8", chunks=(1,))
    refused(tmp_path / "chunks.h5", "chunks at 'w' of which 0|bytes at 'w' of which 0")
    with h5py.File(tmp_path / "bomb.h5", "w") as root:
        for i in range(10):
            root.create_dataset(f"w{i}", data=np.zeros(2**20), compression="gzip")
    refused(tmp_path / "bomb.h5", "arrays of .* bytes in a file of .*, expected about as many as it holds")


def test_groups_in_a_circle_or_without_end(tmp_path):
    """Law: a group inside itself, groups very deep and very many entries are refused; a shared array is not."""
    with h5py.File(tmp_path / "circle.h5", "w") as root:
        root["a/b/w"] = np.ones(3)
        root["a/b/c"] = root["a"]
    refused(tmp_path / "circle.h5", "a group inside itself")
    write_hdf5(tmp_path / "deep.h5", {"/".join("g" * 50): np.ones(3)})
    refused(tmp_path / "deep.h5", "40 deep")
    with h5py.File(tmp_path / "shared.h5", "w") as root:
        root["a/w"] = np.ones(3)
        root["b/w"] = root["a/w"]
    assert list(read_hdf5(tmp_path / "shared.h5").arrays) == ["a/w", "b/w"]


def test_a_damaged_file_is_one_line(tmp_path):
    """Law: what h5py raises over a file that is cut short or overwritten is told in one line."""
    data = write_hdf5(tmp_path / "a.h5", {f"g/w{i}": np.arange(50.0) for i in range(4)}).read_bytes()
    for length in (9, 60, len(data) // 2, len(data) - 1):
        (tmp_path / "b.h5").write_bytes(data[:length])
        refused(tmp_path / "b.h5", "b.h5: cannot be read as a checkpoint; it is cut short or damaged")
    (tmp_path / "b.h5").write_bytes(data[:100] + b"\xff" * 400 + data[500:])
    refused(tmp_path / "b.h5", "cut short or damaged")


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.kill(os.getpid(), 11)",
        'print(\'{"arrays": [["w", "<f4", [4], 16]], "texts": {}}\', flush=True); import os; os._exit(1)',
        "print('{\"arra', flush=True)",
    ],
)
def test_the_library_may_end_its_process(tmp_path, monkeypatch, program):
    """Law: where the HDF5 library ends the process that reads, before, within or after what it says, it is one line."""
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    monkeypatch.setattr(hdf5, "PROGRAM", tmp_path / "program.py")
    refused(tmp_path / "a.h5", r"cut short or damaged \(the HDF5 library ended over it\)")


def test_without_h5py(tmp_path, monkeypatch):
    """Law: without h5py the error says what to install, and for which file."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setattr(hdf5, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"a.h5: reading HDF5 needs a library.*pip install 'rec-trak\[keras\]'"):
        read_hdf5(tmp_path / "a.h5")
