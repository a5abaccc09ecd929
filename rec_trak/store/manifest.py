"""The save directory: what it was made from, and its lock. Not here: how it is filled.

`rec_trak.json` is written before the first gradient and records all that changes a feature; a later run goes on where
every field is equal and is refused, with both values, where one differs. Everything beside it is traker's own layout.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rec_trak.config.documents import DocumentError, read_json
from rec_trak.disk import links, replacing, sweep
from rec_trak.errors import StoreError
from rec_trak.locks import locked
from rec_trak.words import quoted

MANIFEST = "rec_trak.json"
FORMAT = 1
AT_ONCE = 50_000  # items of a list that are hashed together
BLOCKS = {  # rows of a block, as a new directory records them; in one of an earlier build masks say what is done
    "rows": 1024,  # with 4 bytes a row the smallest map is cut at pages, too, so that no two machines write the same
    "targets": 64,
}


def digest(*parts: Any) -> str:
    """16 hex digits that identify the parts: arrays by dtype, shape and bytes, all else by its JSON."""
    h = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, np.ndarray):
            h.update(f"{part.dtype.str}{part.shape}".encode())
            h.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8))
        else:
            for text in _json(part):
                h.update(text.encode())
    return h.hexdigest()


def _json(part: Any) -> Iterator[str]:
    """The JSON of a part; of a long list some of it at a time."""
    if not isinstance(part, list) or len(part) <= AT_ONCE:
        yield json.dumps(part, sort_keys=True, ensure_ascii=True)
        return
    for start in range(0, len(part), AT_ONCE):
        some = json.dumps(part[start : start + AT_ONCE], sort_keys=True, ensure_ascii=True)
        yield f"{', ' if start else '['}{some[1:-1]}"
    yield "]"


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")


def read_manifest(save_dir: Path) -> dict[str, Any] | None:
    """The content of rec_trak.json, or None where the directory holds none.

    Raises:
        StoreError: the file is damaged, of another format, or the directory holds features without it.
    """
    path = save_dir / MANIFEST
    check_links(save_dir)
    if not path.exists():
        if (save_dir / "metadata.json").exists():
            raise StoreError(
                f"{save_dir}: holds traker features but no {MANIFEST}. Got a directory that rec-trak did not make, "
                "expected its own or an empty one. Choose another `save_dir`."
            )
        return None
    try:
        manifest = read_json(path)
        if not isinstance(manifest, dict):
            raise DocumentError(f"{type(manifest).__name__}, no keys and values")
        if manifest.get("format") == FORMAT and not _is_whole(manifest):
            raise DocumentError("`features`, `models` or `targets` are missing or are something else")
    except DocumentError as error:
        raise StoreError(f"{path}: damaged ({error}). Expected JSON. Delete {save_dir} and featurize again.") from None
    if manifest.get("format") != FORMAT:
        raise StoreError(
            f"{path}: written by another version. Got format {quoted(manifest.get('format'))}, expected {FORMAT}. "
            "Choose another `save_dir`."
        )
    return manifest


def _is_whole(manifest: dict[str, Any]) -> bool:
    """Whether each part is of its kind: fields, members by number, target sets with digest and count."""
    features, models, targets = (manifest.get(key) for key in ("features", "models", "targets"))
    if not (isinstance(features, dict) and isinstance(models, dict) and isinstance(targets, dict)):
        return False
    sets = all(isinstance(one, dict) and {"digest", "count"} <= one.keys() for one in targets.values())
    return sets and all(number.isdecimal() and len(number) < 10 for number in models)


def check_links(save_dir: Path) -> None:
    """Refuse a directory in which a link stands where a file of the store belongs; the directory may be one.

    Raises:
        StoreError: names the first link and where it leads.
    """
    link = next(links(save_dir, depth=3), None) if save_dir.is_dir() else None
    if link is not None:
        _refuse_link(link)


def _refuse_link(link: Path) -> NoReturn:
    raise StoreError(
        f"{link}: a link where a file of the save directory belongs. Got one to {os.readlink(link)}, expected a file, "
        "since writing would go there. Remove the link, or choose another `save_dir`."
    )


def check_manifest(save_dir: Path, held: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse a directory whose features were made from anything else.

    Args:
        save_dir: for the message.
        held: what rec_trak.json says.
        wanted: {"features": {field: value}, "models": {id: digest}} of this run; with "names": {id: name of the
            checkpoint} a message can say which files are meant.

    Raises:
        StoreError: names the first field that differs, with both values.
    """
    for field in sorted(held["features"].keys() | wanted["features"].keys()):
        got, expected = wanted["features"].get(field), held["features"].get(field)
        if got != expected:
            _refuse(save_dir, f"`{field}`", got, expected)
    for model_id in sorted(held["models"].keys() & wanted["models"].keys(), key=int):
        if held["models"][model_id] != wanted["models"][model_id]:
            _refuse_checkpoint(save_dir, model_id, held, wanted)


