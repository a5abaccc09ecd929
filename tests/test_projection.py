"""Sketches: unbiased, linear, and the same numbers wherever and with whomever a row is sketched."""

import numpy as np
import pytest
import torch

from rec_trak.projection import CountSketchProjector, NonFiniteGradient, count_sketch_map, hash_uint64

PINNED = [1034873727052403483, 8073125511865785521]  # SplitMix64 output for the key "0|0|w"
SHAPES = {"a.weight": (20, 7), "b": (33,)}


def gradients(rows, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(rows, *shape, generator=generator, dtype=dtype) for name, shape in SHAPES.items()}


def flat(grads):
    return torch.cat([g.reshape(len(g), -1) for g in grads.values()], dim=1)


def project(grads, k=64, seed=0, model_id=0):
    return CountSketchProjector(173, k, seed).project(grads, model_id)


def test_hash_is_the_same_on_every_machine():
    """Pinned numbers: a change of the hash would silently mix two sketches in one store."""
    assert hash_uint64("0|0|w", 3).tolist() == hash_uint64("0|0|w", 5)[:3].tolist()
    assert [int(x) for x in hash_uint64("0|0|w", 2)] == PINNED


def test_buckets_are_even_and_signs_balanced():
    """Chi-square of the bucket counts and the sum of signs stay within five standard deviations."""
    bucket, sign = count_sketch_map("s", 100_000, 100)
    counts = torch.bincount(bucket, minlength=100).double()
    assert counts.shape == (100,)
    assert abs(float(((counts - 1000) ** 2 / 1000).sum()) - 99) < 5 * (2 * 99) ** 0.5
    assert abs(float(sign.sum())) < 5 * 100_000**0.5
    assert abs(float(torch.bincount(bucket, weights=sign.double()).square().sum()) / 100_000 - 1) < 5 * (2 / 100) ** 0.5


def test_inner_products_are_unbiased():
    """The mean over 200 seeds lies within three standard errors of the true inner product."""
    g = gradients(2)
    x = flat(g)
    truth = float(x[0] @ x[1])
    found = np.array([float(s[0] @ s[1]) for s in (project(g, seed=seed) for seed in range(200))])
    assert abs(found.mean() - truth) < 3 * found.std() / 200**0.5


def test_error_is_as_small_as_theory_asks():
    """R.m.s. error over pairs and 50 seeds is at most 1.25 sqrt((1 + cos^2) / K) of |g||g'|."""
    g, k = gradients(6), 64
    x = flat(g)
    norms = x.norm(dim=1)
    first, second = torch.triu_indices(6, 6, offset=1)
    exact = (x @ x.T)[first, second]
    scale = (norms[first] * norms[second]) * ((1 + (exact / (norms[first] * norms[second])) ** 2) / k).sqrt()
    errors = []
    for seed in range(50):
        s = project(g, k=k, seed=seed)
        errors.append(((s @ s.T)[first, second] - exact) / scale)
    assert float(torch.stack(errors).square().mean().sqrt()) <= 1.25


def test_linear():
    """sketch(a + b) = sketch(a) + sketch(b)."""
    a, b = gradients(3, seed=1), gradients(3, seed=2)
    both = project({n: a[n] + b[n] for n in a})
    torch.testing.assert_close(both, project(a) + project(b), rtol=1e-5, atol=1e-5)


def test_batch_and_order_change_nothing():
    """A row's sketch does not depend on its batch-mates, their order, or the parameters' order."""
    g = gradients(9)
    whole = project(g)
    order = torch.tensor([4, 0, 8, 2])
    torch.testing.assert_close(project({n: x[order] for n, x in g.items()}), whole[order], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(project(dict(reversed(g.items()))), whole, rtol=1e-5, atol=1e-5)


def test_seed_and_model_id_change_the_map_and_repeat():
    """Another seed or model id is another map; the same ones are the same map, also after another was used."""
    g = gradients(2)
    projector = CountSketchProjector(173, 64, 5)
    first = projector.project(g, 0)
    other = projector.project(g, 1)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first, project(g, seed=6))
    torch.testing.assert_close(projector.project(g, 0), first)


def test_seeds_a_thousand_apart_share_nothing():
    """traker's own seeds collide across model ids for large K; here no (seed, model id) pair shares a map."""
    maps = {
        tuple(count_sketch_map(f"{seed}|{model}|w", 64, 4096)[0].tolist())
        for seed in (0, 1000, 100_000)
        for model in (0, 1, 2)
    }
    assert len(maps) == 9


def test_freeing_memory_does_not_change_the_map():
    """traker frees the projector and then goes on projecting."""
    projector = CountSketchProjector(173, 64, 0)
    before = projector.project(gradients(2), 0)
    projector.free_memory()
    projector.free_memory()
    torch.testing.assert_close(projector.project(gradients(2), 0), before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_not_finite_names_the_row(value):
    """A NaN or Inf names its place in the batch and nothing else."""
    g = gradients(4)
    g["b"][2, 5] = value
    with pytest.raises(NonFiniteGradient, match=r"positions \[2\]") as error:
        project(g)
    assert error.value.positions == [2]
