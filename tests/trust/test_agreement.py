"""Agreement of rankings and what it foretells, against scipy and by hand."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from rec_trak.trust.agreement import (
    agreement,
    centred,
    growth_of,
    length_for,
    mean,
    member_splits,
    other_agreement,
    ranks,
    spearman_brown,
    top_share,
)


def test_agreement_is_spearmans_of_ranks_and_pearsons_of_scores():
    """Law: with ties too, the mean over columns of scipy's correlations."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (40, 3)).astype(float), rng.standard_normal((40, 3))
    columns = list(zip(a.T, b.T, strict=True))
    assert agreement(ranks(a), ranks(b)) == pytest.approx(np.mean([spearmanr(x, y).statistic for x, y in columns]))
    assert agreement(centred(a), centred(b)) == pytest.approx(np.mean([pearsonr(x, y).statistic for x, y in columns]))


def test_columns_that_are_all_alike_are_left_out():
    """Law: they have no ranking; where none has one, there is no agreement, and none with others of one column."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 30, 2))
    flat = a.copy()
    flat[:, 1] = 0.1
    assert agreement(ranks(flat), ranks(b)) == pytest.approx(spearmanr(a[:, 0], b[:, 0]).statistic)
    assert agreement(centred(flat), centred(b)) == pytest.approx(pearsonr(a[:, 0], b[:, 0]).statistic)
    assert agreement(ranks(0 * a), ranks(b)) is None
    assert other_agreement(ranks(flat), ranks(b)) is None
    crossed = [spearmanr(a[:, i], b[:, 1 - i]).statistic for i in (0, 1)]
    assert other_agreement(ranks(a), ranks(b)) == pytest.approx(np.mean(crossed))
    assert mean([None, float("nan"), 2.0, 4.0]) == 3.0
    assert mean([]) is None


def test_spearman_brown_and_back():
    """Law: 2R / (1 + R) for twice the length; the length for what is foretold is the one that foretold it."""
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(None, 2) is None
    assert spearman_brown(-0.2, 3) == 0.0
    for r in (0.1, 0.39, 0.9):
        assert length_for(spearman_brown(r, 4), r, 5) == 20
    assert length_for(0.8, 0.5, 5) == 20
    assert (length_for(0.8, 0.0, 5), length_for(0.8, None, 5), length_for(0.8, 1.0, 5)) == (None, None, 1)


def test_growth_is_what_foretells_the_larger_group():
    """Law: with it the smaller agreement foretells the larger one, and back; what says nothing gives the usual one."""
    growth = growth_of(0.35, 0.62, 4, usual=0.5)
    assert 0.4 < growth < 1
    assert spearman_brown(0.35, 4, growth) == pytest.approx(0.62)
    assert length_for(0.62, 0.35, 1, growth) == 4
    assert length_for(spearman_brown(0.3, 8, 0.7), 0.3, 2, 0.7) == 16
    assert (growth_of(0.1, 0.9, 2, 0.5), growth_of(0.5, 0.5, 2, 0.5)) == (1.0, 0.4)
    nothing = [(None, 0.5, 2), (0.5, None, 2), (0.3, 0.5, 1), (0.0, 0.5, 2), (0.5, 1.0, 2), (-0.2, 0.5, 2)]
    assert {growth_of(*given, usual=0.7) for given in nothing} == {0.7}


@pytest.mark.parametrize(("members", "ways"), [(1, 0), (2, 1), (3, 3), (4, 3), (5, 10), (30, 10)])
def test_groups_of_members_are_equal_and_share_none(members, ways):
    """Law: as many ways as there are, at most ten, each another one."""
    splits = member_splits(members, 10, np.random.default_rng(0))
    assert len(splits) == ways
    singles = member_splits(members, 10, np.random.default_rng(0), 1)
    assert len(singles) == min(10, members * (members - 1) // 2)
    assert {len(group) for pair in singles for group in pair} <= {1}
    assert len({frozenset((frozenset(a.tolist()), frozenset(b.tolist()))) for a, b in splits}) == ways
    for a, b in splits:
        assert len(a) == len(b) == members // 2
        assert not set(a) & set(b)
        assert set(a) | set(b) <= set(range(members))


def test_top_share():
    """Law: of positive scores alone, the mean over columns; None where none is positive."""
    scores = np.r_[np.full(99, 1.0), 99.0][:, None]
    assert top_share(scores, 0.01) == pytest.approx(0.5)
    assert top_share(np.c_[scores, -scores], 0.01) == pytest.approx(0.5)
    assert top_share(-scores, 0.01) is None
