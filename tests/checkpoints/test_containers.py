"""Laws of containers: weights are found wherever frameworks put them, and other weights beside them are told."""

import pytest
import torch

from rec_trak.checkpoints.containers import find_state
from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.errors import CheckpointError, RecTrakWarning

STATE = {"a.w": torch.ones(2), "b": torch.zeros(1)}


@pytest.mark.parametrize("key", ["state_dict", "model", "module", "net", "ema", "weights", "state", "encoder"])
@pytest.mark.parametrize("inner", [None, "model", "state_dict"])
def test_under_any_key_and_within_another(tmp_path, key, inner):
    """One group of weights is found, whatever its key; settings on the way are kept, optimizers are not."""
    held = STATE if inner is None else {inner: STATE, "args": "x"}
    content = {key: held, "epoch": 3, "optimizer": {"w": torch.ones(3)}, "metrics": {"auc": torch.tensor(0.7)}}
    torch.save(content, tmp_path / "a.pt")
    read = read_checkpoint_file(tmp_path / "a.pt")
    assert read.state.keys() == STATE.keys()
    assert read.extras["epoch"] == 3
    assert "optimizer" not in read.extras
    assert inner is None or read.extras["args"] == "x"


@pytest.mark.parametrize("first", ["net", "state_dict", "encoder"])
def test_trained_weights_before_their_average(first):
    """Of two groups of the same parameters the trained one is read, and the other is told."""
    other = {f"module.{name}": tensor + 1 for name, tensor in STATE.items()}
    content = {"ema": other | {"n_averaged": torch.tensor(3)}, first: STATE}
    with pytest.warns(RecTrakWarning, match=rf"f: it holds several .* under `{first}`, not 1 other\(s\) \(ema\)"):
        found, _ = find_state("f", content, ())
    assert found is not content["ema"]
    assert torch.equal(found["a.w"], STATE["a.w"])


def test_groups_of_other_parameters(recwarn):
    """A loss with weights of its own beside the model changes nothing; groups of one rank are refused by name."""
    found, _ = find_state("f", {"model": STATE, "criterion": {"weight": torch.ones(2)}}, ())
    assert found == STATE
    assert not recwarn.list
    with pytest.raises(CheckpointError, match=r"f: it holds several groups of weights\. Got 2 of them \(left, right\)"):
        find_state("f", {"left": STATE, "right": {"c": torch.ones(2)}}, ())


def test_what_callbacks_keep_is_no_model():
    """Tensors of schedulers, loops and callbacks are not weights."""
    content = {"callbacks": {"Averaging": {"w": torch.ones(2)}}, "state_dict": STATE}
    assert find_state("f", content, ())[0] == STATE
    with pytest.raises(CheckpointError, match="not a state_dict"):
        find_state("f", {"callbacks": {"x": {"w": torch.ones(2)}}}, ())


def test_an_average_counts_with_a_number():
    """A count among the tensors stands beside them."""
    assert find_state("f", STATE | {"n_averaged": 7}, ()) == (STATE, {"n_averaged": 7})


def test_a_mapping_that_holds_itself():
    """What a pickle can describe is walked once."""
    content = {"model": {}, "epoch": 1}
    content["model"]["again"] = content
    with pytest.raises(CheckpointError, match="Got dict at key 'again'"):
        find_state("f", content, ())
