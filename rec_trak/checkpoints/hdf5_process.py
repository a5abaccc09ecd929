"""Reads an HDF5 file in a process of its own, which a damaged one may end or halt. Not here: who starts it, and why.

    python -P hdf5_process.py FILE [MEMBER]

FILE is HDF5, or a zip archive with it as MEMBER. Standard output: a line of JSON, then the arrays' bytes one after the
other. Nothing in the file is followed out of it, or in a circle: a group has hard links to groups and arrays of numbers
alone, and what they declare is weighed before the first of them is read.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import h5py
import numpy as np

LEFT_OUT = ("optimizer", "metrics", "optimizer_weights", "top_level_model_weights")  # at the top; none has weights
TEXTS = ("model_config", "training_config", "keras_version", "name")
DEEPEST, MOST = 40, 20_000  # groups inside each other; links in all
LEAST, RATIO = 2**26, 100  # bytes that any file may declare; beyond, so many times its size
LONGEST = 2**26  # bytes of one text
SECONDS, SPEED = 20, 2**25  # of work: that many, and one more for so many bytes
ROOM = 2**32  # bytes of memory beside what may be declared
FILTERS = {1, 2, 3, 4, 32000}  # deflate, shuffle, fletcher32, szip, lzf: h5py's own, no library is looked up for them
BFLOAT16 = np.dtype("V2")  # as ml_dtypes' comes out of h5py


class Refused(Exception):
    """What the file holds, and what was expected."""


def main(path: str, member: str | None, out: IO[bytes]) -> None:
    """Write what the file holds, or why it is refused."""
    try:
        if member is None:
            size, source = os.path.getsize(path), path
        else:
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read(member))
            size = len(source.getbuffer())
        _limit(size)
        more = {} if member is not None else {"locking": False}
        with h5py.File(source, "r", **more) as root:
            arrays, texts = _found(root, size)
            held = [[name, _kind(one), list(one.shape), one.nbytes] for name, one in arrays]
            out.write(json.dumps({"arrays": held, "texts": texts}).encode() + b"\n")
            for _, one in arrays:
                value = np.array(one[()], order="C")
                out.write(value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes())
        out.flush()
    except Refused as error:
        out.write(json.dumps({"refused": list(error.args)}).encode() + b"\n")
    except Exception as error:  # a damaged file makes h5py raise almost anything
        out.write(json.dumps({"damaged": str(error) or type(error).__name__}).encode() + b"\n")


def _limit(size: int) -> None:
    """Bound the work and the memory that a file of so many bytes may cost, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        declared = max(LEAST, RATIO * size)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds := SECONDS + declared // SPEED, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (room := ROOM + 2 * declared, room))


def _found(root: h5py.File, size: int) -> tuple[list[tuple[str, h5py.Dataset]], dict[str, dict[str, str]]]:
    """Arrays in the order of their paths, and the texts of groups."""
    arrays, texts, declared = {}, {}, 0
    for path, one in _walk(root):
        if isinstance(one, h5py.Dataset):
            _check_place(one, path)
            arrays[path] = one
            declared += one.nbytes
            if declared > max(LEAST, RATIO * size):
                raise Refused(f"arrays of {declared:,} bytes in a file of {size:,}", "about as many as it holds")
        elif held := _texts(one):
            texts[path] = held
    return sorted(arrays.items()), texts


def _walk(root: h5py.File) -> Iterator[tuple[str, Any]]:
    """Path and object of every group and array, none by way of itself."""
    waiting, links = [("", root, ())], 0
    while waiting:
        path, group, above = waiting.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in above or len(above) >= DEEPEST:
            raise Refused(f"a group inside itself, or {DEEPEST} deep, at {path!r}", "fewer groups")
        yield path, group
        for name in group:
            links += 1
            inner = f"{path}/{name}" if path else name
            if inner in LEFT_OUT:
                continue
            link = group.get(name, getlink=True)
            kind = group.get(name, getclass=True) if isinstance(link, h5py.HardLink) else type(link)
            if links > MOST:
                raise Refused(f"more than {MOST:,} entries", "those of a model")
            if kind is h5py.Group:
                waiting.append((inner, group[name], (*above, place)))
            elif kind is h5py.Dataset:
                yield inner, group[name]
            else:
                raise Refused(f"a {kind.__name__} at {inner!r}", "groups and arrays alone")


def _check_place(array: h5py.Dataset, path: str) -> None:
    """Refuse an array whose numbers are not in this file, or no numbers."""
    if array.is_virtual or array.external:
        raise Refused(f"an array at {path!r} that lies in other files", "all of it in this one")
    if array.shape is None or (array.dtype.kind not in "biuf" and array.dtype != BFLOAT16):
        raise Refused(f"{array.dtype} at {path!r}", "numbers")
    plan, there, needed, kind = array.id.get_create_plist(), array.id.get_storage_size(), array.nbytes, "bytes"
    if not {plan.get_filter(i)[0] for i in range(plan.get_nfilters())} <= FILTERS:
        raise Refused(f"an array at {path!r} that a library of its own packed", "gzip or none")
    if plan.get_layout() == h5py.h5d.CHUNKED:
        needed = math.prod(-(-n // step) for n, step in zip(array.shape, array.chunks, strict=True))
        if needed <= there:  # a chunk has a byte at least: counting them costs memory
            there, kind = array.id.get_num_chunks(), "chunks"
    if there != needed:
        raise Refused(f"{needed:,} {kind} at {path!r} of which {there:,} are there", "all of them")


def _texts(group: h5py.Group) -> dict[str, str]:
    """Attributes that are one text each; others, however large, are not read."""
    found = {}
    for name in TEXTS:
        if name in group.attrs:
            one = group.attrs.get_id(name)
            if one.shape == () and one.dtype.kind in "SO" and one.get_storage_size() <= LONGEST:
                value = group.attrs[name]
                value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                found |= {name: value} if isinstance(value, str) else {}
    return found


def _kind(array: h5py.Dataset) -> str:
    return "bfloat16" if array.dtype == BFLOAT16 else array.dtype.newbyteorder("<").str


if __name__ == "__main__":
    with open(1, "wb") as pipe:
        main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None, pipe)
