"""The whole job once on each format of click logs: checkpoint_info, featurize and score, with fresh weights."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.commands import fail, succeed
from support.every_format import newsreclib
from support.foreign import WORDS
from support.keras_files import grouped, write_hdf5
from support.keras_models import nrms
from support.logs import write_adressa, write_ebnerd, write_prepared, write_xmind
from support.tiny import SIZES, write_models, write_tree

from rec_trak.checkpoints.state_dicts import write_state_dict
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.config.reader import read_mapping
from rec_trak.models.build import build_model

TREES = {  # format -> the folder to name, its writer, rows, and the target set that is proposed
    "ebnerd": ("ebnerd_small", write_ebnerd, 5, {"log": "ebnerd_small/validation/behaviors.parquet", "count": 500}),
    "adressa": ("week", write_adressa, 4, None),
    "adressa_newsreclib": ("Adressa", write_prepared, 4, {"log": "Adressa/dev/behaviors_42.tsv", "count": 500}),
    "mind": ("MINDsmall_train", lambda folder: write_xmind(folder.parent), 12, {"mind": "MINDsmall_dev", "count": 500}),
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The working directory, with a checkpoint that reads titles and categories."""
    monkeypatch.chdir(tmp_path)
    text = TextConfig(words=("vote", "number", "storm", "votul", "1", "2"), categories=("sport", "nyheter", "news"))
    config = ModelConfig("naml", ("title", "category"), SIZES["naml"], text, history_truncation="last")
    (tmp_path / "m").mkdir()
    config.write(tmp_path / "m" / "model.json")
    torch.manual_seed(0)
    write_state_dict(tmp_path / "m" / "clean.pt", build_model(config))
    return tmp_path


@pytest.mark.parametrize("form", TREES)
def test_the_whole_job(home, form):
    """Law: the YAML that is proposed for a tree runs as it is, on its rows, its targets, and sums by category."""
    folder, write, rows, targets = TREES[form]
    table = write(home / folder)
    out = succeed("checkpoint_info", "--write", "my.yaml", "m/clean.pt", folder)
    assert "To run it:" in out
    said = read_mapping("my.yaml")
    assert (said["data_path"], said["data_format"]) == (folder, form)
    assert said.get("targets", {}).get("dev") == targets
    flags = ["--config", "my.yaml", "--news_items_path", table] if form == "mind" else ["--config", "my.yaml"]
    assert f"featurized {rows} rows" in succeed("featurize", *flags)
    succeed("score", *flags, "--group_by", "category")
    folder = home / "analysis" / "my" / "clean_train_clean"
    told = pd.read_csv(folder / "by_category.csv", keep_default_na=False)
    assert told["rows"].sum() == rows
    assert set(told["category"]) <= {"sport", "krimi", "nyheter", "news"}
    titles = set(pd.read_csv(folder / "ranking_full.csv")["title"])
    assert all(title.startswith("votul" if form == "mind" else "vote") for title in titles)
    assert json.loads((folder / "metadata.json").read_text())["reading"]["data_format"] == form
    if targets:
        assert f"influence of {rows} impressions" in succeed("score", *flags, "--targets", "dev")
    flags = ("--results_dir", folder, "--rows", "rows.csv")
    (home / "rows.csv").write_text("sample_idx\n1\n")
    out = succeed("clean", *flags, "--dry_run")
    assert out.startswith("1 rows go from ")
    assert f"{rows - 1} stay" in out
    if form in ("ebnerd", "adressa"):
        message = fail("clean", *flags, "--output", "less")
        assert f"clean.py writes logs of lines that are impressions. Got `data_format` {form}" in message
        assert not (home / "less").exists()
    else:
        succeed("clean", *flags, "--output", "less")
        assert len((home / "less").read_text().splitlines()) == rows - 1


@pytest.mark.long
def test_ebnerd_benchmark_on_its_own_data(home):
    """Law: Keras weights as ebnerd-benchmark writes them, with settings nearby, are analysed on EB-NeRD as proposed."""
    pytest.importorskip("h5py")
    write_ebnerd(home / "ebnerd_small")
    write_hdf5(home / "nrms.h5", grouped(nrms(), "nrms"))
    words = ("vote", "number", "storm", *WORDS[3:])
    (home / "words.json").write_text(json.dumps({word: i + 1 for i, word in enumerate(words)}))
    settings = {"title_size": 6, "history_size": 5, "head_num": 2, "wordDict_file": "words.json"}
    (home / "nrms.yaml").write_text(json.dumps(settings))
    out = succeed("checkpoint_info", "--write", "my.yaml", "nrms.h5", "ebnerd_small")
    assert "To run it:" in out
    said = read_mapping("my.yaml")
    assert (said["model_config"], said["code_base"], said["data_format"]) == ("nrms.yaml", "keras", "ebnerd")
    assert said["news_items_path"] == "ebnerd_small/articles.parquet"
    assert said["missing_articles"] == "blank"
    assert "# until: '2023-05-24'" in (home / "my.yaml").read_text()
    assert "featurized 5 rows" in succeed("featurize", "--config", "my.yaml")
    succeed("score", "--config", "my.yaml", "--targets", "dev")


