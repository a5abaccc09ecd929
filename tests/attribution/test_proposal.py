"""Laws of checkpoint_info --write: its YAML runs as it is, and what was not found is a line that says what to write."""

import json
import shutil

import pandas as pd
import pytest
import torch
from support import ROOT, tiny
from support.commands import call, fail, succeed
from support.mind import write_mind
from support.plm4newsrs import SETTINGS, nrms_state
from support.theirs import save_carrying, write_theirs

from rec_trak.attribution.proposal import _proj_dim
from rec_trak.checkpoints.state_dicts import write_state_dict
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.config.reader import read_mapping
from rec_trak.models.build import build_model


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The working directory, with a tree of our own training in it."""
    monkeypatch.chdir(tmp_path)
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    return tmp_path


def write(*arguments, name="my.yaml"):
    """What the command prints, and what it wrote."""
    return succeed("checkpoint_info", "--write", name, *arguments), read_mapping(name)


def run(kind, rows, *flags, name="my.yaml"):
    """featurize and score with the YAML as it is."""
    which = ("--config", name, "--dataset_type", f"train_{kind}", "--model_type", kind)
    assert f"featurized {rows} " in succeed("featurize", *which)
    assert "effective dimension" in succeed("score", *which, *flags)


def test_our_own_training(home):
    """Kinds by their names, the model.json beside, the tree's articles and benchmarks; both kinds run, and a target."""
    out, said = write("runs/clean_0.pt", "runs/poisoned_0.pt", "data")
    assert said == {
        "model_checkpoint": "runs/clean_0.pt", "poisoned_model_checkpoint": "runs/poisoned_0.pt",
        "model_config": "runs/model.json", "code_base": "rec_trak", "data_path": "data", "data_format": "pairwise",
        "news_items_path": "data/news_items.csv", "proj_dim": 512, "seed": 42, "batch_size": 32, "device": "cpu",
        "output_dir": "analysis/my", "targets": {"mixed": "data/benchmarks/benchmark_mixed.csv"},
    }  # fmt: skip
    assert "runs/poisoned_0.pt: poisoned, by its name" in out
    assert "rec-trak score --config my.yaml --dataset_type train_poisoned --model_type poisoned" in out
    run("clean", 24)
    run("poisoned", 32, "--targets", "mixed")
    assert len(pd.read_csv("analysis/my/poisoned_train_poisoned/targets/mixed/targets.csv")) == 11


def test_what_a_checkpoint_carries_needs_no_settings_file(home):
    """plm4newsrs: the kind and the settings stand in the files; they are shown, and no file of them is needed."""
    theirs = write_theirs(home)
    (theirs / "m.yaml").unlink()
    for i, kind in enumerate(("poisoned", "clean")):
        torch.manual_seed(i)
        carried = SETTINGS | {"num_attention_heads": 4, "model_type": kind}
        save_carrying(theirs / f"{i}.ckpt", nrms_state(), **carried)
    _, said = write("theirs/0.ckpt", "theirs/1.ckpt", "data")
    assert (said["model_checkpoint"], said["poisoned_model_checkpoint"]) == ("theirs/1.ckpt", "theirs/0.ckpt")
    assert "model_config" not in said
    text = (home / "my.yaml").read_text()
    assert "max_history_length 3, max_seq_length 5, num_attention_heads 4, num_user_attention_heads 4" in text
    assert "its own settings say `model_type: poisoned`" in text
    run("poisoned", 32)


