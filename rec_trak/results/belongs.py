"""The record of which scoring each file of a results folder is of, and its check sum. Not here: leaving any aside.

Several commands write into one folder over time: scores, then sums, verdicts, findings. `belongs.json` says of each
file which scoring it was made from, so that what was found about an earlier one is not shown as news of this one, and
what its bytes were, so that a damaged one is not shown at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rec_trak.config.documents import read_json
from rec_trak.errors import DataError
from rec_trak.store.manifest import digest, write_json

RECORD = "belongs.json"
LOSS = "loss_gradient"  # scores of this form are of another scoring than those of the usual one


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
    if parts is None:
        return None
    form = metadata["score"].get("form")
    if form == LOSS and metadata.get("scoring") != digest(parts):  # earlier builds did not tell it apart
        parts |= {"form": form}
    return digest(parts, *([targets] if targets else []))


def run_digest(metadata: dict[str, Any], above: dict[str, Any] | None = None) -> str | None:
    """The same without the targets: one for self-influence and all target sets of a scoring.

    Args:
        metadata: of the run, or of a set.
        above: of the run that the set lies in, whose scores may be of another form.
    """
    score, own = metadata.get("score"), (above or {}).get("score")
    if isinstance(score, dict) and isinstance(own, dict):
        metadata = metadata | {"score": score | {"form": own.get("form")}, "scoring": above.get("scoring")}
    return scoring_digest(metadata | {"targets_digest": None})


def read_record(folder: Path) -> dict[str, str]:
    """File name -> the digest of its scoring; a damaged record says nothing of any file."""
    return {name: told.split(" ")[0] for name, told in _told(folder).items()}


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> the check sum of its bytes; files of earlier builds have none."""
    return {name: told.split(" ")[1] for name, told in _told(folder).items() if " " in told}


def check_sums(folder: Path, names: Iterable[str], again: str) -> dict[str, str]:
    """Refuse files whose bytes are not those that were written; the check sums of those that were looked at.

    Args:
        folder: of the files.
        names: of the files; those without a check sum, or that are not there, are left unlooked at.
        again: what makes them again, as a sentence.

    Raises:
        DataError: names the first.
    """
    sums, found = read_sums(folder), {}
    for name in names:
        if name not in sums or not (folder / name).is_file():
            continue
        found[name] = bytes_sum(folder / name)
        if found[name] != sums[name]:
            raise DataError(
                f"{folder / name}: damaged or changed. Got bytes of another check sum than {RECORD} has, expected what "
                f"was written. {again}"
            )
    return found


def bytes_sum(path: Path) -> str:
    """16 hex digits for a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def _told(folder: Path) -> dict[str, str]:
    try:
        content = read_json(folder / RECORD)
    except (OSError, ValueError):
        return {}
    return {str(name): str(told) for name, told in content.items()} if isinstance(content, dict) else {}


@contextmanager
def claimed(folder: Path, sums: dict[str, str], of: str | None) -> Iterator[None]:
    """Around the moment when files take their places: they are nobody's before it, and of scoring `of` after it.

    A process that ends between leaves files that belong to nothing, which readers leave aside.

    Args:
        folder: of the files.
        sums: their names -> the check sums of their bytes.
        of: the scoring; None where they are of none.
    """
    if of is None and not (folder / RECORD).exists():
        yield
        return
    with _alone(folder):
        held = _told(folder)
        before = {name: told for name, told in held.items() if name not in sums}
        if before != held:
            write_json(folder / RECORD, before)
        yield
        own = {} if of is None else {name: f"{of} {total}" for name, total in sums.items()}
        write_json(folder / RECORD, before | own)


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