def test_newsreclib_on_the_adressa_that_it_prepared(home):
    """Law: its checkpoint finds the dictionaries above the articles; rows without a history were not trained on."""
    state, keys = newsreclib(home, None)
    torch.save({"state_dict": state}, home / "last.ckpt")
    write_prepared(home / "Adressa_one_week")
    (home / "numbers" / "word2index.tsv").rename(home / "Adressa_one_week" / "word2index.tsv")
    settings = json.loads(Path(keys["model_config"]).read_text())
    del settings["data"]
    (home / "config.yaml").write_text(json.dumps(settings | {"data_dir": ".", "dataset_size": "one_week"}))
    out = succeed("checkpoint_info", "--write", "my.yaml", "last.ckpt", "Adressa_one_week")
    assert "To run it:" in out
    said = read_mapping("my.yaml")
    assert (said["code_base"], said["model_config"], said["data_format"]) == (
        "newsreclib", "config.yaml", "adressa_newsreclib",
    )  # fmt: skip
    out = succeed("featurize", "--config", "my.yaml")
    assert "featurized 3 rows" in out
    assert "1 row(s) were not trained on and are left out: a history of fewer than 1 article(s)." in out
    succeed("score", "--config", "my.yaml")


def test_training_on_every_log(home):
    """Law: our training takes each format, keeps the last of a history, and validates where a log has impressions."""
    trees = {"ebnerd": write_ebnerd, "adressa": write_adressa, "adressa_newsreclib": write_prepared}
    for form, write in trees.items():
        write(home / form)
        values = {
            "architecture": "nrms",
            "sizes": SIZES["nrms"],
            "epochs": 1,
            "data_path": form,
            "output_dir": f"o/{form}",
        }
        (home / "train.yaml").write_text(json.dumps(values))
        out = succeed("train", "--config", "train.yaml")
        assert ("auc" in out) == (form != "adressa")
        assert read_mapping(home / "o" / form / "model.json")["history_truncation"] == "last"


def test_a_csv_of_any_name(home):
    """Law: any CSV of a tree, or elsewhere, is analysed and named after itself; what follows a run finds it again."""
    tree = write_tree(home / "data")
    write_models(home / "runs", tree)
    (tree / "models" / "train_clean.csv").rename(tree / "models" / "train_corrected.csv")
    (tree / "models" / "train_poisoned.csv").rename(tree / "models" / "val_clean.csv")
    out = succeed("checkpoint_info", "--write", "my.yaml", "runs/clean_0.pt", "data")
    assert "rec-trak score --config my.yaml --dataset_type train_corrected --model_type clean" in out
    flags = ("--config", "my.yaml", "--dataset_type")
    assert "featurized 24 " in succeed("featurize", *flags, "train_corrected")
    succeed("score", *flags, "train_corrected")
    assert (home / "analysis/my/clean_train_corrected/ranking_full.csv").is_file()
    (tree / "models" / "train_corrected.csv").rename(home / "elsewhere.csv")
    assert "featurized 24 " in succeed("featurize", *flags, "./elsewhere.csv")
    succeed("score", *flags, "./elsewhere.csv")
    results = "analysis/my/clean_elsewhere"
    out = succeed("clean", "--results_dir", results, "--top", "3", "--output", "less.csv")
    assert "less.csv" in out


def test_a_mistyped_data_set(home):
    """Law: one line that says which there are and which was meant, with code 2, in every command that reads one."""
    write_models(home / "runs", write_tree(home / "data"))
    succeed("checkpoint_info", "--write", "my.yaml", "runs/clean_0.pt", "data")
    for command in ("featurize", "score", "analyze"):
        message = fail(command, "--config", "my.yaml", "--dataset_type", "train_posioned")
        assert "There are: train_clean, train_poisoned. Did you mean 'train_poisoned'?" in message
    (home / "train.yaml").write_text("{architecture: nrms, data_path: data, output_dir: out, epochs: 1}")
    message = fail("train", "--config", "train.yaml", "--dataset_type", "train_claen")
    assert "Did you mean 'train_clean'?" in message
    assert not (home / "out").exists()


def test_articles_without_categories(home):
    """Law: a table without categories is no table of one empty group."""
    write_models(home / "runs", write_tree(home / "data"))
    succeed("checkpoint_info", "--write", "my.yaml", "runs/clean_0.pt", "data")
    succeed("featurize", "--config", "my.yaml")
    message = fail("score", "--config", "my.yaml", "--group_by", "category")
    assert "--group_by: no clicked article has a category. Got none in data/news_items.csv" in message
    assert "a news_items.csv with a column `category`" in message
    assert not (home / "analysis/my/clean_train_clean/ranking_full.csv").exists()
