"""HDF5 files as arrays by their paths, whatever a stranger put into them. Not here: what Keras puts where.

The HDF5 library may end the process, or never come back, over a damaged file: it runs in another one
(`hdf5_process.py`), which says what is there or is seen to have ended.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from rec_trak.errors import CheckpointError
from rec_trak.words import QUOTE, plain

SIGNATURE = b"\x89HDF\r\n\x1a\n"
INSTALL = "Run `pip install 'rec-trak[keras]'`."
SAVE_AGAIN = "Save it again: `model.save_weights('NAME.h5')`, in Keras 3 'NAME.weights.h5'."
PROGRAM = Path(__file__).with_name("hdf5_process.py")


@dataclass(frozen=True)
class Hdf5:
    """What a file holds.

    Attributes:
        arrays: path -> tensor on the CPU, in the order of the paths.
        texts: path of a group ('' is the root) -> name of an attribute -> its text, of those that Keras writes.
    """

    arrays: dict[str, Tensor]
    texts: dict[str, dict[str, str]]


def read_hdf5(path: Path, member: str | None = None) -> Hdf5:
    """The arrays of a file, without those of optimizers and metrics, and its texts.

    Args:
        path: the file, or a zip archive.
        member: the archive's member.

    Raises:
        CheckpointError: h5py is not installed; there is anything but hard links to groups and arrays of numbers; arrays
            lie outside of the file, or declare more than a file of its size can hold; it is damaged.
    """
    if find_spec("h5py") is None:
        raise CheckpointError(
            f"{path}: reading HDF5 needs a library that is not installed. Got no h5py, expected it. {INSTALL}"
        )
    command = [sys.executable, "-P", str(PROGRAM), str(path), *([] if member is None else [member])]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as one:
        said = _said(one.stdout.readline())
        arrays = {}
        for name, kind, shape, size in said.get("arrays", []):
            arrays[name] = _tensor(one.stdout, kind, shape, size)
            if arrays[name] is None:
                break
        ended = one.wait()
    if "refused" in said:
        got, expected = (plain(text, QUOTE) for text in said["refused"])
        raise CheckpointError(f"{path}: this HDF5 file is not read. Got {got}, expected {expected}. {SAVE_AGAIN}")
    if "damaged" in said or ended or "arrays" not in said or None in arrays.values():
        why = plain(" ".join(said.get("damaged", "the HDF5 library ended over it").split()), QUOTE)
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint; it is cut short or damaged ({why}). Copy or download it again."
        )
    return Hdf5(arrays, said["texts"])


def _said(line: bytes) -> dict[str, Any]:
    try:
        return json.loads(line)
    except ValueError:  # the process ended before it had said all
        return {}


def _tensor(stream: IO[bytes], kind: str, shape: list[int], size: int) -> Tensor | None:
    """The next array; None where the process ended before it."""
    data = stream.read(size)
    if len(data) != size:
        return None
    dtype = np.dtype("<i2" if kind == "bfloat16" else kind)
    value = torch.from_numpy(np.frombuffer(data, dtype=dtype, count=math.prod(shape)).reshape(shape).copy())
    return value.view(torch.bfloat16) if kind == "bfloat16" else value
