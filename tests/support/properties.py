"""How many examples hypothesis tries, and what stands for any input. Not here: laws.

Few in every run, the same each time; REC_TRAK_EXAMPLES=10000 tries as many others as it says.
"""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rec_trak.errors import RecTrakError
from rec_trak.words import say

EXAMPLES = int(os.environ.get("REC_TRAK_EXAMPLES", "0"))
FEW = 25
settings.register_profile(
    "rec_trak",
    max_examples=EXAMPLES or FEW,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("rec_trak")
fewer = settings(max_examples=EXAMPLES or 8)  # of what writes to the disk

NUMBERS = ("0", "1", "-1", "1e999", "nan", "0.5", "9" * 30, "2147483648", "1_0", "٣", "")
WORDS = (
    "n1",
    "n2",
    "u1",
    "storm",
    "['n1', 'n2']",
    "[]",
    "n1-1 n2-0",
    "n1 n2",
    "null",
    "true",
    '"',
    "'",
    "\x00",
    "\r",
    "﻿",
)


def cells():
    """A cell of a table: what stands in one, an odd number, or any text."""
    return st.sampled_from(WORDS) | st.sampled_from(NUMBERS) | st.text(max_size=6)


def tables(header, delimiter):
    """A table's text: the header, or most of it, and lines that need not go with it."""
    columns = [name for name in header if name]
    line = st.lists(cells(), min_size=1, max_size=len(columns) + 2).map(delimiter.join)
    head = st.just(delimiter.join(columns)) | st.permutations(columns).map(delimiter.join) | line
    whole = st.tuples(head, st.lists(line, max_size=5)).map(lambda parts: "\n".join([parts[0], *parts[1]]))
    return whole | st.text(max_size=40)


def documents(keys):
    """What a YAML or JSON file may hold: these keys or others, with values of any type."""
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS)
    values = st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(cells(), inner, max_size=3)
    )
    return st.dictionaries(st.sampled_from(keys) | cells(), values, max_size=5) | values


def read_or_refused(capsys, read):
    """What was read, or None where it was refused in one line as a user sees it; nothing else is raised."""
    try:
        return read()
    except RecTrakError as error:
        say(f"error: {' '.join(str(error).split())}")
        told = capsys.readouterr().out
        assert told.count("\n") == 1
        assert told.rstrip("\n").isprintable()
    return None
