"""What is printed is printable, of a sensible length, and still says what to do."""

import io
import unicodedata
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from rec_trak.words import LINE, OUTLINE, QUOTE, harmless, headline_text, isolated, outline, plain, quoted, say, signed

CONTROLS = [chr(i) for i in (*range(0x20), *range(0x7F, 0xA0))]
BIDIRECTIONAL = [chr(i) for i in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
ODD = [*CONTROLS, *BIDIRECTIONAL, "\ud800", "\udfff", "\u2028", "\u2029", "\ufeff", "\U000e0041", "\ufffe"]


@pytest.mark.parametrize("c", ODD, ids=ascii)
def test_no_character_steers_a_terminal(c):
    """One character stands for each, a blank for white space, so that columns stay in line."""
    text = plain(f"a{c}b")
    assert text.isprintable()
    assert text == ("a b" if c in "\t\n\v\f\r\x85\u2028\u2029" else "a\ufffdb")


def test_what_can_be_read_stays():
    """Scripts of all kinds, signs, and emoji of one character."""
    text = "plain 日本 é العربية ไทย 😀 → \ufffd"
    assert plain(text) == harmless(text) == text


def test_harmless_keeps_marks_that_words_need():
    """Joiners and marks of direction reorder nothing outside of a word; overrides, isolates and controls go."""
    kept = "می\u200cخواهم 👩\u200d🚀 \u200f"
    assert harmless(kept) == kept
    assert harmless("a\u202eb\x1b[31m\ud800\n") == "a\ufffdb\ufffd[31m\ufffd "
    assert harmless("\x07", "?") == "?"


def test_no_mark_reaches_the_result_unless_something_was_replaced():
    """Every character of the plane that Python calls printable is left alone, every other one is not."""
    whole = [chr(i) for i in range(0x10000)]
    assert plain("".join(whole)).isprintable()
    assert all(plain(c) == c for c in whole if c.isprintable())
    assert all(plain(c) in "\ufffd " for c in whole if unicodedata.category(c)[0] in "CZ")


@pytest.mark.parametrize("size", [1, LINE - 1, LINE, LINE + 1, 10**7])
def test_a_long_message_keeps_both_ends(size):
    """Where it is stands at its start, what to do at its end."""
    text = plain(f"a.csv: {'x' * size}. Mend the file.", LINE)
    assert len(text) <= LINE
    assert text.startswith("a.csv: x")
    assert text.endswith("x. Mend the file.")
    assert ("…" in text) == (size + 24 > LINE)


def test_a_short_value_is_quoted_as_python_writes_it():
    """Numbers, texts, lists, mappings, None."""
    for value in (1, 1.5, "a'b\x1b[31m\u202e", None, True, [1, "a"], {"a": [1]}, ("a",), b"\xff", []):
        assert quoted(value) == repr(value)


def test_a_large_value_is_quoted_in_short():
    """Megabytes, many items and deep nesting take no room, and no time either."""
    nested = []
    for _ in range(5000):
        nested = [nested, nested]
    for value in ("x" * 10**7, ["x" * 10**6] * 10**6, nested, 10**150, {str(i): "x" * 999 for i in range(999)}):
        text = quoted(value)
        assert len(text) <= QUOTE
        assert "…" in text or value == 10**150
    assert quoted([1 << 20_000]) == "[a number of 20,001 bits]"


def test_lines_are_said_one_by_one():
    """Each ends once, whatever stands in it; an encoding that lacks a character gets another for it."""
    stream = io.StringIO()
    say("a\nb", "\x1b[2J", "x" * (LINE + 9), to=stream)
    assert stream.getvalue().split("\n")[:2] == ["a b", "\ufffd[2J"]
    assert [len(line) for line in stream.getvalue().split("\n")] == [3, 4, LINE, 0]
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("é\ud800", "x" * (LINE + 9), limit=None, to=narrow)
    narrow.flush()
    assert narrow.buffer.getvalue() == b"??\n" + b"x" * (LINE + 9) + b"\n"


def test_a_zero_has_no_sign():
    """Law: neither 0 nor what rounds to it."""
    told = [signed(x) for x in (1.25, -1.25, 0.0, -0.0, 0.04, -0.04)]
    assert told == ["+1.2", "-1.2", "0.0", "0.0", "0.0", "0.0"]
    assert [signed(x, ".3e") for x in (-1.0, 0.0, 1e-9)] == ["-1.000e+00", "0.000e+00", "+1.000e-09"]


@dataclass
class Record:
    scores: np.ndarray
    rows: pd.DataFrame
    names: tuple[str, ...]
    text: str
    nothing: None = None

    __repr__ = outline


def test_a_record_of_tables_is_two_lines():
    """Fields by name, what is large as its shape; a long one loses its middle, and no number or name is written out."""
    record = Record(np.zeros((3, 2), np.float32), pd.DataFrame({"a": range(4)}), ("x",) * 9, "here")
    told = "Record(scores=float32 (3, 2), rows=table of 4 x 1, names=tuple of 9, text='here', nothing=None)"
    assert repr(record) == told
    assert len(repr(Record(*[record] * 3, "y" * 10_000))) <= OUTLINE


def test_what_runs_leftwards_is_isolated():
    """Law: a text with a letter that runs leftwards stands in an isolate; any other stays as it is."""
    assert isolated("plain 5$") == "plain 5$"
    assert isolated("5 שלום…") == "\u20685 שלום…\u2069"


def test_headlines_are_shown_as_their_readers_saw_them():
    """Law: what web pages write for letters is those letters; nothing else changes, and it is made harmless after."""
    assert (
        headline_text("Scott &#8216;Critical&#8217; &amp; &lt;b&gt; AT&T 5 & 6") == "Scott ‘Critical’ & <b> AT&T 5 & 6"
    )
    assert harmless(headline_text("a&#8238;b")) == "a\ufffdb"
