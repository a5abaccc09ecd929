"""The record of which scoring each file of a results folder is of. Not here: leaving any aside (runs/finished.py).

Several commands write into one folder over time: scores, then sums, verdicts, findings. `belongs.json` says of each
file which scoring it was made from, so that what was found about an earlier one is not shown as news of this one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rec_trak.config.documents import read_json
from rec_trak.store.manifest import digest, write_json

RECORD = "belongs.json"


def scoring_parts(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """What identifies a scoring: gradients, rows, checkpoints and ridge; None where metadata.json does not say."""
    features, rows, members, score = (metadata.get(key) for key in ("features", "rows", "members", "score"))
    if not (isinstance(features, dict) and isinstance(rows, dict) and isinstance(score, dict) and members):
        return None
    digests = [member.get("digest") for member in members]
    return {**features, **rows, "checkpoints": digests, "lambda_rel": score.get("lambda_rel")}


def scoring_digest(metadata: dict[str, Any]) -> str | None:
    """16 hex digits for what a file beside this metadata.json is of: a scoring, of a set with its targets; or None."""
    parts, targets = scoring_parts(metadata), metadata.get("targets_digest")
    return None if parts is None else digest(parts, *([targets] if targets else []))


def run_digest(metadata: dict[str, Any]) -> str | None:
    """The same without the targets: one for self-influence and all target sets of a scoring."""
    return scoring_digest(metadata | {"targets_digest": None})


def read_record(folder: Path) -> dict[str, str]:
    """File name -> the digest of its scoring; a damaged record says nothing of any file."""
    try:
        content = read_json(folder / RECORD)
    except (OSError, ValueError):
        return {}
    return {str(name): str(of) for name, of in content.items()} if isinstance(content, dict) else {}


@contextmanager
def claimed(folder: Path, names: Sequence[str], of: str | None) -> Iterator[None]:
    """Around the moment when files take their places: they are nobody's before it, and of scoring `of` after it.

    A process that ends between leaves files that belong to nothing, which readers leave aside.
    """
    if of is None and not (folder / RECORD).exists():
        yield
        return
    with _alone(folder):
        held = read_record(folder)
        before = {name: scoring for name, scoring in held.items() if name not in names}
        if before != held:
            write_json(folder / RECORD, before)
        yield
        write_json(folder / RECORD, before | ({} if of is None else dict.fromkeys(names, of)))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer of the record at a time. Where a file system has no locks, two at once may lose a claim, no more."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
