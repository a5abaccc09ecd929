"""Laws of descriptions: a checkpoint says what it is, in short plain data, and nothing from it is run."""

import json
import pathlib

import pytest
import torch
from support import tiny
from support.commands import call, succeed
from support.keras_files import nested, nrms_config, write_zip
from support.keras_models import nrms
from torch import nn

from rec_trak.checkpoints.info import describe_checkpoint, description_lines
from rec_trak.checkpoints.state_dicts import write_model_config, write_state_dict
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.errors import CheckpointError
from rec_trak.models.build import build_model

TEXT = TextConfig(words=("a", "b"), categories=("x",))
SMALL = {
    "nrms": {"word_dim": 6, "heads": 2, "head_dim": 3, "query_dim": 4},
    "naml": {"word_dim": 6, "filters": 4, "query_dim": 4},
    "lstur": {"word_dim": 6, "filters": 4, "query_dim": 4},
}


def our_config(architecture):
    """A small model of ours."""
    views = ("title", "category") if architecture == "naml" else ("title",)
    return ModelConfig(architecture, views, sizes=SMALL[architecture], text=TEXT, users=("u",))


@pytest.fixture
def genuine(shared):
    """The folder of genuine checkpoints."""
    return shared / "fixtures"


def test_a_keras_file_says_its_sizes_but_not_its_words(tmp_path):
    """Law: settings that the file holds are told, and what `model_config` must still say is named."""
    write_zip(tmp_path / "a.keras", nested(nrms(), "nrms"), nrms_config())
    description = describe_checkpoint(tmp_path / "a.keras")
    assert (description["format"], description["code_base"], description["architecture"]) == (
        "keras zip",
        "keras",
        "nrms",
    )
    assert description["sizes"]["heads"] == {"head_num": 2, "head_dim": 4}
    assert description["trained_with"]["title_size"] == 6
    last = description_lines(description)[-1]
    assert last == "model_config:  # what the file does not say: the dictionaries, as `wordDict_file`"


@pytest.mark.parametrize("architecture", SMALL)
def test_our_own_checkpoints(tmp_path, architecture):
    """Law: ours are known with and without the model.json beside them; every parameter reaches the scores."""
    config = our_config(architecture)
    model = build_model(config)
    write_state_dict(tmp_path / "a.pt", model)
    told = describe_checkpoint(tmp_path / "a.pt")
    count = sum(p.numel() for p in model.parameters())
    assert (told["code_base"], told["architecture"], told["problem"]) == ("rec_trak", architecture, None)
    assert (told["parameters"]["in_file"], told["parameters"]["in_scores"]) == (count, count)
    assert sum(told["parameters"]["by_module"].values()) == count
    assert told["sizes"]["word_dim"] == 6
    assert told["sizes"]["embeddings"]["word_embedding.weight"] == [4, 6]
    assert told["yaml"]["model_config"] is None
    write_model_config(tmp_path / "model.json", config)
    told = describe_checkpoint(tmp_path / "a.pt")
    assert told["yaml"]["model_config"] == str(tmp_path / "model.json")
    assert told["trained_with"]["query_dim"] == 4
    assert told["sizes"]["heads"].get("heads") == (2 if architecture == "nrms" else None)


def test_a_settings_file_that_does_not_fit(tmp_path):
    """Law: a model.json of another model, or one that cannot be read, is told as a problem, not as the model's."""
    write_state_dict(tmp_path / "a.pt", build_model(our_config("nrms")))
    write_model_config(tmp_path / "model.json", our_config("naml"))
    told = describe_checkpoint(tmp_path / "a.pt")
    assert told["architecture"] == "nrms"
    assert "another architecture. Got naml, expected nrms" in told["problem"]
    (tmp_path / "model.json").write_text('{"architecture": "nrms", "heads": 3}')
    assert "`heads`" in describe_checkpoint(tmp_path / "a.pt")["problem"]


