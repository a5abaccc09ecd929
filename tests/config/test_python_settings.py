"""Laws of Python settings: literals are read as they would be assigned, what is none is left out, nothing is run."""

import pytest

from rec_trak.config.python_settings import read_python
from rec_trak.errors import ConfigError

CONFIG = '''
import os

model_name = os.environ["MODEL_NAME"] if "MODEL_NAME" in os.environ else "NRMS"
assert model_name in ["NRMS", "NAML"]


class BaseConfig():
    """All models."""
    num_words = 1 + 70975
    dropout_probability = .2  # of words
    num_words_title: int = 20
    load = os.environ["LOAD"] == "1"
    negative = -3


class NRMSConfig(BaseConfig):
    dataset_attributes = {"news": ["title"], "record": []}
    num_words_title = 12


class Elsewhere(os.PathLike):
    num_words_title = 99
'''


@pytest.fixture
def read(tmp_path):
    """What a Python file of this text says."""

    def read(text):
        (tmp_path / "config.py").write_text(text)
        return read_python(tmp_path / "config.py")

    return read


def test_classes_have_their_own_and_inherited_literals(read):
    """A class says what it and its bases assign, its own first; one with an unknown base says nothing."""
    base = {"num_words": 70976, "dropout_probability": 0.2, "num_words_title": 20, "negative": -3}
    assert read(CONFIG) == {
        "BaseConfig": base,
        "NRMSConfig": base | {"dataset_attributes": {"news": ["title"], "record": []}, "num_words_title": 12},
    }


@pytest.mark.parametrize(
    "text",
    [
        "a = 5\na = f()", "a = 5\nif x:\n    a = 6", "a = 5\na += 1", "a = 5\nfor a in []: pass", "a = 5\ndel a",
        "a = 5\ntry:\n    pass\nfinally:\n    a = 7", "a, b = 1, 2", "a = 5\ndef a(): pass", "a = {1, 2}",
        "a = 2 ** 99",
        "a = 9223372036854775807 * 9223372036854775807", "a = f'{x}'", "a = [1, x]", "a = {**x}", "a: int",
        "a = 5\nwith x as a: pass", "a = 5\nimport y as a", "a = 5\nfrom y import *",
        "a = 5\ntry:\n    pass\nexcept E as a:\n    pass",
    ],
)  # fmt: skip
def test_what_only_running_would_tell_is_left_out(read, text):
    """A value that may have changed since a literal was assigned is missing, never the literal."""
    assert "a" not in read(text)


def test_attributes_assigned_later_count(read):
    """`Class.name = literal` behind a class changes it; anything else assigned there takes the value away."""
    said = read("class C:\n    a = 1\n    b = 2\nC.a = 3\nC.b = f()\n")
    assert said == {"C": {"a": 3}}


def test_nothing_is_run(tmp_path, read):
    """A file that would write another one, or raise, is read without doing either."""
    target = tmp_path / "written"
    assert read(f"open({str(target)!r}, 'w')\na = 1\nraise SystemExit\n") == {"a": 1}
    assert not target.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = (", r"config\.py: not valid Python: line 1: .*never closed.*Write the settings as YAML"),
        ("a = 1\nheads: 3: 4", "line 2"),
        ("a = " + "(" * 5000 + ")" * 5000, "not valid Python"),
        ("a = " + "-" * 50_000 + "1", "not valid Python"),
        ("a = 1\0", "not valid Python"),
    ],
)
def test_what_is_no_python_is_one_line(read, text, message):
    """Broken, nested and strange files are refused in one line that says what to do."""
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_files_that_cannot_be_settings(tmp_path, read):
    """A file that is not there or is far too large is refused."""
    with pytest.raises(ConfigError, match=r"nowhere\.py: no such file\. Give the path"):
        read_python(tmp_path / "nowhere.py")
    with pytest.raises(ConfigError, match=r"too large for settings\. Got 1,1\d\d,\d+ bytes"):
        read("#" * 1_100_000)
