"""What a run names is read and checked before anything is written."""

import csv

import numpy as np
import pytest
import torch
from support import tiny
from support.mind import write_mind

from rec_trak.attribution.job import Run, choose_device, fingerprint, read_job
from rec_trak.attribution.rows import sample, within
from rec_trak.attribution.session import featurize
from rec_trak.config.analysis import read_analysis_config
from rec_trak.data.places import data_format
from rec_trak.data.sources import read_data
from rec_trak.errors import CheckpointError, ConfigError, DataError, RecTrakWarning


def test_folder_is_named_after_model_and_data(tmp_path):
    """`<output_dir>/<model_type>_<dataset_type>/`, the store inside it unless `save_dir` says otherwise."""
    tiny.make_job(tmp_path)
    run = Run(read_analysis_config(tiny.write_config(tmp_path)), "train_clean", "poisoned")
    assert run.folder == tmp_path / "results" / "poisoned_train_clean"
    assert run.save_dir == run.folder / "store"
    elsewhere = read_analysis_config(tiny.write_config(tmp_path, save_dir="/elsewhere"))
    assert str(Run(elsewhere, "train_clean", "clean").save_dir) == "/elsewhere"


def test_sample_is_seeded_and_in_row_order(tmp_path):
    """A subset depends on the seed alone, and rows keep their order."""
    job = tiny.make_job(tmp_path)
    chosen = sample(job.impressions, 10, 3, asked_for=True)
    again = sample(job.impressions, 10, 3, asked_for=True)
    assert chosen.sources == again.sources
    places = [job.impressions.sources.index(s) for s in chosen.sources]
    assert places == sorted(places)
    assert sample(job.impressions, 10, 4, asked_for=True).sources != chosen.sources


def test_numbers_beyond_the_data_are_clipped_or_refused():
    """From a YAML they are clipped with a warning; a flag is refused."""
    with pytest.warns(RecTrakWarning, match="`top_k`: more than there are. Got 9, expected at most 4 rows"):
        assert within(9, 4, "top_k", "rows", asked_for=False) == 4
    with pytest.raises(ConfigError, match="--top_k: `top_k`: more than there are. Got 9"):
        within(9, 4, "top_k", "rows", asked_for=True)
    assert within(4, 4, "top_k", "rows", asked_for=True) == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda():
    """A YAML for a GPU machine runs on the CPU with a warning; the flag is refused."""
    with pytest.warns(RecTrakWarning, match="no CUDA on this machine"):
        assert choose_device("cuda", asked_for=False) == "cpu"
    with pytest.raises(ConfigError, match="--device: no CUDA here"):
        choose_device("cuda", asked_for=True)
    assert choose_device("auto", asked_for=True) == "cpu"


def test_unknown_device():
    """A misspelt device is not passed on to torch."""
    with pytest.raises(ConfigError, match="`device`: unknown. Got 'gpu'"):
        choose_device("gpu", asked_for=False)


def test_checkpoint_of_another_architecture_is_refused_with_its_keys(tmp_path):
    """Missing and unexpected keys are listed, and nothing is written."""
    tiny.make_job(tmp_path)
    tiny.write_models(tmp_path / "naml", tmp_path / "data", "naml")
    (tmp_path / "runs" / "model.json").unlink()  # which would say so first
    config = read_analysis_config(tiny.write_config(tmp_path, model_config=str(tmp_path / "naml" / "model.json")))
    with pytest.raises(CheckpointError, match=r"(?s)missing.*unexpected"):
        read_job(Run(config, "train_clean", "clean"))
    assert not (tmp_path / "results").exists()


def test_another_loss_than_the_trained_one_is_warned_of(tmp_path):
    """Influence on a loss that did not teach the model is allowed and said."""
    tiny.make_job(tmp_path)
    with pytest.warns(RecTrakWarning, match="the model was trained with 'softmax'. Got 'bce'"):
        tiny.make_job(tmp_path, loss="bce")


def test_fingerprint_sees_rows_negatives_and_articles(tmp_path):
    """Each part of the data has its own field, so that a refusal can name it."""
    first = fingerprint(tiny.make_job(tmp_path))["features"]
    path = tmp_path / "data" / "models" / "train_clean.csv"
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    other = next(i for i, line in enumerate(lines[1:], start=1) if line[5] == "0")
    used = {line[3] for line in lines[1:] if line[:2] == lines[other][:2]}
    lines[other][3:5] = next(f"n{i}" for i in range(12) if f"n{i}" not in used), ""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    second = fingerprint(tiny.make_job(tmp_path))["features"]
    assert {key for key in first if first[key] != second[key]} == {"negatives"}


def test_data_is_found_with_and_without_the_models_folder(tmp_path):
    """Some trees lack `models/`."""
    data = tiny.write_tree(tmp_path / "data")
    with_folder = read_data(data, None, "train_clean")[1]
    (data / "models" / "train_clean.csv").rename(data / "train_clean.csv")
    assert read_data(data, None, "train_clean")[1].sources == with_folder.sources


def test_missing_click_log_names_both_places(tmp_path):
    """The user sees where was looked."""
    data = tiny.write_tree(tmp_path / "data")
    with pytest.raises(DataError, match=r"Got neither models/val_clean.csv or val_clean.csv, expected one of them"):
        read_data(data, None, "val_clean")


def test_mind_folder_is_recognised_and_featurized(tmp_path):
    """behaviors.tsv makes a folder MIND; its rows run through the store like any others."""
    tiny.make_job(tmp_path)
    mind = write_mind(tmp_path / "mind")
    assert data_format(mind, "train_clean") == "mind"
    assert data_format(tmp_path / "data", "train_clean") == "pairwise"
    keys = {"data_path": str(mind), "news_items_path": None, "negatives": 3, "output_dir": str(tmp_path / "out")}
    job = tiny.make_job(tmp_path, **keys)
    assert len(job.impressions) == 12
    assert set(job.impressions.candidates.lengths) == {4}
    assert featurize(job).computed == 12
    np.testing.assert_array_equal(job.impressions.is_fake, -1)


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (
            {"data_path": "data/news_items.csv"},
            r"data/news_items\.csv: is a file, not a folder\. Got no folder with",
        ),
        ({"data_path": "datta"}, r"datta: no such file; this folder holds data/\. Got no folder with a click log"),
        ({"checkpoints": "runs"}, r"runs: is a folder, with 2 files of weights in it .*runs/\*\.pt`"),
        (
            {"checkpoints": "runs/clean_0"},
            r"`checkpoints`: no such file; runs, the nearest .* holds clean_0\.pt\. Got",
        ),
        (
            {"checkpoints": "run/lr=[1]/*.pt"},
            r"`checkpoints`: no such file; this folder holds .*Got run/lr=\[1\]/",
        ),
    ],
)
def test_paths_that_lead_elsewhere(tmp_path, monkeypatch, keys, match):
    """What is there is called what it is; what is not says what is near."""
    tiny.make_job(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = read_analysis_config(tiny.write_config(tmp_path, **keys))
    with pytest.raises((ConfigError, DataError, CheckpointError), match=match):
        read_job(Run(config, "train_clean", "clean"))
