"""Where rows in question stand among others: how far above chance, on average and at the upper end."""

import numpy as np
import pytest

from rec_trak.detection.standing import CERTAIN, crowding, excess


def test_the_excess_is_over_chance():
    """In standard deviations of evenly spread shares, less two standard errors over users, never below 0."""
    shares, users = np.full(100, 0.9), np.arange(100)
    assert excess(shares, users) == pytest.approx(0.4 * np.sqrt(12) - 0.2)
    assert excess(shares, users // 4) == pytest.approx(0.4 * np.sqrt(12) - 0.4)
    assert excess(np.random.default_rng(0).random(100), users) == excess(np.zeros(0), np.zeros(0)) == 0
    assert excess(shares - 0.6, users) == 0


def test_a_crowd_at_the_upper_end_counts_as_its_certain_share_of_chance():
    """By the definition, threshold by threshold: equal shares stand together; a user's rows are one in the error."""
    rng = np.random.default_rng(0)
    shares = np.concatenate([rng.random(120).round(2), np.full(30, 0.98)])
    users = np.concatenate([np.arange(120), 120 + np.arange(30) // 2])
    found = crowding(shares, users)
    for i in range(0, 150, 7):
        wanted = 1.0
        for least in shares[shares <= shares[i]]:
            above = shares >= least
            error = CERTAIN / np.sqrt(len(np.unique(users[above])))
            wanted = max(wanted, above.sum() * (1 - error) / (150 * (1 - least) + 1))
        np.testing.assert_allclose(found[i], np.log(wanted), rtol=1e-12)
    assert found[-1] > 0.5
    assert (np.diff(found[np.argsort(shares, kind="stable")]) >= 0).all()


def test_shares_spread_evenly_and_few_rows_are_no_crowd():
    """Chance alone moves nothing."""
    assert not crowding(np.arange(200) / 200, np.arange(200)).any()
    assert not crowding(np.ones(5), np.arange(5)).any()
    assert crowding(np.zeros(0), np.zeros(0)).shape == (0,)
