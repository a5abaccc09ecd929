#!/usr/bin/env bash
# One would guess that `has_shared_parameters=True` gives the right pairwise scores for an encoder that a recommender
# calls twice, for histories and for candidates. It adds both calls up for the query row only; of the train row one
# call counts, so the matrix is not even symmetric. Without the flag one call counts on both sides. kronfluence 1.0.1
# (module/tracker/pairwise_score.py), strategy "identity", against plain autograd; the encoder called once is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 accelerate==1.15.0 einconv==0.1.0 einops==0.8.2 opt-einsum==3.4.0 safetensors==0.8.0 tqdm==4.70.1
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps kronfluence==1.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging
import tempfile
import warnings
from importlib.metadata import version

import torch
import torch.nn.functional as F
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch import nn
from torch.utils.data import TensorDataset

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
print("torch", torch.__version__, "kronfluence", version("kronfluence"))


class Recommender(nn.Module):
    """A linear encoder, called for histories and then for candidates; or once for both."""

    def __init__(self, twice):
        super().__init__()
        self.title, self.twice = nn.Linear(6, 5, bias=False), twice

    def forward(self, history, candidates):
        if self.twice:
            read, shown = torch.tanh(self.title(history)), torch.tanh(self.title(candidates))
        else:
            both = torch.tanh(self.title(torch.cat([history, candidates], dim=1)))
            read, shown = both[:, : history.shape[1]], both[:, history.shape[1] :]
        return (shown @ read.mean(1).unsqueeze(-1)).squeeze(-1)


class Clicks(Task):
    def compute_train_loss(self, batch, model, sample=False):
        return F.cross_entropy(model(*batch[:2]), batch[2], reduction="sum")

    def compute_measurement(self, batch, model):
        return self.compute_train_loss(batch, model)


torch.manual_seed(0)
rows = 6
data = (torch.randn(rows, 3, 6), torch.randn(rows, 2, 6), torch.zeros(rows, dtype=torch.int64))
weight = torch.randn(5, 6) / 2


def scores(twice, shared):
    """Pairwise scores without any curvature: products of gradients."""
    model = Recommender(twice)
    model.title.weight.data.copy_(weight)
    model = prepare_model(model, Clicks())
    folder = tempfile.mkdtemp()
    run = Analyzer("rows", model, Clicks(), cpu=True, output_dir=folder, disable_tqdm=True, disable_model_save=True)
    arguments = FactorArguments(strategy="identity", has_shared_parameters=shared)
    run.fit_all_factors("none", TensorDataset(*data), per_device_batch_size=3, factor_args=arguments)
    run.compute_pairwise_scores(
        "products",
        "none",
        query_dataset=TensorDataset(*data),
        train_dataset=TensorDataset(*data),
        per_device_query_batch_size=3,
        per_device_train_batch_size=3,
        score_args=ScoreArguments(damping_factor=None),
    )
    return run.load_pairwise_scores("products")["all_modules"]


def calls(i):
    """Plain autograd of a row by each of the two calls: what reaches the weight from the history, and the rest."""
    model = Recommender(True)
    model.title.weight.data.copy_(weight)
    outs, ins = [], []

    def keep(_, given, out):
        ins.append(given[0])
        outs.append(out)

    model.title.register_forward_hook(keep)
    loss = F.cross_entropy(model(data[0][i : i + 1], data[1][i : i + 1]), data[2][i : i + 1])
    grads = torch.autograd.grad(loss, outs)
    return [(g[0].T @ x[0]).flatten() for g, x in zip(grads, ins, strict=True)]


history, candidates = (torch.stack(part) for part in zip(*(calls(i) for i in range(rows)), strict=True))
both = history + candidates
truths = {
    "the truth": both @ both.T,
    "candidates with candidates": candidates @ candidates.T,
    "all of the query with candidates of the train row": both @ candidates.T,
}
expected = {
    (False, False): "the truth",
    (False, True): "the truth",
    (True, False): "candidates with candidates",
    (True, True): "all of the query with candidates of the train row",
}
for (twice, shared), name in expected.items():
    found = scores(twice, shared)
    equal = [key for key, truth in truths.items() if torch.allclose(found, truth, atol=1e-4)]
    print(f"encoder called {'twice' if twice else 'once'}, has_shared_parameters={shared}: {equal}")
    assert equal == [name]
PY
