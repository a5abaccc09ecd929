"""Laws of what a checkpoint says of itself: settings must agree with it or stay away, and kinds are not mixed up."""

import dataclasses
import json
import pathlib
import re
import shutil

import pytest
import torch
import yaml
from support import tiny
from support.plm4newsrs import SETTINGS, naml_state, nrms_state
from support.theirs import save_carrying, write_theirs

from rec_trak.api import load_model, load_train_data
from rec_trak.attribution.job import Run, read_job
from rec_trak.checkpoints.carried import check_ours, plain_settings
from rec_trak.checkpoints.rebuild import Inert
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.config.reader import read_mapping
from rec_trak.data.articles import read_news_items
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning

THEIRS = SETTINGS | {"num_attention_heads": 4, "fine_tune_lm": True, "epochs": 2, "model_type": "clean"}
pytestmark = pytest.mark.filterwarnings("ignore:.*never reach a score:rec_trak.errors.RecTrakWarning")


def job(folder, kind="clean", **keys):
    """The job of a YAML in which None leaves a key out."""
    path = tiny.write_config(folder, **keys)
    said = {key: value for key, value in read_mapping(path).items() if value is not None}
    path.write_text(json.dumps(said))
    return read_job(Run(read_analysis_config(path), f"train_{kind}", kind))


@pytest.fixture
def theirs(tmp_path):
    """The tiny tree with a plm4newsrs checkpoint that carries its settings; `run(settings, **keys)` reads the job."""
    tiny.write_tree(tmp_path / "data")
    folder = write_theirs(tmp_path)
    torch.manual_seed(0)
    save_carrying(folder / "clean_0.ckpt", nrms_state(), base_dir=pathlib.PosixPath("/a"), **THEIRS)

    def run(changes=None, kind="clean", **keys):
        if changes is not None:
            (folder / "m.yaml").write_text(json.dumps(THEIRS | changes))
        keys = {"checkpoints": str(folder / "*.ckpt"), "model_config": str(folder / "m.yaml")} | keys
        return job(tmp_path, kind, **keys)

    run.folder = folder
    return run


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_seq_length", 30), ("num_attention_heads", 2), ("num_user_attention_heads", 2), ("max_history_length", 6)],
)
def test_a_setting_that_changes_a_score_must_be_the_checkpoints(theirs, key, value):
    """Each key that the tensors do not tell is refused by name with both values, and accepted where they agree."""
    assert theirs({}).model_config.max_history == 3
    message = rf"m\.yaml: the model was trained with other settings, as .*clean_0\.ckpt says\. Got `{key}` {value} for "
    with pytest.raises(ConfigError, match=message + rf"{THEIRS[key]}, expected .*leave `model_config` out"):
        theirs({key: value})


def test_settings_that_change_no_score_are_not_compared(theirs):
    """Epochs, paths, the other kind, and a length that this architecture never reads may differ."""
    theirs({"epochs": 9, "base_dir": "/elsewhere", "model_type": "poisoned", "max_title_length": 9, "seed": 1})
    save_carrying(theirs.folder / "clean_0.ckpt", naml_state(), **THEIRS | {"max_title_length": 4})
    theirs({"max_seq_length": 30, "num_attention_heads": 8})
    with pytest.raises(ConfigError, match="Got `max_title_length` 9 for 4"):
        theirs({"max_title_length": 9})


def test_other_word_vectors_are_told(theirs):
    """A file of vectors may lie elsewhere; one of another name is warned of, once."""
    shutil.copy(theirs.folder.parent / "glove.txt", theirs.folder / "other.txt")
    with pytest.warns(RecTrakWarning, match=r"`glove_file_path`: another name than in .*Got .*other\.txt") as said:
        theirs({"glove_file_path": str(theirs.folder / "other.txt")})
    assert len([warning for warning in said if "another name" in str(warning.message)]) == 1


def test_what_the_settings_leave_out_is_the_checkpoints(theirs):
    """Without a key its default does not count, and without a settings file nothing else is needed."""
    whole = theirs({}).model_config
    (theirs.folder / "m.yaml").write_text(json.dumps({"model_name": "glove", "max_seq_length": None}))
    assert theirs().model_config == whole
    assert theirs(model_config=None).model_config == whole


def test_python_does_without_settings_too(theirs, tmp_path):
    """load_model and load_train_data take what the checkpoint says; load_model refuses what contradicts it."""
    config = theirs({}, model_config=None)
    articles = read_news_items(tmp_path / "data" / "news_items.csv")
    model = load_model(theirs.folder / "clean_0.ckpt", articles=articles)
    assert model.state_dict().keys() == config.model.state_dict().keys()
    _, loader = load_train_data(str(tmp_path / "trak.yaml"))
    assert loader.model_config == config.model_config
    (theirs.folder / "m.yaml").write_text(json.dumps(THEIRS | {"max_history_length": 1}))
    with pytest.raises(ConfigError, match="Got `max_history_length` 1 for 3"):
        load_model(theirs.folder / "clean_0.ckpt", theirs.folder / "m.yaml", articles=articles)


