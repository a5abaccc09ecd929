"""Laws of our reader of PyTorch's files: the tensors are those that torch.load gives, in both formats."""

import collections
import struct
import tracemalloc
import zipfile

import pytest
import torch
from torch import nn

from rec_trak.checkpoints.pytorch_files import read_legacy, read_zip

BOUND = 2**22  # bytes
READERS = {True: read_zip, False: read_legacy}
DTYPES = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32,
    torch.int64, torch.bool, torch.complex64, torch.complex128,
)  # fmt: skip


def many_kinds():
    """Tensors of every make that a state dict may hold."""
    base = torch.randn(4, 6)
    state = collections.OrderedDict((str(dtype), torch.arange(5).to(dtype)) for dtype in DTYPES)
    state |= {
        "whole": base, "same": base, "view": base[1:3, ::2], "transposed": base.T, "row": base[2],
        "empty": torch.zeros(0, 3), "number": torch.tensor(3.5), "expanded": torch.ones(1, 3).expand(4, 3),
        "parameter": nn.Parameter(torch.randn(2)), "frozen": nn.Parameter(torch.randn(2), requires_grad=False),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "channels_last": torch.randn(1, 2, 3, 3).to(
            memory_format=torch.channels_last
        ),
    }  # fmt: skip
    state["marked"] = nn.Parameter(torch.randn(2))
    state["marked"].note = "an attribute"
    state["tagged"] = torch.randn(2)
    state["tagged"].note = "an attribute"
    state["unsigned"] = torch.arange(3).to(torch.uint16)
    return state


def ours(path, new=True):
    """Our reader's tensors."""
    content, names, storages = READERS[new](path)
    return {name: storages.tensor(value) for name, value in content.items()}, names


@pytest.mark.parametrize("new", [True, False])
def test_tensors_are_those_of_torch(tmp_path, new):
    """Law: values, types, shapes, strides and shared memory are what torch.load(weights_only=True) gives."""
    path, state = tmp_path / "a.pt", many_kinds()
    if not new:
        del state["unsigned"]  # torch.load cannot read this type from its own legacy files
    torch.save(state, path, _use_new_zipfile_serialization=new)
    expected, (got, names) = torch.load(path, weights_only=True), ours(path, new)
    assert list(got) == list(expected)
    assert names == ()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name
        assert (got[name].dtype, got[name].stride()) == (tensor.dtype, tensor.stride())
        assert got[name].untyped_storage().nbytes() == tensor.untyped_storage().nbytes()
    assert got["whole"].data_ptr() == got["same"].data_ptr() == got["transposed"].data_ptr()
    got["whole"][2] = 7
    assert (got["row"] == 7).all()
    assert (got["view"][1] == 7).all()


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol(tmp_path, new, protocol):
    """Law: the pickle's protocol changes nothing."""
    path, state = tmp_path / "a.pt", nn.GRU(3, 4).state_dict()
    torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    got, _ = ours(path, new)
    assert all(torch.equal(got[name], tensor) for name, tensor in state.items())


def test_storages_nobody_asks_for_stay_unread(tmp_path):
    """Law: reading one tensor reads one storage."""
    torch.save({"w": torch.ones(3), "optimizer": {"w": torch.ones(1000)}}, tmp_path / "a.pt")
    content, _, storages = read_zip(tmp_path / "a.pt")
    storages.tensor(content["w"])
    assert [block.numel() for block in storages.held.values()] == [12]


THREE, FOUR = (struct.pack("<qf", n, 1.0) for n in (3, 4))


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """The same zip archive with `change(name, bytes)` of each member, None to leave it out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            data = change(name, data)
            if data is not None:
                archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda name, data: data[:-4] if "/data/" in name else data, "storage 0 has 8 bytes, not 12"),
        (lambda name, data: None if "/data/" in name else data, "storage 0 has 0 bytes, not 12"),
        (lambda name, data: b"big" if name.endswith("byteorder") else data, "big-endian"),
        (lambda name, data: None if name.endswith("data.pkl") else data, "not enough values"),
        (lambda name, data: data.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009"), "storage 9 has 0 bytes"),
    ],
)
def test_archives_that_lack_something(tmp_path, change, match):
    """Law: a storage that is missing or of another size, and numbers in another order, are errors."""
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", change)
    with pytest.raises(ValueError, match=match):
        ours(tmp_path / "a.pt")


def test_compressed_members(tmp_path):
    """Law: a compressed archive, which torch.save never writes, is refused rather than unfolded."""
    torch.save({"w": torch.ones(3)}, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", lambda name, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="members are compressed"):
        read_zip(tmp_path / "a.pt")


def legacy(path, old=b"", new=b"", cut=0):
    """A legacy file of twelve bytes of weights, damaged."""
    torch.save({"w": torch.ones(3)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert old in data
    data = data.replace(old, new, 1) if old else data
    path.write_bytes(data[: len(data) - cut])


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ({"old": THREE, "new": FOUR}, "another length"),
        ({"cut": 1}, "is cut short"),
        ({"old": b"\x80\x02M\xe9\x03.", "new": b"\x80\x02M\xe8\x03."}, "header is wrong"),
        ({"old": b"little_endianq\x02\x88", "new": b"little_endianq\x02\x89"}, "big-endian"),
    ],
)
def test_damaged_legacy_files(tmp_path, damage, match):
    """Law: a wrong header, length or end is an error."""
    legacy(tmp_path / "a.pt", **damage)
    with pytest.raises(ValueError, match=match):
        ours(tmp_path / "a.pt", new=False)


def test_a_file_that_shrinks(tmp_path):
    """Law: a file cut while it is read is an error, not a tensor of what memory held."""
    legacy(tmp_path / "a.pt")
    content, _, storages = read_legacy(tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:-1])
    with pytest.raises(ValueError, match="is cut short"):
        storages.tensor(content["w"])


def test_no_more_memory_than_the_file_needs(tmp_path):
    """Law: text that says it is longer than the file takes no memory for it; the older format's pickles are read from
    the file itself."""
    path = tmp_path / "a.bin"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"X\x01\x00\x00\x00a", b"X" + (2**27).to_bytes(4, "little") + b"a", 1))
    assert path.read_bytes() != content
    tracemalloc.start()
    with pytest.raises(ValueError, match="expected 134217728 bytes"):
        read_legacy(path)
    assert tracemalloc.get_traced_memory()[1] < BOUND
    tracemalloc.stop()
