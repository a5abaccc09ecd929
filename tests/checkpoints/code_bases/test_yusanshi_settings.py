"""Laws of yusanshi's settings: its src/config.py, the same as JSON and a flat file give one model."""

import json

import pytest
import torch
from support.commands import fail

from rec_trak.checkpoints.code_bases import yusanshi
from rec_trak.checkpoints.source import read_settings, read_source
from rec_trak.config.reading import Reading
from rec_trak.data.sources import read_data
from rec_trak.errors import ConfigError

PYTHON = """
import os

model_name = os.environ['MODEL_NAME'] if 'MODEL_NAME' in os.environ else 'NRMS'


class BaseConfig():
    num_epochs = 2
    num_clicked_news_a_user = 6
    num_words_title = 12
    num_words_abstract = 16
    load_checkpoint = os.environ['LOAD_CHECKPOINT'] == '1'
    num_words = 1 + 1588
    word_embedding_dim = 20


class NRMSConfig(BaseConfig):
    dataset_attributes = {"news": ['title'], "record": []}
    num_attention_heads = 5


class NAMLConfig(BaseConfig):
    dataset_attributes = {"news": ['category', 'subcategory', 'title', 'abstract'], "record": []}
    num_filters = 10
    window_size = 3
"""


def test_a_class_gives_its_models_constants():
    """A model's class and its bases say everything, its own values first; other models' classes say nothing."""
    settings = {
        "BaseConfig": {"num_words": 9, "num_words_title": 20},
        "NRMSConfig": {"num_words": 9, "num_words_title": 12, "dataset_attributes": {"news": ["title"]}},
        "NAMLConfig": {"num_words": 9, "num_filters": 3, "num_words_title": 1},
    }
    nrms = {"num_words": 9, "num_words_title": 12, "news": ["title"]}
    assert yusanshi.chosen(settings, "nrms", "f") == nrms
    as_json = {"common": settings["BaseConfig"], "NRMS": settings["NRMSConfig"], "NAML": settings["NAMLConfig"]}
    assert yusanshi.chosen(as_json, "nrms", "f") == nrms
    with pytest.raises(
        ConfigError, match=r"f: no settings of LSTUR.* Got 3 section\(s\) \(BaseConfig, NRMSConfig, NAML"
    ):
        yusanshi.chosen(settings, "lstur", "f")


def test_a_flat_file_is_strict():
    """Without classes every key is the user's own, so that a misspelt one is still named."""
    assert yusanshi.chosen({"num_word": 9}, "nrms", "f") == {"num_word": 9}


@pytest.fixture
def tree(shared):
    """The genuine tree, and its articles."""
    folder = shared / "fixtures" / "yusanshi"
    return folder, read_data(folder / "data", None, "train_poisoned", Reading("parsed"))[0]


@pytest.mark.parametrize(("name", "file"), [("NRMS", "ckpt-40.pth"), ("NAML", "ckpt-20.pth")])
def test_its_config_py_gives_the_model_of_a_flat_file(tree, tmp_path, name, file):
    """Read as it is, without a `data` key: the dictionaries lie beside the articles."""
    folder, articles = tree
    checkpoint = folder / "checkpoint" / name / file
    constants = json.loads((folder / "config.json").read_text())
    flat = constants["common"] | constants[name] | {"data": str(folder / "data" / "train")}
    (tmp_path / "config.py").write_text(PYTHON)
    (tmp_path / "flat.yaml").write_text(json.dumps(flat))
    places = (tmp_path / "config.py", folder / "config.json", tmp_path / "flat.yaml")
    configs = [read_source(read_settings(p), str(p), "auto", checkpoint, articles).config for p in places]
    assert configs[0] == configs[1] == configs[2]


def test_a_config_py_that_says_too_little(tree, tmp_path):
    """What is no literal is missing, with the words that help; what contradicts the tensors is refused."""
    folder, articles = tree
    checkpoint, place = folder / "checkpoint" / "NRMS" / "ckpt-40.pth", tmp_path / "config.py"
    place.write_text(PYTHON.replace("= 6\n", "= int(os.environ['N'])\n"))
    with pytest.raises(
        ConfigError, match=r"missing key `num_clicked_news_a_user`.*no literal|literals is missing\. Write"
    ):
        read_source(read_settings(place), str(place), "auto", checkpoint, articles)
    place.write_text(PYTHON.replace("1 + 1588", "1 + 31313"))
    with pytest.raises(ConfigError, match=r"Got `num_words` 31314, expected 1589"):
        read_source(read_settings(place), str(place), "auto", checkpoint, articles)


def test_a_broken_config_py_is_one_line(tmp_path):
    """From the command line too: where, what, and what to do."""
    (tmp_path / "config.py").write_text("class NRMSConfig(:\n")
    (tmp_path / "trak.yaml").write_text(
        f"model_checkpoint: {tmp_path}/a.pth\nmodel_config: {tmp_path}/config.py\ndata_path: d\noutput_dir: o\n"
    )
    torch.save({}, tmp_path / "a.pth")
    message = fail("featurize", "--config", tmp_path / "trak.yaml")
    assert "config.py: not valid Python: line 1" in message
    assert "Write the settings as YAML" in message
