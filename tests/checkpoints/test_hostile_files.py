"""Laws of files that attack: beside the weights stands what would run code elsewhere. Here nothing happens."""

import builtins
import collections
import contextlib
import functools
import importlib
import io
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.rebuild import Inert
from rec_trak.checkpoints.unpickle import Machine


class Reduces:
    """Pickles as whatever call is given; may itself stand for a function."""

    def __init__(self, *recipe):
        self.recipe = recipe

    def __reduce__(self):
        return self.recipe

    def __call__(self):
        """Never; only so that the pickler takes an object for a function."""


class Trap:
    """Every method that an unpickler might run by itself makes the marker."""

    marker = ""

    def __new__(cls, *args, **kwargs):
        Trap.spring()
        return super().__new__(cls)

    @staticmethod
    def spring(*_):
        """Leave a trace, once the file has been written."""
        if Trap.marker:
            pathlib.Path(Trap.marker).touch()

    __setstate__ = __setattr__ = __hash__ = __eq__ = __del__ = __init__ = spring


class ListTrap(list):
    """Its items come through `append` or `extend`."""

    append = extend = Trap.spring


class DictTrap(dict):
    """Its items come through `__setitem__`."""

    __setitem__ = update = Trap.spring


def made(kind, *args, **state):
    """An object of `kind` with a state, which its own methods never saw."""
    thing = object.__new__(kind) if kind is Trap else kind(*args)
    thing.__dict__.update(state)
    return thing


def trapped_key():
    """A mapping with a key whose hash and equality are the file's."""
    return Reduces(collections.OrderedDict, ([[made(Trap, a=1), 1]],))


def hostile(marker):
    """Name -> an object whose unpickling by Python would leave a trace."""
    command, code = f"touch {marker}", f"open({marker!r}, 'w').close()"
    get_system = Reduces(getattr, (Reduces(__import__, ("os",)), "system"))
    return {
        "os.system": Reduces(os.system, (command,)),
        "eval": Reduces(eval, (code,)),
        "exec": Reduces(exec, (code,)),
        "a class that exists": Reduces(io.FileIO, (marker, "w")),
        "a program": Reduces(subprocess.check_call, (["touch", marker],)),
        "a function that exists": Reduces(os.mkdir, (marker,)),
        "a method of a harmless class": Reduces(pathlib.Path.touch, (pathlib.Path(marker),)),
        "nested": Reduces(list, (Reduces(map, (Reduces(getattr, (Reduces(__import__, ("os",)), "mkdir")), [marker])),)),
        "a result that is called": Reduces(get_system, (command,)),
        "setstate": made(Trap, a=1),
        "setattr": Reduces(Trap, (), (None, {"a": 1})),
        "a list's append": ListTrap([1, 2]),
        "a dict's setitem": DictTrap(a=1),
        "hash and eq": trapped_key(),
        "a partial": functools.partial(os.system, command),
        "inside a known call": Reduces(collections.OrderedDict, ([["a", Reduces(os.system, (command,))]],)),
        "inside a tensor": Reduces(torch._utils._rebuild_parameter, (Reduces(os.system, (command,)), False, None)),
        "array of objects": np.array([Reduces(os.system, (command,))], dtype=object),
    }


@pytest.fixture
def watched(monkeypatch):
    """The list of calls that reading data must never make; it stays empty."""
    calls = []

    def never(*args, **kwargs):
        calls.append(args)

    def arm():
        for owner, name in ((os, "system"), (os, "mkdir"), (builtins, "eval"), (builtins, "exec")):
            monkeypatch.setattr(owner, name, never)
        monkeypatch.setattr(subprocess, "Popen", never)
        monkeypatch.setattr(importlib, "import_module", never)

    return calls, arm


@pytest.mark.parametrize("case", hostile("x"))
@pytest.mark.parametrize("version", [("zip", 2), ("zip", 4), ("legacy", 2)])
def test_what_a_file_names_is_not_called(tmp_path, watched, monkeypatch, case, version):
    """Law: beside the tensors stands an object that would run code; the tensors are read, and nothing else happens."""
    marker, path, (calls, arm) = tmp_path / "harm", tmp_path / "a.ckpt", watched
    content = {"state_dict": {"w": torch.arange(3.0)}, "extra": {"evil": hostile(str(marker))[case]}}
    torch.save(content, path, pickle_protocol=version[1], _use_new_zipfile_serialization=version[0] == "zip")
    del content
    monkeypatch.setattr(Trap, "marker", str(marker))
    arm()
    read = read_checkpoint_file(path)
    monkeypatch.undo()
    assert torch.equal(read.state["w"], torch.arange(3.0))
    assert list(tmp_path.iterdir()) == [path]
    assert calls == []
    assert read.pickled_classes
    assert isinstance(read.extras["extra"]["evil"], Inert | dict)


def test_the_traps_work(tmp_path):
    """Law: Python's own unpickler does spring these traps, so that the test above means something."""
    for case, payload in hostile(str(tmp_path / "harm")).items():
        Trap.marker = ""
        data = pickle.dumps({"evil": payload}, 2)
        Trap.marker = str(tmp_path / "harm")
        with contextlib.suppress(Exception):  # some recipes end in an error once they have done their harm
            pickle.loads(data)
        Trap.marker = ""
        # A partial does nothing until somebody calls it.
        assert (tmp_path / "harm").exists() == (case != "a partial"), case
        if (tmp_path / "harm").is_dir():
            (tmp_path / "harm").rmdir()
        (tmp_path / "harm").unlink(missing_ok=True)


def test_nothing_is_imported(tmp_path, monkeypatch):
    """Law: a module that only the file names, though it could be found, stays unimported."""
    (tmp_path / "planted_module.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for data in (
        b"cplanted_module\nThing\n)R.",
        b"(iplanted_module\nThing\n.",
        b"(cplanted_module\nThing\no.",
        b"\x80\x04\x8c\x0eplanted_module\x8c\x05Thing\x93)\x81}b.",
        b"\x80\x04\x8c\x0eplanted_module\x8c\x05Thing\x93)}\x92.",
    ):
        machine = Machine(len(data))
        read = machine.read(io.BytesIO(data))
        assert list(machine.names) == ["planted_module.Thing"]
        assert read.inert_class == "planted_module.Thing"
        assert read.inert_args == ()
    assert "planted_module" not in sys.modules
