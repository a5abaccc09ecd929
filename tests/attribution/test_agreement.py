"""On the rows of a world, sketched scores come nearer to exact ones as K grows, and as near as traker's gaussian."""

import numpy as np
import pytest
import torch
from support import tiny
from support.small_world import SMALL

from rec_trak.clicks import ClickOutput
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import build_vocabulary, read_news_items
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.inputs import build_inputs
from rec_trak.data.synthetic import write_demo_world
from rec_trak.gradients.computers import FactoredComputer, make_batch
from rec_trak.sketch.projectors import make_projector
from rec_trak.training.trainer import TrainSettings, train

SEEDS = 8


@pytest.fixture(scope="module")
def factors(tmp_path_factory):
    """Gradients of 96 rows of a small trained NRMS."""
    world = write_demo_world(tmp_path_factory.mktemp("world"), 1, SMALL)
    articles = read_news_items(world.files["news_items"])
    text = TextConfig(words=build_vocabulary(articles, "regex", ("title",)))
    config = ModelConfig("nrms", ("title",), tiny.SIZES["nrms"], text)
    inputs = build_inputs(read_pairwise(world.files["train_poisoned"], articles), articles, config)
    model = train(config, inputs, None, TrainSettings(epochs=3, learning_rate=5e-3, batch_size=32), seed=0).model
    computer = FactoredComputer(model, ClickOutput("softmax"))
    return computer.compute_per_sample_grad(make_batch("factored", model, inputs, np.arange(96), "cpu"))


def kernel(phi):
    """Off-diagonal entries of phi (phi'phi + ridge)^-1 phi' with lambda_rel 1."""
    gram = phi @ phi.T
    ridge = gram.trace() / min(phi.shape)
    scores = gram @ torch.linalg.inv(gram + ridge * torch.eye(len(phi), dtype=phi.dtype))
    return scores[~torch.eye(len(phi), dtype=torch.bool)].numpy()


def agreement(factors, name, k):
    """Correlation with the scores of exact gradients, for each of several seeds."""
    exact = torch.cat([g.flatten(1) for g in factors.dense().values()], dim=1).double()
    projected = [make_projector(name, exact.shape[1], k, 1 + seed, "cpu").project(factors, 0) for seed in range(SEEDS)]
    # The ridge is relative to min(K, N): the exact scores get the same one.
    gram = exact @ exact.T
    ridge = gram.trace() / min(k, len(exact))
    scores = gram @ torch.linalg.inv(gram + ridge * torch.eye(len(exact), dtype=exact.dtype))
    truth = scores[~torch.eye(len(exact), dtype=torch.bool)].numpy()
    return np.array([np.corrcoef(truth, kernel(phi.double()))[0, 1] for phi in projected])


@pytest.mark.long
def test_agreement_rises_with_k_and_equals_gaussian(factors):
    """Mean correlation over seeds rises with K, and differs from gaussian's by no more than chance allows."""
    means = []
    for k in (32, 128, 512):
        ours, gaussian = agreement(factors, "sketch", k), agreement(factors, "gaussian", k)
        spread = (ours.var(ddof=1) / SEEDS + gaussian.var(ddof=1) / SEEDS) ** 0.5
        assert ours.mean() > gaussian.mean() - 3 * spread
        means.append(ours.mean())
    assert means[0] < means[1] < means[2]
    assert means[2] > 0.9
