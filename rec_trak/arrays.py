"""The one reader of numpy's files of one array. Not here: what an array is to be, or archives of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rec_trak.errors import RecTrakError, reason


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
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy reads a header as Python: a damaged one may raise whatever its parser does
        raise ArrayError(reason(error)) from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise ArrayError("several arrays in one file")
    return array
