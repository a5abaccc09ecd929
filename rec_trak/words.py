"""Words for a terminal: what is printed, made printable and of a sensible length. Not here: what is said, or files.

Titles, ids, keys and paths come from other people's files. A terminal obeys escape sequences, text behind a
bidirectional override is read in another order, and a message may quote a value of megabytes.
"""

from __future__ import annotations

import dataclasses
import html
import os
import re
import reprlib
import sys
import unicodedata
from typing import Any, TextIO

LINE = 2000  # characters of a printed line, at most
OUTLINE = 240  # characters of a record of tables, at most: two lines of a terminal
QUOTE = 200  # characters of a value in a message, at most
MOST_BITS = 4096  # of a number that is written out
MARK = "\ufffd"
BLANKS = re.compile(r"\s")
STEERING = re.compile("[\0-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def harmless(text: str, mark: str = MARK) -> str:
    """The text on one line, of the same length: blanks for white space, `mark` for what steers or reorders.

    That is control characters, bidirectional overrides and isolates, lone surrogates and what is no character; marks
    that a script or an emoji needs stay.
    """
    return BLANKS.sub(" ", STEERING.sub(mark, text))


def headline_text(text: str) -> str:
    """A headline as its readers saw it: web pages' `&#8217;` and `&amp;` are letters. Not made safe for anything."""
    return html.unescape(text) if "&" in text else text


def isolated(text: str) -> str:
    """The text such that what stands around it keeps its order: in an isolate where a letter of it runs leftwards."""
    leftwards = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    return f"\u2068{text}\u2069" if leftwards else text


def plain(text: str, limit: int | None = None, mark: str = MARK) -> str:
    """The text for a terminal: `harmless`, `mark` also for all else that `str.isprintable` refuses.

    Args:
        text: any.
        limit: characters, at most; a longer text loses its middle, since what to do stands at the end of a message.
        mark: one printable character.
    """
    text = text if limit is None else _without_middle(text, limit)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else mark for c in harmless(text, mark))


def quoted(value: Any, limit: int = QUOTE) -> str:
    """For messages: the value as Python writes it, without the middle of what is long, many or nested deeply."""
    return plain(_Short(limit).repr(value), limit)


def signed(value: float, form: str = ".1f") -> str:
    """The number with its sign, a zero, or what rounds to it, without one."""
    text = f"{value:+{form}}"
    return text if re.search("[1-9]", text.split("e")[0]) else text[1:]


def say(*lines: str, limit: int | None = LINE, to: TextIO | None = None) -> None:
    """Print each of these as one line that no terminal obeys.

    Args:
        lines: without line ends.
        limit: characters of a line, at most; None for all of it.
        to: None for standard output.
    """
    stream = sys.stdout if to is None else to
    encoding = getattr(stream, "encoding", None) or "utf-8"
    for line in lines:
        print(plain(line, limit).encode(encoding, "replace").decode(encoding), file=stream)


def outline(self: Any) -> str:
    """The repr of a record of tables: its fields by name, an array as its dtype and shape, cut to two lines.

    For `__repr__ = outline` in a dataclass that holds arrays, data frames or a string for each of many articles.
    """
    fields = ", ".join(f"{f.name}={_sketched(getattr(self, f.name))}" for f in dataclasses.fields(self))
    return plain(f"{type(self).__name__}({fields})", OUTLINE)


def _sketched(value: Any) -> str:
    if isinstance(value, (str, bytes, int, float, bool, type(None), os.PathLike)):
        return quoted(str(value) if isinstance(value, os.PathLike) else value, 60)
    kind = type(value).__name__
    if hasattr(value, "columns") and hasattr(value, "index"):
        return f"table of {len(value):,} x {len(value.columns)}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"{kind} of {len(value):,}" if hasattr(value, "__len__") else f"{kind}(…)"


def _without_middle(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"


class _Short(reprlib.Repr):
    """A repr whose work, too, is bounded by what it shows."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.fillvalue = "…"
        self.maxlevel = 5
        self.maxstring = self.maxother = self.maxlong = limit
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 20

    def repr_int(self, value: int, level: int) -> str:
        """Python refuses to write numbers of thousands of digits."""
        bits = value.bit_length()
        return super().repr_int(value, level) if bits < MOST_BITS else f"a number of {bits:,} bits"
