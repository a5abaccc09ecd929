"""Removal: which rows are left out, and what the numbers say of planted outcomes."""

import numpy as np
import pytest
from support import validated

from rec_trak.errors import ConfigError, NumericalError
from rec_trak.validation import removal as module
from rec_trak.validation.removal import (
    INFLUENCE,
    PERCENT,
    RANDOM_DRAWS,
    SAME,
    removal,
    set_numbers,
    set_sets,
    single_numbers,
    single_sets,
)
from rec_trak.validation.retrain import Outcome

SEEDS, TARGETS = 3, 6


@pytest.fixture(scope="module")
def case(scored, tmp_path_factory):
    """A scored target set of a tiny run."""
    folder = tmp_path_factory.mktemp("removal")
    return validated.case_of(folder, *validated.copy_run(scored, folder))


def planted(falls, diverged=()):
    """Outcomes where each removal lowers the margins (M,) by what `falls` says, key -> number; and the rows removed."""
    removed = {key: np.arange(3) for key in falls}
    found = {}
    for key, fall in falls.items():
        for r in range(SEEDS):
            margins = 10.0 + r - fall * np.ones(TARGETS)
            shares = {"explained@5": 1 - fall / 10}
            lost = (key, r) in diverged
            found[*key, r] = Outcome(np.full(TARGETS, np.nan), {}, "it diverged") if lost else Outcome(
                margins, shares, None)  # fmt: skip
    return found, removed


def falls(top=4.0, same=1.0, random=(0.5, -0.5, 0.5, -0.5)):
    """The usual removals: proponents, as many rows of the same article, random rows up and down."""
    told = {("base",): 0.0}
    for t in (1, 4):
        told |= {("top", t): top, ("equal", t): top / 2, ("same", t): same}
    for percent in PERCENT:
        told |= {("random", percent, draw): random[draw] for draw in range(RANDOM_DRAWS)}
        told |= {("set", INFLUENCE, percent): top, ("set", SAME, percent): same}
    return told


def test_single_targets_by_hand():
    """Law: falls are against base models of the same seeds; random change counts without its sign; ratios are of means,
    with equal counts against rows of the same article."""
    found = single_numbers(*planted(falls()), np.array([1, 4]), SEEDS, 0)
    assert (found["targets"], found["same_targets"]) == (2, 2)
    assert found["drop"] == pytest.approx(4)
    assert found["random"] == pytest.approx(0.5)
    assert found["random_of_means"] == pytest.approx(0.5)
    assert found["over_random"] == pytest.approx(8)
    assert found["over_random_interval"] == pytest.approx([8, 8])
    assert (found["equal_drop"], found["same_drop"]) == (pytest.approx(2), pytest.approx(1))
    assert found["over_same"] == pytest.approx(2)
    assert found["per_target"][1] == {"target": 4, "drop": pytest.approx(4), "random": pytest.approx(0.5)}


def test_no_fall_without_same_article_rows_gives_no_ratio():
    """Law: where leaving out rows of the same article lowers nothing, there is nothing to divide by."""
    found = single_numbers(*planted(falls(same=-1.0)), np.array([1, 4]), SEEDS, 0)
    assert found["over_same"] is None
    assert found["over_same_interval"] is None


def test_the_whole_set_by_hand():
    """Law: a line a size and ranking: the mean margin's fall, its ratio to the absolute random change, and exposure."""
    found = set_numbers(*planted(falls()), SEEDS, 0)
    assert [(line["percent"], line["ranking"]) for line in found[:3]] == [(1, "random"), (1, INFLUENCE), (1, SAME)]
    random, own, same = found[:3]
    assert random["drop"] == pytest.approx(0.5)
    assert own["drop"] == pytest.approx(4)
    assert own["over_random"] == pytest.approx(8)
    assert own["exposure"]["explained@5"] == {"before": pytest.approx(1), "after": pytest.approx(0.6)}
    assert same["over_random"] == pytest.approx(2)
    assert len(found) == 9


