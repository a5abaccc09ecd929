"""Laws of the code bases together: each knows its own names, and nobody else's."""

import json

import pytest
import torch
from support.plm4newsrs import naml_state, nrms_state

from rec_trak.checkpoints.code_bases.known import CODE_BASES, recognise_checkpoint, without_wrappers
from rec_trak.checkpoints.state_dicts import read_state_dict
from rec_trak.config.analysis import CODE_BASES as NAMES
from rec_trak.errors import CheckpointError


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


@pytest.mark.parametrize("prefix", ["", "model.", "net.", "module.model.", "ema_model.module."])
def test_wrappers_of_every_code_base(prefix):
    """Names come back as the code base wrote them, in the file's order; what is beside the model is named."""
    state = {name.removeprefix("model."): tensor for name, tensor in nrms_state().items()}
    beside = {"criterion.weight": torch.ones(1), "n_averaged": torch.tensor(3)}
    found, rest = without_wrappers(beside | {prefix + name: t for name, t in state.items()}, "f")
    assert list(found) == list(state)
    assert all(found[name] is tensor for name, tensor in state.items())
    assert rest == ("criterion.weight",)


def test_student_and_teacher():
    """Two models that differ are refused; names of nobody come back as they are."""
    state = {name.removeprefix("model."): tensor for name, tensor in nrms_state().items()}
    both = {f"student.{n}": t for n, t in state.items()} | {f"teacher.{n}": t + 1 for n, t in state.items()}
    with pytest.raises(CheckpointError, match="f: it holds several models .* `student.` and `teacher.`"):
        without_wrappers(both, "f")
    nobody = {"net.backbone.weight": torch.ones(1)}
    assert without_wrappers(nobody, "f") == (nobody, ())


def test_an_adapter_in_a_language_model():
    """LoRA inside a model of a code base is named as that, whatever else is wrong."""
    names = ("base_model.model.layer.base_layer.weight", "base_model.model.layer.lora_A.default.weight")
    state = nrms_state() | {f"model.news_encoder.lm.{name}": torch.ones(1) for name in names}
    with pytest.raises(CheckpointError, match="f: these are weights with a LoRA adapter"):
        without_wrappers(state, "f")