def test_a_checkpoint_that_says_nothing_needs_settings(tmp_path):
    """The refusal names the three places where settings could stand; the advice works."""
    tiny.write_tree(tmp_path / "data")
    folder = write_theirs(tmp_path)
    keys = {"checkpoints": str(folder / "*.ckpt")}
    with pytest.raises(ConfigError, match=r"clean_0\.ckpt: nothing says what the model is\. .*as `model_config`"):
        job(tmp_path, **keys, model_config=None)
    job(tmp_path, **keys, model_config=str(folder / "m.yaml"))


def test_members_must_have_been_trained_alike(theirs):
    """A member with other settings than the first is refused with both, with a settings file and without."""
    save_carrying(theirs.folder / "clean_1.ckpt", nrms_state(), **THEIRS | {"max_history_length": 5})
    for keys in ({}, {"model_config": None}):
        with pytest.raises(
            ConfigError, match=r"as .*clean_1\.ckpt says\. Got `max_history_length` 3 for 5, .*one model"
        ):
            theirs({}, **keys)


def test_kinds_that_the_file_tells_are_not_mixed_up(theirs):
    """A clean checkpoint is refused where the poisoned one should stand; the advice works."""
    keys = {"poisoned_model_checkpoint": str(theirs.folder / "clean_0.ckpt"), "checkpoints": None}
    with pytest.raises(
        CheckpointError, match=r"clean_0\.ckpt: a clean checkpoint stands .*`model_type: clean`, expected"
    ):
        theirs({}, "poisoned", **keys)
    theirs({}, "clean", model_checkpoint=keys["poisoned_model_checkpoint"], checkpoints=None)


def test_kinds_that_a_name_tells_are_warned_of(tmp_path):
    """Where only the name of the file, or of its folder, says so, it is said loudly; other names say nothing."""
    tiny.make_job(tmp_path)
    for name in ("runs/clean_0.pt", "clean/epoch=1.pt", "a/clean-epoch=01-val_auc=0.7.pt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if name != "runs/clean_0.pt":
            shutil.copy(tmp_path / "runs" / "clean_0.pt", path)
        with pytest.warns(
            RecTrakWarning, match=rf"{re.escape(name)}: by its name a clean checkpoint, but .* poisoned one"
        ):
            job(tmp_path, "poisoned", checkpoints=None, poisoned_model_checkpoint=str(path))


@pytest.mark.filterwarnings("error::rec_trak.errors.RecTrakWarning")
def test_names_that_say_nothing_are_left_alone(tmp_path):
    """No kind, both kinds, or a word that merely holds one: no warning."""
    tiny.make_job(tmp_path)
    for name in ("best.pt", "clean_to_poisoned.pt", "uncleaned.pt"):
        (tmp_path / "m").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "runs" / "clean_0.pt", tmp_path / "m" / name)
        job(tmp_path, "poisoned", checkpoints=None, poisoned_model_checkpoint=str(tmp_path / "m" / name))


def test_our_record_tells_the_kind(tmp_path):
    """The record that training leaves beside a member says what it was trained on, whatever the file is called."""
    tiny.make_job(tmp_path)
    record = {"seed": 0, "rows": 1, "rows_of": 1, "settings": {"loss": "softmax"}, "epochs": [], "name": "clean"}
    shutil.copy(tmp_path / "runs" / "clean_0.pt", tmp_path / "runs" / "best.pt")
    (tmp_path / "runs" / "best.json").write_text(json.dumps(record))
    keys = {"checkpoints": None, "poisoned_model_checkpoint": str(tmp_path / "runs" / "best.pt")}
    with pytest.raises(CheckpointError, match=r"best\.json says `name: clean`"):
        job(tmp_path, "poisoned", **keys)
    (tmp_path / "runs" / "best.json").write_text(json.dumps(record | {"name": "poisoned", "settings": {"loss": "bpr"}}))
    with pytest.raises(ConfigError, match="Got `loss` 'softmax' for 'bpr'"):
        job(tmp_path, "poisoned", **keys)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("max_history", {"max_history": 3}),
        ("sizes.heads", {"sizes": tiny.SIZES["nrms"] | {"heads": 4, "head_dim": 2}}),
        ("text.words", {"text": "turned"}),
        ("history_truncation", {"history_truncation": "last"}),
        ("sizes.weights", {"sizes": tiny.SIZES["nrms"] | {"weights": "exp"}}),
    ],
)
def test_our_own_model_json_of_another_folder(tmp_path, key, change):
    """What the model.json beside a checkpoint says goes before one of another folder; both values are named."""
    tiny.make_job(tmp_path)
    there = json.loads((tmp_path / "runs" / "model.json").read_text())
    if change.get("text") == "turned":
        change = {"text": there["text"] | {"words": there["text"]["words"][::-1]}}
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "model.json"
    other.write_text(json.dumps(there | change))
    with pytest.raises(
        ConfigError, match=rf"other/model\.json: .* as .*runs/model\.json says\. Got `{re.escape(key)}`"
    ):
        job(tmp_path, model_config=str(other))
    same = there | {"sizes": there["sizes"] | {"dropout": 0.4}}
    other.write_text(json.dumps(same))
    assert job(tmp_path, model_config=str(other)).model_config.max_history == 50


