"""Two-stage rankings: what stands first, and sums of ranks."""

import numpy as np

from rec_trak.detection.stages import in_question_first, standard_ranks, summed


def test_ranks_are_standardised():
    """Mean 0, deviation 1, whatever the unit; ties are alike, and nothing but ties is 0."""
    ranks = standard_ranks(np.array([1e6, -3.0, 0.5, 0.5]))
    assert (ranks.mean(), ranks.std()) == (0, 1)
    assert ranks[2] == ranks[3]
    assert standard_ranks(np.exp([1e1, -3.0, 0.5, 0.5])).tolist() == ranks.tolist()
    assert standard_ranks(np.ones(3)).tolist() == [0, 0, 0]
    assert len(standard_ranks(np.zeros(0))) == 0


def test_rows_in_question_stand_before_all_others():
    """Whatever their keys are; within them the key decides, and elsewhere what is given for the rest, or nothing."""
    among, key, rest = np.array([0, 1, 0, 1], dtype=bool), np.array([9.0, -5, 8, -7]), np.array([1.0, 0, 2, 0])
    scores = in_question_first(among, key, rest)
    assert np.argsort(-scores).tolist() == [1, 3, 2, 0]
    assert in_question_first(among, key)[~among].tolist() == [0, 0]
    assert in_question_first(np.zeros(4, dtype=bool), key).tolist() == [0] * 4


def test_sums_are_of_ranks_among_the_rows_in_question():
    """Values of other rows change nothing, and weights weigh."""
    among = np.array([1, 1, 1, 0], dtype=bool)
    signals = {"a": np.array([1.0, 2, 3, 99]), "b": np.array([30.0, 20, 10, -5])}
    found = summed(signals, {"a": 1.0, "b": 0.5}, among)
    step = np.sqrt(1.5)
    np.testing.assert_allclose(found, [-step / 2, 0, step / 2, 0])


def test_what_is_raised_counts_as_it_is_where_its_signal_counts():
    """No rank is taken of it, rows not in question have none of it."""
    among = np.array([1, 1, 1, 0], dtype=bool)
    signals, raised = {"a": np.array([1.0, 2, 3, 99]), "b": np.zeros(4)}, {"a": np.array([5.0, 0, 0, 7])}
    step = np.sqrt(1.5)
    np.testing.assert_allclose(summed(signals, {"a": 1.0}, among, raised), [5 - step, 0, step, 0])
    assert summed(signals, {"b": 1.0}, among, raised).tolist() == [0] * 4
