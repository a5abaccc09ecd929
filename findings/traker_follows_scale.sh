#!/usr/bin/env bash
# One would guess that TRAK's scores, g (G'G)^-1 g, are the same whether a layer's weights are written ten times
# smaller and its output times ten, which multiplies all gradients by ten. traker's become a hundred times larger,
# since it divides the inverse by its own mean entry; of an ensemble, the member with the larger gradients decides.
# traker 0.3.2 (score_computers.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 traker==0.3.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import logging
import tempfile
import warnings
from importlib.metadata import version

import numpy as np
import torch
from torch import nn
from trak import TRAKer
from trak.modelout_functions import AbstractModelOutput

warnings.simplefilter("ignore")
print("torch", torch.__version__, "traker", version("traker"))


class Margin(AbstractModelOutput):
    """The margin of the clicked candidate, the first of three."""

    def __init__(self):
        super().__init__()

    @staticmethod
    def get_output(model, weights, buffers, users, _):
        scores = torch.func.functional_call(model, (weights, buffers), (users.unsqueeze(0),))[0]
        return scores[0] - torch.logsumexp(scores[1:], dim=0)

    @staticmethod
    def get_out_to_loss_grad(model, weights, buffers, batch):
        scores = torch.func.functional_call(model, (weights, buffers), (batch[0],))
        return (1 - torch.softmax(scores, dim=-1)[:, :1]).detach()


class Scores(nn.Module):
    """The same function of users for any factor: weights are so many times smaller, gradients so many times larger."""

    def __init__(self, seed, factor):
        super().__init__()
        start = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))
        self.weight, self.factor = nn.Parameter(start / factor), factor

    def forward(self, users):
        return users @ self.weight * self.factor


users = torch.randn(40, 6, generator=torch.Generator().manual_seed(9))
nothing = torch.zeros(40)


def traker(folder):
    return TRAKer(
        model=Scores(0, 1.0),
        task=Margin(),
        train_set_size=40,
        save_dir=folder,
        device="cpu",
        proj_dim=8,
        use_half_precision=False,
        logging_level=logging.ERROR,
    )


def scores(members):
    """(40, 5): traker's, of an ensemble."""
    folder = tempfile.mkdtemp()
    run = traker(folder)
    for i, member in enumerate(members):
        run.model.factor = member.factor
        run.load_checkpoint(member.state_dict(), model_id=i)
        run.featurize((users, nothing), num_samples=40)
    run.finalize_features()
    run = traker(folder)  # the first has let go of its projection
    for i, member in enumerate(members):
        run.model.factor = member.factor
        run.start_scoring_checkpoint("five", member.state_dict(), model_id=i, num_targets=5)
        run.score((users[:5], nothing[:5]), num_samples=5)
    return np.array(run.finalize_scores("five"))


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


plain, larger = scores([Scores(0, 1.0)]), scores([Scores(0, 10.0)])
factor = np.median(larger / plain)
print(f"one member, its gradients times 10: scores times {factor:.1f}")
assert np.allclose(larger, 100 * plain, rtol=1e-2, atol=1e-6)
other = scores([Scores(1, 1.0)])
even, uneven = scores([Scores(0, 1.0), Scores(1, 1.0)]), scores([Scores(0, 10.0), Scores(1, 1.0)])
print(f"two members alike in size: agree with the first by {correlation(even, plain):.2f}, the second by "
      f"{correlation(even, other):.2f}")
print(f"the same two, the first's gradients times 10: by {correlation(uneven, plain):.4f} and "
      f"{correlation(uneven, other):.2f}")
assert correlation(uneven, plain) > correlation(even, plain) + 0.02
assert correlation(uneven, other) < correlation(even, other) - 0.02
PY
