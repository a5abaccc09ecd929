"""Who is asked about an article: users who have not read it, one impression each, the same for the same seed."""

import dataclasses

import numpy as np
import pytest
from detection.test_baselines import impressions, shelf

from rec_trak.data.targets import Targets, exposure
from rec_trak.data.unread import FEW, MOST, unread
from rec_trak.errors import DataError, RecTrakWarning

FOUR = shelf()


def shown(users, histories, clicked):
    """The exposure of article 1 to these impressions."""
    return exposure(Targets(FOUR, impressions(users, histories, clicked)), "n1", "here")


def crowd(count):
    """So many users with two impressions each, who have read nothing of it."""
    return [f"u{i // 2}" for i in range(2 * count)], [[2]] * (2 * count), [3] * (2 * count)


@pytest.mark.filterwarnings("ignore:.*few users")
def test_readers_are_left_out_whole():
    """Whoever has it in the history of one impression or clicked it in one is not asked at all."""
    users, histories, clicked = ["a", "a", "b", "b", "c"], [[2, 1], [2], [2], [2, 3], [4]], [3, 3, 1, 4, 2]
    found = unread(shown(users, histories, clicked), 0, "here")
    assert found.impressions.user_ids.tolist() == ["c"]
    assert found.impressions.notes[-1] == (
        "1 of 1 users who have not read the article are asked, one impression each; 2 who have are not."
    )
    assert not any("history already" in note for note in found.impressions.notes)


def test_one_impression_a_user_drawn_with_the_seed():
    """Every user once, in the order of the impressions; not always the first impression; another seed draws others."""
    targets = shown(*crowd(FEW))
    places = dataclasses.replace(targets.impressions, columns={"place": tuple(map(str, range(2 * FEW)))})
    drawn = [unread(dataclasses.replace(targets, impressions=places), seed, "here").impressions for seed in (0, 0, 1)]
    first, again, other = ([int(place) for place in one.columns["place"]] for one in drawn)
    assert [place // 2 for place in first] == list(range(FEW))
    assert 0 < sum(place % 2 for place in first) < FEW
    assert first == again != other


def test_no_more_than_the_most():
    """Of many users a seeded subset."""
    users, histories, clicked = crowd(MOST + 20)
    found = unread(shown(users, histories, clicked), 0, "here").impressions
    assert len(found) == len(set(found.user_ids)) == MOST
    assert found.user_ids[-1] != f"u{MOST - 1}"
    assert len(np.unique(unread(shown(users, histories, clicked), 1, "here").impressions.user_ids)) == MOST


def test_few_are_warned_of_and_none_is_refused():
    """In one line each, with numbers."""
    with pytest.warns(RecTrakWarning, match=r"here: few users have.*Got 49, expected at least 50. Name more `users`"):
        unread(shown(*crowd(FEW - 1)), 0, "here")
    with pytest.raises(DataError, match=r"here: every user has read the article. Got 2 readers of 2 users.*`count`"):
        unread(shown(["a", "b"], [[1], [2]], [3, 1]), 0, "here")
