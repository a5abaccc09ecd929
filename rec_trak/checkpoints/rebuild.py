"""What a pickle may ask to be made, from a fixed table: tensors on paper, numpy values, plain containers.

Not here: the pickle's own steps (`unpickle.py`), and the bytes of tensors (`pytorch_files.py`). Every function here is
ours and is given arguments that a stranger wrote, so each checks them before it allocates anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
DTYPES = (
    "float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
)  # fmt: skip
NUMPY_CODE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,8}")


class Inert:
    """Stands for an object of a class, or for a class or function, that a file names; it can do nothing.

    `config.num_heads` gives the attribute that the file recorded.

    Attributes:
        inert_class: module and name as the file gives them; nothing of that name was looked up.
        inert_args: what the file would have called it with; None for the class or function itself.
        inert_attributes: attribute name -> value.
        inert_items: list items, and (key, value) pairs, that the file put into the object.
    """

    __slots__ = ("inert_args", "inert_attributes", "inert_class", "inert_items")

    def __init__(self, name: str, args: tuple | None = None):
        self.inert_class, self.inert_args = name, args
        self.inert_attributes: dict[str, Any] = {}
        self.inert_items: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        # Python and libraries ask objects for names with two underscores to learn what they can do: nothing.
        if name.startswith("__") or name in Inert.__slots__ or name not in self.inert_attributes:
            raise AttributeError(name)
        return self.inert_attributes[name]

    def __repr__(self) -> str:
        return f"Inert({self.inert_class})"

    def build(self, state: Any) -> None:
        """Record the state that the file gives the object."""
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        if all(part is None or isinstance(part, dict) for part in parts):
            for part in parts:
                self.inert_attributes.update({k: v for k, v in (part or {}).items() if isinstance(k, str)})
        else:
            self.inert_attributes["state"] = state


class InertArray(Inert):
    """A numpy array whose content comes later; `array` is None until then, or where it holds objects."""

    __slots__ = ("array",)

    def __init__(self, *_):
        super().__init__("numpy.ndarray", ())
        self.array: np.ndarray | None = None

    def build(self, state: Any) -> None:
        """Fill the array from its (version, shape, dtype, fortran order, bytes)."""
        _, shape, dtype, fortran, data = state
        if isinstance(data, bytes) and isinstance(dtype, NumpyType) and dtype.known():
            self.array = from_buffer(data, dtype, shape, "F" if fortran else "C")


class NumpyType:
    """A numpy dtype on paper."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_):
        self.code, self.order = code, "="

    def build(self, state: tuple) -> None:
        """Take the byte order from the dtype's state."""
        self.order = state[1]

    def known(self) -> bool:
        """Whether it is a plain number, text or bytes type."""
        plain = isinstance(self.code, str) and NUMPY_CODE.fullmatch(self.code) is not None
        return plain and self.order in ("<", ">", "=", "|")

    def dtype(self) -> np.dtype:
        """The type itself."""
        return np.dtype(self.order + self.code)


@dataclass(frozen=True)
class StorageKind:
    """A typed storage class, by what its elements are."""

    dtype: torch.dtype


@dataclass(frozen=True)
class Storage:
    """A block of numbers outside of the pickle: its key, element type, and how many elements."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor on paper: which elements of which storage it shows."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


def check_key(key: Any) -> None:
    """Refuse what Python cannot hash, or only by descending (which ends the process where it is nested deeply).

    Raises:
        ValueError: it is not a number, a text, bytes, None, a stand-in, or a tuple of those.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if not all(part is None or isinstance(part, str | int | float | bytes | Inert | torch.dtype) for part in parts):
        raise ValueError(f"a {type(key).__name__} is used as a key")


def from_buffer(data: bytes, dtype: NumpyType, shape: tuple[int, ...], order: str = "C") -> Any:
    """The numpy array that `data` holds.

    Raises:
        ValueError: the shape is not made of counts, or asks for more or fewer bytes than there are.
    """
    if not _counts(shape) or not dtype.known() or order not in ("C", "F"):
        raise ValueError("an array is described wrongly")
    if math.prod(shape) * dtype.dtype().itemsize != len(data):
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes")
    return np.frombuffer(data, dtype=dtype.dtype()).reshape(shape, order=order).copy()


