#!/usr/bin/env bash
# One would guess that vmap takes a function's gradient only if it takes the function. For recurrent layers it is the
# other way round: vmap of `grad_and_value(f)` gives values and gradients, vmap of f alone has no rule. nn.RNN and
# nn.GRU need a start state made from the input for that, nn.LSTM does not. torch 2.13.0, torch.func on the CPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

warnings.simplefilter("ignore")
torch.manual_seed(0)
rows = torch.randn(6, 1, 5, 3)  # six users, each a batch of one history of five articles
print("torch", torch.__version__)


def of(layer, start):
    def f(parameters, x):
        state = ()
        if start == "made from the input":
            zeros = x.new_zeros(1, 1, 4)
            state = ((zeros, zeros),) if isinstance(layer, nn.LSTM) else (zeros,)
        return functional_call(layer, parameters, (x, *state))[0].square().sum()

    return f


found = {}
for kind in (nn.RNN, nn.GRU, nn.LSTM):
    layer = kind(3, 4, batch_first=True)
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    alone = torch.stack([of(layer, "none")(parameters, x) for x in rows])
    for start in ("none", "made from the input"):
        f = of(layer, start)
        for what, run in (("value", f), ("gradient and value", grad_and_value(f))):
            try:
                out = vmap(run, in_dims=(None, 0))(parameters, rows)
                right = torch.allclose(out if what == "value" else out[1], alone, rtol=1e-5)
                found[kind.__name__, start, what] = "runs" if right else "other numbers"
            except RuntimeError as error:
                found[kind.__name__, start, what] = " ".join(str(error).split())[:52]
            print(f"{kind.__name__}, start state {start}, vmap of {what}: {found[kind.__name__, start, what]}")
for name in ("RNN", "GRU", "LSTM"):
    for start in ("none", "made from the input"):
        assert found[name, start, "value"].startswith("Batching rule not implemented for aten::")
    assert found[name, "made from the input", "gradient and value"] == "runs"
assert found["LSTM", "none", "gradient and value"] == "runs"
assert "match the broadcast" in found["GRU", "none", "gradient and value"]
PY
