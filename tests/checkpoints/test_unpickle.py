"""Laws of unpickling: plain values are Python's, the rest are stand-ins, and no pickle grows beyond its bytes.

What files that attack do stands in test_hostile_files.py.
"""

import collections
import io
import pathlib
import pickle
import sys

import numpy as np
import pytest
import torch

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.rebuild import Inert
from rec_trak.checkpoints.unpickle import Machine, plain
from rec_trak.errors import CheckpointError

NAME = b"cnowhere\nThing\n"


def read_pickle(data):
    """The value of a pickle and the names that were replaced."""
    machine = Machine(len(data))
    return plain(machine.read(io.BytesIO(data))), tuple(machine.names)


def plain_values():
    """Values that an unpickler needs no class of the file for."""
    shared = [1]
    return {
        "numbers": [0, 1, -1, 255, 65536, 2**31, -(2**40), 10**50, 1.5, float("inf"), True, False, None, 2 + 3j],
        "text": ["", "a", "ä", "x" * 300, "\ud800"],
        "bytes": [b"", b"a\x00\xff", b"y" * 300],
        "nested": {"a": [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ()], 3: {(1, "b"): {"c"}}},
        "sets": [set(), {1, 2}, frozenset("ab")],
        "shared": [shared, shared],
        "order": collections.OrderedDict(b=1, a=2),
        "counts": collections.Counter("abca"),
        "default": collections.defaultdict(list, a=[1]),
        "numpy": [np.float64(0.5), np.float32(0.25), np.int64(-3), np.bool_(True), np.str_("word")],
    }


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_what_python_reads(protocol):
    """Law: numbers, text, bytes, containers and numpy scalars come out as Python's own unpickler gives them."""
    read, names = read_pickle(pickle.dumps(plain_values(), protocol))
    assert read == plain_values()
    assert names == ()
    assert read["shared"][0] is read["shared"][1]
    assert [type(v) for v in read["numpy"]] == [float, float, int, bool, str]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.zeros((0, 2), "i2"), np.asfortranarray(np.eye(2))])
def test_numpy_arrays_are_what_python_reads(protocol, array):
    """Law: arrays of numbers come out equal, of the same type and shape."""
    read, names = read_pickle(pickle.dumps([array, array.astype(">f4")], protocol))
    np.testing.assert_array_equal(read[0], array)
    np.testing.assert_array_equal(read[1], array.astype("f4"))
    assert read[0].dtype == array.dtype
    assert names == ()


def test_a_stand_in_has_the_attributes_of_what_it_stands_for():
    """Law: attributes, arguments and items that the file records can be read; a missing one is an AttributeError."""

    class Config(dict):
        __module__, __qualname__ = "elsewhere", "Config"

    sys.modules["elsewhere"] = type(sys)("elsewhere")
    sys.modules["elsewhere"].Config = Config
    try:
        config = Config(depth=2)
        config.heads, config.place = 4, pathlib.PurePosixPath("a/b")
        data = pickle.dumps(config, 2)
    finally:
        del sys.modules["elsewhere"]
    read, names = read_pickle(data)
    assert names == ("elsewhere.Config", "pathlib.PurePosixPath")
    assert (read.heads, read.place.inert_args, read.inert_items) == (4, ("a", "b"), [("depth", 2)])
    assert repr(read) == "Inert(elsewhere.Config)"
    with pytest.raises(AttributeError, match="absent"):
        _ = read.absent


