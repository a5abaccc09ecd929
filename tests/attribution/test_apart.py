"""A model that is one function: parts of a row's influence by what each use of a parameter saw, against autograd."""

import dataclasses

import numpy as np
import pytest
import torch
from support import tiny
from torch import nn

from rec_trak.attribution.apart import factors_by_article
from rec_trak.attribution.explain import TOGETHER, explain
from rec_trak.attribution.job import Member
from rec_trak.attribution.session import featurize
from rec_trak.clicks import margin
from rec_trak.data.targets import read_targets
from rec_trak.gradients.computers import row_batch


class Whole(nn.Module):
    """Means of words through a layer, a user layer over their mean, and one parameter that no taker knows."""

    def __init__(self, words, odd=False):
        super().__init__()
        self.words, self.title, self.user = nn.Embedding(words, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.odd = nn.Parameter(torch.tensor([0.3])) if odd else None

    def read(self, titles):
        real = (titles != 0).unsqueeze(-1)
        return torch.tanh(self.title((self.words(titles) * real).sum(-2) / real.sum(-2).clamp(min=1)))

    def forward(self, batch):
        read = self.read(batch.articles["title"])
        return self.judged(read, batch)

    def judged(self, read, batch):
        history = read[batch.history] * batch.history_mask.unsqueeze(-1)
        user = self.user(history.sum(1) / batch.history_mask.sum(1, keepdim=True).clamp(min=1))
        user = user if self.odd is None else user * torch.exp(self.odd)
        return (read[batch.candidates] @ user.unsqueeze(-1)).squeeze(-1)


def job_of(folder, odd):
    """A featurized job of it."""
    job = tiny.make_job(folder)
    torch.manual_seed(0)
    model = Whole(60, odd).eval()
    member = Member("memory", "digest", {name: value.clone() for name, value in model.state_dict().items()})
    names = [name for name, _ in model.named_parameters()]
    job = dataclasses.replace(job, model=model, members=(member,), grad_wrt=names)
    featurize(job)
    return job, read_targets(folder / "data" / "benchmarks" / "benchmark_mixed.csv", job.articles)


@pytest.mark.parametrize("odd", [False, True])
def test_parts_are_those_of_plain_autograd(tmp_path, odd):
    """An article's part is the gradient through its own reading alone; the user layer's is nobody's, and all of a
    parameter that cannot be taken apart is the rest's."""
    job, targets = job_of(tmp_path, odd)
    row, model = int(job.inputs.impressions.history.lengths.argmax()), job.model  # with one, the user layer is its own
    factors, lost = factors_by_article(job, row)
    assert set(lost) == ({"odd"} if odd else set())
    batch = row_batch(job.inputs, row, "cpu")
    parameters, read = dict(model.named_parameters()), model.read(batch.articles["title"])
    for place in range(len(read)):
        own = torch.cat([read[:place].detach(), read[place : place + 1], read[place + 1 :].detach()])
        cotangent = torch.autograd.grad(margin(job.loss, model.judged(own, batch), batch)[0], own)[0].detach()
        grads = torch.autograd.grad(
            (cotangent * own).sum(), list(parameters.values()), allow_unused=True, retain_graph=True
        )
        dense = factors.dense([1 + place])
        for (name, parameter), grad in zip(parameters.items(), grads, strict=True):
            expected = torch.zeros_like(parameter) if grad is None else grad
            torch.testing.assert_close(dense[name][0], expected, rtol=1e-4, atol=1e-6)
    found = explain(job, "mixed", targets, row, 1)
    assert found.unsplit is None
    np.testing.assert_allclose(found.parts["kernel"].sum(), found.kernel, rtol=1e-4)
    assert found.parts["part"].iloc[-1] == TOGETHER + (", and all of odd" if odd else "")
    assert len(found.parts) == len(read) + 1
