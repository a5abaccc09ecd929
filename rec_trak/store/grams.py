"""Phi'Phi of a member, kept beside its gradients, since making it again takes longer than reading it. Not here: making
it.

It is of use as long as the blocks of gradients are those that it was made of, and it is never needed: where it is not
whole, or there is no room, it is made again.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from rec_trak.disk import replacing
from rec_trak.store.blocks import cut_rows, sums_of
from rec_trak.store.manifest import digest, read_manifest, read_whole, write_json

NAME = "gram.f64"
PANEL = 256  # rows at once of the half that is kept


def keep_gram(save_dir: Path, model_id: int, double: bool, xtx: np.ndarray) -> None:
    """Keep Phi'Phi (K, K) float64 of a finished member, where it is smaller than the gradients and can be written.

    Args:
        double: whether its products were made in double precision.
    """
    made_of = _made_of(save_dir, model_id)
    if made_of is None or made_of["rows"] <= len(xtx):
        return
    path = _path(save_dir, model_id)
    half = np.concatenate([xtx[i : i + PANEL, i:].ravel() for i in range(0, len(xtx), PANEL)])
    try:
        with replacing(path) as temporary:
            half.tofile(temporary)
        write_json(path.with_suffix(".json"), made_of | {"double": double, "sum": zlib.crc32(half.data)})
    except OSError:  # a directory that is full, or only read
        return


def kept_gram(save_dir: Path, model_id: int, double: bool, k: int) -> np.ndarray | None:
    """What `keep_gram` kept; None where it is gone, damaged, of other gradients or of the other precision.

    Args:
        k: K.
    """
    path, made_of = _path(save_dir, model_id), _made_of(save_dir, model_id)
    told = read_whole(path.with_suffix(".json"))
    if made_of is None or told is None or told != made_of | {"double": double, "sum": told.get("sum")}:
        return None
    half = _read(path, told)
    size = sum(min(PANEL, k - i) * (k - i) for i in range(0, k, PANEL))
    return _whole(half, k) if half is not None and len(half) == size else None


def gram_files(folder: Path) -> dict[Path, bool]:
    """The files of `keep_gram` that lie in a member's folder, and whether each is what was written."""
    path = folder / NAME
    told = read_whole(path.with_suffix(".json"))
    states = {path: told is not None and _read(path, told) is not None, path.with_suffix(".json"): told is not None}
    return {name: whole for name, whole in states.items() if name.exists()}


def _read(path: Path, told: dict) -> np.ndarray | None:
    """The numbers, where they are those of the check sum."""
    try:
        half = np.fromfile(path)
    except OSError:
        return None
    return half if zlib.crc32(half.data) == told.get("sum") else None


def _whole(half: np.ndarray, k: int) -> np.ndarray:
    xtx, first = np.empty((k, k)), 0
    for start in range(0, k, PANEL):
        panel = xtx[start : start + PANEL, start:]
        panel[:] = half[first : first + panel.size].reshape(panel.shape)
        xtx[start : start + PANEL, :start] = xtx[:start, start : start + PANEL].T
        first += panel.size
    return xtx


def _path(save_dir: Path, model_id: int) -> Path:
    return save_dir / str(model_id) / NAME


def _made_of(save_dir: Path, model_id: int) -> dict | None:
    """What says which gradients a member has; None for a directory of an earlier build, which has no blocks."""
    manifest = read_manifest(save_dir)
    if manifest is None or "blocks" not in manifest:
        return None
    count = manifest["features"]["row_count"]
    sums = sums_of(cut_rows(save_dir / str(model_id), count, manifest["blocks"]), "grads.mmap")
    return {"rows": count, "of": digest(manifest["features"]["proj_dim"], sums)}
