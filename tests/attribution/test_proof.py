"""Laws of the proof: the AUC of what was loaded is the code base's own; a model that is not what it says is told."""

import json
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from support import tiny
from support.commands import succeed

from rec_trak.attribution import proof as proofs
from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.proof import prove, prove_file
from rec_trak.checkpoints.code_bases.tables import Validation
from rec_trak.config.analysis import analysis_config, read_analysis_config
from rec_trak.data.batches import unique_batch
from rec_trak.errors import RecTrakWarning
from rec_trak.training.metrics import auc


def world(folder, **keys):
    """A tiny tree with a validation set, and its run."""
    tiny.write_tree(folder / "data")
    models = folder / "data" / "models"
    (models / "val_clean.csv").write_bytes((models / "train_poisoned.csv").read_bytes())
    tiny.write_models(folder / "runs", folder / "data")
    return run_of(folder, **keys)


def run_of(folder, **keys):
    return Run(read_analysis_config(tiny.write_config(folder, **keys)), "train_clean", "clean")


def only(run):
    (found,) = prove(run, read_job(run)).values()
    return found


def test_the_auc_is_the_mean_over_impressions(tmp_path):
    """Law: each impression's AUC by model(batch), one at a time, averaged."""
    run = world(tmp_path)
    found, job = only(run), read_job(Run(run.config, "train_poisoned", "clean"))
    each = []
    for row in range(len(job.inputs)):
        with torch.no_grad():
            scores = job.model(unique_batch(job.inputs, [row]))[0].numpy()
        each.append(auc(scores, job.impressions.labels[row]))
    assert found.auc == pytest.approx(np.mean(each))
    assert (found.impressions, found.of_impressions, found.stated) == (32, 32, None)
    assert "the checkpoint does not say its own" in found.line()


def test_pooled_aucs():
    """Law: pooled is one AUC over all candidates; by softmax, probabilities within an impression are what is ranked;
    the first click alone counts, and the second candidate where there is none."""
    scores = [np.array([2.0, 0, 1]), np.array([5.0, 4, 7])]
    labels = [np.array([True, True, False]), np.array([False] * 3)]
    one = np.array([1, 0, 0, 0, 1, 0])
    found, _ = proofs._auc(scores, labels, Validation(pooled="scores", one_click=True))
    assert found == pytest.approx(roc_auc_score(one, np.concatenate(scores)))
    soft = np.concatenate([np.exp(row) / np.exp(row).sum() for row in scores])
    found, _ = proofs._auc(scores, labels, Validation(pooled="softmax", one_click=True))
    assert found == pytest.approx(roc_auc_score(one, soft))


