"""How this process keeps its memory between batches. Not here: what the memory is for."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP = 1 << 30


def keep_heap() -> bool:
    """Let blocks of up to 1 GB that are freed stay with the process; whether this C library can be told so.

    Each batch allocates and frees the same tens of MB. By default glibc hands such blocks back, and their pages are
    cleared and mapped anew for the next batch.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEEP)) and bool(mallopt(M_TRIM_THRESHOLD, KEEP))
