"""Files of weights, read without running anything from them. Not here: what the names mean, or models.

PyTorch's files are taken apart by `unpickle.py`; a zip file that names no foreign class is then read by
`torch.load(weights_only=True)`. Damage shows in the check sums that zip archives hold; PyTorch's older format and
safetensors have none, so a flipped bit in a weight stays unseen there.
"""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rec_trak import words
from rec_trak.checkpoints.hdf5 import SIGNATURE
from rec_trak.checkpoints.keras_files import is_keras_zip, read_h5, read_keras_zip
from rec_trak.checkpoints.pytorch_files import LEGACY_MAGIC, Storages, read_legacy, read_zip
from rec_trak.checkpoints.rebuild import Inert, StoredTensor
from rec_trak.checkpoints.unpickle import plain
from rec_trak.errors import CheckpointError

STATE_KEYS = ("state_dict", "model_state_dict", "model")
EXPECTED = "Give a .pt, .pth, .ckpt, .bin, .safetensors, .npz, .h5 or .keras file of weights."
FOREIGN = (  # first bytes, what such a file is, what to do
    (b"version https://git-lfs", "it is a git-lfs pointer, not the file itself", "Run `git lfs pull`."),
    (b"<", "it is a web page", "Download the file itself."),
    (b"\x1f\x8b", "it is compressed", "Unpack it."),
)
TENSORFLOW = re.compile(r"\.index$|\.data-\d+-of-\d+$")
SAVE_H5 = "Load it there with `model.load_weights`, then `model.save_weights('NAME.h5')`; or 'NAME.weights.h5'."
EXPANDED = 2**20  # numbers; a tensor that shows its storage several times over may not claim more
UNPACKED, RATIO = 2**30, 100  # a zip member that is larger in bytes may not unpack to more than so many times its size
BREAKS = re.compile(r"[^\S ]")  # white space that is no blank
FOLDER = 0x10  # a bit of a zip member's attributes

Content = tuple[Any, tuple[str, ...], Storages | None]


@dataclass(frozen=True)
class CheckpointFile:
    """What a checkpoint holds.

    Attributes:
        state: parameter name -> tensor on the CPU; names that shared memory still do. The prefixes of DataParallel
            (`module.`) and of torch.compile (`_orig_mod.`) are taken off.
        extras: everything else in the file but optimizers; objects and tensors are `Inert` stand-ins.
        format: `pytorch zip`, `pytorch legacy`, `safetensors`, `npz`, `hdf5` or `keras zip`.
        pickled_classes: the classes and functions that the file names and that were replaced, as module and name.
    """

    state: dict[str, Tensor]
    extras: dict[str, Any]
    format: str
    pickled_classes: tuple[str, ...]


def read_checkpoint_file(path: str | Path) -> CheckpointFile:
    """What the file holds. Nothing that it names is imported or called.

    Raises:
        CheckpointError: no such file, another format, damaged, cut short, without a mapping of parameter names to
            tensors (at the top or under `state_dict`, `model_state_dict` or `model`), or it needs `safetensors` or
            `h5py`, which is not installed.
    """
    path = Path(path)
    if not path.is_file():
        if path.with_name(f"{path.name}.index").is_file():
            raise _unreadable(path, "it is the name of a TensorFlow checkpoint of several files", SAVE_H5)
        problem = "is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(
            f"{path}: {problem}. Give the path of a .pt, .pth, .ckpt, .safetensors, .npz, .h5 or .keras file."
        )
    try:
        kind, read = _format(path)
        content, classes, storages = read(path)
        found, extras = _split(path, content, classes)
        state = {name: _tensor(path, name, value, storages) for name, value in found.items()}
        return CheckpointFile(_without_wrappers(path, state), plain(extras), kind, classes)
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be opened ({error.strerror}). Check its permissions.") from error
    except RecursionError as error:
        raise _unreadable(path, "it is nested too deeply", EXPECTED) from error
    except Exception as error:  # a damaged file makes its readers raise almost anything
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise _unreadable(path, f"it is cut short or damaged ({reason})", "Copy or download it again.") from error


def _unreadable(path: Path, what: str, do: str) -> CheckpointError:
    return CheckpointError(f"{path}: cannot be read as a checkpoint; {what}. {do}")


def printable(text: str, length: int = 200) -> str:
    """Text from a file, cut to so many characters, with `?` for line breaks and all that a terminal would obey."""
    return words.plain(BREAKS.sub("?", text[:length]), mark="?")