def test_settings_that_lie_nearby_are_tried(home):
    """Without settings in the checkpoint a file with which the run can be read is named, and marked as found."""
    theirs = write_theirs(home)
    (theirs / "a.yaml").write_text(json.dumps(SETTINGS | {"num_attention_heads": 3}))
    _, said = write("theirs/clean_0.ckpt", "data")
    assert said["model_config"] == "theirs/m.yaml"
    assert "found there; it must be what the model was trained with" in (home / "my.yaml").read_text()
    assert "# poisoned_model_checkpoint:  # none was named" in (home / "my.yaml").read_text()
    run("clean", 24)
    (theirs / "m.yaml").unlink()
    assert "a.yaml: `num_attention_heads` does not fit" in write("theirs/clean_0.ckpt", "data", name="third.yaml")[0]
    (theirs / "a.yaml").unlink()
    out, said = write("theirs/clean_0.ckpt", "data", name="other.yaml")
    assert "Still missing:" in out
    assert "nothing says what the model is" in out
    assert "# model_config: PATH  # the settings that plm4newsrs trained it with" in (home / "other.yaml").read_text()


def test_a_mind_folder(home):
    """Its format is found, also one folder below; a dev folder beside it is proposed as targets, and read."""
    for name in ("train", "dev"):
        write_mind(home / "mind" / f"MINDsmall_{name}")
    text = TextConfig(words=("vote", "number", "1", "2"))
    config = ModelConfig("nrms", sizes=tiny.SIZES["nrms"], text=text, history_truncation="last")
    (home / "m").mkdir()
    config.write(home / "m" / "model.json")
    write_state_dict(home / "m" / "best.pt", build_model(config))
    out, said = write("m/best.pt", "mind")
    assert "which nothing says: it is taken for the clean one" in out
    assert (said["data_path"], said["data_format"]) == ("mind/MINDsmall_train", "mind")
    assert said["news_items_path"] == "mind/MINDsmall_train/news.tsv"
    assert said["targets"] == {"dev": {"mind": "mind/MINDsmall_dev", "count": 500}}
    run("clean", 12, "--targets", "dev")


def test_members_and_an_unknown_one(home):
    """Several of one kind are members; the one of unknown kind beside a known one is taken for the other."""
    shutil.copy("runs/clean_0.pt", "runs/clean_1.pt")
    _, said = write("runs/clean_0.pt", "runs/clean_1.pt", "runs/poisoned_0.pt", "data")
    assert said["checkpoints"] == {"clean": ["runs/clean_0.pt", "runs/clean_1.pt"], "poisoned": ["runs/poisoned_0.pt"]}
    read_analysis_config("my.yaml")
    shutil.copy("runs/clean_0.pt", "runs/second.pt")
    _, said = write("runs/second.pt", "runs/clean_0.pt", "data", name="two.yaml")
    assert said["poisoned_model_checkpoint"] == "runs/second.pt"


def test_a_users_own_model(home):
    """Its class cannot be known: the lines to fill in stand there, and once they are filled in it runs."""
    shutil.copy(ROOT / "examples" / "own_model.py", home / "own_model_for_proposals.py")
    words = json.loads((home / "runs" / "model.json").read_text())["text"]["words"]
    (home / "own").mkdir()
    (home / "own" / "model.json").write_text(json.dumps({"text": {"words": words}}))
    table = {
        "words.weight": (50, 4),
        "title.weight": (4, 4),
        "title.bias": (4,),
        "user.weight": (4, 4),
        "user.bias": (4,),
    }
    torch.save({name: torch.randn(shape) for name, shape in table.items()}, home / "own" / "clean.pt")
    out, said = write("own/clean.pt", "data")
    assert "`model`: the class that the checkpoint was trained with" in out
    assert said["model_config"] == "own/model.json"
    text = (home / "my.yaml").read_text()
    for line in ('# model: {class: "package.module:Name", args: {}}', '# forward: "package.module:function"'):
        assert line in text
        text = text.replace(line, line.removeprefix("# "))
    text = text.replace("package.module:Name", "own_model_for_proposals:TwoTower").replace(
        "args: {}", "args: {words: 50, dim: 4}"
    )
    (home / "my.yaml").write_text(text.replace("package.module:function", "own_model_for_proposals:scores"))
    run("clean", 24)


