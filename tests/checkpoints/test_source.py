"""Where a model comes from: our files as they are, other code bases' files under our names, or one clear refusal."""

import os
import re

import numpy as np
import pandas as pd
import pytest
import torch
from support import tiny
from support.commands import succeed
from support.plm4newsrs import ARTICLES, naml_state
from support.theirs import VECTORS, write_theirs

from rec_trak.attribution.job import Run, fingerprint, read_job
from rec_trak.checkpoints.source import read_settings, read_source
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.model import ModelConfig
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning


def read(folder, code_base="auto", settings="m.yaml", checkpoint="clean_0.ckpt"):
    where = str(folder / settings)
    return read_source(read_settings(where), where, code_base, folder / checkpoint, ARTICLES)


def theirs_config(folder, **keys):
    """The analysis of the tiny tree with plm4newsrs' checkpoints."""
    theirs = folder / "theirs"
    keys = {"checkpoints": str(theirs / "*.ckpt"), "model_config": str(theirs / "m.yaml")} | keys
    return read_analysis_config(tiny.write_config(folder, **keys))


def test_our_own_files_are_taken_as_they_are(tmp_path):
    """A model.json of ours needs no look at the checkpoint, and tensors keep their names."""
    tiny.make_job(tmp_path)
    settings = read_settings(tmp_path / "runs" / "model.json")
    assert isinstance(settings, ModelConfig)
    source = read_source(settings, "model.json", "auto", "nowhere.pt", ARTICLES)
    assert (source.code_base, source.config, source.fixed, source.unreached) == ("rec_trak", settings, {}, ())
    state = torch.load(tmp_path / "runs" / "clean_0.pt")
    assert all(torch.equal(value, state[n]) for n, value in source.state_dict(tmp_path / "runs" / "clean_0.pt").items())


def test_wrong_keys_of_ours_are_named(tmp_path):
    """A file with our keys is ours, and so are its mistakes; so is one that `code_base` calls ours."""
    (tmp_path / "m.yaml").write_text("architecture: nrms\ntext: {}\nhaeds: 2\n")
    with pytest.raises(ConfigError, match="unknown key `haeds`"):
        read_settings(tmp_path / "m.yaml")
    theirs = write_theirs(tmp_path)
    with pytest.raises(ConfigError, match=r"m\.yaml: unknown key `model_name`.*missing key `architecture`"):
        read(theirs, "rec_trak")


def test_theirs_are_recognised_and_what_is_left_out_is_said_once(tmp_path):
    """`auto` finds the code base by the names; tensors come under ours, with those that the file lacks."""
    theirs = write_theirs(tmp_path)
    with pytest.warns(RecTrakWarning, match=r"clean_0\.ckpt: 2 parameter\(s\) never reach a score .*left out") as said:
        source = read(theirs)
    assert len(said) == 1
    assert (source.code_base, source.architecture, source.config.architecture) == ("plm4newsrs", "nrms", "nrms")
    state = source.state_dict(theirs / "clean_0.ckpt")
    assert torch.equal(state["word_embedding.weight"], source.fixed["word_embedding.weight"])
    assert state["title_self_attention.w_q.weight"].shape == (8, 8)


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_a_code_base_that_is_named_must_be_the_right_one(tmp_path):
    """Its name changes nothing where it fits; where it does not, the message says whose the file is."""
    theirs = write_theirs(tmp_path)
    assert read(theirs, "plm4newsrs").config == read(theirs).config
    with pytest.raises(CheckpointError, match=r"not those of `code_base` keras\. Got 14 names .*those of plm4newsrs"):
        read(theirs, "keras")
    tiny.make_job(tmp_path)
    with pytest.raises(ConfigError, match="settings of rec_trak. Got `code_base` plm4newsrs, expected"):
        read(tmp_path / "runs", "plm4newsrs", "model.json", "clean_0.pt")


