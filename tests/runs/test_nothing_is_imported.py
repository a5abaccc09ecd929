"""No file of a results folder, store or checkpoint decides what is imported; only a YAML or flag given now does."""

import json
import shutil
import sys

import pytest
from support import ROOT, finished, tiny
from support.commands import call, succeed

HARMLESS = "open('imported', 'w').close()\n\n\nclass Model:\n    pass\n"
OWN = {"model": {"class": "named_by_a_file:Model", "args": {}}, "forward": "named_by_a_file:Model"}
SPLIT = {"tokeniser": "named_by_a_file:Model"}


@pytest.fixture(params=[OWN, pytest.param(SPLIT, marks=pytest.mark.long)], ids=["model", "tokeniser"])
def folder(request, tmp_path, monkeypatch):
    """A finished run whose metadata.json names a module that lies in the working directory."""
    folder = finished.finished_run(tmp_path)
    (tmp_path / "named_by_a_file.py").write_text(HARMLESS)
    for path in (folder, folder / "targets" / "benchmark_mixed"):
        told = json.loads((path / "metadata.json").read_text())
        told["config"] |= request.param
        (path / "metadata.json").write_text(json.dumps(told))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)
    return folder


COMMANDS = {
    "trust": ["--results_dir", "FOLDER"],
    "detect": ["--results_dir", "FOLDER", "--promoted", finished.PROMOTED],
    "report": ["--results_dir", "FOLDER"],
    "compare": ["--clean_dir", "FOLDER", "--poisoned_dir", "FOLDER", "--output_dir", "compared"],
    "clean": ["--results_dir", "FOLDER", "--top", "2", "--dry_run"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_results_folder_names_nothing_to_import(folder, command):
    """Every command that reads a finished run, with a class in its metadata.json."""
    words = [str(folder) if word == "FOLDER" else word for word in COMMANDS[command]]
    result = call(command, *words, folder=folder.parents[1])
    assert result.returncode == 0, result.stderr
    assert not (folder.parents[1] / "imported").exists()
    assert "named_by_a_file" not in sys.modules


def test_trust_says_how_the_law_is_checked_all_the_same(folder):
    """It is not checked, and the YAML given now is what may name the class."""
    out = succeed("trust", "--results_dir", str(folder))
    assert "not checked" in out
    assert "which is only imported where a YAML given now names it" in out


def test_settings_beside_a_checkpoint_name_nothing(tmp_path, monkeypatch):
    """A model.json that asks for a class of somebody's own is refused, in featurize and checkpoint_info."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    (tmp_path / "named_by_a_file.py").write_text(HARMLESS)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    path = tmp_path / "runs" / "model.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"architecture": "own", "sizes": OWN["model"] | {"forward": OWN["forward"]}}))
    config = tiny.write_config(tmp_path)
    assert call("featurize", "--config", str(config), folder=tmp_path).returncode == 2
    call("checkpoint_info", str(tmp_path / "runs" / "clean_0.pt"), folder=tmp_path)
    assert not (tmp_path / "imported").exists()


def test_a_yaml_given_now_may_name_it(tmp_path, monkeypatch):
    """trust.py --config: the law is checked with the user's own class."""
    shutil.copy(ROOT / "examples" / "own_model.py", tmp_path)
    shutil.copy(ROOT / "tests" / "support" / "their_models.py", tmp_path / "theirs.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    config = own_run(tmp_path)
    results = tmp_path / "results" / "clean_train_clean"
    assert "not checked" in succeed("trust", "--results_dir", str(results))
    assert "plain autograd" in succeed("trust", "--results_dir", str(results), "--config", str(config))
    for name in ("theirs", "own_model"):
        sys.modules.pop(name, None)


def own_run(home):
    """A scored run of a model of the user's own; its YAML."""
    import torch

    from rec_trak.config.analysis import read_analysis_config
    from rec_trak.data.articles import build_vocabulary, read_news_items
    from rec_trak.models.own import build_own

    tiny.write_tree(home / "data")
    words = build_vocabulary(read_news_items(home / "data" / "news_items.csv"), "regex", ("title",))
    (home / "runs").mkdir()
    settings = {"views": ["title"], "text": {"words": words, "title_length": 6}, "max_history": 4}
    (home / "runs" / "model.json").write_text(json.dumps(settings), encoding="utf-8")
    own = {"model": {"class": "theirs:TwoTower", "args": {"words": 30, "dim": 4}}, "forward": "theirs:scores"}
    config = tiny.write_config(home, **own)
    torch.manual_seed(0)
    inner = build_own(read_analysis_config(config).model).inner
    torch.save(inner.state_dict(), home / "runs" / "clean_0.pt")
    for command in ("featurize", "score"):
        succeed(command, "--config", str(config), folder=home)
    return config