def test_without_data_what_to_write_stands_there(home):
    """Nothing is guessed: the folder of the data is a comment, and the command says so."""
    out, said = write("runs/clean_0.pt")
    assert "`data_path`: the folder of the click logs" in out
    assert "data_path" not in said
    assert said["model_config"] == "runs/model.json"
    assert "missing key `data_path`" in fail("featurize", "--config", "my.yaml")


def test_a_file_is_never_overwritten(home):
    """Neither a file nor a link is written over, and every refusal is one line that leaves nothing behind."""
    (home / "my.yaml").write_text("mine")
    assert "never overwritten. Got my.yaml" in fail("checkpoint_info", "--write", "my.yaml", "runs/clean_0.pt", "data")
    assert (home / "my.yaml").read_text() == "mine"
    (home / "link.yaml").symlink_to(home / "nowhere")
    assert "never overwritten" in fail("checkpoint_info", "--write", "link.yaml", "runs/clean_0.pt", "data")
    assert "no such folder" in fail("checkpoint_info", "--write", "a/b.yaml", "runs/clean_0.pt", "data")
    assert "no checkpoint. Got the data folder data alone" in fail("checkpoint_info", "--write", "x.yaml", "data")
    tiny.write_models(home / "naml", home / "data", "naml")
    message = fail("checkpoint_info", "--write", "x.yaml", "runs/clean_0.pt", "naml/poisoned_0.pt", "data")
    assert "different models. Got runs/clean_0.pt: rec_trak nrms; naml/poisoned_0.pt: rec_trak naml" in message
    assert not (home / "x.yaml").exists()


def test_strange_names_are_quoted(home):
    """Blanks, colons and quotes in paths are read back as they are."""
    shutil.copytree("runs", 'a: "b" #c')
    _, said = write('a: "b" #c/clean_0.pt', "data")
    assert said["model_checkpoint"] == 'a: "b" #c/clean_0.pt'
    assert said["model_config"] == 'a: "b" #c/model.json'


def test_the_sketch_grows_with_the_rows_between_bounds():
    """A power of two at least as large as the rows, from 512 to 2,048, and less where the disk would be full."""
    assert [_proj_dim(n) for n in (0, 512, 513, 1500, 100_000, 3_000_000, 10**9)] == [
        512,
        512,
        1024,
        2048,
        2048,
        1024,
        512,
    ]


GENUINE = {
    "nrms_glove": "outputs/politifact/nrms_model/glove_100_frozen/checkpoints/*.ckpt data",
    "naml_glove": "outputs/politifact/naml_model/glove_100_frozen/checkpoints/*.ckpt data",
    "nrms_bert": "outputs/politifact/nrms_model/bert_finetune/checkpoints/*.ckpt data",
    "naml_bert": "outputs/politifact/naml_model/bert_finetune/checkpoints/*.ckpt data",
    "NRMS": "yusanshi/checkpoint/NRMS/*.pth yusanshi/data",
    "NAML": "yusanshi/checkpoint/NAML/*.pth yusanshi/data",
    "LSTUR": "yusanshi/checkpoint/LSTUR/*.pth yusanshi/data",
}


@pytest.mark.parametrize("name", GENUINE)
def test_genuine_checkpoints(shared, tmp_path, monkeypatch, name):
    """What is written of each genuine checkpoint is whole and names its own kinds; the dry run takes it as it is."""
    if "bert" in name:
        pytest.importorskip("transformers")
    for entry in (shared / "fixtures").iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    pattern, data = GENUINE[name].split()
    paths = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob(pattern))
    out, said = write(*paths, data)
    assert "To run it:" in out
    kinds = [key for key in ("model_checkpoint", "poisoned_model_checkpoint") if key in said]
    assert [said[key] for key in kinds] == paths
    assert said["targets"]
    assert call("featurize", "--config", "my.yaml", "--dry_run").returncode == 0