def test_a_model_that_is_not_what_it_says_is_warned_of(tmp_path):
    """Law: where the record beside a checkpoint says another AUC, both are told with the usual causes; an equal one is
    no warning; one of drawn candidates is told and not compared."""
    run = world(tmp_path)
    found = only(run)
    record = {"validation": {"impressions": 32}, "epochs": [{"epoch": 1, "auc": found.auc}]}
    (tmp_path / "runs" / "clean_0.json").write_text(json.dumps(record))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert only(run).line().endswith(f"clean_0.json says {found.auc:.4f}, the same")
    record["epochs"][0]["auc"] = found.auc + 0.01
    (tmp_path / "runs" / "clean_0.json").write_text(json.dumps(record))
    with pytest.warns(RecTrakWarning, match=r"clean_0.pt: what was loaded is not what .* other word vectors"):
        assert only(run).apart
    (tmp_path / "runs" / "clean_0.json").write_text(json.dumps({"epochs": record["epochs"]}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "(of drawn candidates) says" in only(run).line()


def test_only_a_part_of_a_large_set_is_taken(tmp_path, monkeypatch):
    """Law: at most so many impressions and articles, drawn by the seed, whatever the rest holds."""
    run = world(tmp_path)
    monkeypatch.setattr(proofs, "MOST", 5)
    found = only(run)
    assert (found.impressions, found.of_impressions) == (5, 32)
    assert "on 5 of 32 impressions" in found.line()
    assert found.auc == only(run).auc
    monkeypatch.setattr(proofs, "ARTICLES", 1)
    assert only(run).impressions == 1


def test_what_stands_in_the_way_is_told(tmp_path):
    """Law: no validation set, one without a click, and a damaged one are words, never an error."""
    run = world(tmp_path)
    path = tmp_path / "data" / "models" / "val_clean.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], *(line.replace(",1,", ",0,") for line in lines[1:])]), encoding="utf-8")
    assert "no impression of" in only(run).line()
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    assert "validation AUC not computed: " in only(run).line()
    path.unlink()
    assert "there is no validation set (val_clean) in" in only(run).line()


def test_featurize_tells_once_and_records(tmp_path):
    """Law: told once a member, kept in metadata.json, nothing told where nothing is left; stores stay as they were."""
    world(tmp_path)
    flags = ("--config", tmp_path / "trak.yaml")
    out = succeed("featurize", *flags)
    assert "checkpoint 0: validation AUC 0." in out
    assert "validation AUC" not in succeed("featurize", *flags)
    succeed("score", *flags)
    folder = tmp_path / "results" / "clean_train_clean"
    (told,) = json.loads((folder / "metadata.json").read_text())["proof"]
    assert told["of_impressions"] == 32
    assert f"{told['auc']:.4f}" in out
    manifest = json.loads((folder / "store" / "rec_trak.json").read_text())
    del manifest["proofs"]
    (folder / "store" / "rec_trak.json").write_text(json.dumps(manifest))
    assert "featurized 0 rows" in succeed("featurize", *flags)
    succeed("score", *flags)
    assert json.loads((folder / "metadata.json").read_text())["proof"] == [None]


def test_checkpoint_info_proves_too(tmp_path):
    """Law: with --data the same AUC stands behind what the checkpoint is, and in the JSON."""
    run = world(tmp_path)
    found, path = only(run), tmp_path / "runs" / "clean_0.pt"
    assert f"validation AUC {found.auc:.4f} on 32" in succeed("checkpoint_info", path, "--data", tmp_path / "data")
    told = json.loads(succeed("checkpoint_info", path, "--data", tmp_path / "data", "--json"))
    assert told["proof"]["auc"] == found.auc


def genuine(shared):
    """What each genuine checkpoint needs to be analysed, by name."""
    for entry in json.loads((shared / "fixtures" / "manifest.json").read_text()):
        keys = {"model_checkpoint": entry["checkpoint"], "poisoned_model_checkpoint": entry["checkpoint"]}
        if entry["code_base"] == "plm4newsrs":
            yield entry, keys | {"model_config": entry["saved_config"], "data_path": "data"}
        else:
            yield entry, keys | {"data_path": "yusanshi/data", "data_format": "parsed"}


NAMES = ["nrms_glove_clean", "nrms_glove_poisoned", "naml_glove_clean", "naml_glove_poisoned", "nrms_bert_clean"]
NAMES += ["nrms_bert_poisoned", "naml_bert_clean", "yusanshi_nrms", "yusanshi_naml", "yusanshi_lstur"]


@pytest.mark.parametrize("name", NAMES)
def test_genuine_checkpoints_give_what_they_say(shared, tmp_path, monkeypatch, name):
    """Law: the AUC of each is, to all its digits, the one that its own code base computed and wrote down."""
    monkeypatch.chdir(shared / "fixtures")
    entry, keys = next((entry, keys) for entry, keys in genuine(shared) if entry["name"] == name)
    if entry["code_base"] == "yusanshi":
        said = json.loads((shared / "fixtures" / "yusanshi" / "config.json").read_text())
        settings = said["common"] | said[entry["architecture"].upper()]
        settings["data"] = str(shared / "fixtures" / "yusanshi" / "data" / "train")
        (tmp_path / "settings.json").write_text(json.dumps(settings))
        keys["model_config"] = str(tmp_path / "settings.json")
    if "bert" in name:
        pytest.importorskip("transformers")
    kind = entry.get("model_type", "clean")
    config = analysis_config(keys | {"output_dir": str(tmp_path / "out"), "proj_dim": 8, "sample_size": 2})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not what the checkpoint says")
        found = only(Run(config, f"train_{kind}", kind))
    assert found.stated is not None
    assert round(found.auc, 4) == round(found.stated, 4)
    assert found.line().endswith("the same")
    again = prove_file(entry["checkpoint"], keys["data_path"], keys["model_config"])
    assert (again.auc, again.log) == (found.auc, found.log)
