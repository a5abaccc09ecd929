"""One progress bar for every long loop, and lines that a long loop tells as it goes. Not here: logging, or results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rec_trak.words import plain, say

if TYPE_CHECKING:  # it is most of what a command loads before it can answer a signal with a word
    from tqdm import tqdm

WIDTH = 60  # characters of what is being done, at most
_quiet = False
_telling = False


def set_quiet(quiet: bool) -> None:
    """Switch all bars off (`--quiet`) or back on for this process."""
    global _quiet
    _quiet = quiet


@contextmanager
def quietly() -> Iterator[None]:
    """No bars inside: for a loop of loops, whose own bar tells enough."""
    before = _quiet
    set_quiet(True)
    try:
        yield
    finally:
        set_quiet(before)


def progress(total: int, desc: str, unit: str, done: int = 0) -> tqdm:
    """A bar with rate and time left on stderr; silent when stderr is not a terminal or after `set_quiet(True)`.

    Args:
        total: how many units there are in all.
        desc: what is being done.
        unit: what is counted, in the singular.
        done: how many were finished by an earlier run.
    """
    from tqdm import tqdm

    off = _quiet or not sys.stderr.isatty()
    return tqdm(total=total, desc=plain(desc, WIDTH), unit=unit, initial=done, disable=off, dynamic_ncols=True)


@contextmanager
def telling() -> Iterator[None]:
    """What loops `tell` inside is printed; elsewhere it is not, since most loops are a step of something else."""
    global _telling
    before, _telling = _telling, True
    try:
        yield
    finally:
        _telling = before


def tell(line: str) -> None:
    """One line for the terminal, above the bar, where somebody asked for it (`telling`)."""
    if _telling:
        from tqdm import tqdm

        with tqdm.external_write_mode():
            say(line)
