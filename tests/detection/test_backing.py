"""What the log backs of a history, against its definition row by row, and on users with and without a past."""

import numpy as np
import pytest
from detection.test_baselines import impressions
from detection.test_copies import check_standing, world

from rec_trak.detection.backing import unbacked_rows
from rec_trak.detection.reading import reading_of


def slow(rows, left_out=()):
    """Articles that a row reads, but for its click and those left out; how many another row of its user clicks."""
    sets = [set(own.tolist()) - {*left_out, int(rows.clicked[i])} for i, own in enumerate(rows.history)]
    counts = [
        sum(any(rows.user_ids[j] == rows.user_ids[i] and rows.clicked[j] == a for j in range(len(rows))) for a in own)
        for i, own in enumerate(sets)
    ]
    return np.array([len(own) for own in sets]), np.array(counts)


@pytest.mark.parametrize("clicks", [False, True])
@pytest.mark.parametrize("without", [(), (3,)])
def test_the_signal_is_the_share_of_peers_that_are_backed_more(clicks, without):
    """Rows of some users with repeats, empty histories and clicks on what they have read: against the definition."""
    rows, among = world(1, 300), np.arange(300) % 5 == 0
    lengths, counts = slow(rows, without)

    def reads(j):
        return {*rows.history[j].tolist(), *([int(rows.clicked[j])] if clicks else [])}

    def follows(j, i):
        same = i != j and rows.user_ids[j] == rows.user_ids[i] and rows.clicked[j] not in without
        return same and rows.clicked[i] in reads(j)

    after = [any(follows(j, i) for j in range(300)) for i in range(300)]
    values = -np.where(after, 1.0, counts / np.maximum(lengths, 1))
    found = unbacked_rows(reading_of(rows, 15, clicks, without), rows.clicked, among, without)
    check_standing(found, values, lengths, among)


def with_a_past(users, length):
    """Rows of users that click article after article, each with all before it as its history."""
    order = [np.random.default_rng(u).permutation(200)[: length + 1].tolist() for u in users]
    lines = [(f"u{u}", own[:k], own[k]) for u, own in zip(users, order, strict=True) for k in range(1, length + 1)]
    return ([line[i] for line in lines] for i in range(3))


def test_a_made_up_history_stands_above_one_that_was_clicked():
    """Where users click what they read, a bot's row is the least backed, and one of a bot with a past is not."""
    users, histories, clicked = with_a_past(range(60), 5)
    histories += [[7, 8, 9, 10, 11], histories[4]]
    rows = impressions([*users, "bot", users[4]], histories, [*clicked, 201, 201])
    found = unbacked_rows(
        reading_of(rows, 202, without=[201]), rows.clicked, np.arange(len(rows)) >= len(users), [201]
    ).shares
    assert found[-2] > 0.99
    assert found[-1] < 0.8


def test_who_is_followed_is_as_good_as_backed():
    """The first rows of users whom the log meets there have histories from before it, and are found in later ones."""
    users, histories, clicked = with_a_past(range(60), 5)
    early = [0, 5, 10]
    rows = impressions(users, histories, clicked)
    found = unbacked_rows(reading_of(rows, 201), rows.clicked, np.isin(np.arange(len(rows)), early), []).shares
    assert (found[early] <= 0.5).all()


def test_a_log_that_backs_nobody_says_nothing():
    """Histories from before the log: all rows stand in the middle."""
    rows = impressions([f"u{i}" for i in range(150)], [[i % 40, 40 + i % 7] for i in range(150)], [50] * 150)
    found = unbacked_rows(reading_of(rows, 51), rows.clicked, np.arange(150) < 20, [])
    assert (found.shares == 0.5).all()
    assert not found.least.any()
