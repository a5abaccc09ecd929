"""Laws of names: wrappers are seen for what they are, one model is chosen or none, an adapter is never half read."""

import pytest
import torch

from rec_trak.checkpoints.names import (
    before,
    chosen_prefix,
    common_prefix,
    equal,
    is_counter,
    refuse_adapter,
    unwrapped,
    warn_of_rest,
)
from rec_trak.errors import CheckpointError, RecTrakWarning


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_orig_mod.a.w", "a.w"),
        ("a._orig_mod.w", "a.w"),
        ("_fsdp_wrapped_module.a._checkpoint_wrapped_module.w", "a.w"),
        ("my_orig_mod.w", "my_orig_mod.w"),
    ],
)
def test_parts_that_wrappers_put_inside(name, expected):
    """Whole parts go, wherever they stand; names that only contain them stay."""
    assert unwrapped(name) == expected


def test_what_stands_before():
    """A prefix ends with a dot; the end of a longer part is no match."""
    assert before("a.b", "a.b") == ""
    assert before("net.a.b", "a.b") == "net."
    assert before("neta.b", "a.b") is None
    assert common_prefix(["net.a", "net.b", "a"], ["a", "b"]) == "net."
    assert common_prefix(["x"], ["a"]) == common_prefix([], ["a"]) == ""


def test_one_model_is_chosen():
    """A model without a prefix goes first; copies of one model are one; two that differ are refused with both places,
    and the line that the message gives picks the one it names."""
    same, other = (lambda *_: True), (lambda *_: False)
    assert chosen_prefix([], other, "f") is None
    assert chosen_prefix(["ema.", ""], other, "f") == ""
    assert chosen_prefix(["net.", "ema.module."], same, "f") == "net."
    with pytest.raises(CheckpointError, match=r"f: it holds several models .* behind `net.` and `teacher.`") as caught:
        chosen_prefix(["teacher.", "net."], other, "f")
    state = {"net.a": 1, "teacher.a": 2}
    line = str(caught.value).partition("state = ")[2].removesuffix(".")
    assert eval(line, {"state": state}) == {"a": 2}


def test_equal_numbers():
    """One memory, or the same shape, format and numbers."""
    one = torch.ones(2)
    assert equal(one, one)
    assert equal(one, torch.ones(2))
    assert not equal(one, torch.ones(2).double())
    assert not equal(one, torch.ones(1, 2))
    assert not equal(one, torch.zeros(2))


@pytest.mark.parametrize(
    ("names", "do"),
    [
        (["base_model.model.a.base_layer.weight", "base_model.model.a.lora_A.default.weight"], r"run `model = model\."),
        (["base_model.model.a.lora_A.weight", "base_model.model.a.lora_B.weight"], "load it with `peft.PeftModel.from"),
        (["a.modules_to_save.default.weight", "a.original_module.weight"], r"run `model = model\.merge_and_unload"),
    ],
)
def test_adapters(names, do):
    """Weights in two parts are named as LoRA with what makes one of them; other names pass."""
    with pytest.raises(CheckpointError, match=rf"f: these are weights with a LoRA adapter .*Got 2 such names.*{do}"):
        refuse_adapter(names, "f")
    refuse_adapter(["a.weight", "flora_A.weight", "base_layers.0.weight"], "f")


def test_what_is_left_out_is_said(recwarn):
    """Names of no parameter are listed; counters alone are not worth a word."""
    warn_of_rest(["n_averaged", "head.total_ops"], "f")
    assert not recwarn.list
    assert is_counter("ema.n_averaged")
    with pytest.warns(RecTrakWarning, match=r"f: 1 name\(s\) are no parameter .* \(criterion\.weight\)\. They"):
        warn_of_rest(["n_averaged", "criterion.weight"], "f")
