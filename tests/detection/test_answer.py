"""The plain lines of detection. Not here: what they say of whole runs (test_run.py)."""

import pytest

from rec_trak.detection.answer import why_first
from rec_trak.detection.suspicion import RULES


@pytest.mark.parametrize("through", RULES)
def test_why_the_first_rows_come_first(through):
    """Law: one reason a signal of the rule, joined as a sentence is, also where a run has one signal alone."""
    rule = RULES[through]
    told = why_first({"first_rows": [], "through": through, "rule": rule})
    assert told.count(", and ") == 1
    alone = why_first({"first_rows": [], "through": through, "rule": dict(list(rule.items())[:1])})
    assert told.startswith(f"{len(rule)} signs together: {alone}, ")
    assert alone.startswith("how ")
