"""The record beside a checkpoint."""

import json

import pytest

from rec_trak.checkpoints.records import file_digest, read_record
from rec_trak.errors import CheckpointError, ConfigError


def test_a_record_is_that_of_its_checkpoint(tmp_path):
    """Whoever reads it is told where it names another file; an older one, which names none, is read, and so is none."""
    checkpoint, record = tmp_path / "a.pt", tmp_path / "a.json"
    checkpoint.write_bytes(b"weights")
    assert read_record(checkpoint) == {}
    record.write_text(json.dumps({"seed": 3}))
    assert read_record(checkpoint) == {"seed": 3}
    told = {"seed": 3, "checkpoint": file_digest(checkpoint)}
    record.write_text(json.dumps(told))
    assert read_record(checkpoint) == told
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match=rf"a\.json: the record of another .* expected {told['checkpoint']}\."):
        read_record(checkpoint)


def test_a_record_that_is_no_json_is_named(tmp_path):
    """As every file of settings."""
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ConfigError, match=r"a\.json"):
        read_record(tmp_path / "a.pt")
