"""Every layer of benchmarks/layer_models.py: what docs/layers.md says of it holds, and watching changes no value."""

import sys

import numpy as np
import pytest
import torch
from support import ROOT

from rec_trak.gradients.computers import FactoredComputer, make_batch, without_gradient
from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.takers import FOLLOWERS, TAKERS
from rec_trak.models.passes import as_trained, values_only

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
    pytest.mark.filterwarnings("ignore:.*nested tensors"),
]


SLOW = ("`nn.GRUCell`", '`torch.compile(backend="eager")`')  # seconds for what is compiled once; the command has them


@pytest.fixture(scope="module")
def layers():
    """The command and its list, which stand with the benchmarks."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import layers
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return layers


def test_the_table_holds(layers):
    """Law: each layer of the list is a line of docs/layers.md, and nothing else is; all but the slow ones get the path
    that stands there, for full rows and for a row without a history."""
    lines = (ROOT / "docs" / "layers.md").read_text(encoding="utf-8").splitlines()
    table = {cells[1]: cells[2:] for cells in (line.split(" | ") for line in lines) for cells in [["", *cells]]}
    table = {name.removeprefix("| "): cells for name, cells in table.items() if len(cells) == 7}
    del table["layer"]
    assert list(table) == list(layers.MODELS)
    for name, cells in table.items():
        if name in SLOW or name.startswith("transformers"):
            continue
        for kind, cell in list(zip(layers.KINDS, cells, strict=False))[:2]:
            assert str(layers.taken(name, kind)) == cell, f"{name}, {kind}"


def test_reasons_are_said_in_few_words(layers):
    """Law: what differs between runs and releases (rows, sizes, addresses) is not in the table."""
    said = "`functional` does not work on this model: row 3 differs from plain autograd by 6.1e-02 of its norm"
    assert layers.short(said) == "other numbers"
    assert layers.short("cannot take this model apart: `a.weight` in prelu, `b` in mv") == "unknown: `prelu`"
    assert str(layers.Taken("loop", "pb")) == "loop (p, b)"


@pytest.mark.long
def test_watching_changes_no_value(layers):
    """Law: scores of all layers, with rows that read nothing, are the same, to float32's rounding, under the recorder,
    without a graph, and with gradients."""
    for name in layers.MODELS:
        if name == "`relu_` on a linear layer's output":
            continue  # the recorder's leaves refuse it
        if name.startswith("transformers"):
            pytest.importorskip("transformers")
        model = layers.make(name)
        for kind in ("a row without history", "titles of padding"):
            inputs = layers.rows(kind)
            pairs = make_batch("factored", model, inputs, np.arange(len(inputs)), "cpu")
            with as_trained():
                expected = model(pairs.batch)
            with values_only():
                plain = model(pairs.batch)
            recorder = Recorder(dict(model.named_parameters()), len(inputs), TAKERS, FOLLOWERS)
            with without_gradient(model), torch.enable_grad(), as_trained(), recorder:
                watched = FactoredComputer(model, None)._scores(pairs, recorder)
            real = pairs.batch.candidate_mask
            for found in (plain, watched):
                torch.testing.assert_close(
                    found[real],
                    expected[real].detach(),
                    rtol=1e-4,
                    atol=1e-5,
                    equal_nan=True,
                    check_dtype=False,
                    msg=lambda text, name=name, kind=kind: f"{name}, {kind}: {text}",
                )
