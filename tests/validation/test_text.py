"""The verdict of a validation: what failed comes first, and nothing is called good that is not; the flat table."""

import pytest

from rec_trak.validation.estimates import CANDIDATES, CHOSEN, DOT, RANDOM, RUN, SIGNED
from rec_trak.validation.text import COLUMNS, findings, lines_of, verdict


def score(value, low, over=0.3, over_low=0.2, ratio=0.8):
    return {"lds": value, "interval": [low, value + 0.1], "single": value, "ratio": ratio, "over": over,
            "ratio_interval": ratio and [0.5, 0.9], "over_interval": [over_low, over + 0.1]}  # fmt: skip


def lds(value=0.6, low=0.5, over=0.3, over_low=0.2, ceiling=True, **more):
    """The numbers of an LDS."""
    ratio = 0.8 if ceiling else None
    scores = {
        RUN: score(value, low, 0, 0, ratio),
        CANDIDATES: score(0.1, 0, 0.5, 0.4, ratio),
        SIGNED: score(value - over, 0, over, over_low, ratio),
        RANDOM: score(0.0, -0.1, value, 0.1, ratio),
        **more,
    }
    told = {"mean": 0.75, "mean_interval": [0.7, 0.8], "single": 0.6, "reliability": 0.4} if ceiling else None
    return {"scores": scores, "ceiling": told, "diverged": [], "subsets": 60, "trainings": 2, "targets": 60,
            "left_out_subsets": 0, "constant_targets": 0}  # fmt: skip


def removal(drop=3.0, over=4.0, low=2.0, same=2.0, other=1.0):
    """The numbers of a removal; `other` is the fall by the best baseline."""
    line = {"percent": 1, "rows": 15, "drop_interval": [1.0, 4.0], "over_random": 4.0,
            "exposure": {"explained@5": {"before": 0.5, "after": 0.2}}}  # fmt: skip
    return {
        "single": {"targets": 10, "rows": 15, "drop": drop, "drop_interval": [1, 4], "random": 0.75,
                   "over_random": over, "over_random_interval": [low, over + 1], "same_targets": 5, "equal_drop": 2.0,
                   "same_drop": 1.0, "over_same": same, "over_same_interval": same and [same - 0.5, same + 0.5]},
        "set": [line | {"ranking": "random", "drop": 0.5, "drop_interval": None, "over_random": None},
                line | {"ranking": "influence", "drop": drop},
                line | {"ranking": "loss", "drop": other, "drop_interval": [other - 1, 9]}],
        "diverged": [],
    }  # fmt: skip


def test_a_ranking_that_predicts_says_its_numbers():
    """Law: LDS with its interval, the ceiling, and the best rule without a model."""
    said = verdict({"lds": lds()})
    assert said == (
        f"The ranking predicts retraining: LDS 0.60 [0.50, 0.70], where training noise leaves 0.75 to be reached; "
        f"`{SIGNED}`, a rule that counts clicks, reaches 0.30."
    )
    assert "no noise ceiling" in verdict({"lds": lds(ceiling=False)})


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (lds(over=-0.1, over_low=-0.2), "The ranking predicts retraining no better than a rule without a model"),
        (lds(over=0.1, over_low=-0.05), "The ranking does not clearly predict retraining better than a rule"),
        (lds(low=-0.1), "The ranking does not predict retraining"),
        (lds(value=0.05, low=0.01), "The ranking does not predict retraining"),
        (lds(**{DOT: score(0.8, 0.7, -0.2, -0.4)}), f"`{DOT}` predicts it better: LDS 0.80."),
    ],
)
def test_what_failed_comes_first(told, words):
    """Law: a rule that reaches the ranking, an LDS near nothing, a simpler estimate that is better: the first words,
    before anything that holds."""
    assert verdict({"lds": told, "removal": removal()}).startswith(words)


@pytest.mark.parametrize("over", [-0.1, 0.1])
def test_a_better_estimate_is_named_where_a_rule_reaches_the_ranking_too(over):
    """Law: what is clearly better stands behind the rule that reaches the ranking, or nearly does."""
    told = lds(over=over, over_low=-0.2, **{CHOSEN.format(10): score(0.8, 0.7, -0.2, -0.4)})
    assert verdict({"lds": told}).endswith(" `influence, lambda_rel auto = 10` predicts it better: LDS 0.80.")


def test_a_ceiling_of_nothing_is_said():
    """Law: trainings that do not agree leave nothing to reach."""
    told = lds()
    told["scores"][RUN]["ratio"] = None
    assert "the trainings themselves do not agree" in verdict({"lds": told})