def test_a_file_cannot_teach_a_stand_in_tricks():
    """Law: attributes named like Python's hooks, or like the stand-in's own fields, change nothing about it."""
    hooks = ("__class__", "__len__", "__array__", "__torch_function__", "__call__", "__setstate__", "inert_class")
    state = b"".join(b"X" + len(h).to_bytes(4, "little") + h.encode() + NAME + b")R" for h in hooks)
    read, _ = read_pickle(NAME + b")R}(" + state + b"ub.")
    assert type(read) is Inert
    assert read.inert_class == "nowhere.Thing"
    assert not callable(read)
    assert np.asarray(read).dtype == object
    for hook in hooks[1:-1]:
        with pytest.raises(AttributeError, match=hook):
            getattr(read, hook)
    assert set(hooks) == set(read.inert_attributes)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "exhausted"),
        (b".", "empty"),
        (b"\x80\x02]", "exhausted"),
        (b"\x80\x02\x82\x01.", "it uses EXT1"),
        (b"\x80\x02Pabc\n.", "it uses PERSID"),
        (b"\x80\x05\x97.", "it uses NEXT_BUFFER"),
        (b"]Q.", "a storage is described wrongly"),
        (b"(X\x07\x00\x00\x00storageK\x01K\x02K\x03K\x04tQ.", "a storage is described wrongly"),
        (b"K\x01)R.", "it calls a int"),
        (NAME + b"]R.", "it calls a Inert"),
        (b"K\x01}b.", "a int is given a state"),
        (b"ctorch\nfloat32\n}b.", "a dtype is given a state"),
        (b"K\x01K\x02a.", "items are appended to a int"),
        (b"]K\x01K\x02s.", "keys are set in a list"),
        (b"}(K\x01u.", "argument 2 is shorter"),
        (b"\x80\x04](K\x01\x90.", "added to what is not a set"),
        (b"}]K\x01s.", "a list is used as a key"),
        (b"\x80\x04K\x01K\x02\x93.", "a name is not text"),
        (b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096 + b".", "too many digits"),
        (b"\x80\x02\x87.", "stack is empty"),
        (b"}" + b")" + b"\x85" * 100_000 + b"K\x01s.", "a tuple is used as a key"),
        (b"\x80\x04\x8f(" + b")" + b"\x85" * 100_000 + b"\x90.", "a tuple is used as a key"),
    ],
)
def test_damaged_and_hostile_pickles(data, match):
    """Law: what is no pickle, or asks for what cannot be, ends in one error (and not in the end of the process)."""
    with pytest.raises((ValueError, IndexError), match=match):
        read_pickle(data)


def test_deep_nesting(tmp_path):
    """Law: a pickle nested 50,000 deep is refused in one line, whatever it is made of."""
    for step in (b"\x85", b"q\x000]h\x00a", b"q\x000" + NAME + b"h\x00\x85R"):
        data = b"\x80\x02)" + step * 50_000 + b"."
        with pytest.raises(RecursionError):
            read_pickle(data)
    nested = []
    for _ in range(400):
        nested = [nested]
    torch.save({"state_dict": {"w": torch.zeros(1)}, "deep": nested}, tmp_path / "a.pt")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(350)
    try:
        with pytest.raises(CheckpointError, match=r"a.pt: cannot be read as a checkpoint; it is nested too deeply"):
            read_checkpoint_file(tmp_path / "a.pt")
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "step",
    [b"c__builtin__\nset\nh\x00\x85R", NAME + b")Rh\x00b", b"ccollections\nOrderedDict\nh\x00\x85R"],
)
def test_a_few_bytes_cannot_become_gigabytes(step):
    """Law: copying one mapping hundreds of times is refused; referring to it thousands of times is not."""
    items = b"".join(b"M" + i.to_bytes(2, "little") + b"K\x01" for i in range(5000))
    head = b"(" + items + b"dq\x00"
    with pytest.raises(ValueError, match="unfolds to far more than it holds"):
        read_pickle(b"\x80\x02" + head + step * 500 + b".")
    read, _ = read_pickle(b"\x80\x02" + head + b"(" + b"h\x00" * 20_000 + b"l.")
    assert len(read) == 20_000
    assert all(one is read[0] for one in read)


def test_loops_and_references_that_double():
    """Law: a list that holds itself stays one, and references that double at each step take no time."""
    read, _ = read_pickle(b"\x80\x02]q\x00h\x00a.")
    assert read[0] is read
    read, _ = read_pickle(b"\x80\x02]q\x00" + b"h\x00h\x00\x86q\x00" * 200 + b".")
    assert len(read) == 2


def test_plain_copies_hold_no_tensors():
    """Law: in what stands beside the weights, tensors and types are told, not kept; unknown objects are named."""
    value = {
        "tensor": torch.zeros(2, 3), "type": torch.float16, "device": torch.device("cpu"), "other": object(),
        "size": torch.Size([2]), "set": {1}, "array": np.ones(2),
    }  # fmt: skip
    read = plain(value)
    assert (read["tensor"].inert_class, read["tensor"].inert_args) == ("torch.Tensor", ((2, 3), "torch.float32"))
    assert (read["type"], read["device"], read["size"], read["set"]) == ("torch.float16", "cpu", (2,), {1})
    assert read["other"].inert_class == "builtins.object"
    assert read["array"] is value["array"]
