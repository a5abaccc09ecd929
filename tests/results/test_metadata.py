"""Laws of what metadata.json may say: whatever is of another kind is named in one line, before anyone uses it."""

import copy

import pytest
from support.page_world import metadata, model

from rec_trak.errors import DataError
from rec_trak.results.metadata import check_metadata

TOLD = metadata(
    model=model(4, "last") | {"sizes": {}},
    coverage={"words": {"known": 1, "shown": 2}},
    proof=[None, {"auc": 0.5}],
    targets_notes=[],
)


def wrong(*places, value):
    """The content with another value at a place."""
    content = copy.deepcopy(TOLD)
    held = content
    for place in places[:-1]:
        held = held[place]
    held[places[-1]] = value
    return content


def test_what_is_written_is_taken_as_it_is():
    """And what an earlier build did not say."""
    assert check_metadata(TOLD, "m.json", "Again.") is TOLD
    for content in ({}, TOLD | {"features": None, "members": None}, TOLD | {"of_a_later_build": [1]}):
        assert check_metadata(content, "m.json", "Again.") is content


@pytest.mark.parametrize(
    ("places", "value", "told"),
    [
        (("features",), 1e308, r"`features` is damaged\. Got 1e\+308, expected keys and values"),
        (("members",), "x", r"`members` .* expected a list"),
        (("members", 0), [], r"`members\[0\]` .* expected keys and values"),
        (("members", 0, "digest"), 3, r"`members\[0\]\.digest` .* expected a text"),
        (("members", 0, "ridge"), "nan", r"`members\[0\]\.ridge` .* expected a number"),
        (("model", "text"), 3, r"`model\.text` .* expected keys and values"),
        (("model", "views", 0), 3, r"`model\.views\[0\]` .* expected a text"),
        (("coverage", "words", "shown"), 10**400, r"`coverage\.words\.shown` .* expected a whole number"),
        (("proj_dim",), True, r"`proj_dim` .* expected a whole number"),
        (("notes",), {"a": 1}, r"`notes` .* expected a list"),
        (("score", "form"), 0.5, r"`score\.form` .* expected a text"),
    ],
)
def test_a_part_of_another_kind_is_named(places, value, told):
    """With the file and what to do."""
    with pytest.raises(DataError, match=rf"^m\.json: {told}\. Again\.$"):
        check_metadata(wrong(*places, value=value), "m.json", "Again.")


def test_no_keys_at_all():
    """A list, or nothing."""
    with pytest.raises(DataError, match=r"m\.json: no keys and values\. Got list"):
        check_metadata([], "m.json", "Again.")
