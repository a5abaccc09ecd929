#!/usr/bin/env bash
# One would guess that `sample_wise_grads_per_batch=True` makes TracInCP faster and changes no number. On a
# recommender it leaves out the gradient of the word vectors without a word: influence is that of its linear layers
# alone, where the default is plain autograd over all parameters. captum 0.9.0, captum.influence.TracInCP.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 captum==0.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import captum
import torch
import torch.nn.functional as F
from captum.influence import TracInCP
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
print("torch", torch.__version__, "captum", captum.__version__)


class Recommender(nn.Module):
    """One encoder for histories and candidates: word vectors, their mean, a layer."""

    def __init__(self):
        super().__init__()
        self.words, self.title = nn.Embedding(20, 6), nn.Linear(6, 5)

    def encode(self, ids):
        return torch.tanh(self.title(self.words(ids).mean(-2)))

    def forward(self, history, candidates):
        user = self.encode(history).mean(1)
        return (self.encode(candidates) @ user.unsqueeze(-1)).squeeze(-1)


model, rows = Recommender().eval(), 6
data = (torch.randint(20, (rows, 3, 4)), torch.randint(20, (rows, 2, 4)), torch.zeros(rows, dtype=torch.int64))
grads = []
for i in range(rows):
    loss = F.cross_entropy(model(data[0][i : i + 1], data[1][i : i + 1]), data[2][i : i + 1])
    grads.append(torch.autograd.grad(loss, list(model.parameters())))
parts = {
    name: torch.stack([g[j].flatten() for g in grads]) for j, (name, _) in enumerate(model.named_parameters())
}
whole = sum(g @ g.T for g in parts.values())
layer = sum(parts[name] @ parts[name].T for name in ("title.weight", "title.bias"))


def influence(sample_wise):
    """Products of gradients, one checkpoint, learning rate 1; and what was warned of."""
    loss = nn.CrossEntropyLoss(reduction="sum" if sample_wise else "none")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracin = TracInCP(
            model,
            TensorDataset(*data),
            [model.state_dict()],
            lambda net, state: net.load_state_dict(state) and 1.0,
            loss_fn=loss,
            batch_size=3,
            sample_wise_grads_per_batch=sample_wise,
        )
        found = tracin.influence(data)
    told = [str(w.message) for w in caught if "mbedding" in str(w.message) or "layer" in str(w.message).lower()]
    return found.detach(), told


for sample_wise in (False, True):
    found, told = influence(sample_wise)
    near = {"all parameters": whole, "the linear layer alone": layer}
    equal = [name for name, truth in near.items() if torch.allclose(found, truth, atol=1e-5)]
    print(f"sample_wise_grads_per_batch={sample_wise}: plain autograd of {equal}; warned of layers: {told}")
    assert equal == ["the linear layer alone" if sample_wise else "all parameters"]
    assert not told
PY
