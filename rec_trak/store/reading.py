"""What a save directory holds, read back: every map with its shape, its type and its check sums compared.

Not here: writing, or what is done with the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rec_trak.arrays import read_array
from rec_trak.errors import StoreError, reason
from rec_trak.store.blocks import check, cut_rows, cut_targets
from rec_trak.store.layout import Maps, member_maps, target_maps
from rec_trak.store.manifest import MANIFEST, read_manifest
from rec_trak.words import quoted

FEATURIZE = "run scripts/featurize.py with the flags of before"


def read_member(save_dir: Path, model_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Projected gradients (N, K) float32 as a read-only map, and Q (N,) float64, of a finished member.

    Raises:
        StoreError: a map is missing, not this directory's, or damaged.
    """
    manifest, folder = _manifest(save_dir), save_dir / str(model_id)
    count, k = (manifest["features"][key] for key in ("row_count", "proj_dim"))
    maps = _opened(member_maps(folder, count, k), ("grads", "out_to_loss"), FEATURIZE)
    if "blocks" in manifest:
        check(cut_rows(folder, count, manifest["blocks"]), maps)
    phi, q = maps.values()
    return phi, np.array(q, dtype=np.float64).reshape(-1)


def read_targets(save_dir: Path, model_id: int, name: str) -> np.ndarray:
    """Projected gradients (M, K) float32 of a target set under one member, as a read-only map.

    Raises:
        StoreError: they are missing, not this directory's, or damaged.
    """
    manifest, folder = _manifest(save_dir), save_dir / str(model_id)
    again = f"run scripts/score.py with --targets {name}"
    if name not in manifest["targets"]:
        raise StoreError(f"{save_dir / MANIFEST}: no target set {quoted(name)} was scored here. {again.capitalize()}.")
    count = manifest["targets"][name]["count"]
    maps = _opened(target_maps(folder, name, count, manifest["features"]["proj_dim"]), (f"{name}_grads",), again)
    if "blocks" in manifest:
        check(cut_targets(folder, name, count, manifest["blocks"]), maps)
    return next(iter(maps.values()))


def _manifest(save_dir: Path) -> dict[str, Any]:
    manifest = read_manifest(save_dir)
    if manifest is None:
        raise StoreError(f"{save_dir / MANIFEST}: no such file. Expected a save directory. Run scripts/featurize.py.")
    return manifest


def _opened(maps: Maps, names: tuple[str, ...], again: str) -> dict[Path, np.ndarray]:
    """Path -> read-only map, of its shape and type."""
    found = {}
    for path, shape, dtype in (maps[name] for name in names):
        try:
            array = read_array(path, mapped=True)
        except FileNotFoundError:
            raise StoreError(f"{path}: no such file. Expected an array of {shape}. {again.capitalize()}.") from None
        except (OSError, ValueError) as error:
            _refuse(path, f"an array that cannot be read ({reason(error)})", shape, dtype, again)
        if array.shape != shape or array.dtype != dtype:
            _refuse(path, f"shape {array.shape} of {array.dtype}", shape, dtype, again)
        found[path] = array
    return found


def _refuse(path: Path, got: str, shape: tuple[int, ...], dtype: type, again: str) -> NoReturn:
    raise StoreError(
        f"{path}: damaged. Got {got}, expected {shape} of {np.dtype(dtype)}. Delete that file, and {again}."
    ) from None