def _format(path: Path) -> tuple[str, Callable[[Path], Content]]:
    """The format, told by the content, and its reader."""
    with open(path, "rb") as file:
        head = file.read(512)
    if TENSORFLOW.search(path.name):
        raise _unreadable(path, "it is a part of a TensorFlow checkpoint", SAVE_H5)
    for start, what, do in FOREIGN:
        if head.lstrip().lower().startswith(start):
            raise _unreadable(path, what, do)
    if head.startswith(SIGNATURE):
        return "hdf5", read_h5
    if head.startswith(b"PK\x03\x04"):
        return _zip_format(path)
    if head.startswith(b"\x80") and LEGACY_MAGIC.to_bytes(10, "little") in head[:64]:
        return "pytorch legacy", read_legacy
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors", _read_safetensors
    what = f"it is another format (its first bytes are {head[:12]!r})" if head else "it is empty"
    raise _unreadable(path, what, EXPECTED)


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
        raise _unreadable(path, "it is a TorchScript archive", "Save `model.state_dict()` instead.")
    if any(name.endswith("/data.pkl") for name in names):
        return "pytorch zip", _read_torch_zip
    if is_keras_zip(names):
        return "keras zip", read_keras_zip
    if names and all(name.endswith(".npy") for name in names):
        return "npz", _read_npz
    raise _unreadable(path, "it is a zip archive of something else", EXPECTED)


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
        return {**(file.metadata() or {}), "state_dict": state}, (), None


def _read_npz(path: Path) -> Content:
    """Arrays of numbers are tensors; others (text) stand beside them."""
    state, extras = {}, {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            value = arrays[name]
            if value.dtype.kind in "biufc":
                state[name] = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
            else:
                extras[name] = value.tolist()
    return {**extras, "state_dict": state}, (), None


def _split(path: Path, content: Any, classes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The mapping of parameter names to tensors, and what stands beside it.

    Raises:
        CheckpointError: there is no such mapping.
    """
    if not isinstance(content, dict):
        whole = isinstance(content, Inert) and "_modules" in content.inert_attributes
        do = " It is a whole pickled model: where its code is, save `model.state_dict()`." if whole else ""
        raise CheckpointError(
            f"{path}: not a state_dict. Got {_kind(content)}, expected parameter names and tensors.{do}"
        )
    if _is_state(content):
        return content, {}
    inner = {key: content[key] for key in STATE_KEYS if isinstance(content.get(key), dict)}
    for key, state in inner.items():
        if _is_state(state):
            beside = {k: v for k, v in content.items() if isinstance(k, str) and k != key}
            return state, {k: v for k, v in beside.items() if not k.startswith("optim")}
    state = next(iter(inner.values()), content)
    if not state:
        raise CheckpointError(f"{path}: not a state_dict. Got an empty mapping, expected parameter names and tensors.")
    if classes and not any(_is_tensor(value) for value in state.values()):
        named = ", ".join(printable(name) for name in classes[:3])
        raise _unreadable(path, f"it holds no tensors, but names {named}", EXPECTED)
    name, value = next((n, v) for n, v in state.items() if not isinstance(n, str) or not _is_tensor(v))
    shown = words.quoted(name) if isinstance(name, str) else f"of type {type(name).__name__}"
    raise CheckpointError(
        f"{path}: not a state_dict. Got {_kind(value)} at key {shown}, expected parameter names and tensors, at the "
        f"top or under {', '.join(f'`{key}`' for key in STATE_KEYS)}."
    )


def _is_state(value: dict) -> bool:
    return bool(value) and all(isinstance(name, str) and _is_tensor(inner) for name, inner in value.items())


def _is_tensor(value: Any) -> bool:
    dense = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized
    return isinstance(value, StoredTensor) or (dense and value.device.type == "cpu")


def _kind(value: Any) -> str:
    if isinstance(value, Inert):
        return f"an object of {printable(value.inert_class)}"
    if isinstance(value, Tensor) and not _is_tensor(value):
        return f"a tensor that is {value.device.type}, {value.layout}, {value.dtype}"
    return "Tensor" if isinstance(value, StoredTensor | Tensor) else type(value).__name__


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
    """Without the parts of names that torch.compile and DataParallel add.

    Raises:
        CheckpointError: two names become one.
    """
    names = [".".join(part for part in name.split(".") if part != "_orig_mod") for name in state]
    while all(name.startswith("module.") for name in names):
        names = [name.removeprefix("module.") for name in names]
    made = dict(zip(names, state.values(), strict=True))
    if len(made) < len(state):
        raise CheckpointError(
            f"{path}: parameters fall together once `_orig_mod.` is taken off their names. Got {len(state)} names, "
            f"expected as many after it as before, not {len(made)}. Save the model before torch.compile wraps it."
        )
    return made