def test_removal():
    """Law: the fall, both ratios and exposure; what does no more than chance or a baseline comes first."""
    said = verdict({"removal": removal()})
    assert said.startswith(
        "Without its 15 strongest proponents a target's margin falls by 3.00, 4.0 [2.0, 5.0] times the mean change by "
        "random removal. That is 2.0 [1.5, 2.5] times that of as many rows that click its article."
    )
    assert "falls by 3.00 [1.00, 4.00] (explained@5 from 0.50 to 0.20 without 1 %)." in said
    assert verdict({"removal": removal(low=0.8)}).endswith("0.20 without 1 %).")
    assert "no clear effect" in verdict({"removal": removal(low=0.8)}).split("Without the 15")[0]
    for same in (0.9, 1.4):
        assert verdict({"removal": removal(same=same)}).startswith(
            "The fall of a target's margin without its proponents"
        )
    assert "lowers nothing" in verdict({"removal": removal(same=None)})
    assert verdict({"removal": removal(other=5.0)}).startswith(
        "Leaving out the 1 % of the rows highest by `loss` lowers the set's mean margin more (5.00) than leaving out "
        "its proponents (3.00)."
    )
    assert "lowers the set's mean margin no less (3.50)" in verdict({"removal": removal(other=3.5)})
    told = removal()
    told["single"] |= {"drop": None, "over_random": None}
    told["set"][1]["drop"] = None
    said = verdict({"removal": told})
    assert "cannot be judged: too many models diverged" in said
    assert "Nothing is known of removing 1 %" in said


def test_a_fall_whose_interval_holds_0_is_none():
    """It does not speak for the ranking, and exposure is told of every share of rows, not of the one that suits."""
    told = removal()
    told["set"][1]["drop_interval"] = [-0.02, 0.27]
    more = told["set"][1] | {"percent": 10, "rows": 150, "exposure": {"explained@5": {"before": 0.5, "after": 0.8}}}
    told["set"].append(more)
    failed, holds = findings({"removal": told})
    wanted = "3.00 [-0.02, 0.27] (explained@5 from 0.50 to 0.20 without 1 %, 0.80 without 10 %): no clear fall."
    assert failed[-1].endswith(wanted)
    assert not any("Without the" in line for line in holds)


def test_the_other_parts():
    """Law: leave-one-out and the ridge search each have their words, and diverged models are counted."""
    line = {"rung": "projected", "spearman": 0.9, "low": 0.85, "high": 0.95}
    assert "convex head 0.90 [0.85, 0.95]." in verdict({"loo": {"headline": line}})
    assert verdict({"loo": {"headline": None}}) == "Exact leave-one-out could not be compared."
    ridge = {"chosen": {"K": 16, "lambda_rel": 1.0}, "run": {"K": 32, "lambda_rel": 0.1}, "diverged": ["seed 3"],
             "judged": {"chosen": 0.5, "run": 0.4, "gain": 0.1, "gain_interval": [0.05, 0.2]}}  # fmt: skip
    said = verdict({"ridge": ridge})
    assert said.startswith("K = 16 with `lambda_rel` 1 predicts retraining better than the run's setting (LDS 0.50")
    assert said.endswith("1 retraining diverged and is left out.")
    ridge["judged"]["gain_interval"] = [-0.1, 0.2]
    assert verdict({"ridge": ridge}).startswith("No other K and `lambda_rel` is clearly better")
    assert verdict({}) == "Nothing was measured."


def test_the_flat_table_has_every_number():
    """Law: a line a number, all with the same columns, intervals where there are any."""
    curve = [{"K": 16, "lambda_rel": 1.0, "lds": 0.5, "interval": [0.4, 0.6]}]
    judged = {"gain": 0.1, "gain_interval": [0.0, 0.2]}
    loo = {"rungs": [{"rung": "projected", "K": 16, "members": 1, "lambda_rel": 1.0, "spearman": 0.9, "low": 0.8,
                      "high": 0.95}]}  # fmt: skip
    lines = lines_of({"lds": lds(), "removal": removal(), "loo": loo, "ridge": {"curve": curve, "judged": judged}})
    assert all(tuple(line) == COLUMNS for line in lines)
    known = {(line["check"], line["of"], line["measure"]): line for line in lines}
    assert known["LDS", RUN, "LDS"]["low"] == 0.5
    assert known["removal, single targets", "influence", "fall over random change"]["value"] == 4.0
    assert known["removal, 1 % of the rows", "loss", "explained@5 after"]["value"] == 0.2
    assert known["leave-one-out", "projected (K 16, members 1, lambda_rel 1.0)", "Spearman over rows"]["high"] == 0.95
    assert known["ridge", "chosen setting", "gain over the run's, models apart"]["low"] == 0.0
    assert len(known) == len(lines)
