#!/usr/bin/env bash
# One would guess that a Hessian-vector product, as influence functions take it, exists forward over reverse and
# reverse over reverse or not at all. On the CPU nn.GRU has both, nn.LSTM only the second (its kernel has no forward
# derivative), and attention both with `need_weights=True` and neither without. torch 2.13.0; sdpa_kernel(MATH), or
# mkldnn off, helps.
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
from torch.func import functional_call, grad, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

warnings.simplefilter("ignore")
print("torch", torch.__version__)
torch.manual_seed(0)
history = torch.randn(2, 3, 8)


def needed(yes):
    return lambda net, p: functional_call(net, p, (history, history, history), {"need_weights": yes})[0]


def recur(net, p):
    return functional_call(net, p, (history,))[0]


LAYERS = {
    "GRU": (nn.GRU(8, 8, batch_first=True), recur),
    "LSTM": (nn.LSTM(8, 8, batch_first=True), recur),
    "attention, need_weights=True": (nn.MultiheadAttention(8, 2, batch_first=True), needed(True)),
    "attention, need_weights=False": (nn.MultiheadAttention(8, 2, batch_first=True), needed(False)),
}


def products(net, run):
    """A Hessian-vector product forward over reverse, and reverse over reverse."""
    p = {name: value.detach() for name, value in net.named_parameters()}
    v = {name: torch.ones_like(value) for name, value in p.items()}
    f = lambda p: run(net, p).square().sum()
    return {
        "jvp of grad": lambda: jvp(grad(f), (p,), (v,))[1],
        "vjp of grad": lambda: vjp(grad(f), p)[1](v)[0],
    }


found = {}
for name, (net, run) in LAYERS.items():
    results = {}
    for what, product in products(net, run).items():
        try:
            results[what] = product()
            found[name, what] = "runs"
        except (NotImplementedError, RuntimeError) as error:
            found[name, what] = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        print(f"{name}, {what}: {found[name, what]}")
    if len(results) == 2:
        one, two = results.values()
        assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)
with sdpa_kernel(SDPBackend.MATH):
    net, run = LAYERS["attention, need_weights=False"]
    both = {what: product() for what, product in products(net, run).items()}
    print("attention, need_weights=False, sdpa_kernel(MATH): both run")
with torch.backends.mkldnn.flags(enabled=False):
    products(*LAYERS["LSTM"])["jvp of grad"]()
    print("LSTM, jvp of grad, mkldnn off: runs")
assert found["GRU", "jvp of grad"] == found["GRU", "vjp of grad"] == found["LSTM", "vjp of grad"] == "runs"
assert "mkldnn_rnn_layer" in found["LSTM", "jvp of grad"]
assert found["attention, need_weights=True", "jvp of grad"] == "runs"
for what in ("jvp of grad", "vjp of grad"):
    assert "flash_attention_for_cpu" in found["attention, need_weights=False", what]
PY
