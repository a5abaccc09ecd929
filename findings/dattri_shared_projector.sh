#!/usr/bin/env bash
# One would guess that TracIn without `projector_kwargs` is the product of the gradients, and that one attributor's
# settings are its own. It is a random projection to 512 numbers, and the settings of all of them are one dictionary
# of the module: making another attributor with `proj_dim` 4 changes the results of those made before. dattri 0.3.0,
# dattri.algorithm.tracin.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 scipy==1.17.1 tqdm==4.70.1 pyyaml==6.0.3
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps dattri==0.3.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings
from importlib.metadata import version

import torch
import torch.nn.functional as F
from dattri.algorithm.tracin import TracInAttributor
from dattri.task import AttributionTask
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
print("torch", torch.__version__, "dattri", version("dattri"))
torch.manual_seed(0)


class Recommender(nn.Module):
    """Users and candidates as vectors, a layer for both."""

    def __init__(self):
        super().__init__()
        self.articles, self.layer = nn.Embedding(30, 8), nn.Linear(8, 8)

    def forward(self, history, candidates):
        user = torch.tanh(self.layer(self.articles(history))).mean(1)
        return (torch.tanh(self.layer(self.articles(candidates))) @ user.unsqueeze(-1)).squeeze(-1)


model, rows = Recommender().eval(), 8
data = TensorDataset(torch.randint(30, (rows, 4)), torch.randint(30, (rows, 3)), torch.zeros(rows, dtype=torch.int64))


def loss(parameters, row):
    history, candidates, clicked = (part.unsqueeze(0) for part in row)
    return F.cross_entropy(torch.func.functional_call(model, parameters, (history, candidates)), clicked)


def exact():
    grads = []
    for row in data:
        one = loss(dict(model.named_parameters()), row)
        grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(one, list(model.parameters()))]))
    return torch.stack(grads) @ torch.stack(grads).T


def tracin(**keys):
    task = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
    return TracInAttributor(task=task, weight_list=torch.ones(1), normalized_grad=False, **keys)


def products(attributor):
    return attributor.attribute(DataLoader(data, 4), DataLoader(data, 4)).detach()


truth = exact()


def error(found):
    return float((found - truth).norm() / truth.norm())


plain = tracin()  # nothing is said of projections
first = error(products(plain))
print(f"TracIn without projector_kwargs: differs from products of the gradients by {first:.3f} of their norm")
small = error(products(tracin(projector_kwargs={"proj_dim": 4})))
print(f"another TracIn, made with proj_dim 4: {small:.3f}")
again = error(products(plain))
print(f"the first object once more, unchanged by us: {again:.3f}")
new = error(products(tracin()))
print(f"a new one without projector_kwargs: {new:.3f}")
assert 0.001 < first < 0.3 < small
assert abs(again - small) < 1e-6
assert abs(new - small) < 1e-6
assert plain.projector_kwargs["proj_dim"] == 4
PY
