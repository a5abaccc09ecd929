#!/usr/bin/env bash
# One would guess that torch.func.functional_call with detached parameters leaves the module alone. An `nn.Embedding`
# with a `max_norm` shortens the rows that it looks up in the tensors that it was given, which share the module's
# storage: each gradient, and each value, rewrites the module's own table. torch 2.13.0; vmap refuses it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

torch.manual_seed(0)
print("torch", torch.__version__)
words = nn.Embedding(6, 3, max_norm=0.5)
held = {name: p.detach() for name, p in words.named_parameters()}  # as the documentation of torch.func has it
before, title, other = words.weight.detach().clone(), torch.tensor([1, 2]), torch.tensor([4])


def f(parameters, ids):
    return functional_call(words, parameters, (ids,)).square().sum()


def changed():
    return (words.weight != before).any(dim=1).nonzero().flatten().tolist()


first = grad(f)(held, title)["weight"]
print("rows of the module's own table after grad(f) of words 1 and 2:", changed())
assert changed() == [1, 2]
f(held, other)
print("after a value of word 4:", changed())
assert changed() == [1, 2, 4]
try:
    vmap(grad(f), in_dims=(None, 0))(held, torch.tensor([[1, 2], [2, 3]]))
    raise SystemExit("vmap runs")
except RuntimeError as error:
    print("vmap(grad(f)):", str(error)[:60])
    assert "embedding_renorm_" in str(error)
copies = {name: p.clone() for name, p in held.items()}
state = words.weight.detach().clone()
grad(f)(copies, torch.tensor([3]))
assert torch.equal(words.weight, state)
print("only clones of the parameters leave it as it is")
PY
