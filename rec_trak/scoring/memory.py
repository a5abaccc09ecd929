"""What solving a system of K numbers takes of memory, asked for before it is. Not here: solving."""

from __future__ import annotations

from rec_trak.room import require_memory

SYSTEMS = 7  # (K, K) arrays in float64 at once, at most, with the blocks of rows beside them: measured 6.9
SMALL = 1 << 28  # bytes that nobody is refused for


def scoring_memory(k: int) -> int:
    """Bytes that scoring with K = `k` takes at its peak, about; it does not grow with the rows."""
    return SYSTEMS * 8 * k * k


def require_systems(k: int) -> None:
    """Refuse a K whose systems do not fit into memory.

    Raises:
        RoomError: says how much there is, and how much is needed.
    """
    needed = scoring_memory(k)
    if needed > SMALL:
        most = f"{SYSTEMS} arrays of {k:,} x {k:,} numbers in double precision"
        require_memory(
            needed, f"scoring with K = {k:,}", f"It takes {most}: set a smaller `proj_dim`, with another `save_dir`."
        )
