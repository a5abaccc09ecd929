"""Whatever a YAML or JSON file holds: settings, or one line."""

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st
from support.properties import documents, read_or_refused, tables

from rec_trak.config.analysis import AnalysisConfig, read_analysis_config
from rec_trak.config.documents import DocumentError, load_json, load_yaml
from rec_trak.config.model import ModelConfig, read_model_config
from rec_trak.config.training import TrainingConfig, read_training_config

READERS = {
    AnalysisConfig: read_analysis_config,
    TrainingConfig: read_training_config,
    ModelConfig: read_model_config,
}
KEYS = sorted({field.name for kind in READERS for field in dataclasses.fields(kind)})


@given(content=documents(KEYS))
def test_any_settings(tmp_path, capsys, content):
    """Each kind of settings is what it says, or it is refused in one line, whatever keys and types there are."""
    path = tmp_path / "settings.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    for kind, read in READERS.items():
        found = read_or_refused(capsys, lambda read=read: read(path))
        assert found is None or isinstance(found, kind)


@given(text=tables(KEYS[:5], ": ") | st.text() | st.binary())
def test_any_text(text):
    """Plain values, or what is wrong with the document in a line without a full stop."""
    for load in (load_yaml, load_json):
        problem = "none"
        try:
            load(text)
        except DocumentError as error:
            problem = str(error)
        assert problem
        assert "\n" not in problem
        assert not problem.endswith(".")


@given(content=documents(KEYS))
def test_what_json_says_is_read(content):
    """JSON that Python writes is read as it was, or refused for its size, depth or half characters; YAML agrees."""
    text = json.dumps(content)
    try:
        found = load_json(text)
    except DocumentError:
        return
    assert json.dumps(found) == text
