"""Every key is checked, all bad ones are named at once, and the YAML of the existing scripts is read unchanged."""

import warnings
from pathlib import Path

import pytest
from support import ROOT

from rec_trak.config.analysis import AnalysisConfig, analysis_config, checkpoint_paths, read_analysis_config
from rec_trak.config.model import ModelConfig, TextConfig, read_model_config
from rec_trak.config.reader import read_mapping
from rec_trak.config.training import read_training_config
from rec_trak.errors import ConfigError, RecTrakWarning

CONFIGS = ROOT / "configs"
NEEDED = "model_config: m.json\ndata_path: data\noutput_dir: out\n"


def write(tmp_path, text, name="a.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted((CONFIGS / "trak").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_analysis_configs_load_without_a_warning(path):
    """Each configs/trak YAML is a valid analysis."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_analysis_config(path).output_dir.startswith("analysis/")


@pytest.mark.parametrize("path", sorted((CONFIGS / "train").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_training_configs_load(path):
    """Each configs/train YAML is a valid training."""
    assert read_training_config(path).output_dir.startswith("runs/")


def test_old_yaml_is_read_unchanged(tmp_path):
    """All keys of the existing scripts are accepted with their values; `proj_dim: 512` is obeyed."""
    text = """
poisoned_model_checkpoint: "p.ckpt"
model_checkpoint: "c.ckpt"
model_config: "m.yaml"
model_type: "bert"
data_path: "data"
news_items_path: "data/news_items.csv"
proj_dim: 512
num_models: 1
top_k: 100
sample_size: null
seed: 42
batch_size: 32
device: "cuda"
output_dir: "out"
save_embeddings: true
"""
    config = read_analysis_config(write(tmp_path, text))
    assert (config.proj_dim, config.seed, config.sample_size, config.save_embeddings) == (512, 42, None, True)
    assert config.lambda_rel == 1.0


def test_unneeded_old_keys_are_accepted_and_named_once(tmp_path):
    """A listed key that is not needed gives one warning that names it."""
    with pytest.warns(RecTrakWarning, match="`tsne_max_samples`"):
        read_analysis_config(write(tmp_path, NEEDED + "tsne_max_samples: 5000\n"))


def test_every_bad_key_is_named_at_once_with_a_suggestion(tmp_path):
    """One message holds unknown, missing, mistyped and out-of-range keys."""
    text = "model_config: m.json\ndata_path: data\nproj_dmi: 3\ntop_k: many\nbatch_size: 0\nloss: hinge\n"
    with pytest.raises(ConfigError) as error:
        read_analysis_config(write(tmp_path, text))
    for part in (
        "`proj_dmi` (did you mean `proj_dim`?)",
        "`top_k`",
        "'many'",
        "`batch_size`",
        "`loss`",
        "`output_dir`",
    ):
        assert part in str(error.value)


def test_repeated_key_is_refused(tmp_path):
    """YAML would keep the last one silently."""
    with pytest.raises(ConfigError, match="`proj_dim` stands twice, in lines 4 and 5"):
        read_analysis_config(write(tmp_path, NEEDED + "proj_dim: 4\nproj_dim: 8\n"))


@pytest.mark.parametrize("text", ["1e-4", "'1e-4'", "0.0001", "1.0E-4"])
def test_scientific_notation_is_a_number(tmp_path, text):
    """PyYAML reads 1e-4 as a string; here it is a number."""
    assert read_analysis_config(write(tmp_path, NEEDED + f"lambda_rel: {text}\n")).lambda_rel == 1e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "expected a mapping"),
        ("a: [1\n", "not valid yaml"),
        (NEEDED + "lambda_rel: nan\n", "`lambda_rel`"),
        (NEEDED + "lambda_rel: -1\n", "at least 0.0"),
        (NEEDED + "save_embeddings: 1\n", "true or false"),
        (NEEDED + "proj_dim: true\n", "a whole number"),
        (NEEDED + "checkpoints: [1, 2]\n", "`checkpoints`"),
    ],
)
def test_malformed_files_are_refused(tmp_path, text, message):
    """Wrong shape, wrong syntax, wrong type."""
    with pytest.raises(ConfigError, match=message):
        read_analysis_config(write(tmp_path, text))


def test_missing_file(tmp_path):
    """The path is named."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        read_mapping(tmp_path / "nowhere.yaml")


def test_not_a_text_file(tmp_path):
    """A binary file gets one line, not a decoding traceback."""
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mapping(path)


def test_model_config_round_trip(tmp_path):
    """What is written is what is read."""
    config = ModelConfig("naml", ("title", "body"), {"filters": 4}, TextConfig(words=("a", "é")), users=("u1",))
    config.write(tmp_path / "model.json")
    assert read_model_config(tmp_path / "model.json") == config


def make(**keys) -> AnalysisConfig:
    return analysis_config({"model_config": "m", "data_path": "d", "output_dir": "o", **keys})


class TestCheckpointPaths:
    """Which files are members, in which order."""

    @pytest.fixture(autouse=True)
    def files(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("clean_0.pt", "clean_1.pt", "clean_2.pt", "poisoned_0.pt", "odd[1].pt"):
            (tmp_path / name).touch()

    def test_single_keys(self):
        """The old keys, one a model type."""
        config = make(model_checkpoint="clean_0.pt", poisoned_model_checkpoint="poisoned_0.pt")
        assert checkpoint_paths(config, "poisoned") == [Path("poisoned_0.pt")]

    def test_glob_with_model_type(self):
        """`{model_type}` is filled in, and files are sorted."""
        config = make(checkpoints="{model_type}_*.pt", num_models=2)
        assert checkpoint_paths(config, "clean") == [Path("clean_0.pt"), Path("clean_1.pt")]

    def test_list_keeps_its_order(self):
        """Model ids follow the list."""
        config = make(checkpoints=["clean_2.pt", "clean_0.pt"])
        assert checkpoint_paths(config, "clean") == [Path("clean_2.pt"), Path("clean_0.pt")]

    def test_by_model_type(self):
        """A mapping names the files of each type."""
        config = make(checkpoints={"clean": "clean_*.pt", "poisoned": ["poisoned_0.pt"]})
        assert len(checkpoint_paths(config, "clean")) == 3

    def test_name_with_glob_characters(self):
        """A file that exists is never read as a pattern."""
        assert checkpoint_paths(make(model_checkpoint="odd[1].pt"), "clean") == [Path("odd[1].pt")]

    def test_too_many_models_with_the_single_key_warns(self):
        """An old YAML with `num_models: 5` and one checkpoint still runs."""
        with pytest.warns(RecTrakWarning, match="`num_models`: more than there are. Got 5, expected at most 1"):
            assert len(checkpoint_paths(make(model_checkpoint="clean_0.pt", num_models=5), "clean")) == 1

    def test_too_many_models_with_a_glob_is_refused(self):
        """Members that were named and are missing are an error."""
        with pytest.raises(ConfigError, match="`num_models`: more than there are. Got 5, expected at most 3"):
            checkpoint_paths(make(checkpoints="clean_*.pt", num_models=5), "clean")

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({}, "`model_checkpoint`: missing"),
            ({"model_checkpoint": "none.pt"}, "no such file; this folder holds poisoned_0.pt. Got none.pt"),
            ({"checkpoints": {"poisoned": "poisoned_0.pt"}}, "no entry for 'clean'"),
            ({"checkpoints": {"cleen": "clean_0.pt"}}, "no entry for 'clean'"),
            ({"checkpoints": ["clean_0.pt", "clean_0.pt"]}, "named twice"),
        ],
    )
    def test_refused(self, keys, message):
        """Nothing named, nothing found, or one file twice."""
        with pytest.raises(ConfigError, match=message):
            checkpoint_paths(make(**keys), "clean")
