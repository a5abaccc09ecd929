"""Laws of fitting: whatever wrapper wrote the names, each weight goes to its place, or nothing goes anywhere."""

import pytest
import torch
from torch import nn

from rec_trak.checkpoints.fitting import fit
from rec_trak.checkpoints.ours import OUR_PARTS
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.errors import CheckpointError


class Tied(nn.Module):
    """A weight under two names, and a count."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(4, 3)
        self.out = nn.Linear(3, 4, bias=False)
        self.out.weight = self.words.weight
        self.register_buffer("seen", torch.tensor([300, 2]))


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "net.", "model.", "model.module.", "_forward_module.module."])
@pytest.mark.parametrize("beside", [(), ("n_averaged",), ("criterion.weight", "n_averaged"), ("0x.weight",)])
def test_every_prefix(prefix, beside):
    """All of the model's tensors are found in its own order behind any prefix; what else is there is named."""
    model = small()
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: torch.zeros(2) for name in beside} | prefixed(expected, prefix)
    other = small()
    nn.init.zeros_(other[0].weight)
    fitted = load_into(other, state, "f")
    assert list(fitted.names) == list(expected)
    assert fitted.rest == beside
    assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())


def test_the_models_own_wrapped_part():
    """A class that compiles a part of itself takes files written with and without that."""
    model = nn.Sequential()
    model.add_module("_orig_mod", small())
    assert fit(model, small().state_dict(), "f").names["_orig_mod.0.weight"] == "0.weight"


def test_two_models_in_one_file():
    """Different weights behind two prefixes are refused; the same twice are one model; one without a prefix is it."""
    state, other = small().state_dict(), {name: t + 1 for name, t in small().state_dict().items()}
    with pytest.raises(CheckpointError, match="several models of these names.*`student.` and `teacher.`"):
        fit(small(), prefixed(state, "student.") | prefixed(other, "teacher."), "f")
    assert fit(small(), prefixed(state, "a.") | prefixed(state, "b."), "f").names["0.weight"] == "a.0.weight"
    plain = fit(small(), state | prefixed(other, "teacher."), "f")
    assert (plain.names["0.weight"], len(plain.rest)) == ("0.weight", 4)


@pytest.mark.parametrize("kept", ["words.weight", "out.weight"])
def test_a_tied_weight_under_one_name(kept):
    """Whichever name a writer kept of a tied weight, the model has it under both."""
    model = Tied()
    state = {f"module.{kept}": torch.ones(4, 3), "module.seen": torch.tensor([1, 2])}
    load_into(model, state, "f")
    assert torch.equal(model.words.weight, torch.ones(4, 3))
    assert model.out.weight is model.words.weight


def test_a_tied_weight_with_two_values():
    """The second value would overwrite the first without a word."""
    state = {"words.weight": torch.ones(4, 3), "out.weight": torch.zeros(4, 3), "seen": torch.tensor([1, 2])}
    with pytest.raises(CheckpointError, match=r"one weight .* two values.*`words\.weight` and `out\.weight`"):
        fit(Tied(), state, "f")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("1.scale", r"1 unexpected \(net\.1\.scale\)"), ("0.extra.weight", r"1 unexpected \(net\.0\.extra\.weight\)")],
)
def test_names_inside_a_part_of_the_model(name, problem):
    """A part that has more than the model's is another part, so that leaving it out would be another model."""
    with pytest.raises(CheckpointError, match=rf"f: the checkpoint does not fit the model: {problem}"):
        fit(small(), prefixed(small().state_dict() | {name: torch.zeros(1)}, "net."), "f")


def test_a_part_of_ours_that_the_settings_lack():
    """An encoder of one of our models is never taken for something beside it."""
    model = nn.ModuleDict({"user_attention": nn.Linear(2, 2)})
    state = model.state_dict()
    for part in sorted(OUR_PARTS - {"user_attention"}):
        with pytest.raises(CheckpointError, match=rf"1 unexpected \({part}\.weight\)"):
            fit(model, state | {f"{part}.weight": torch.zeros(1)}, "f")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_every_format_is_converted(dtype):
    """A tensor arrives as torch converts it to the model's format."""
    model = small()
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    load_into(model, state, "f")
    assert all(torch.equal(value, state[name].float()) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "bad", "match"),
    [
        ("words.weight", torch.ones(4, 3, dtype=torch.int8), "no floating-point numbers. Got int8, .*expected float32"),
        ("words.weight", torch.ones(4, 3, dtype=torch.complex64), "no floating-point numbers. Got complex64"),
        ("seen", torch.tensor([301.0, 2.0]).bfloat16(), "`seen` may have been rounded. Got bfloat16, expected int64"),
        ("seen", torch.tensor([0.5, 2.0]), "`seen` may have been rounded. Got float32"),
        ("seen", torch.tensor([float("nan"), 2.0]), "`seen` may have been rounded"),
        (
            "words.weight",
            torch.full((4, 3), 1e300, dtype=torch.float64),
            "NaN or Inf once it is float32, not float64",
        ),
        ("words.weight", torch.full((4, 3), float("inf")).half(), "holds NaN or Inf. Use a checkpoint"),
    ],
)
def test_numbers_that_the_model_cannot_hold(name, bad, match):
    """Quantised, complex, rounded and infinite tensors are refused by name, not cast."""
    state = {n: t for n, t in Tied().state_dict().items() if n != "out.weight"} | {name: bad}
    with pytest.raises(CheckpointError, match=match):
        fit(Tied(), state, "f")


def test_whole_numbers_that_a_format_still_holds():
    """`{name: t.bfloat16()}` converts counts too, which lose nothing while they are small."""
    state = Tied().state_dict() | {"seen": torch.tensor([256.0, 2.0]).bfloat16()}
    model = Tied()
    load_into(model, state, "f")
    assert model.seen.tolist() == [256, 2]


def test_an_adapter_is_named_when_it_does_not_fit():
    """The message is of LoRA, not of missing names; a class that has such parts itself is loaded."""
    state = prefixed(small().state_dict(), "base_model.model.") | {
        "base_model.model.0.lora_A.default.weight": torch.ones(1)
    }
    state["base_model.model.0.base_layer.weight"] = state.pop("base_model.model.0.weight")
    with pytest.raises(CheckpointError, match="LoRA adapter"):
        fit(small(), state, "f")
    own = nn.ModuleDict({"base_layer": nn.Linear(2, 2), "lora_A": nn.Linear(2, 1)})
    assert not fit(own, own.state_dict(), "f").rest


def test_what_stage_three_leaves():
    """Empty tensors in a DeepSpeed file are told with what makes whole ones."""
    state = {name: torch.zeros(0) for name in small().state_dict()}
    with pytest.raises(CheckpointError, match="4 of another shape.*ZeRO stage 3.*zero_to_fp32.py"):
        fit(small(), state, "f")