def _scalar(dtype: NumpyType, data: bytes) -> Any:
    if isinstance(data, bytes) and dtype.known():
        return from_buffer(data, dtype, ()).item()
    return Inert("numpy.generic", (dtype.code,))


def _counts(values: Any) -> bool:
    return isinstance(values, tuple) and len(values) <= 64 and all(type(v) is int and 0 <= v < 2**62 for v in values)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, _grad=None, _hooks=None, dtype=None, *_) -> Any:
    """Versions 1 to 3 of torch's description; only version 3 names a dtype, where version 2 may have metadata."""
    if isinstance(dtype, Inert):
        return Inert("torch.Tensor", (dtype.inert_class,))
    right = isinstance(storage, Storage)
    dtype = dtype if isinstance(dtype, torch.dtype) else getattr(storage, "dtype", None)
    if not right or not _counts((offset,)) or not _counts(size) or not _counts(stride) or len(size) != len(stride):
        raise ValueError("a tensor is described wrongly")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    there = storage.numel * storage.dtype.itemsize // dtype.itemsize
    if 0 not in size and last >= there:
        raise ValueError(f"a tensor reaches element {last} of a storage of {there}")
    return StoredTensor(storage, offset, size, stride, dtype)


def _parameter(data: Any, *_) -> StoredTensor | Inert:
    return data if isinstance(data, StoredTensor) else Inert("torch.nn.parameter.Parameter", (data,))


def _from_type(function: Inert, _type, args: tuple, *_) -> Any:
    known = KNOWN.get(function.inert_class) if isinstance(function, Inert) else None
    if known not in (_tensor, _parameter):
        return Inert("torch.Tensor", args)
    return known(*args)


def _mapping(pairs: Any = ()) -> dict:
    made = {}
    for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
        check_key(key)
        made[key] = value
    return made


def _set(items: Iterable = ()) -> set:
    items = list(items)
    for item in items:
        check_key(item)
    return set(items)


def _bytes(data: Any = b"", encoding: str = "latin1", *_) -> bytes:
    if isinstance(data, bytes):
        return data
    if not isinstance(data, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes are described wrongly")
    return data.encode("latin1")


def _instance(kind: Inert, *args) -> Inert:
    if not isinstance(kind, Inert):
        raise ValueError(f"an object's class is a {type(kind).__name__}")
    return Inert(kind.inert_class, args)


def _size(values: Iterable = ()) -> tuple:
    return tuple(values)


def _device(kind: str, index: int | None = None) -> str:
    if not isinstance(kind, str) or not isinstance(index, int | None):
        raise ValueError("a device is described wrongly")
    return kind if index is None else f"{kind}:{index}"


def _complex(real: float, imaginary: float) -> complex:
    return complex(float(real), float(imaginary))


CONSTANTS: dict[str, Any] = {f"torch.{name}": getattr(torch, name) for name in DTYPES if hasattr(torch, name)}
CONSTANTS |= {f"torch.{name}": StorageKind(dtype) for name, dtype in STORAGES.items()}
CONSTANTS |= {f"torch.cuda.{name}": StorageKind(dtype) for name, dtype in STORAGES.items()}
CONSTANTS["torch.storage.UntypedStorage"] = StorageKind(torch.uint8)

KNOWN: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.Size": _size,
    "torch.device": _device,
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": _mapping,
    "builtins.set": _set,
    "builtins.frozenset": lambda items=(): frozenset(_set(items)),
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "builtins.complex": _complex,
    "_codecs.encode": _bytes,
    "copyreg._reconstructor": _instance,
    "copyreg.__newobj__": _instance,
    "numpy.dtype": NumpyType,
}
for _core in ("numpy.core", "numpy._core"):
    KNOWN[f"{_core}.multiarray.scalar"] = _scalar
    KNOWN[f"{_core}.multiarray._reconstruct"] = InertArray
    KNOWN[f"{_core}.numeric._frombuffer"] = from_buffer

# Named beside the functions above, never called.
HARMLESS = {"numpy.ndarray", "torch.Tensor", "torch.nn.parameter.Parameter"} | {
    f"builtins.{name}" for name in ("object", "list", "dict", "tuple", "int", "float", "str", "bool")
}
