"""One checkpoint of each kind that is read, with the YAML keys that run it on a small tree. Not here: tests."""

import json

import pytest
import torch

from support import keras_models, tiny
from support.foreign import write_numbers
from support.plm4newsrs import SETTINGS, nrms_state
from support.theirs import VECTORS


def ours(folder, _):
    tiny.write_tree(folder / "data")
    tiny.write_models(folder / "runs", folder / "data")
    return torch.load(folder / "runs" / "clean_0.pt"), {"model_config": str(folder / "runs" / "model.json")}


def glove(folder, _):
    tiny.write_tree(folder / "data")
    (folder / "glove.txt").write_text(VECTORS, encoding="utf-8")
    settings = SETTINGS | {"glove_file_path": str(folder / "glove.txt")}
    return _without_model(nrms_state()), {"model_config": _settings(folder, settings)}


def transformer(folder, _):
    lm = pytest.importorskip("support.tiny_lm")
    tiny.write_tree(folder / "data")
    place = lm.write_tokeniser(lm.write_language_model(folder / "bert"), " ".join(tiny.WORDS))
    words = {f"news_encoder.lm.{name}": tensor for name, tensor in lm.write_weights(place).state_dict().items()}
    settings = {key: value for key, value in SETTINGS.items() if not key.startswith("glove")}
    settings |= {"model_name": str(place), "max_seq_length": 8}
    return _without_model(nrms_state(lm.WIDTH)) | words, {"model_config": _settings(folder, settings)}


def newsreclib(folder, _):
    tiny.write_tree(folder / "data")
    width, heads = 8, 2
    (folder / "numbers").mkdir()
    write_numbers(folder / "numbers" / "word2index.tsv", "word", "index", tuple(tiny.WORDS))
    title, user = "news_encoder.text_encoders.title", "user_encoder"
    shapes = {f"{title}.embedding_layer.weight": (len(tiny.WORDS) + 1, width)}
    for name in (title, user):
        shapes |= {
            f"{name}.multihead_attention.in_proj_weight": (3 * width, width),
            f"{name}.multihead_attention.in_proj_bias": (3 * width,),
            f"{name}.multihead_attention.out_proj.weight": (width, width),
            f"{name}.multihead_attention.out_proj.bias": (width,),
            f"{name}.additive_attention.linear.weight": (5, width),
            f"{name}.additive_attention.linear.bias": (5,),
            f"{name}.additive_attention.query": (5,),
        }
    settings = {"data": str(folder / "numbers"), "max_title_len": 6, "max_history_len": 4, "num_heads": heads}
    state = {name: torch.randn(shape) / 2 for name, shape in shapes.items()}
    return state, {"model_config": _settings(folder, settings)}


def yusanshi(folder, request):
    """The genuine checkpoint and its data."""
    genuine = request.getfixturevalue("shared") / "fixtures" / "yusanshi"
    constants = json.loads((genuine / "config.json").read_text(encoding="utf-8"))
    settings = constants["common"] | constants["NRMS"] | {"data": str(genuine / "data" / "train")}
    state = torch.load(genuine / "checkpoint" / "NRMS" / "ckpt-40.pth", weights_only=False)["model_state_dict"]
    keys = {"data_path": str(genuine / "data"), "news_items_path": str(genuine / "data" / "train" / "news.tsv")}
    return dict(state), keys | {"model_config": _settings(folder, settings), "data_format": "parsed"}


def keras(folder, _):
    """recommenders' NRMS under the names that Keras 2 gives its weights."""
    tiny.write_tree(folder / "data")
    dictionary = folder / "words.json"
    dictionary.write_text(json.dumps({word: i + 1 for i, word in enumerate(tiny.WORDS)}), encoding="utf-8")
    sizes = {"title_size": keras_models.TITLE, "his_size": keras_models.HISTORY, "head_num": keras_models.HEADS}
    settings = sizes | {"wordDict_file": str(dictionary), "layers": "recommenders"}
    return keras_models.state_of(keras_models.nrms(words=tiny.WORDS)), {"model_config": _settings(folder, settings)}


KINDS = {
    "rec_trak": ours,
    "plm4newsrs-glove": glove,
    "plm4newsrs-transformer": transformer,
    "yusanshi": yusanshi,
    "newsreclib": newsreclib,
    "keras": keras,
}


def _without_model(state):
    return {name.removeprefix("model."): tensor / 4 for name, tensor in state.items()}  # as large as trained ones


def _settings(folder, settings) -> str:
    path = folder / "settings.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return str(path)
