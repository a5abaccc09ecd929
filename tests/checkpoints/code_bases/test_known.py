"""Laws of the code bases together: each knows its own names, and nobody else's."""

import json

import pytest
from support.plm4newsrs import naml_state, nrms_state

from rec_trak.checkpoints.code_bases.known import CODE_BASES, recognise_checkpoint
from rec_trak.checkpoints.state_dicts import read_state_dict
from rec_trak.config.analysis import CODE_BASES as NAMES


def test_every_code_base_has_the_same_names():
    """The four names of the contract, and a name in YAML that the analysis knows."""
    for module in CODE_BASES:
        assert module.NAME in NAMES
        assert all(callable(getattr(module, name)) for name in ("recognise", "translate", "describe"))
    assert len({module.NAME for module in CODE_BASES}) == len(CODE_BASES)


@pytest.mark.parametrize(("architecture", "state"), [("nrms", nrms_state()), ("naml", naml_state())])
def test_a_checkpoint_is_of_one_code_base(architecture, state):
    """Exactly one module recognises it, whatever order its names come in."""
    module, found = recognise_checkpoint(reversed(state))
    assert (module.NAME, found) == ("plm4newsrs", architecture)
    assert [m.NAME for m in CODE_BASES if m.recognise(state)] == ["plm4newsrs"]


def test_unknown_names():
    """Names of nobody, and none at all, are not taken for anybody's."""
    assert recognise_checkpoint(["backbone.weight", "head.bias"]) is None
    assert recognise_checkpoint([]) is None


def test_genuine_checkpoints_are_told_apart(shared):
    """Each fixture is recognised by the code base that wrote it, and by no other."""
    root = shared / "fixtures"
    for entry in json.loads((root / "manifest.json").read_text()):
        state = read_state_dict(root / entry["checkpoint"])
        module, architecture = recognise_checkpoint(state)
        assert (module.NAME, architecture) == (entry["code_base"], entry["architecture"])
        assert [m.NAME for m in CODE_BASES if m.recognise(state)] == [entry["code_base"]]
