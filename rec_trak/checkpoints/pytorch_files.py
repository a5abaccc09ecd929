"""PyTorch's zip and legacy files, read with our own unpickler. Not here: `torch.load`, other formats, check sums.

Both hold a pickle, in which tensors name storages by key, and the storages' bytes one after another. Only the storages
that are asked for are read, so an optimizer's state costs nothing.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rec_trak.checkpoints.rebuild import Storage, StoredTensor
from rec_trak.checkpoints.unpickle import Machine

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: the lengths of its name and its extra field stand last
CHUNK = 1 << 24


@dataclass
class Storages:
    """The bytes behind tensors on paper.

    Attributes:
        path: the file.
        places: storage key -> (where its bytes begin, how many there are).
        held: storage key -> its bytes, (n,) uint8, once read.
    """

    path: Path
    places: dict[str, tuple[int, int]]
    held: dict[str, Tensor] = field(default_factory=dict)

    def tensor(self, stored: StoredTensor) -> Tensor:
        """The tensor itself; tensors of one storage share its memory.

        Raises:
            ValueError: the file has fewer bytes than the tensor needs.
        """
        key = stored.storage.key
        if key not in self.held:
            self.held[key] = self._read(stored.storage)
        return self.held[key].view(stored.dtype).as_strided(stored.size, stored.stride, stored.offset)

    def _read(self, storage: Storage) -> Tensor:
        size = storage.numel * storage.dtype.itemsize
        start, there = self.places.get(storage.key, (0, 0))
        if there != size:
            raise ValueError(f"storage {storage.key} has {there} bytes, not {size}")
        block = torch.empty(size, dtype=torch.uint8)
        view, at = memoryview(block.numpy()), 0
        with open(self.path, "rb") as file:
            file.seek(start)
            while at < size:
                count = file.readinto(view[at : at + CHUNK])
                if not count:
                    raise ValueError(f"storage {storage.key} is cut short")
                at += count
        return block


def read_zip(path: Path) -> tuple[Any, tuple[str, ...], Storages]:
    """The content of a zip file, with tensors on paper, the classes that were replaced, and the storages.

    Raises:
        Exception: of almost any kind, where the file is damaged.
    """
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        members = {member.filename: member for member in archive.infolist()}
        (pickled,) = (name for name in members if name.endswith("/data.pkl"))
        prefix = pickled.removesuffix("data.pkl")
        order = f"{prefix}byteorder"
        _check_byte_order(order not in members or _member(file, members[order]) == b"little")
        data = _member(file, members[pickled])
        machine = Machine(len(data))
        content = machine.read(io.BytesIO(data))
        places = {
            key: (_start(file, members[name]), members[name].file_size)
            for key, name in ((key, f"{prefix}data/{key}") for key in machine.storages)
            if name in members
        }
    return content, tuple(machine.names), Storages(path, places)


def _start(file: io.BufferedReader, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin, which is not compressed."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError("its members are compressed, which torch.save never does")
    file.seek(member.header_offset)
    return member.header_offset + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size)))


def _member(file: io.BufferedReader, member: zipfile.ZipInfo) -> bytes:
    file.seek(_start(file, member))
    return file.read(member.file_size)


class _Bounded:
    """A file of which nobody can ask for more than it has: Python takes the memory before it looks what is there."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self.file, self.size = file, size
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        """At most so many bytes."""
        return self.file.read(min(count, self.size - self.file.tell()))


def read_legacy(path: Path) -> tuple[Any, tuple[str, ...], Storages]:
    """The content of a file from before PyTorch 1.6, with tensors on paper, replaced classes, and the storages.

    Raises:
        Exception: of almost any kind, where the file is damaged.
    """
    size = path.stat().st_size
    places, machine = {}, Machine(size)
    with open(path, "rb") as file:
        pickles = _Bounded(file, size)
        magic, protocol, system = (machine.read(pickles) for _ in range(3))
        if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
            raise ValueError("its header is wrong")
        _check_byte_order(system.get("little_endian") is True)
        content = machine.read(pickles)
        for key in machine.read(pickles):
            storage = machine.storages[key]
            if int.from_bytes(file.read(8), "little") != storage.numel:
                raise ValueError(f"storage {key} has another length")
            places[key] = file.tell(), storage.numel * storage.dtype.itemsize
            if file.seek(places[key][1], io.SEEK_CUR) > size:
                raise ValueError(f"storage {key} is cut short")
    return content, tuple(machine.names), Storages(path, places)


def _check_byte_order(little: bool) -> None:
    if not little:
        raise ValueError("its numbers are in big-endian order; save it again on a little-endian machine")
