"""From numbers to a word: what each measure does to it, what is advised and what that costs."""

import dataclasses
import re

import pytest
from support import ROOT

from rec_trak.trust.measures import Measures
from rec_trak.trust.prediction import foretold, kept
from rec_trak.trust.verdict import DO_NOT_USE, INDICATIVE, STABLE, Thresholds, judge

DOCS = ROOT / "docs" / "trust.md"
LIMITS = Thresholds(stable=0.75, least=0.6, ridge=0.8, null=0.1, law=0.05)  # so that other ones leave the laws alone
GOOD = {
    "rows": 1000, "members": 4, "proj_dim": 512, "lambda_rel": 1.0, "targets": 20, "projection_half": 0.8,
    "projection_reliability": 0.85, "projection_fidelity": 0.92, "checkpoint_half": 0.7,
    "checkpoint_reliability": 0.8, "projection_sums": 0.97, "checkpoint_sums": 0.95, "members_for_50": 1,
    "members_for_70": 3, "members_for_80": 4, "reliability": 0.8, "fidelity": 0.89, "effective_dimension": 50.0,
    "condition_number": 100.0, "mean_leverage": 0.05, "max_leverage": 0.4, "share_above_half": 0.0,
    "share_above_nine_tenths": 0.0, "top_share": 0.1, "smaller_ridge": 0.95, "larger_ridge": 0.95,
    "explained": 0.7, "explained_larger": 0.72, "explained_smaller": 0.7,
    "dot_product": 0.4, "other_target": 0.1, "null": 0.01, "law": 1e-7,
}  # fmt: skip

UNKNOWN = {"explained": None, "explained_larger": None, "explained_smaller": None}
FLAT = {"dot_product": 1.0, "checkpoint_sums": 0.77}


def judged(**keys):
    """The verdict on a good ranking with these numbers instead; what is predicted follows from them."""
    told = GOOD | keys
    own = told["targets"] is None
    sums = [told[name] for name in ("projection_sums", "checkpoint_sums") if told[name] is not None]
    reliability = told["reliability"] if own else min(sums, default=None)
    sides = {"own": "explained", "larger": "explained_larger", "smaller": "explained_smaller"}
    known = {side: told[name] for side, name in sides.items()} if not own and told["explained"] is not None else None
    parts = kept(reliability, told["mean_leverage"], None if own else told["dot_product"], known)
    names = ("kept_noise", "kept_following", "kept_curvature")
    told |= dict(zip(names, parts.values() if parts else (None,) * 3, strict=True)) | {"predicted": foretold(parts)}
    return judge(Measures(**told), LIMITS)


def test_a_good_ranking_is_stable():
    """Law: nothing to mend, no advice, and the reason says what it rests on."""
    found = judged()
    assert (found.word, found.improvement, found.cost, found.notes) == (STABLE, "", "", ())
    assert found.reason == (
        "predicted quality 0.97: sums of scores from another sketch would agree by 0.97, from 4 other members by 0.95"
    )


@pytest.mark.parametrize(
    ("keys", "word", "reason", "improvement"),
    [
        ({"checkpoint_sums": 0.5}, INDICATIVE, "from 4 other members by 0.50", "6 members instead of 4"),
        ({"checkpoint_sums": 0.1}, DO_NOT_USE, "from 4 other members by 0.10", "16 members instead of 4"),
        ({"projection_sums": 0.5, "checkpoint_sums": 0.5}, INDICATIVE, "another sketch", "`proj_dim` 1,024 instead"),
        (
            {"explained": 0.35, "explained_smaller": 0.35, "lambda_rel": 0.01},
            INDICATIVE,
            "it explains 0.35 of left-out margins, with a larger ridge 0.72",
            "`lambda_rel` 1 instead of 0.01",
        ),
        ({"explained": -4.0}, DO_NOT_USE, "mean leverage 0.05, the system", "`lambda_rel` 3 instead of 1"),
        (UNKNOWN | {"mean_leverage": 0.3}, INDICATIVE, "mean leverage 0.30, the system follows single rows", "3"),
        (UNKNOWN | {"mean_leverage": 0.95}, DO_NOT_USE, "mean leverage 0.95", "`lambda_rel` 3 instead of 1"),
        (FLAT | {"lambda_rel": 100.0}, INDICATIVE, "plain products", "`lambda_rel` 1 instead of 100"),
        (FLAT | {"explained_smaller": 1.2, "lambda_rel": 0.9}, DO_NOT_USE, "plain products", "`lambda_rel` 0.3 inst"),
        ({"explained_smaller": 1.0, "lambda_rel": 10.0}, INDICATIVE, "with a smaller ridge 1.00", "`lambda_rel` 1 i"),
        ({"smaller_ridge": 0.6}, INDICATIVE, "gives another ranking (agreement 0.60)", "`lambda_rel` 3"),
        ({"null": 0.4}, DO_NOT_USE, "shuffled rows agree too (by 0.40)", ""),
        ({"law": 0.3}, DO_NOT_USE, "off by 0.3", ""),
        ({"projection_sums": None, "checkpoint_sums": None}, DO_NOT_USE, "the scores are all alike", ""),
        ({"members": 1, "checkpoint_sums": None}, INDICATIVE, "one member: how much", "5 members instead of 1"),
    ],
)
def test_each_trouble_has_its_word_its_reason_and_its_cure(keys, word, reason, improvement):
    """Law: the largest loss is the reason, and the advice is the setting that mends it."""
    found = judged(**keys)
    assert (found.word, reason in found.reason) == (word, True), found
    assert improvement in found.improvement
    assert bool(found.cost) == bool(found.improvement)


