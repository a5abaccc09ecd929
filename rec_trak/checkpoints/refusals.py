"""What is said of files of weights that are not read, and text out of them, made fit to be shown. Not here: reading."""

from __future__ import annotations

import re
from pathlib import Path

from rec_trak import words
from rec_trak.errors import CheckpointError

EXPECTED = "Give a .pt, .pth, .ckpt, .bin, .safetensors, .npz, .h5 or .keras file of weights."
SAVE_H5 = "Load it there with `model.load_weights`, then `model.save_weights('NAME.h5')`; or 'NAME.weights.h5'."
BREAKS = re.compile(r"[^\S ]")  # white space that is no blank


def printable(text: str, length: int = 200) -> str:
    """Text from a file, cut to so many characters, with `?` for line breaks and all that a terminal would obey."""
    return words.plain(BREAKS.sub("?", text[:length]), mark="?")


def unreadable(path: Path, what: str, do: str) -> CheckpointError:
    """The refusal of a file that is something else: what it is, and what to do."""
    return CheckpointError(f"{path}: cannot be read as a checkpoint; {what}. {do}")
