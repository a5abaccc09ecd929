"""Laws of the turns: a tensor of theirs, turned, does in our layer what it did in theirs; other shapes are refused."""

import pytest
import torch
import torch.nn.functional as F

from rec_trak.checkpoints.code_bases import turns
from rec_trak.checkpoints.code_bases.tables import Rule, apply_rules
from rec_trak.errors import CheckpointError, ConfigError


def test_a_convolution_over_patches_is_one_over_windows():
    """Law: Conv2d over (window, width) patches of one channel is Conv1d over windows of width channels."""
    x, kernel = torch.randn(2, 5, 4), torch.randn(3, 1, 3, 4)
    theirs = F.conv2d(x.unsqueeze(1), kernel, padding=(1, 0)).squeeze(3)
    torch.testing.assert_close(F.conv1d(x.transpose(1, 2), turns.as_conv1d(kernel), padding=1), theirs)


def test_words_keep_their_vectors():
    """Law: their word i is our word i + 1, padding is padding, and row 1 is nothing."""
    table = torch.randn(4, 3)
    ours = turns.word_rows(table)
    assert torch.equal(ours[2:], table[1:])
    assert torch.equal(ours[0], table[0])
    assert not ours[1].any()


def test_blocks_and_rows():
    """Law: a third is one of three blocks; a vector becomes one row."""
    joint = torch.arange(12.0).view(6, 2)
    assert torch.equal(torch.cat([turns.third(i)(joint) for i in range(3)]), joint)
    assert turns.as_row(torch.zeros(4)).shape == (1, 4)


@pytest.mark.parametrize(
    ("turn", "shape"),
    [
        (turns.as_conv1d, (3, 2, 3, 4)),
        (turns.word_rows, (4,)),
        (turns.third(0), (4, 2)),
        (turns.as_row, (1, 4)),
        (turns.transposed, (4,)),
        (turns.dims(2), (4,)),
    ],
)
def test_other_shapes_are_listed(turn, shape):
    """Law: a tensor that cannot be turned is refused by the name map, with its shape."""
    with pytest.raises(CheckpointError, match=r"1 of another shape \(theirs \(" + str(shape[0])):
        apply_rules([Rule("ours", "theirs", turn)], {"theirs": torch.zeros(shape)}, (), "file")


def test_what_encoders_share_has_one_name():
    """Law: with an end given, only such names are joined; encoders that differ on one are refused."""
    state = {"e.a.table.weight": torch.zeros(2), "e.b.table.weight": torch.zeros(2), "e.b.cnn.weight": torch.ones(1)}
    assert set(turns.joined(state, "e.", "file", ".table.weight")) == {"e.*.table.weight", "e.b.cnn.weight"}
    assert set(turns.joined(state, "e.", "file")) == {"e.*.table.weight", "e.*.cnn.weight"}
    with pytest.raises(CheckpointError, match=r"share `e.\*.table.weight` do not agree"):
        turns.joined(state | {"e.b.table.weight": torch.zeros(3)}, "e.", "file")


def test_settings_are_checked_together():
    """Law: everything that contradicts or lacks is named in one message; what is not said contradicts nothing."""
    turns.check_settings({"a": None}, {"a": 1, "b": 2}, "file")
    with pytest.raises(ConfigError, match="file: the settings do not fit .* Got `a` 3, expected 1; `b` 4, expected 2"):
        turns.check_settings({"a": 3, "b": 4, "c": 5}, {"a": 1, "b": 2}, "file")
    with pytest.raises(ConfigError, match=r"file: 2 missing key\(s\) \(`a`, `b`\)"):
        turns.check_needed({"a": None, "c": 1}, ("a", "b", "c"), "file")


def test_sizes_that_cannot_be_are_refused():
    """Law: heads divide the width; a convolution that pads half its width on both sides is of odd width."""
    assert (turns.head_dim(12, 3, "heads", "file"), turns.odd(3, "file")) == (4, 3)
    with pytest.raises(ConfigError, match="`heads` does not fit the checkpoint. Got 5, expected a divisor"):
        turns.head_dim(12, 5, "heads", "file")
    with pytest.raises(ConfigError, match="even width is not supported.* Got 4"):
        turns.odd(4, "file")


def test_a_row_of_padding_that_was_trained_is_refused():
    """Law: ours reads zeros there, so theirs must be zeros."""
    turns.check_zero_row({"table": torch.tensor([[0.0], [1.0]])}, ("table", "absent"), "file")
    with pytest.raises(CheckpointError, match="row 0 of `table` is not zero"):
        turns.check_zero_row({"table": torch.ones(2, 1)}, ("table",), "file")


def test_paths_in_settings(tmp_path, monkeypatch):
    """Law: a path leads from the working directory, else from the settings file's folder."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert turns.found("data", "there/settings.yaml").resolve() == tmp_path / "there" / "data"
    (tmp_path / "data").mkdir()
    assert turns.found("data", "there/settings.yaml").resolve() == tmp_path / "data"
