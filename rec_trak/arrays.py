"""The one reader of numpy's files: of one array, and archives of several. Not here: what an array is to be.

A header says how much memory an array takes, and a damaged one may say anything: it is held against the bytes that are
there before any is taken. It is Python, and where it is none numpy looks for what Python 2 wrote, in a time that grows
with the square of its length: 20 s for the longest that numpy takes. Only short ones are left to that.
"""

from __future__ import annotations

import ast
import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from rec_trak.errors import RecTrakError, reason

SHORT, LONGEST = 500, 10_000  # bytes of a header: left to numpy in any case, and refused by numpy at once


class ArrayError(RecTrakError, ValueError):
    """A file that holds no array that can be read; says why, without the file's name."""


def read_array(path: str | Path, mapped: bool = False) -> np.ndarray:
    """The array in a file.

    Args:
        path: of a `.npy`, or of a memory map, which is the same format.
        mapped: as a read-only memory map.

    Raises:
        FileNotFoundError: there is none.
        ArrayError: it is damaged, or holds Python objects or several arrays.
    """
    try:
        with open(path, "rb") as file:
            check_header(file)
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # which refuses a file that is too short for it
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy reads a header as Python: a damaged one may raise whatever its parser does
        raise ArrayError(reason(error)) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise ArrayError("several arrays in one file")
    return array if mapped else np.array(array)


def read_archive(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` by name.

    Raises:
        FileNotFoundError: there is none.
        ArrayError: it is damaged, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    check_header(file)
                with archive.open(member) as file:
                    _check_size(file, member)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ArrayError(reason(error) or type(error).__name__) from None


def check_header(file: BinaryIO) -> None:
    """Refuse a long header that is no Python, before numpy reads it; whatever else is wrong with it is left to numpy.

    Args:
        file: at its beginning; it is left anywhere.

    Raises:
        ArrayError: it is one.
    """
    if file.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
        return
    length = int.from_bytes(file.read(2 if file.read(2)[:1] == b"\x01" else 4), "little")
    if not SHORT < length <= LONGEST:
        return
    try:
        ast.literal_eval(file.read(length).decode("latin1"))
    except Exception as error:  # whatever Python's parser makes of it
        raise ArrayError("a header that says nothing of an array") from error


def _check_size(file: BinaryIO, member: zipfile.ZipInfo) -> None:
    old = npy.read_magic(file) == (1, 0)
    shape, _, dtype = (npy.read_array_header_1_0 if old else npy.read_array_header_2_0)(file)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > member.file_size:
        raise ArrayError(f"{member.filename} says shape {shape} of {dtype} and has {member.file_size:,} bytes")
