"""Paths in a YAML that may be patterns -> what they lead to. Not here: what is in the files."""

from __future__ import annotations

import glob
from pathlib import Path

MAGIC = set("*?[")


def matches(pattern: str) -> list[Path]:
    """The files that a path or a glob leads to, in order; folders where it leads to no file.

    A name that exists is taken as it is written, though a glob would read its brackets or stars (`lr=[1,2]`).
    """
    if Path(pattern).exists():
        return [Path(pattern)]
    found = _globbed(_literal_start(pattern))
    return found or _globbed(pattern.replace("[", "[[]"))


def _literal_start(pattern: str) -> str:
    """The pattern with what exists as it is written escaped, as far as its first part that does not."""
    parts = Path(pattern).parts
    count = next((i for i in range(len(parts), 0, -1) if Path(*parts[:i]).exists()), 0)
    if not any(MAGIC & set(part) for part in parts[:count]):
        return pattern
    return str(Path(*map(glob.escape, parts[:count]), *parts[count:]))


def _globbed(pattern: str) -> list[Path]:
    found = sorted(map(Path, glob.glob(pattern, recursive=True)))
    return [path for path in found if path.is_file()] or [path for path in found if path.is_dir()]