def _refuse_checkpoint(save_dir: Path, model_id: str, held: dict[str, Any], wanted: dict[str, Any]) -> NoReturn:
    """By the files' names, which people know; by digests where a name is not known, or is the same on both sides."""
    names = wanted.get("names", {}).get(model_id), _name_in(held.get("recorded"), int(model_id))
    if None in names or names[0] == names[1]:
        got, expected = wanted["models"][model_id], held["models"][model_id]
        same = f" ({names[0]}, with other weights)" if names[0] is not None and names[0] == names[1] else ""
        _refuse(save_dir, f"checkpoint {model_id}{same}", got, expected)
    _refuse(save_dir, f"checkpoint {model_id}", *names)


def _name_in(recorded: Any, at: int) -> str | None:
    names = recorded.get("checkpoints") if isinstance(recorded, dict) else None
    return names[at] if isinstance(names, list) and at < len(names) and isinstance(names[at], str) else None


def _refuse(save_dir: Path, field: str, got: Any, expected: Any) -> None:
    raise StoreError(
        f"{save_dir}: made by another run, {field} differs. Got {_short(got)}, the directory holds {_short(expected)}. "
        "Give another `save_dir` (--save_dir), or delete this one."
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


@contextmanager
def opened(
    save_dir: Path, wanted: dict[str, Any], recorded: dict[str, Any], blocks: dict[str, int] = BLOCKS
) -> Iterator[dict[str, Any]]:
    """The directory, locked and known to fit; yields its manifest. A new one gets its manifest here.

    Args:
        save_dir: created where it does not exist.
        wanted: see `check_manifest`.
        recorded: what is written down but not compared (versions, device, batch size, gradient path).
        blocks: rows of a block, of a new directory.

    Raises:
        StoreError: another writer, another run's directory, a damaged or foreign one.
    """
    with locked(save_dir, "give another `save_dir`"):
        manifest = read_manifest(save_dir)
        if manifest is None:
            manifest = {"format": FORMAT, "targets": {}, "recorded": recorded, "blocks": blocks}
            manifest |= {key: wanted[key] for key in ("features", "models")}
            write_json(save_dir / MANIFEST, manifest)
        else:
            check_manifest(save_dir, manifest, wanted)
            _sweep(save_dir, manifest)
            added = {**manifest["models"], **wanted["models"]}
            if added != manifest["models"]:
                manifest["models"] = added
                write_json(save_dir / MANIFEST, manifest)
        _write_for_traker(save_dir, manifest["features"])
        yield manifest


def _sweep(save_dir: Path, manifest: dict[str, Any]) -> None:
    """Remove what processes that died left half written: nobody else writes here, and it may take much room."""
    members = [save_dir / model_id for model_id in manifest["models"]]
    for folder in (save_dir, *members, *(blocks for member in members for blocks in member.glob("*blocks"))):
        if folder.is_dir():
            sweep(folder, lambda name: name.endswith((".json", ".mmap", ".npy")), former=True)


def _write_for_traker(save_dir: Path, features: dict[str, Any]) -> None:
    """What traker itself keeps in a save directory and does not write whole; it is all told by the manifest."""
    metadata = {
        "JL dimension": features["proj_dim"],
        "JL matrix type": features["projector"],
        "train set size": features["row_count"],
    }
    if read_whole(save_dir / "metadata.json") != metadata:
        write_json(save_dir / "metadata.json", metadata)
    if read_whole(save_dir / "experiments.json") is None:
        write_json(save_dir / "experiments.json", {})


def read_whole(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is none that is whole."""
    try:
        content = read_json(path)
    except (OSError, DocumentError):
        return None
    return content if isinstance(content, dict) else None


def proofs_in(manifest: dict[str, Any] | None) -> dict[str, Any]:
    """What is kept of the members' proofs, by digest; {} where nothing is."""
    held = (manifest or {}).get("proofs")
    return held if isinstance(held, dict) else {}
