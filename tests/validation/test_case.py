"""What a validation refuses before it trains: other models, other data, scores that are not there or not these."""

import json
import shutil

import numpy as np
import pytest
from support import tiny, validated

from rec_trak import room
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.config.analysis import read_analysis_config
from rec_trak.errors import ConfigError, DataError, RoomError, StoreError
from rec_trak.scoring import memory
from rec_trak.training.trainer import half
from rec_trak.validation.case import make_case
from rec_trak.validation.retrain import retrain_all
from rec_trak.validation.run import described
from rec_trak.validation.subsets import first_seed


@pytest.fixture(scope="module")
def made(scored, tmp_path_factory):
    """A folder with a scored run; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("made")
    return folder, *validated.copy_run(scored, folder)


@pytest.fixture
def copied(made, tmp_path):
    """A copy of its own, for tests that change files."""
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy"


def reread(folder, **keys):
    """The run in `folder` again, with other keys in its YAML."""
    run = Run(read_analysis_config(tiny.write_config(folder, **keys)), "train_clean", "clean")
    return run, read_job(run)


def test_a_case_holds_the_runs_own_rows_and_targets(made):
    """Law: rows are the run's impressions, targets the set's, a seeded subset of at most so many, gradients theirs."""
    folder, run, job = made
    case = validated.case_of(folder, run, job)
    assert len(case.experiment.inputs) == len(job.impressions) == 24
    assert case.count == len(case.places) == len(case.targets)
    assert case.experiment.validation is not None
    fewer, again = (validated.case_of(folder, run, job, max_targets=4, seed=3) for _ in range(2))
    assert len(fewer.places) == 4
    np.testing.assert_array_equal(fewer.places, again.places)
    np.testing.assert_array_equal(fewer.member_targets(1), case.member_targets(1)[fewer.places])
    assert fewer.targets.user_ids.tolist() == case.targets.user_ids[fewer.places].tolist()
    assert fewer.identity != case.identity


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"architecture": "naml"}, r"`architecture` 'naml', the checkpoints have 'nrms'"),
        ({"views": ["title", "body"]}, r"`views` \('title', 'body'\)"),
        ({"sizes": {**tiny.SIZES["nrms"], "heads": 1}}, r"`sizes\.heads` 1, the checkpoints have 2"),
        ({"sizes": {}}, r"`sizes\.word_dim` 300, the checkpoints have 8"),
        ({"title_length": 30}, r"`title_length` 30, the checkpoints have 6"),
        ({"max_history": 3}, r"`max_history` 3, the checkpoints have 50"),
        ({"history_truncation": "last"}, r"`history_truncation` 'last', the checkpoints have 'first'"),
        ({"loss": "bpr"}, r"`loss` 'bpr', the checkpoints have 'softmax'"),
        ({"tokeniser": "whitespace"}, r"`tokeniser` 'whitespace'"),
        ({"frozen": ["word_embedding.*"]}, r"`frozen` \('word_embedding\.\*',\)"),
    ],
)
def test_the_training_of_another_model_is_refused(made, keys, words):
    """Law: the first key that differs is named with both values; body_length counts only where bodies are read."""
    folder, run, job = made
    with pytest.raises(ConfigError, match=rf"train\.yaml: trains another model than the run's\. Got {words}"):
        validated.case_of(folder, run, job, keys)
    validated.case_of(folder, run, job, {"body_length": 99})


def test_word_vectors_stand_in_the_order_of_the_runs_words(copied):
    """Law: training starts from the given vectors of the checkpoint's words, and `word_dim` may be left out."""
    run, job = reread(copied)
    sizes = {key: value for key, value in tiny.SIZES["nrms"].items() if key != "word_dim"}
    (copied / "vectors.txt").write_text("storm " + " ".join(["0.5"] * 8) + "\n")
    case = validated.case_of(copied, run, job, {"word_vectors": str(copied / "vectors.txt"), "sizes": sizes})
    at = job.model_config.text.words.index("storm") + 2
    np.testing.assert_array_equal(case.experiment.word_vectors[at], np.full(8, 0.5, np.float32))
    retrain_all(case.experiment, [], case.folder)