def test_self_influence_is_judged_by_its_ranks():
    """Law: without targets the reliability of ranks counts, and products of gradients are no loss."""
    own = {"targets": None, "dot_product": 1.0, "other_target": None, "checkpoint_sums": 0.1}
    found = judged(**own)
    assert found.word == STABLE
    assert "another sketch would agree by 0.85, from 4 other members by 0.80" in found.reason
    assert judged(**own, checkpoint_reliability=0.3, reliability=0.3).word == DO_NOT_USE


def test_the_worst_comes_first_and_the_rest_is_noted():
    """Law: a word is the worst of all; other troubles, and rows learnt by heart, are told as notes."""
    found = judged(checkpoint_sums=0.1, larger_ridge=0.5, share_above_nine_tenths=0.02)
    assert found.word == DO_NOT_USE
    assert found.notes[0].startswith("also: a ridge three times")
    assert found.notes[-1] == "2.0 % of the rows have a leverage above 0.9: learnt by heart"


def test_costs_are_what_the_change_adds():
    """Law: members cost trainings, featurizing in proportion and 4 K bytes a row; K the store; a ridge nothing."""
    assert judged(checkpoint_sums=0.5).cost == "2 more trainings, 0.5 times the featurizing so far, 4.1 MB on disk"
    assert judged(projection_sums=0.4, checkpoint_sums=0.4).cost.endswith("and 16.4 MB on disk")
    assert judged(explained=-1.0).cost == "scoring again; no gradient is computed"
    huge = judged(projection_sums=0.4, checkpoint_sums=0.4, rows=10**9)
    assert huge.cost.endswith("and 16.4 TB on disk")


def test_more_noise_never_makes_a_better_word():
    """Law: the word only worsens as any loss grows."""
    words = (STABLE, INDICATIVE, DO_NOT_USE)
    steps = [i / 20 for i in range(21)]
    for make in (
        lambda x: judged(checkpoint_sums=1 - x),
        lambda x: judged(explained=0.7 - x),
        lambda x: judged(**UNKNOWN, mean_leverage=x),
        lambda x: judged(dot_product=x),
        lambda x: judged(larger_ridge=1 - x),
    ):
        order = [words.index(make(x).word) for x in steps]
        assert order == sorted(order)


def test_what_a_small_ridge_lets_in_counts_once():
    """Law: of noise and of following single rows the larger loss counts; a loss of curvature comes on top."""
    parts = kept(0.49, 0.2, 0.0)
    assert foretold(parts) == pytest.approx(0.7)
    assert foretold(kept(0.49, 0.6, 0.0)) == pytest.approx(0.4)
    assert foretold(kept(0.49, 0.2, 1.0)) < 0.7
    assert foretold(kept(0.49, 0.2, 0.0, {"own": 0.5, "larger": 0.6, "smaller": 0.5})) == pytest.approx(0.7)
    assert foretold(kept(0.49, 0.2, 0.0, {"own": 0.5, "larger": 0.5, "smaller": 0.6})) < 0.7
    assert foretold(kept(None, 0.2)) is None


def test_few_rows_may_agree_by_chance():
    """Law: what shuffled rows may agree by widens as rows become few."""
    assert judged(null=0.3, rows=20).word == STABLE
    assert judged(null=0.3, rows=2000).word == DO_NOT_USE


def test_given_thresholds_are_those_that_count():
    """Law: judge has no number of its own."""
    measures = Measures(**GOOD, kept_noise=0.97, kept_following=0.95, kept_curvature=1.0, predicted=0.9)
    assert judge(measures, Thresholds(stable=0.95)).word == INDICATIVE
    assert judge(measures, Thresholds(stable=0.95, least=0.93)).word == DO_NOT_USE


def test_the_table_in_the_docs_is_the_table():
    """Law: docs/trust.md prints every threshold with its value."""
    printed = dict(re.findall(r"^\| `(\w+)` \| ([0-9.]+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name: float(value) for name, value in printed.items()} == dataclasses.asdict(Thresholds())
