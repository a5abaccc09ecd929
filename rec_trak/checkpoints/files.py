"""Files of weights, read without running anything from them. Not here: what the names mean, or models.

PyTorch's files are taken apart by `unpickle.py`; a zip file that names no foreign class is then read by
`torch.load(weights_only=True)`. Damage shows in the check sums that zip archives hold; PyTorch's older format and
safetensors have none, so a flipped bit in a weight stays unseen there.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rec_trak import words
from rec_trak.arrays import read_archive
from rec_trak.checkpoints.containers import CheckpointFile, find_state
from rec_trak.checkpoints.folders import INDEX, index_in, is_of_tensorflow, read_shards
from rec_trak.checkpoints.hdf5 import SIGNATURE
from rec_trak.checkpoints.keras_files import is_keras_zip, read_h5, read_keras_zip
from rec_trak.checkpoints.names import unwrapped
from rec_trak.checkpoints.pytorch_files import LEGACY_MAGIC, Storages, read_legacy, read_zip
from rec_trak.checkpoints.rebuild import StoredTensor
from rec_trak.checkpoints.refusals import EXPECTED, SAVE_H5, printable, unreadable
from rec_trak.checkpoints.stated import with_scores
from rec_trak.checkpoints.unpickle import plain
from rec_trak.disk import absent
from rec_trak.errors import CheckpointError

FOREIGN = (  # first bytes, what such a file is, what to do
    (b"version https://git-lfs", "it is a git-lfs pointer, not the file itself", "Run `git lfs pull`."),
    (b"<", "it is a web page", "Download the file itself."),
    (b"\x1f\x8b", "it is compressed", "Unpack it."),
)
EXPANDED = 2**20  # numbers; a tensor that shows its storage several times over may not claim more
UNPACKED, RATIO = 2**30, 100  # a zip member that is larger in bytes may not unpack to more than so many times its size
FOLDER = 0x10  # a bit of a zip member's attributes

Content = tuple[Any, tuple[str, ...], Storages | None]


def read_checkpoint_file(path: str | Path) -> CheckpointFile:
    """What the file holds, or the files of a folder that an index lists. Nothing that it names is imported or called.

    Args:
        path: a file, an index (`*.index.json`) of weights in several files beside it, or a folder with one.

    Raises:
        CheckpointError: no such file, another format, damaged, cut short, without a mapping of parameter names to
            tensors (at the top or under `state_dict`, `model` and the like), a folder of another kind, files that do
            not hold what their index says, or it needs `safetensors` or `h5py`, which is not installed.
    """
    path = Path(path)
    place = index_in(path) if path.is_dir() else path
    if not place.exists():
        if path.with_name(f"{path.name}.index").is_file():
            raise unreadable(path, "it is the name of a TensorFlow checkpoint of several files", SAVE_H5)
        raise CheckpointError(f"{path}: {absent(path)}. {EXPECTED}")
    read = read_shards(place, _read) if place.name.endswith(INDEX) else _read(place)
    return CheckpointFile(_without_wrappers(path, read.state), read.extras, read.format, read.pickled_classes)


def _read(path: Path) -> CheckpointFile:
    """One file, its names as they stand there."""
    try:
        kind, read = _format(path)
        content, classes, storages = read(path)
        found, extras = find_state(path, content, classes)
        state = {name: _tensor(path, name, value, storages) for name, value in found.items()}
        extras = plain(with_scores(extras, storages and storages.tensor))
        return CheckpointFile(state, extras, kind, classes)
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be opened ({error.strerror}). Check its permissions.") from error
    except RecursionError as error:
        raise unreadable(path, "it is nested too deeply", EXPECTED) from error
    except Exception as error:  # a damaged file makes its readers raise almost anything
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise unreadable(path, f"it is cut short or damaged ({reason})", "Copy or download it again.") from error


def _format(path: Path) -> tuple[str, Callable[[Path], Content]]:
    """The format, told by the content, and its reader."""
    with open(path, "rb") as file:
        head = file.read(512)
    if is_of_tensorflow(path):
        raise unreadable(path, "it is a part of a TensorFlow checkpoint", SAVE_H5)
    for start, what, do in FOREIGN:
        if head.lstrip().lower().startswith(start):
            raise unreadable(path, what, do)
    if head.startswith(SIGNATURE):
        return "hdf5", read_h5
    if head.startswith(b"PK\x03\x04"):
        return _zip_format(path)
    if head.startswith(b"\x80") and LEGACY_MAGIC.to_bytes(10, "little") in head[:64]:
        return "pytorch legacy", read_legacy
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors", _read_safetensors
    what = f"it is another format (its first bytes are {head[:12]!r})" if head else "it is empty"
    raise unreadable(path, what, EXPECTED)


def _zip_format(path: Path) -> tuple[str, Callable[[Path], Content]]:
    """Which kind of zip archive this is. Every check sum is compared, since torch's own reader does not."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        _check_directory(path, archive.start_dir, len(members))
        if not any(member.CRC for member in members):  # torch.serialization.set_crc32_options(False) writes none
            for member in members:
                member.CRC = None
        for member in members:
            if member.file_size > max(UNPACKED, RATIO * member.compress_size):
                raise ValueError(f"{member.filename} unpacks to {member.file_size:,} bytes")
            if member.external_attr & FOLDER:  # torch's reader would leave the tensor's memory as it happens to be
                raise ValueError(f"{member.filename} is marked as a folder")
            with archive.open(member) as stream:
                while stream.read(1 << 20):
                    pass
    if any(name.endswith("/constants.pkl") for name in names):
        raise unreadable(path, "it is a TorchScript archive", "Save `model.state_dict()` instead.")
    if any(name.endswith("/data.pkl") for name in names):
        return "pytorch zip", _read_torch_zip
    if is_keras_zip(names):
        return "keras zip", read_keras_zip
    if names and all(name.endswith(".npy") for name in names):
        return "npz", _read_npz
    raise unreadable(path, "it is a zip archive of something else", EXPECTED)