def test_an_own_models_json_of_another_folder(tmp_path):
    """What the model.json beside an own checkpoint says of articles and histories counts too; its sizes do not."""
    (tmp_path / "model.json").write_text(
        json.dumps({"max_history": 4, "text": {"words": ["a", "b"]}, "sizes": {"x": 1}})
    )
    mine = ModelConfig("own", sizes={"model": {"class": "a:B"}}, text=TextConfig(words=("a", "b")), max_history=4)
    check_ours(mine, "other.json", tmp_path / "clean.pt")
    for change in ({"max_history": 5}, {"text": TextConfig(words=("b", "a"))}):
        with pytest.raises(
            ConfigError, match=r"other\.json: the model was trained with other settings, .*model\.json says"
        ):
            check_ours(dataclasses.replace(mine, **change), "other.json", tmp_path / "clean.pt")
    (tmp_path / "model.json").write_text('{"somebody": "else\'s"}')
    check_ours(dataclasses.replace(mine, max_history=5), "other.json", tmp_path / "clean.pt")


def test_ours_needs_no_model_config(tmp_path):
    """The model.json beside the checkpoint is taken, by the scripts' reader and from Python."""
    first = tiny.make_job(tmp_path)
    assert job(tmp_path, model_config=None).model_config == first.model_config
    model = load_model(tmp_path / "runs" / "clean_0.pt")
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), first.model.state_dict().values(), strict=True)
    )
    assert load_train_data(str(tmp_path / "trak.yaml"))[1].model_config == first.model_config
    (tmp_path / "runs" / "model.json").unlink()
    with pytest.raises(CheckpointError, match=r"no code base is known for .* `model_config` is not a model\.json"):
        job(tmp_path, model_config=None)


def test_stand_ins_become_plain_values():
    """Paths, tuples and the nodes in which omegaconf keeps values are plain; other objects are left out."""
    node = Inert("omegaconf.nodes.AnyNode", ())
    node.build({"_val": "title", "_metadata": None})
    listed = Inert("omegaconf.listconfig.ListConfig", ())
    listed.build({"_content": [node]})
    path = Inert("pathlib.PosixPath", ("/", "a", "b"))
    values = {"many": listed, "path": path, "pair": (1, 2.5), "object": Inert("torch.optim.Adam"), "none": None}
    assert plain_settings(values) == {"many": ["title"], "path": "/a/b", "pair": [1, 2.5], "none": None}
    assert plain_settings(None) == {}


@pytest.fixture
def upstream(shared, tmp_path, monkeypatch):
    """The genuine tree as the working directory."""
    monkeypatch.chdir(shared / "fixtures")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("nrms_glove", "max_seq_length", 30), ("nrms_glove", "num_attention_heads", 20),
        ("nrms_glove", "max_history_length", 4), ("naml_glove", "max_title_length", 30),
        ("nrms_bert", "num_user_attention_heads", 4), ("nrms_bert", "fine_tune_lm", False),
    ],
)  # fmt: skip
def test_genuine_checkpoints_refuse_other_settings(upstream, name, key, value):
    """What changes scores of plm4newsrs' own files is refused; without settings the model is the same."""
    if "bert" in name:
        pytest.importorskip("transformers")
    analysis = read_mapping(f"configs/trak/{name}.yaml")
    settings = read_mapping(analysis["model_config"])
    (upstream / "m.yaml").write_text(yaml.safe_dump(settings | {key: value}))
    with pytest.raises(ConfigError, match=rf"Got `{key}` {value} for {settings[key]}, expected them to agree"):
        job(upstream, **analysis | {"model_config": str(upstream / "m.yaml"), "checkpoints": None})
    if key == "max_seq_length":
        crossed = {"poisoned_model_checkpoint": analysis["model_checkpoint"], "checkpoints": None}
        with pytest.raises(CheckpointError, match="a clean checkpoint stands where the poisoned one should"):
            job(upstream, "poisoned", **analysis | crossed)
        alone, named = (job(upstream, **analysis | k | {"checkpoints": None}) for k in ({"model_config": None}, {}))
        assert (alone.model_config, alone.members[0].digest) == (named.model_config, named.members[0].digest)
