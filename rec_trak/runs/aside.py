"""What in a results folder is of another scoring than the scores that it lies beside. Not here: opening a run.

A folder is written by several commands over time, and what was made from an earlier scoring may still lie there.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rec_trak.config.documents import read_json
from rec_trak.results.belongs import check_sums, read_record, scoring_digest, scoring_parts
from rec_trak.results.files import METADATA, Results
from rec_trak.results.metadata import check_metadata

SETS = "targets"
AGAIN = {  # files that are made from a scoring, and what makes them again
    "detection.*": "scripts/detect.py",
    "suspicion.csv": "scripts/detect.py",
    "suspects.*": "scripts/suspects.py",
    "trust.*": "scripts/trust.py",
    "validation.*": "scripts/validate.py",
    "history.csv": "scripts/score.py with --targets and --history",
    "explain_*.csv": "scripts/score.py with --explain",
    "by_*.csv": "scripts/score.py with --group_by",
    **dict.fromkeys(("targets.csv", "proponents.csv", "opponents.csv"), "scripts/score.py with --targets"),
}


def own_file(held: Results, name: str) -> Path | None:
    """A file that lies beside scores and is of the same scoring; None if there is none.

    Raises:
        DataError: its bytes are not those that were written.
    """
    path = held.folder / name
    if not (path.is_file() and belongs(held, name)):
        return None
    check_sums(held.folder, [name], again(name))
    return path


def other_parent(results: Results) -> Iterator[str]:
    """A sentence where a target set is opened by itself and the run it lies in is of another scoring."""
    above = results.folder.resolve().parent
    path = above.parent / METADATA
    if above.name == SETS and path.is_file():
        differing = difference(results.metadata, metadata_of(path))
        if differing:
            yield f"{above.parent.name} left aside: self-influence was scored with another {differing} than this set."


def metadata_of(path: Path) -> dict[str, Any]:
    """The content of a set's metadata.json; {} where it is damaged, which whoever reads the set is told."""
    try:
        return check_metadata(read_json(path), str(path), "")
    except (OSError, ValueError):
        return {}


def difference(own: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first part by which two scorings differ; '' where they are one, or do not say."""
    ours, others = scoring_parts(own), scoring_parts(theirs)
    if ours is None or (others is None and "scoring" not in own):
        return ""
    others = others or {}
    differing = [key for key in ours.keys() | others.keys() if ours.get(key) != others.get(key)]
    order = ("checkpoints", "row_count", "rows", "proj_dim", "lambda_rel")
    known = [key for key in order if key in differing]
    return f"`{(known or sorted(differing))[0]}`" if differing else ""


def stale_files(held: Results, where: str) -> Iterator[str]:
    """A sentence for the files of each kind that are of another scoring."""
    for pattern, command in AGAIN.items():
        names = [path.name for path in sorted(held.folder.glob(pattern)) if path.is_file()]
        stale = [name for name in names if not belongs(held, name)]
        if stale:
            named = ", ".join(stale[:3]) + (f" and {len(stale) - 3} more" if len(stale) > 3 else "")
            yield f"{where}{named} left aside: of an earlier scoring. {command} makes them again."


def again(name: str) -> str:
    """What makes a file of this name, or files of this pattern, again, as a sentence."""
    command = next((command for pattern, command in AGAIN.items() if fnmatch(name, pattern)), "scripts/score.py")
    return f"Run {command} again."


def belongs(held: Results, name: str) -> bool:
    """Whether a file is of the scoring that it lies beside. Folders from before that was recorded are taken as one."""
    return "scoring" not in held.metadata or read_record(held.folder).get(name) == scoring_digest(held.metadata)