def _check_directory(path: Path, start: int, listed: int) -> None:
    """Refuse an entry that takes the next one for its comment."""
    with open(path, "rb") as file:
        file.seek(start)
        there = file.read().count(b"PK\x01\x02")
    if there != listed:
        raise ValueError(f"its directory lists {listed} of {there} members")


def _read_torch_zip(path: Path) -> Content:
    """By torch.load(weights_only=True) where it names nothing foreign: that knows every kind of tensor.

    It comes second because a pickle can end the process in it, with a key that is nested deeply.
    """
    ours = read_zip(path)
    if all(name.startswith("torch.") for name in ours[1]):
        with contextlib.suppress(Exception):  # it refuses numpy's numbers, which ours reads
            return torch.load(path, map_location="cpu", weights_only=True), (), None
    return ours


def _read_safetensors(path: Path) -> Content:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise CheckpointError(
            f"{path}: reading this format needs a library that is not installed. Got no safetensors, expected it. "
            "Run `pip install 'rec-trak[bert]'`."
        ) from error
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        header = file.metadata() or {}
    ties = {alias: name for alias, name in header.items() if name in state and alias not in state}
    state |= {alias: state[name] for alias, name in ties.items()}  # `save_model` keeps one name of a tied weight
    return {**{key: value for key, value in header.items() if key not in ties}, "state_dict": state}, (), None


def _read_npz(path: Path) -> Content:
    """Arrays of numbers are tensors; others (text) stand beside them."""
    state, extras = {}, {}
    for name, value in read_archive(path).items():
        if value.dtype.kind in "biufc":
            state[name] = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
        else:
            extras[name] = value.tolist()
    return {**extras, "state_dict": state}, (), None


def _tensor(path: Path, name: str, value: Tensor | StoredTensor, storages: Storages | None) -> Tensor:
    tensor = value.detach() if isinstance(value, Tensor) else storages.tensor(value)
    there = tensor.untyped_storage().nbytes() // tensor.itemsize
    if tensor.numel() > max(there, EXPANDED):
        raise CheckpointError(
            f"{path}: tensor {words.quoted(name)} shows its few numbers many times over. Got {tensor.numel():,} "
            f"elements from {there:,}, expected at most as many. Save `.contiguous()` tensors."
        )
    return tensor


def _without_wrappers(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the parts of names that torch.compile, FSDP and DataParallel add.

    Raises:
        CheckpointError: two names become one.
    """
    names = [unwrapped(name) for name in state]
    while names and all(name.startswith("module.") for name in names):
        names = [name.removeprefix("module.") for name in names]
    made = dict(zip(names, state.values(), strict=True))
    if len(made) < len(state):
        raise CheckpointError(
            f"{path}: parameters fall together once `_orig_mod.` is taken off their names. Got {len(state)} names, "
            f"expected as many after it as before, not {len(made)}. Save the model before torch.compile wraps it."
        )
    return made
