#!/usr/bin/env bash
# One would guess that a model with tied weights is still tied after `load_state_dict(assign=True)`, as it is after
# plain loading or safetensors' load_model. It has two parameters over one storage: scores are right, named_parameters
# has one more name, and each row's gradient is split, so that its norm and every product of gradients differ. torch
# 2.13.0, safetensors 0.8.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import os
import tempfile

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

print("torch", torch.__version__, "safetensors", safetensors.__version__)


class Tied(nn.Module):
    """Word vectors that score words too."""

    def __init__(self):
        super().__init__()
        self.words, self.scores = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.scores.weight = self.words.weight

    def forward(self, ids):
        return self.scores(torch.tanh(self.words(ids)).mean(-2))


torch.manual_seed(0)
folder, trained, titles = tempfile.mkdtemp(), Tied(), torch.tensor([[1, 2, 3], [4, 5, 6]])
torch.save(trained.state_dict(), os.path.join(folder, "model.pt"))
safetensors.torch.save_model(trained, os.path.join(folder, "model.safetensors"))


def norms(model):
    """Names of the parameters, and the norm of each row's gradient over all of them."""
    held = {name: p.detach() for name, p in model.named_parameters()}

    def f(parameters, ids):
        return F.cross_entropy(functional_call(model, parameters, (ids,)), ids[0])

    grads = vmap(grad(f), in_dims=(None, 0))(held, titles)
    return list(held), sum(g.flatten(1).square().sum(1) for g in grads.values()).sqrt()


found = {}
for name in ("load_state_dict", "load_state_dict(assign=True)", "assign=True, mmap=True", "safetensors load_model"):
    model, path = Tied(), os.path.join(folder, "model.pt")
    if name == "safetensors load_model":
        safetensors.torch.load_model(model, os.path.join(folder, "model.safetensors"))
    else:
        state = torch.load(path, weights_only=True, mmap="mmap" in name)
        model.load_state_dict(state, assign="assign" in name)
    assert torch.equal(model(titles), trained(titles))
    one_storage = model.words.weight.data_ptr() == model.scores.weight.data_ptr()
    names, sizes = norms(model)
    found[name] = (names, one_storage, sizes)
    said = [round(float(size), 4) for size in sizes]
    print(f"{name}: parameters {names}, one storage {one_storage}, gradient norms {said}")
right = found["load_state_dict"]
assert right[0] == found["safetensors load_model"][0] == ["words.weight"]
for name in ("load_state_dict(assign=True)", "assign=True, mmap=True"):
    names, one_storage, sizes = found[name]
    assert names == ["words.weight", "scores.weight"]
    assert one_storage
    assert not torch.allclose(sizes, right[2], rtol=1e-2)
PY