def test_a_genuine_plm4newsrs_checkpoint(genuine):
    """Law: its class' attributes are the settings; what never reaches a score is named and counted."""
    (path,) = (genuine / "outputs/politifact/nrms_model/glove_100_frozen/checkpoints").glob("clean*")
    told = describe_checkpoint(path)
    assert (told["code_base"], told["architecture"], told["format"]) == ("plm4newsrs", "nrms", "pytorch zip")
    assert told["parameters"]["in_file"] == 84_064
    assert told["parameters"]["by_module"] == {"news_encoder": 42_032, "user_encoder": 42_032}
    never = told["parameters"]["never_in_scores"]
    assert told["parameters"]["in_scores"] == 84_064 - sum(never.values())
    assert told["sizes"]["heads"] == {"num_attention_heads": 10, "num_user_attention_heads": 5}
    assert told["sizes"]["word_dim"] == 100
    assert (told["trained_with"]["epochs"], told["trained_with"]["base_dir"]) == (2, "outputs/politifact")
    assert (told["progress"]["epoch"], told["progress"]["global_step"]) == (1, 16)
    assert told["replaced_classes"] == ["configs.models.nrms_config.NRMSConfig", "pathlib.PosixPath"]
    assert told["yaml"] == {"model_checkpoint": str(path), "code_base": "plm4newsrs", "model_config": None}


def test_parameters_without_a_gradient_are_those_that_never_reach_a_score(genuine):
    """Law: what the code base's own autograd gives no gradient is told (and counted) as never reaching a score."""
    (path,) = (genuine / "outputs/politifact/naml_model/bert_finetune/checkpoints").glob("*.ckpt")
    never = describe_checkpoint(path)["parameters"]["never_in_scores"]
    assert never == {
        "news_encoder.view_attention_query": 24, "news_encoder.view_attention_proj.weight": 384,
        "news_encoder.view_attention_proj.bias": 16, "news_encoder.lm.pooler.dense.weight": 4096,
        "news_encoder.lm.pooler.dense.bias": 64,
    }  # fmt: skip


@pytest.mark.parametrize(("place", "words"), [("NRMS/ckpt-40", 1), ("NAML/ckpt-20", 1), ("LSTUR/ckpt-20", 1)])
def test_genuine_yusanshi_checkpoints(genuine, place, words):
    """Law: vocabulary and users are the rows of the tables; a table with two names counts once."""
    told = describe_checkpoint(genuine / "yusanshi" / "checkpoint" / f"{place}.pth")
    architecture = place.split("/")[0].lower()
    assert (told["code_base"], told["architecture"]) == ("yusanshi", architecture)
    tables = list(told["sizes"]["embeddings"].values())
    assert tables.count([1589, 20]) == words
    assert ([149, 30] in tables) == (architecture == "lstur")
    assert told["sizes"]["word_dim"] == 20
    assert told["progress"]["step"] == int(place.split("-")[1])


def test_unknown_code_bases(tmp_path):
    """Law: a file of no known code base is still described, and the YAML names a class of the user's own."""
    torch.save({"state_dict": nn.GRU(3, 4).state_dict(), "epoch": 2}, tmp_path / "a.ckpt")
    told = describe_checkpoint(tmp_path / "a.ckpt")
    assert (told["code_base"], told["architecture"]) == (None, None)
    assert (told["parameters"]["in_file"], told["parameters"]["in_scores"]) == (108, None)
    assert told["parameters"]["never_in_scores"] is None
    lines = description_lines(told)
    assert "  code base     unknown" in lines
    assert any(line.startswith("model: {class:") for line in lines)


def test_a_known_code_base_whose_tensors_do_not_fit(tmp_path, genuine):
    """Law: what the name map says is told as the problem; the rest of the description stands."""
    state = torch.load(genuine / "yusanshi/checkpoint/NRMS/ckpt-40.pth", weights_only=False)["model_state_dict"]
    state["user_encoder.strange"] = torch.zeros(2)
    torch.save(state, tmp_path / "a.pth")
    told = describe_checkpoint(tmp_path / "a.pth")
    assert (told["code_base"], told["architecture"]) == ("yusanshi", "nrms")
    assert "1 unexpected (user_encoder.strange)" in told["problem"]
    assert told["parameters"]["in_scores"] is None
    assert f"  problem: {told['problem']}" in description_lines(told)


class Settings(dict):
    """A class whose objects have attributes and items."""


