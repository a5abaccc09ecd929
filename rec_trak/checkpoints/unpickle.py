"""A pickle read without running it: numbers, text, containers and tensors on paper; a stand-in for all else.

Python's own unpickler imports what a file names and calls it. This one takes the steps of the pickle itself, and its
only functions are those of `rebuild.py`. Not here: the bytes of tensors, which stand elsewhere in the file
(`pytorch_files.py`).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from rec_trak.checkpoints.rebuild import (
    CONSTANTS,
    HARMLESS,
    KNOWN,
    Inert,
    InertArray,
    NumpyType,
    Storage,
    StorageKind,
    StoredTensor,
    check_key,
)

LONGEST_NUMBER = 4096  # bits
PYTHON_2_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
COPIED = str | bytes | list | tuple | dict | set | frozenset
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
FROM_MARK = {"LIST", "TUPLE", "DICT", "FROZENSET", "APPENDS", "SETITEMS", "ADDITEMS", "OBJ", "INST", "POP_MARK"}
LITERALS = {
    "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip


class Machine:
    """The stack, marks and memo of one or several pickles of one file.

    Attributes:
        names: the classes and functions that the file names and that have no place in `rebuild.py`, each once.
        storages: key -> the storage that the file describes under it.
    """

    def __init__(self, size: int):
        """`size`: bytes of the file; containers may be copied so often that their items add up to four times that."""
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.names: dict[str, None] = {}
        self.storages: dict[str, Storage] = {}
        self.left = 4 * size + 1024

    def read(self, stream: BinaryIO) -> Any:
        """The value of one pickle; `stream` stands behind it afterwards.

        Raises:
            ValueError, IndexError, KeyError, TypeError: the pickle is damaged or asks for what is refused.
        """
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise ValueError("the pickle has no end")

    def _step(self, op: str, argument: Any) -> None:
        stack = self.stack
        if op in LITERALS:  # most steps
            if isinstance(argument, int) and argument.bit_length() > LONGEST_NUMBER:
                raise ValueError("a number has too many digits")
            stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif op in CONSTANT:
            stack.append(CONSTANT[op])
        elif op in EMPTY:
            stack.append(EMPTY[op]())
        elif op in SHORT_TUPLES:
            n = SHORT_TUPLES[op]
            stack[-n:] = [tuple(self._top(n))]
        elif op in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif op == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif op in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif op == "MARK":
            self.marks.append(len(stack))
        elif op == "DUP":
            stack.append(stack[-1])
        elif op == "POP":
            # A mark on top counts as an entry of the stack.
            (self.marks if self.marks and self.marks[-1] == len(stack) else stack).pop()
        elif op in FROM_MARK:
            self._from_mark(op, argument)
        elif op not in ("PROTO", "FRAME"):
            self._object(op, argument)

    def _top(self, n: int) -> list[Any]:
        if len(self.stack) < n:
            raise IndexError("the stack is empty")
        return self.stack[-n:]

    def _from_mark(self, op: str, argument: Any) -> None:
        stack, start = self.stack, self.marks.pop()
        items = stack[start:]
        del stack[start:]
        if op == "LIST":
            stack.append(items)
        elif op == "TUPLE":
            stack.append(tuple(items))
        elif op == "DICT":
            stack.append({})
            _set_items(stack[-1], items)
        elif op == "FROZENSET":
            stack.append(KNOWN["builtins.frozenset"](items))
        elif op == "APPENDS":
            _append(stack[-1], items)
        elif op == "SETITEMS":
            _set_items(stack[-1], items)
        elif op == "ADDITEMS":
            if not isinstance(stack[-1], set):
                raise ValueError("items are added to what is not a set")
            stack[-1].update(KNOWN["builtins.set"](items))
        elif op == "OBJ":
            stack.append(self._call(items[0], tuple(items[1:])))
        elif op == "INST":
            stack.append(self._call(self._named(*argument.split(" ", 1)), tuple(items)))

    def _object(self, op: str, argument: Any) -> None:
        stack = self.stack
        if op == "APPEND":
            value = stack.pop()
            _append(stack[-1], [value])
        elif op == "SETITEM":
            *_, target, key, value = self._top(3)
            del stack[-2:]
            _set_items(target, [key, value])
        elif op == "GLOBAL":
            stack.append(self._named(*argument.split(" ", 1)))
        elif op == "STACK_GLOBAL":
            stack[-2:] = [self._named(*self._top(2))]
        elif op in ("REDUCE", "NEWOBJ"):
            stack[-2:] = [self._call(*self._top(2))]
        elif op == "NEWOBJ_EX":
            kind, args, keywords = self._top(3)
            stack[-3:] = [self._call(kind, args)]
            self._build(keywords)
        elif op == "BUILD":
            self._build(stack.pop())
        elif op == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        else:
            raise ValueError(f"it uses {op}")

    def _named(self, module: Any, name: Any) -> Any:
        """What stands for a class or function that the file names. Nothing is looked up but our own tables."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name is not text")
        full = f"{PYTHON_2_NAMES.get(module, module)}.{name}"
        if full in CONSTANTS:
            return CONSTANTS[full]
        if full not in KNOWN and full not in HARMLESS:
            self.names[full] = None
        return Inert(full)

    def _call(self, function: Any, args: Any) -> Any:
        """What stands for a call that the file asks for."""
        if not isinstance(function, Inert) or not isinstance(args, tuple):
            raise ValueError(f"it calls a {type(function).__name__}")
        if function.inert_args is not None:  # the result of a call is called
            return Inert(f"{function.inert_class.removesuffix('(...)')}(...)", args)
        known: Callable[..., Any] | None = KNOWN.get(function.inert_class)
        if known is None:
            return Inert(function.inert_class, args)
        self._spend(args)
        return known(*args)

    def _build(self, state: Any) -> None:
        """Give the object on top of the stack its state."""
        target = self.stack[-1]
        if isinstance(target, Inert | NumpyType):
            self._spend(state if isinstance(state, tuple) else (state,))
            target.build(state)
        elif not isinstance(target, dict):  # a dict's attributes are of no use to us
            raise ValueError(f"a {type(target).__name__} is given a state")

    def _spend(self, values: tuple) -> None:
        """Count what is about to be copied: a few steps may ask for the same long list thousands of times."""
        self.left -= len(values) + sum(len(v) for v in values if isinstance(v, COPIED))
        if self.left < 0:
            raise ValueError("it unfolds to far more than it holds")

    def _storage(self, described: Any) -> Any:
        """The storage, or the class of an old file, that stands outside of the pickle."""
        if not isinstance(described, tuple) or len(described) < 2:
            raise ValueError("a storage is described wrongly")
        if described[0] == "module":
            return described[1]
        tag, kind, key, _location, numel, *view = described
        if tag != "storage" or not isinstance(kind, StorageKind) or not isinstance(key, str) or type(numel) is not int:
            raise ValueError("a storage is described wrongly")
        storage = Storage(key, kind.dtype, numel)
        if not 0 <= numel < 2**56 or self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} is described wrongly, or twice")
        if view and view[0] is not None:
            raise ValueError("it uses views of storages, as PyTorch did before version 0.4")
        return storage


def plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """A copy made of numbers, text, bytes, numpy arrays, plain containers and stand-ins; tensors become stand-ins.

    What occurs twice in `value` occurs twice in the copy, as one object.

    Raises:
        RecursionError: it is nested too deeply.
    """
    if value is None or isinstance(value, str | int | float | complex | bytes | np.ndarray):
        return value
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, InertArray) and value.array is not None:
        made = value.array
    elif isinstance(value, Inert):
        made = done[id(value)] = value
        value.inert_args = plain(value.inert_args, done)
        value.inert_attributes = plain(value.inert_attributes, done)
        value.inert_items = plain(value.inert_items, done)
    elif isinstance(value, dict):
        made = done[id(value)] = {}
        made.update({key: plain(inner, done) for key, inner in value.items()})
    elif isinstance(value, list):
        made = done[id(value)] = []
        made.extend(plain(inner, done) for inner in value)
    elif isinstance(value, tuple):
        made = tuple(plain(inner, done) for inner in value)
    elif isinstance(value, set | frozenset):
        made = {plain(inner, done) for inner in value}
    elif isinstance(value, NumpyType):
        made = str(value.dtype()) if value.known() else Inert("numpy.dtype", (value.code,))
    elif isinstance(value, Tensor | StoredTensor):
        size = value.size if isinstance(value, StoredTensor) else tuple(value.shape)
        made = Inert("torch.Tensor", (size, str(value.dtype)))
    elif isinstance(value, torch.dtype | torch.device):
        made = str(value)
    else:
        made = Inert(f"{type(value).__module__}.{type(value).__qualname__}", ())
    done[id(value)] = made
    return made


def _append(target: Any, items: list) -> None:
    if isinstance(target, Inert):
        target.inert_items.extend(items)
    elif isinstance(target, list):
        target.extend(items)
    else:
        raise ValueError(f"items are appended to a {type(target).__name__}")


def _set_items(target: Any, items: list) -> None:
    """Put `items`, keys and values in turn, into `target`."""
    pairs = list(zip(items[::2], items[1::2], strict=True))
    if isinstance(target, Inert):
        target.inert_items.extend(pairs)
    elif isinstance(target, dict):
        for key, value in pairs:
            check_key(key)
            target[key] = value
    else:
        raise ValueError(f"keys are set in a {type(target).__name__}")
