"""Laws of a training as its YAML describes it: what it reads besides, and what it is validated on."""

import json

import numpy as np
import pytest
from support import strange
from support.mind import write_mind
from support.tiny import SIZES, write_tree

from rec_trak.config.model import read_model_config
from rec_trak.config.training import TrainingConfig
from rec_trak.data.inputs import build_inputs
from rec_trak.data.sources import read_data
from rec_trak.errors import DataError
from rec_trak.training import job
from rec_trak.training.job import train_run, validation_inputs

SHORT = {"architecture": "nrms", "sizes": SIZES["nrms"], "epochs": 1}


def test_users_stand_in_the_order_of_their_numbers(tmp_path):
    """Ties by name."""
    (tmp_path / "map.json").write_text('{"b": 2, "c": 1, "a": 2}', encoding="utf-8")
    assert job._mapped_users(tmp_path / "map.json") == ("c", "a", "b")


@pytest.mark.parametrize("content", [b"", b"{", *strange.JSON.values()])
def test_a_damaged_user_map_is_one_line(tmp_path, content):
    """Whatever its reader raises of it."""
    (tmp_path / "map.json").write_bytes(content)
    with pytest.raises(
        DataError, match=r"map\.json: not valid JSON \(.*\)\. Expected .* Mend or remove it\.$"
    ) as error:
        job._mapped_users(tmp_path / "map.json")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("content", ["[1]", '{"a": 1.5}', '{"a": NaN}', '{"a": "1"}'])
def test_other_content_is_no_user_map(tmp_path, content):
    """Numbers are whole."""
    (tmp_path / "map.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"map\.json: not a user map"):
        job._mapped_users(tmp_path / "map.json")


def test_mind_is_validated_on_whole_impressions(tmp_path):
    """Law: each impression counts once with all its candidates, whatever `negatives` draws for training; the member's
    record holds the mean over impressions."""
    dev = write_mind(tmp_path / "dev")
    with open(dev / "behaviors.tsv", "a", encoding="utf-8") as file:
        file.write("99\tu1\t11/11/2019 2:01:00 AM\tn1\tn3-1 n4-1 n5-0 n6-0 n7-0 n0-0\n")
    config = TrainingConfig(
        data_path=str(write_mind(tmp_path / "train")),
        validation_path=str(dev),
        output_dir=str(tmp_path / "runs"),
        negatives=2,
        **SHORT,
    )
    (path,) = train_run(config, "train_clean")
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["validation"] == {"impressions": 13, "candidates": 13 * 6}
    assert record["epochs"][0]["impressions"] == 13
    assert {"loss", "auc", "mrr", "ndcg@5", "ndcg@10"} < record["epochs"][0].keys()


def test_pairwise_data_with_one_click_are_validated_on_their_rows(tmp_path):
    """Law: where an impression has one click, what is validated on are the rows that training would make of it, so
    that early stopping is what it would be on them."""
    tree = write_tree(tmp_path / "data")
    (tree / "models" / "val_clean.csv").write_bytes((tree / "models" / "train_clean.csv").read_bytes())
    config = TrainingConfig(data_path=str(tree), output_dir=str(tmp_path / "runs"), **SHORT)
    train_run(config, "train_clean")
    model_config = read_model_config(tmp_path / "runs" / "model.json")
    articles, rows = read_data(tree, None, "train_clean")
    rows = build_inputs(rows, articles, model_config)
    shown = validation_inputs(config, "train_clean", model_config)
    for name in ("history", "candidates", "labels"):
        ours, theirs = getattr(shown.impressions, name), getattr(rows.impressions, name)
        assert np.array_equal(ours.values, theirs.values)
        assert np.array_equal(ours.offsets, theirs.offsets)