def test_what_settings_may_hold(tmp_path):
    """Law: whatever stands in the settings is told as plain data: objects by name or attributes, paths as text."""
    settings = Settings(depth=3)
    settings.folder, settings.kind = pathlib.PurePosixPath("/a/b"), nn.Linear
    values = {
        "object": settings, "nothing": None, "many": [1, (2, {"x": 0.5})], "bad": float("nan"), "tensor": torch.ones(2),
        "bytes": b"x", "set": {1}, "flag": True, "type": torch.float32, "text": "a\x1b[31mb\n" + "c" * 500,
    }  # fmt: skip
    torch.save({"state_dict": {"w": torch.ones(1)}, "hyper_parameters": values}, tmp_path / "a.ckpt")
    told = describe_checkpoint(tmp_path / "a.ckpt")["trained_with"]
    assert told == {
        "object": {"depth": 3, "folder": "/a/b", "kind": "torch.nn.modules.linear.Linear"}, "nothing": None,
        "many": [1, [2, {"x": 0.5}]], "bad": "nan", "tensor": "torch.Tensor", "bytes": "bytes", "set": [1],
        "flag": True, "type": "torch.float32", "text": "a?[31mb?" + "c" * 192,
    }  # fmt: skip
    assert json.loads(json.dumps(told)) == told


def test_settings_without_end(tmp_path):
    """Law: settings that unfold without end, or that hold themselves, are cut."""
    endless = [1]
    for _ in range(100):
        endless = [endless, endless]
    loop = [2]
    loop.append(loop)
    for extra in ({}, {"object": pathlib.PurePosixPath("x")}):  # which takes the file through our own unpickler
        for values in ({"loop": loop, **extra}, {"endless": endless, "loop": loop, **extra}):
            torch.save({"state_dict": {"w": torch.ones(1)}, "hyper_parameters": values}, tmp_path / "a.ckpt")
            told = json.dumps(describe_checkpoint(tmp_path / "a.ckpt"))
            assert len(told) < 60_000


def test_the_script(tmp_path, genuine):
    """Law: the script prints the description, or the same as JSON."""
    path = genuine / "yusanshi/checkpoint/LSTUR/ckpt-20.pth"
    text = succeed("checkpoint_info", path)
    for line in ("code base     yusanshi", "architecture  lstur", "reach scores  42,674", "149 x 30  user_embedding"):
        assert line in text
    assert f'model_checkpoint: "{path}"\ncode_base: yusanshi\n' in text
    assert json.loads(succeed("checkpoint_info", "--json", path)) == describe_checkpoint(path)


def test_the_script_on_bad_input(tmp_path):
    """Law: one line and exit code 2."""
    (tmp_path / "a.pt").write_text("hello")
    for path in (tmp_path / "a.pt", tmp_path / "absent.pt", tmp_path):
        result = call("checkpoint_info", path)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith(f"error: {path}: ")
        assert result.stderr.count("\n") == 1
    with pytest.raises(CheckpointError, match="absent.pt: no such file"):
        describe_checkpoint(tmp_path / "absent.pt")


def test_wrapped_and_beside_the_model(tmp_path):
    """Law: a wrapper's prefix hides nothing; numbers' formats and what is no parameter of the model are told."""
    tiny.make_job(tmp_path)
    plain = describe_checkpoint(tmp_path / "runs" / "clean_0.pt")
    state = torch.load(tmp_path / "runs" / "clean_0.pt")
    wrapped = {f"net.{name}": tensor.half() for name, tensor in state.items()} | {"loss.weight": torch.ones(2)}
    torch.save({"state_dict": wrapped, "epoch": 3}, tmp_path / "runs" / "wrapped.ckpt")
    told = describe_checkpoint(tmp_path / "runs" / "wrapped.ckpt")
    same = ("code_base", "architecture", "parameters", "sizes", "trained_with", "problem")
    assert {key: told[key] for key in same} == {key: plain[key] for key in same}
    assert (told["numbers"], told["beside_the_model"]) == (["float16"], ["loss.weight"])
    lines = "\n".join(description_lines(told))
    assert "float16" in lines
    assert "1 name(s) that are not the model (loss.weight)" in lines


def test_an_adapter_is_a_problem_that_is_told(tmp_path):
    """Law: LoRA is named, whosever names it stands among."""
    torch.save({"base_model.model.a.lora_A.default.weight": torch.ones(2)}, tmp_path / "a.pt")
    assert "LoRA adapter" in describe_checkpoint(tmp_path / "a.pt")["problem"]
