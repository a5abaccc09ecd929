"""The record beside a checkpoint: how it was trained, and of which file it speaks. Not here: weights, or training."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from rec_trak.config.reader import read_mapping
from rec_trak.errors import CheckpointError


def file_digest(path: str | Path) -> str:
    """32 hex digits that identify the bytes of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_record(checkpoint: str | Path) -> dict[str, Any]:
    """The .json beside a checkpoint: seed, settings, epochs; {} where there is none.

    Raises:
        CheckpointError: it names another file than the checkpoint that lies beside it.
        ConfigError: it is no JSON.
    """
    path = Path(checkpoint).with_suffix(".json")
    record = read_mapping(path) if path.is_file() else {}
    named = record.get("checkpoint")
    if isinstance(named, str) and named != (found := file_digest(checkpoint)):
        raise CheckpointError(
            f"{path}: the record of another checkpoint than {Path(checkpoint).name}. Got a file with the digest "
            f"{found}, expected {named[:32]}. Delete both and train again, or put the right one beside the other."
        )
    return record
