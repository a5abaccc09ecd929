"""Which scoring a file is of: what counts as another one, and what a record of an earlier build says."""

from rec_trak.results.belongs import run_digest, scoring_digest


def told(form="self_influence", lambda_rel=1.0, **more):
    """What metadata.json says of a scoring, as far as that counts."""
    score = {"form": form, "lambda_rel": lambda_rel}
    return {"features": {"proj_dim": 8}, "rows": {"row_count": 3}, "members": [{"digest": "d"}], "score": score} | more


def test_another_form_is_another_scoring():
    """Sums, verdicts and findings of self-influence are none of the loss gradient's scores; top_k is no such part."""
    usual = scoring_digest(told())
    assert usual == scoring_digest(told(top_k=3)) == run_digest(told("target_influence", targets_digest="t"))
    assert len({usual, scoring_digest(told("loss_gradient")), scoring_digest(told(lambda_rel=2.0))}) == 3


def test_a_record_of_an_earlier_build_is_taken():
    """Which gave both forms one digest and wrote it into metadata.json: what lies beside such scores is theirs."""
    usual = scoring_digest(told())
    assert scoring_digest(told("loss_gradient", scoring=usual)) == usual
    again = run_digest(told("loss_gradient"))
    assert again == scoring_digest(told("loss_gradient", scoring=again)) != usual


def test_what_is_said_of_sets_in_a_run_is_of_the_run():
    """Whatever form the run has that the set lies in, a file about its sets belongs to it."""
    of_set = told("target_influence", targets_digest="t", scoring=run_digest(told()))
    for form in ("self_influence", "loss_gradient"):
        above = told(form, scoring=run_digest(told(form)))
        assert run_digest(of_set, above) == scoring_digest(above)
    assert run_digest(of_set, told(lambda_rel=2.0)) == run_digest(of_set) == run_digest(of_set, None)


def test_a_folder_that_does_not_say_is_of_no_scoring():
    """Of the Python API, or of a build that named none."""
    for key in ("features", "rows", "members", "score"):
        assert scoring_digest(told() | {key: None}) is None