def test_a_run_without_features_or_scores_is_refused(tmp_path, copied):
    """Law: what is missing is named with the script that makes it."""
    tiny.write_tree(tmp_path / "new" / "data")
    tiny.write_models(tmp_path / "new" / "runs", tmp_path / "new" / "data")
    run, job = reread(tmp_path / "new")
    with pytest.raises(StoreError, match=r"store: not all rows are featurized\. .* Run scripts/featurize\.py"):
        validated.case_of(tmp_path / "new", run, job)
    featurize(job)
    with pytest.raises(DataError, match=r"benchmark_mixed: not a finished run, .* Run scripts/score\.py first"):
        validated.case_of(tmp_path / "new", run, job)
    with pytest.raises(ConfigError, match=r"--targets: no such file or name\. Got nowhere"):
        make_case(run, job, validated.training(tmp_path / "new"), "train.yaml", "nowhere")


def test_a_k_that_cannot_be_solved_is_refused_before_any_retraining(made, monkeypatch):
    """What the scores predict takes memory that is asked for first, not after hours."""
    folder, run, job = made
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(room, "available_memory", lambda: 1000)
    with pytest.raises(RoomError, match="scoring with K = 16: not enough memory. Got 1.00 kB available"):
        validated.case_of(folder, run, job)


def test_changed_data_is_refused(copied):
    """Law: rows other than those that were featurized, by name; and scores that are of an older store."""
    lines = (copied / "data" / "models" / "train_clean.csv").read_text().splitlines()
    (copied / "data" / "models" / "train_clean.csv").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    try:
        run, job = reread(copied)
    except DataError:  # half an impression at the end
        (copied / "data" / "models" / "train_clean.csv").write_text("\n".join(lines[: len(lines) // 2 - 1]) + "\n")
        run, job = reread(copied)
    with pytest.raises(StoreError, match=r"made by another run, `negatives` differs"):
        validated.case_of(copied, run, job)
    shutil.rmtree(job.save_dir)
    featurize(job)
    with pytest.raises(DataError, match=r"metadata\.json: the scores are of another run, `row_count` differs\. Got \d+ "
                       r"now, scored with 24"):  # fmt: skip
        validated.case_of(copied, run, job)


def test_another_ridge_is_refused(copied):
    """Law: what is validated is what stands in the results."""
    run, job = reread(copied, lambda_rel=0.5)
    with pytest.raises(DataError, match=r"`lambda_rel` differs\. Got 0\.5 now, scored with 1\.0"):
        validated.case_of(copied, run, job)


def test_a_member_with_a_seed_of_the_validation_is_refused(copied):
    """Law: attribution and evaluation never share a model; half sets of members are not those of the evaluation."""
    (copied / "runs" / "clean_1.json").write_text(json.dumps({"seed": first_seed("lds", 0)}))
    run, job = reread(copied)
    with pytest.raises(ConfigError, match=r"clean_1\.pt: a member was trained with a seed of the validation"):
        validated.case_of(copied, run, job)
    assert validated.case_of(copied, run, job, seed=1).recorded_seeds == 1
    assert half(24, first_seed("lds", 0)).tolist() != half(24, 0).tolist()


@pytest.mark.parametrize("flag", ["workers", "max_targets"])
def test_numbers_out_of_range_are_refused(made, flag):
    """Law: at least one of each, and no seed below zero."""
    with pytest.raises(ConfigError, match=rf"--{flag}: too few\. Got 0"):
        validated.case_of(*made, **{flag: 0})
    with pytest.raises(ConfigError, match=r"--seed: too large\. Got 10+, expected at most 1099511627776"):
        validated.case_of(*made, seed=10**30)
    with pytest.raises(ConfigError, match=r"--seed: below zero\. Got -1"):
        validated.case_of(*made, seed=-1)


def test_targets_that_carry_nothing_are_not_measured(copied):
    """No retraining moves their margin: a correlation over retrainings would be one of rounding."""
    run, job = reread(copied)
    whole = validated.case_of(copied, run, job)
    path = whole.results.folder / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"carry_nothing": {"targets": [0, 2]}}))
    case = validated.case_of(copied, run, job)
    assert case.places.tolist() == [t for t in whole.places.tolist() if t not in (0, 2)]
    assert (
        f"{len(case.places)} of {case.count} targets are measured; 2 carry nothing" in described(case, {})["notes"][1]
    )
    fewer = validated.case_of(copied, run, job, max_targets=4)
    assert not {0, 2} & set(fewer.places.tolist())
    assert "targets are measured, a seeded draw; 2 carry nothing" in described(fewer, {})["notes"][1]