def test_a_checkpoint_of_nobody_is_refused(tmp_path):
    """With another code base's settings, names that nobody writes are listed beside the code bases that are known."""
    theirs = write_theirs(tmp_path, state=lambda: {"backbone.weight": torch.zeros(2)})
    message = r"clean_0\.ckpt: no code base is known .*Got 1 names \(backbone\.weight\), expected those of plm4newsrs"
    with pytest.raises(CheckpointError, match=message):
        read(theirs)


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_members_share_one_settings_file(tmp_path):
    """Each member's own tensors are loaded; one of another architecture is refused with its names."""
    tiny.write_tree(tmp_path / "data")
    write_theirs(tmp_path, members=2)
    job = read_job(Run(theirs_config(tmp_path), "train_clean", "clean"))
    states = [member.state_dict() for member in job.members]
    assert states[0].keys() == states[1].keys() == job.model.state_dict().keys()
    assert not torch.equal(states[0]["title_attention.query.weight"], states[1]["title_attention.query.weight"])
    assert "word_embedding.weight" not in job.grad_wrt
    torch.save(naml_state(), tmp_path / "theirs" / "clean_1.ckpt")
    with pytest.raises(CheckpointError, match=r"clean_1\.ckpt: .*missing .*unexpected"):
        read_job(Run(theirs_config(tmp_path), "train_clean", "clean"))


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_word_vectors_are_part_of_what_a_store_was_made_from(tmp_path):
    """They shape every gradient though the checkpoint lacks them, so another file of them is another model."""
    tiny.write_tree(tmp_path / "data")
    write_theirs(tmp_path)
    first = fingerprint(read_job(Run(theirs_config(tmp_path), "train_clean", "clean")))
    again = fingerprint(read_job(Run(theirs_config(tmp_path), "train_clean", "clean")))
    assert first == again
    (tmp_path / "glove.txt").write_text(VECTORS.replace("vote 0.1", "vote 0.9"))
    other = fingerprint(read_job(Run(theirs_config(tmp_path), "train_clean", "clean")))
    assert other["models"] != first["models"]
    assert other["features"] == first["features"]


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_history_truncation_goes_before_theirs(tmp_path):
    """The YAML's key overrides what the code base does."""
    tiny.write_tree(tmp_path / "data")
    write_theirs(tmp_path)
    for wanted, kept in ((None, "first"), ("last", "last")):
        job = read_job(Run(theirs_config(tmp_path, history_truncation=wanted), "train_clean", "clean"))
        assert job.model_config.history_truncation == kept


@pytest.fixture
def upstream(shared, tmp_path):
    """The fixtures' tree as plm4newsrs' users have it, with room for results beside the links."""
    for entry in (shared / "fixtures").iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    return tmp_path


@pytest.mark.parametrize(
    "name", [*(pytest.param(one, marks=pytest.mark.long) for one in ("nrms_glove", "naml_glove")), "nrms_bert"]
)
def test_the_existing_yaml_runs_unchanged(upstream, name):
    """featurize, score and compare on upstream's own files, from its working directory, without a key changed."""
    if "bert" in name:
        pytest.importorskip("transformers")
    config = f"configs/trak/{name}.yaml"
    for kind, rows in (("clean", 127), ("poisoned", 187)):
        flags = ("--config", config, "--dataset_type", f"train_{kind}", "--model_type", kind)
        assert re.search(rf"featurized {rows} .*rows", succeed("featurize", *flags, folder=upstream))
        assert "effective dimension" in succeed("score", *flags, folder=upstream)
        folder = upstream / "analysis" / "trak" / name / f"{kind}_train_{kind}"
        assert np.load(folder / "trak_scores.npy").shape == (rows,)
        assert np.load(folder / "trak_gradients.npy").shape == (rows, 512)
        assert len(pd.read_csv(folder / "ranking_results.csv")) == rows
    kinds = {f"--{kind}_dir": f"analysis/trak/{name}/{kind}_train_{kind}" for kind in ("clean", "poisoned")}
    flags = [part for pair in kinds.items() for part in pair]
    assert "127 rows" in succeed("compare", *flags, "--output_dir", "analysis/comparison", folder=upstream)
    assert os.path.getsize(upstream / "analysis" / "comparison" / "comparison_stats.json")
