"""Passes that change their model are found; look-ups that do not repeat are told where there are threads."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from support.recommenders import world
from torch import nn

from rec_trak.errors import ConfigError, RecTrakWarning
from rec_trak.gradients.computers import select_parameters
from rec_trak.gradients.preflight import choose_gradient
from rec_trak.gradients.steadiness import check_unchanged, states, warn_of_indexing


def net(**parts):
    model = nn.Module()
    for name, part in parts.items():
        setattr(model, name, part)
    model.register_buffer("seen", torch.zeros(2))
    return model


def test_a_parameter_that_a_pass_changes_is_refused():
    """Law: `F.embedding(max_norm=...)` shortens the parameter itself, which is named."""
    model = net(table=nn.Parameter(torch.randn(5, 3)))
    before = states(model)
    check_unchanged(model, before)
    F.embedding(torch.arange(5), model.table, max_norm=0.1)
    with pytest.raises(ConfigError, match=r"changes its own weights. Got 1 changed parameter\(s\) \(table\), expected"):
        check_unchanged(model, before)


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_buffer_that_a_pass_changes_is_told(how):
    """Law: by name, whether it was changed in place or replaced."""
    model = net()
    before = states(model)
    if how == "in place":
        model.seen += 1
    else:
        model.seen = model.seen + 1
    with pytest.warns(RecTrakWarning, match=r"changes its buffers in eval mode. Got 1 changed \(seen\)"):
        check_unchanged(model, before)


@pytest.mark.parametrize(
    ("look_up", "told"),
    [
        (lambda table, ids: table[ids], True),
        (lambda table, ids: table[:, ids], True),
        (lambda table, ids: table.detach()[ids], False),
        (lambda table, ids: table[1:3], False),
        (lambda table, ids: F.embedding(ids, table), False),
        (lambda table, ids: table.index_select(0, ids), False),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_look_ups_by_index_are_told_where_there_are_threads(look_up, told, threads):
    """Law: of a tensor with a gradient, by a tensor of places, with several threads; nothing else is."""
    table, ids = nn.Parameter(torch.randn(5, 5)), torch.tensor([0, 2])
    held = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_indexing(lambda: look_up(table, ids))
    finally:
        torch.set_num_threads(held)
    assert [w.category for w in caught] == [RecTrakWarning] * (told and threads > 1)
    assert not caught or "looks vectors up by index" in str(caught[0].message)


def test_the_preflight_looks(tmp_path):
    """Law: a model that shortens its table in every pass is refused before anything is written."""
    model, inputs = world(tmp_path, "nrms")

    def shortening(ids):
        return F.embedding(ids, model.word_embedding.weight, max_norm=0.01)

    model.word_embedding.forward = shortening
    with pytest.raises(ConfigError, match=r"changes its own weights. Got 1 changed parameter\(s\) \(word_embedding.we"):
        choose_gradient("auto", model, "softmax", inputs, select_parameters(model, None), 4, "cpu")
