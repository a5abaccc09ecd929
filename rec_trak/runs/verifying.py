"""Every file of a results folder and its save directory held against what was recorded of it. Not here: mending any.

What is said of a file is one of GOOD (its bytes are those that were written), OLDER (of an earlier scoring, which
readers leave aside), UNRECORDED (ours by its name, without a check sum), FOREIGN, MISSING and DAMAGED.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rec_trak.config.documents import DocumentError, read_json
from rec_trak.errors import DataError, StoreError
from rec_trak.locks import LOCK
from rec_trak.results.belongs import RECORD, bytes_sum, read_record, read_sums, scoring_digest
from rec_trak.results.files import LABELS_FILE, METADATA, ROWS, SCORES
from rec_trak.results.metadata import check_metadata
from rec_trak.runs.aside import AGAIN, SETS
from rec_trak.store.blocks import Cut, cut_rows, cut_targets, damaged, rows_unfinished
from rec_trak.store.grams import gram_files
from rec_trak.store.layout import Maps, mapped, member_maps, target_maps
from rec_trak.store.manifest import MANIFEST, digest, read_manifest, read_whole

GOOD, OLDER, UNRECORDED, FOREIGN, MISSING, DAMAGED = (
    *("good", "of an earlier scoring", "without a check sum", "foreign"),
    *("missing", "damaged"),
)
BAD = (MISSING, DAMAGED)
OURS = (RECORD, LOCK, "report.html", "report_rows.html", "classes.csv", "member_agreement.csv", "detection_curves*.*")
TRAKERS = (MANIFEST, "metadata.json", "experiments.json", LOCK)
FEATURIZE, SCORE = "scripts/featurize.py", "scripts/score.py"


@dataclass(frozen=True)
class Found:
    """What is said of one file.

    Attributes:
        path: relative to the results folder, or absolute where the file lies elsewhere.
        word: see above.
        what: more of it, and the command that makes it again; '' where there is nothing to say.
    """

    path: str
    word: str
    what: str = ""


def verify_run(folder: str | Path) -> list[Found]:
    """What is said of every file of a results folder, its target sets and its save directory, in that order.

    Raises:
        DataError: the folder is none of a run.
    """
    folder = Path(folder)
    save_dir = _save_dir(folder)
    if not (folder / METADATA).exists() and not (folder / RECORD).exists() and not (save_dir / MANIFEST).exists():
        raise DataError(f"{folder}: no results and no save directory. Expected what scripts/score.py wrote. Name it.")
    found = list(_results(folder, folder))
    for path in sorted((folder / SETS).glob("*")):
        if path.is_dir():
            found += _results(path, folder)
    return found + list(_store(save_dir, folder))


def _save_dir(folder: Path) -> Path:
    told = _metadata(folder).get("save_dir")
    return Path(told) if isinstance(told, str) and (Path(told) / MANIFEST).exists() else folder / "store"


def _metadata(folder: Path) -> dict[str, Any]:
    try:
        return check_metadata(read_json(folder / METADATA), METADATA, "")
    except (OSError, DocumentError, DataError):
        return {}


def _named(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _results(folder: Path, root: Path) -> Iterator[Found]:
    """The files of one scoring: those recorded, then the rest."""
    record, sums = read_record(folder), read_sums(folder)
    scoring = record.get(METADATA) or scoring_digest(_metadata(folder))
    core = (SCORES, LABELS_FILE, ROWS, METADATA) if record or (folder / METADATA).exists() else ()
    for name in sorted({*record, *core}):
        path, again = folder / name, f"{_maker(name)} makes it again"
        if not path.is_file():
            yield Found(_named(path, root), MISSING, again)
        elif name in sums and bytes_sum(path) != sums[name]:
            yield Found(_named(path, root), DAMAGED, f"its bytes are not those that were written; {again}")
        elif name not in sums:
            yield Found(_named(path, root), UNRECORDED)
        else:
            yield Found(_named(path, root), GOOD if record[name] == scoring else OLDER)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in record and path.name not in core:
            yield Found(_named(path, root), UNRECORDED if any(map(path.match, OURS)) else FOREIGN)


def _maker(name: str) -> str:
    return next((command for pattern, command in AGAIN.items() if Path(name).match(pattern)), SCORE)


def _store(save_dir: Path, root: Path) -> Iterator[Found]:
    try:
        manifest = read_manifest(save_dir)
    except StoreError as error:
        yield Found(_named(save_dir / MANIFEST, root), DAMAGED, str(error))
        return
    if manifest is None:
        yield Found(_named(save_dir / MANIFEST, root), MISSING, f"{FEATURIZE} makes it")
        return
    known = {save_dir / name for name in TRAKERS}
    for name in TRAKERS[:-1]:
        path = save_dir / name
        whole = read_whole(path) is not None
        yield Found(_named(path, root), GOOD if whole else DAMAGED, "" if whole else f"{FEATURIZE} makes it again")
    for model_id in sorted(manifest["models"], key=int):
        for found, paths in _member(save_dir, model_id, manifest, root):
            known |= paths
            yield from found
    for path in sorted(save_dir.rglob("*")):
        if path.is_file() and path not in known:
            yield Found(_named(path, root), FOREIGN)


def _member(
    save_dir: Path, model_id: str, manifest: dict[str, Any], root: Path
) -> Iterator[tuple[list[Found], set[Path]]]:
    """What is said of each part of a member, and the paths that the part may have."""
    folder, features, held = save_dir / model_id, manifest["features"], manifest.get("blocks")
    yield [], {save_dir / f"id_{model_id}.json"}
    count, k = features["row_count"], features["proj_dim"]
    cut = held and cut_rows(folder, count, held)
    yield _part(member_maps(folder, count, k), cut, "rows", FEATURIZE, root)
    grams = gram_files(folder)
    again = f"{SCORE} makes it again by itself"
    yield [Found(_named(p, root), GOOD if w else DAMAGED, "" if w else again) for p, w in grams.items()], set(grams)
    for name, told in manifest["targets"].items():
        cut = held and cut_targets(folder, name, told["count"], held)
        found, paths = _part(target_maps(folder, name, told["count"], k), cut, "targets", SCORE, root)
        margins = folder / f"{name}_margins.json"
        if margins.exists():
            kept = read_whole(margins) or {}
            whole = kept.get("digest") == digest(kept.get("margins"))
            again = "" if whole else f"{SCORE} makes it again by itself"
            found.append(Found(_named(margins, root), GOOD if whole else DAMAGED, again))
        yield found, paths | {margins}


def _part(maps: Maps, cut: Cut | None, what: str, maker: str, root: Path) -> tuple[list[Found], set[Path]]:
    """The maps of a member's rows, or of a set's targets; the last of them is traker's mask, which has no check sum."""
    paths = [path for path, _, _ in maps.values()]
    markers = {cut.marker(block) for block in range(len(cut))} if cut else set()
    arrays, found = {}, []
    for path, shape, dtype in maps.values():
        array = mapped(path)
        if array is None or array.shape != shape or array.dtype != dtype:
            word = DAMAGED if path.exists() else MISSING
            found.append(Found(_named(path, root), word, f"delete it if it is there; {maker} makes it again"))
        elif cut is None or path == paths[-1]:
            found.append(Found(_named(path, root), UNRECORDED))
        else:
            arrays[path] = array
    for path, array in arrays.items():
        wrong = damaged(cut, {path: array})
        told = ", ".join(f"{rows.start} to {rows.stop - 1}" for rows in wrong[:3]) + (", ..." if len(wrong) > 3 else "")
        again = f"{what} {told}; delete {cut.markers.name}/ beside it, and {maker} makes them again"
        found.append(Found(_named(path, root), DAMAGED if wrong else GOOD, again if wrong else ""))
    lacking = rows_unfinished(cut) if cut else 0
    if lacking:
        found.append(Found(_named(cut.markers, root), MISSING, f"{lacking:,} {what}; {maker} makes them"))
    return found, {*paths, *markers}