def test_diverged_retrainings_are_left_out():
    """Law: what diverged changes no mean; where all of a kind diverged its numbers are None."""
    lost = {(("top", 1), 0), (("base",), 2), (("set", INFLUENCE, 1), 1)}
    found, removed = planted(falls(), lost)
    single = single_numbers(found, removed, np.array([1, 4]), SEEDS, 0)
    assert single["drop"] == pytest.approx(4)
    assert set_numbers(found, removed, SEEDS, 0)[1]["drop"] == pytest.approx(4)
    found, removed = planted(falls(), {(("top", t), r) for t in (1, 4) for r in range(SEEDS)})
    single = single_numbers(found, removed, np.array([1, 4]), SEEDS, 0)
    assert single["drop"] is None
    assert single["over_random"] is None
    assert single["over_random_interval"] is None


def test_rows_left_out_for_single_targets(case):
    """Law: proponents are the first rows of a target's column; rows of the same article click it, as many as the
    proponents they are compared with."""
    clicked, n = case.job.impressions.clicked, len(case.job.impressions)
    sets = single_sets(case, np.arange(len(case.places)))
    scores = module.row_scores(2, case.member, case.member_targets, np.arange(len(case.places)), case.job.lambda_rel)
    for t in range(len(case.places)):
        assert sets["top", t].tolist() == [int(np.argmax(scores[:, t]))]
        there = np.flatnonzero(clicked == case.targets.clicked[t])
        assert (("same", t) in sets) == bool(len(there))
        if len(there):
            assert set(sets["same", t]) <= set(there)
            assert len(sets["same", t]) == len(sets["equal", t]) == min(max(1, n // 100), len(there))
    assert single_sets(case, np.zeros(0, int)) == {}


def test_rows_left_out_for_the_whole_set(case):
    """Law: each ranking gives its own first rows, the influence those of the run's scores."""
    sets = set_sets(case)
    assert {key[1] for key in sets} == {INFLUENCE, SAME, "gradient cosine", "gradient norm", "loss"}
    assert {percent: len(sets["set", SAME, percent]) for percent in PERCENT} == {1: 1, 5: 1, 10: 2}
    assert set(sets["set", INFLUENCE, 10]) == set(np.argsort(-case.results.scores, kind="stable")[:2])
    asked = np.bincount(case.targets.clicked, minlength=20)[case.job.impressions.clicked]
    assert asked[sets["set", SAME, 1]] == asked.max()


def test_removal_end_to_end(case):
    """Law: every removal is trained with every seed, all against the same base; the same call trains nothing anew."""
    found = removal(case, seeds=2, single=2)
    assert (found["rows"], found["seeds"], found["diverged"]) == (24, 2, [])
    assert len(list(case.folder.glob("*_*.json"))) >= found["retrainings"]
    assert len(found["set"]) == 3 * 6
    assert found["single"]["targets"] == 2
    assert set(found["set"][0]["exposure"]) >= {"explained@5", "explained@10"}
    assert removal(case, seeds=2, single=2) == found
    assert removal(case, seeds=1, single=0)["single"] is None


def test_bad_numbers_are_refused(case, monkeypatch):
    """Law: seeds and targets in range, and at least one base model that did not diverge."""
    with pytest.raises(ConfigError, match=r"--removal_seeds: out of range\. Got 0, expected 1 to 1000"):
        removal(case, seeds=0)
    with pytest.raises(ConfigError, match=r"--removal_targets: below zero\. Got -1"):
        removal(case, single=-1)
    lost = Outcome(np.full(len(case.places), np.nan), {}, "the loss diverged")
    monkeypatch.setattr(module, "retrain_all", lambda experiment, wanted, *_: [lost] * len(wanted))
    with pytest.raises(NumericalError, match=r"removal: every model of all rows diverged\. Got 2 of 2.*loss diverged"):
        removal(case, seeds=2, single=0)
