"""Near copies against their definition written out pair by pair, and on copies that are known."""

import numpy as np
import pytest
from detection.test_baselines import impressions

from rec_trak.detection import copies, standing
from rec_trak.detection.copies import most_alike, near_copies
from rec_trak.detection.reading import reading_of


def world(seed=0, n=60, articles=15):
    """Random rows of some twenty users, with empty histories and repeats."""
    rng = np.random.default_rng(seed)
    histories = [rng.integers(0, articles, rng.integers(0, 6)).tolist() for _ in range(n)]
    return impressions([f"u{u}" for u in rng.integers(0, 20, n)], histories, rng.integers(1, articles, n).tolist())


def slow(rows, count, left_out=()):
    """The mean of the two largest weighted Jaccards with rows of other users, pair by pair."""
    sets = [set(history.tolist()) - set(left_out) for history in rows.history]
    read_by = np.zeros(count)
    for history in rows.history:
        read_by[list(set(history.tolist()))] += 1
    weights = np.log((1 + len(rows)) / (1 + read_by))
    found = []
    for i, own in enumerate(sets):
        alike = [
            weights[list(own & other)].sum() / weights[list(own | other)].sum() if own & other else 0.0
            for j, other in enumerate(sets)
            if rows.user_ids[j] != rows.user_ids[i]
        ]
        found.append(sum(sorted(alike)[-2:]) / 2)
    return found


@pytest.mark.parametrize(("block", "others"), [(copies.BLOCK, copies.OTHERS), (7, copies.OTHERS), (copies.BLOCK, 17)])
def test_likeness_equals_its_definition(monkeypatch, block, others):
    """However many pairs, and rows to compare with, are looked at at once; an article in question is no part of it."""
    monkeypatch.setattr(copies, "BLOCK", block)
    monkeypatch.setattr(copies, "OTHERS", others)
    rows = world()
    found = most_alike(reading_of(rows, 15, without=[3]), np.arange(60))
    np.testing.assert_allclose(found, slow(rows, 15, [3]), atol=1e-6)


def check_standing(found, values, lengths, among):
    """Each row in question beside the rows not in question of the nearest lengths, one by one."""
    for i in range(len(values)):
        share, least, rest = standing.EVEN, 0.0, np.flatnonzero(~among & (lengths > 0))
        if among[i] and lengths[i]:
            apart = np.abs(lengths[rest] - lengths[i])
            peers = values[rest[apart <= np.sort(apart)[standing.PEERS - 1]]]
            least = np.mean(peers < values[i])
            share = least + np.mean(peers == values[i]) / 2
        assert found.shares[i] == pytest.approx(share, abs=1e-9)
        assert found.least[i] == pytest.approx(least, abs=1e-9)


def test_the_signal_is_the_share_of_peers_that_are_less_of_a_copy():
    """Peers are the rows not in question of the nearest lengths; those with the same value count half."""
    rows, among = world(1, 300), np.arange(300) % 5 == 0
    values, lengths = np.array(slow(rows, 15)).round(6), np.array([len(set(h.tolist())) for h in rows.history])
    found = near_copies(reading_of(rows, 15), among)
    check_standing(found, values, lengths, among)


def test_a_copy_stands_above_a_reader():
    """Of two rows of five articles on the same article, that which repeats another user's history is first."""
    rng = np.random.default_rng(0)
    histories = [rng.choice(200, 5, replace=False).tolist() for _ in range(150)]
    histories += [histories[7], rng.choice(200, 5, replace=False).tolist()]
    rows = impressions([f"u{i}" for i in range(152)], histories, [201] * 152)
    found = near_copies(reading_of(rows, 202), np.arange(152) >= 150).shares
    assert found[150] > 0.99 > found[151]  # the copied row is as much of a copy, and counts half


def test_without_reading_or_peers_nothing_is_said():
    """Rows that read nothing else, and rows in question that are all rows, stand in the middle."""
    rows = impressions("abc", [[1], [], [2]], [3] * 3)
    assert near_copies(reading_of(rows, 4), np.array([False, True, False])).shares.tolist() == [0.5] * 3
    assert near_copies(reading_of(rows, 4), np.ones(3, dtype=bool)).shares.tolist() == [0.5] * 3
    assert near_copies(reading_of(rows, 4), np.zeros(3, dtype=bool)).shares.tolist() == [0.5] * 3


def test_in_a_large_log_peers_are_drawn_and_the_most_read_articles_go(monkeypatch):
    """At least PEERS of a length are drawn, by the seed; the likeness is then that of the other articles."""
    rows = world(2, 400)
    read, among = reading_of(rows, 15), np.arange(400) < 50
    exact = near_copies(read, among).shares
    monkeypatch.setattr(standing, "MOST_PEERS", 100)
    drawn = [near_copies(read, among, seed).shares for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()
    assert np.abs(drawn[0] - exact).max() < 0.2
    readers = np.bincount(read.weights.indices, minlength=15)
    monkeypatch.setattr(copies, "PAIRS", int((readers**2).sum()) - 1)
    without = most_alike(read, np.arange(400))
    np.testing.assert_allclose(without, slow(rows, 15, [readers.argmax()]), atol=1e-6)
