"""Every layer of benchmarks/layer_models.py: watching changes no value. Not here: what each path gives."""

import numpy as np
import pytest
import torch
from support import ROOT

from rec_trak.gradients.computers import FactoredComputer, make_batch, without_gradient
from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.recurrent import FOLLOWERS
from rec_trak.gradients.takers import TAKERS
from rec_trak.models.passes import as_trained, values_only

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
    pytest.mark.filterwarnings("ignore:.*nested tensors"),
]


@pytest.fixture(scope="module")
def layers():
    """The list, which stands with the benchmarks."""
    import sys

    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import layer_models
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return layer_models


def test_watching_changes_no_value(layers):
    """Law: scores of all layers on rows of all kinds are the same, to float32's rounding, under the recorder, without a
    graph, and with gradients; so are the values at masked places, which scores of later layers may read."""
    for name in layers.MODELS:
        if name == "`relu_` on a linear layer's output":
            continue  # the recorder's leaves refuse it
        if name.startswith("transformers"):
            pytest.importorskip("transformers")
        model = layers.make(name)
        for kind in layers.KINDS:
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
