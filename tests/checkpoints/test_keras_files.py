"""Laws of Keras' files: what stands beside the weights, and files that are something else. Nothing of them is run."""

import json
import zipfile

import numpy as np
import pytest
import torch
from support.keras_files import functional, grouped, layer, nested, nrms_config, write_hdf5, write_zip
from support.keras_models import naml, nrms

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.errors import CheckpointError

pytest.importorskip("h5py")
SAID = {"head_num": 2, "head_dim": 4, "his_size": 5, "title_size": 6, "attention_hidden_dim": 5, "dropout": 0.1}
SAID |= {"loss": "cross_entropy_loss", "layers": "recommenders"}


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        read_checkpoint_file(path)
    assert str(caught.value).isprintable()


def test_formats_are_told_by_their_content(tmp_path):
    """Law: the name does not matter; versions and settings stand beside the weights."""
    write_hdf5(tmp_path / "a.pt", grouped(nrms(), "nrms"), {"keras_version": "2.15.0", "model_config": "{}"})
    write_zip(tmp_path / "b.pt", nested(nrms(), "nrms"), nrms_config())
    first, second = (read_checkpoint_file(tmp_path / name) for name in ("a.pt", "b.pt"))
    assert (first.format, second.format) == ("hdf5", "keras zip")
    assert (first.extras, second.extras) == ({"keras_version": "2.15.0"}, {"keras_version": "3.15.1", "config": SAID})
    assert torch.equal(first.state["att_layer2_1/q:0"], second.state["att_layer2_1/q"])


def test_what_a_configuration_says(tmp_path):
    """Law: NAML's lengths are those of its encoders' inputs, its activations those of convolutions and topics."""
    encoders = [
        functional("title_encoder", layer("InputLayer", batch_shape=[None, 6]), layer("Conv1D", activation="relu")),
        functional("body_encoder", layer("InputLayer", batch_shape=[None, 8])),
        functional("vert_encoder", layer("InputLayer", batch_shape=[None, 1]), layer("Dense", activation="relu")),
    ]
    news = functional("news_encoder", layer("InputLayer", batch_shape=[None, 16]), *encoders)
    user = functional("user_encoder", layer("InputLayer", batch_shape=[None, 5, 16]), layer("Dense", activation=None))
    write_zip(tmp_path / "a.keras", nested(naml(), "naml"), functional("model", news, user))
    expected = {"title_size": 6, "body_size": 8, "his_size": 5, "cnn_activation": "relu", "dense_activation": "relu"}
    assert read_checkpoint_file(tmp_path / "a.keras").extras["config"] == expected


def test_layers_that_differ(tmp_path):
    """Law: one setting for layers that have several is refused; so are two numbers for one weight."""
    config = functional("model", nrms_config(heads=2), nrms_config(heads=4))
    write_zip(tmp_path / "a.keras", nested(nrms(), "nrms"), config)
    refused(tmp_path / "a.keras", r"a.keras: its layers differ in `head_num`. Got \[2, 4\], expected one value")
    paths = grouped(nrms(), "nrms")
    paths["time_distributed_1/att_layer2/b:0"] = paths["time_distributed_1/att_layer2/b:0"] + 1
    write_hdf5(tmp_path / "a.h5", paths)
    refused(tmp_path / "a.h5", "a.h5: layers that share 'att_layer2/b:0' do not agree on it")


def test_files_without_weights(tmp_path):
    """Law: what a saving that failed leaves, and another program's HDF5, are refused by what is missing."""
    write_hdf5(tmp_path / "a.h5", {}, {"model_config": "{}"})
    refused(tmp_path / "a.h5", "a.h5: no weights in it. Got 0 other arrays, expected those of layers. Save it again")
    write_hdf5(tmp_path / "b.h5", {"x": np.ones(2), "optimizer/vars/0": np.ones(2)})
    refused(tmp_path / "b.h5", "b.h5: no weights in it. Got 1 other arrays")


def test_archives_that_keras_does_not_write(tmp_path):
    """Law: further members, a member twice, and what is no JSON are refused; assets are not looked into."""
    paths = nested(nrms(), "nrms")
    write_zip(tmp_path / "a.keras", paths, {}, {"assets/vocabulary.txt": "x"})
    assert read_checkpoint_file(tmp_path / "a.keras").format == "keras zip"
    write_zip(tmp_path / "b.keras", paths, {}, {"../evil.py": "x"})
    refused(tmp_path / "b.keras", r"b.keras: not what Keras saves. Got 1 member\(s\) \(../evil.py\), expected one each")
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_zip(tmp_path / "c.keras", paths, {}, {"config.json": "{}"})
    refused(tmp_path / "c.keras", "c.keras: not what Keras saves. Got 1 member")
    for text, match in (("{", "is no JSON"), ("[" * 5000, "nested"), ('{"a": 1' + "0" * 5000 + "}", "digits")):
        with zipfile.ZipFile(tmp_path / "d.keras", "w") as archive, zipfile.ZipFile(tmp_path / "a.keras") as source:
            for name in ("metadata.json", "model.weights.h5"):
                archive.writestr(name, source.read(name))
            archive.writestr("config.json", text)
        refused(tmp_path / "d.keras", f"d.keras: config.json is no JSON.*{match}" if text != "{" else match)


def test_a_configuration_runs_nothing(tmp_path):
    """Law: code in a Lambda layer, and classes of anybody's, are text."""
    code = layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": None}})
    code |= {"module": "os", "registered_name": "system"}
    write_hdf5(
        tmp_path / "a.h5",
        grouped(nrms(), "nrms", "model_weights/"),
        {"model_config": json.dumps(functional("m", code))},
    )
    read = read_checkpoint_file(tmp_path / "a.h5")
    assert read.extras == {}
    assert len(read.state) == 13


def test_parts_of_a_tensorflow_checkpoint(tmp_path):
    """Law: the files that `save_weights` writes for a name without an ending are told for what they are."""
    for name in ("nrms_ckpt.index", "nrms_ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"\0\0\1\2")
        refused(tmp_path / name, "a part of a TensorFlow checkpoint. Load it there with `model.load_weights`, then")
    refused(tmp_path / "nrms_ckpt", "the name of a TensorFlow checkpoint of several files. Load it there")
