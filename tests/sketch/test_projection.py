"""Sketches: unbiased, as exact as theory asks, linear, and the same numbers wherever and however a row is sketched."""

import numpy as np
import pytest
import torch
from support.recommenders import MODELS, world

from rec_trak.clicks import ClickOutput
from rec_trak.gradients.computers import FactoredComputer, make_batch
from rec_trak.gradients.factors import Entries, Factors, Outer, Rows
from rec_trak.sketch import projection, transforms
from rec_trak.sketch.hashing import matrix_map
from rec_trak.sketch.projection import NonFiniteGradient, SketchProjector

SHAPES = {  # an embedding, slices of one parameter, a convolution, a tied matrix, a bias; `wide` exceeds K = 64 twice
    "embedding": (200, 9),
    "wide": (90, 70),
    "slices": (24, 8),
    "conv": (6, 5, 3),
    "tied": (30, 7),
    "bias": (33,),
}
KINDS = ("factors", "dense")


def make_factors(rows, seed=0, dtype=torch.float32):
    """Random factors of all kinds; the last row has no block in `slices`, and `wide` has two uses."""
    gen = torch.Generator().manual_seed(seed)

    def numbers(*shape):
        return torch.randn(*shape, generator=gen, dtype=torch.float64).to(dtype)

    def ids(*shape, below):
        return torch.randint(below, shape, generator=gen)

    each, most = torch.arange(rows), torch.arange(rows - 1 if rows > 1 else 1)
    twice = each.repeat_interleave(2)
    parts = {
        "embedding": [Rows(ids(2 * rows, 5, below=200), numbers(2 * rows, 5, 9), twice)],
        "wide": [
            Outer(numbers(rows, 3, 90), numbers(rows, 3, 70), each, 0),
            Outer(numbers(2 * rows, 1, 90), numbers(2 * rows, 1, 70), twice, 0),
        ],
        "slices": [Outer(numbers(len(most), 4, 8), numbers(len(most), 4, 8), most, first) for first in (0, 8, 16)],
        "conv": [Outer(numbers(2 * rows, 2, 6), numbers(2 * rows, 2, 15), twice, 0)],
        "tied": [
            Rows(ids(rows, 4, below=30), numbers(rows, 4, 7), each),
            Outer(numbers(rows, 2, 30), numbers(rows, 2, 7), each, 0),
        ],
        "bias": [Entries(numbers(twice.shape[0], 3, 33), twice), Entries(numbers(rows, 1, 33), each)],
    }
    return Factors(rows, {name: torch.Size(shape) for name, shape in SHAPES.items()}, parts)


def pick(factors, order):
    """The factors of the rows `order`, as a batch in that order."""
    parts = {}
    for name, old in factors.parts.items():
        parts[name] = []
        for part in old:
            blocks = [torch.nonzero(part.owner == b).flatten() for b in order]
            owner = torch.arange(len(order)).repeat_interleave(torch.tensor([len(b) for b in blocks]))
            fields = {k: v[torch.cat(blocks)] if isinstance(v, torch.Tensor) else v for k, v in vars(part).items()}
            parts[name].append(type(part)(**fields | {"owner": owner}))
    return Factors(len(order), factors.shapes, parts)


def given(kind, factors):
    return factors if kind == "factors" else factors.dense()


def project(grads, k=64, seed=0, model_id=0):
    return SketchProjector(0, k, seed).project(grads, model_id)


def flat(factors):
    return torch.cat([g.flatten(1) for g in factors.dense().values()], dim=1)


def assert_same(found, expected, full):
    """Rows differ by no more than 1e-5 of their norm in single and 1e-10 in double precision."""
    tolerance = 1e-5 if found.dtype == torch.float32 else 1e-10
    assert float(((found - expected).norm(dim=1) / full.norm(dim=1)).max()) <= tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [7, 16, 64, 512])
@pytest.mark.parametrize(("cost", "other"), [(1e9, "add_outer_by_transform"), (0, "add_outer_by_product")])
def test_factors_and_full_gradients_have_the_same_sketch(monkeypatch, cost, other, k, dtype):
    """sketch(factors) = sketch(dense()), by products and by transforms alike."""
    monkeypatch.setattr(transforms, "STEP", cost)
    monkeypatch.delattr(projection, other)  # so that it cannot be the way taken
    factors = make_factors(4, dtype=dtype)
    found = project(factors, k)
    assert found.dtype == dtype
    assert found.shape == (4, k)
    assert_same(found, project(factors.dense(), k), flat(factors))


@pytest.mark.parametrize("kind", KINDS)
def test_entry_of_the_first_tile_goes_where_its_map_says(kind):
    """In the first K by K tile, entry (i, j) gives one number: its signs' product, at (i stride + j) mod K."""
    rows, cols, k = 11, 5, 13
    eye = torch.eye(rows * cols).view(-1, rows, cols)
    part = Outer(eye.transpose(1, 2), torch.eye(cols).expand(len(eye), -1, -1), torch.arange(len(eye)), 0)
    factors = Factors(len(eye), {"w": eye.shape[1:]}, {"w": [part]})
    torch.testing.assert_close(factors.dense()["w"], eye)
    table = matrix_map("3|2|w", rows, cols, k)
    place = (torch.arange(rows)[:, None] * table.stride + torch.arange(cols)).flatten() % k
    expected = torch.zeros(len(eye), k)
    expected[torch.arange(len(eye)), place] = (table.row_signs[0][:, None] * table.col_signs[0]).flatten()
    torch.testing.assert_close(project(given(kind, factors), k, seed=3, model_id=2), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_linear(kind):
    """sketch(a + b) = sketch(a) + sketch(b)."""
    a, b = make_factors(3, seed=1), make_factors(3, seed=2)
    both = Factors(3, a.shapes, {name: [*a.parts[name], *b.parts[name]] for name in SHAPES})
    assert_same(project(given(kind, both)), project(given(kind, a)) + project(given(kind, b)), flat(both))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_batch_and_order_change_nothing(kind, dtype):
    """A row's sketch does not depend on its batch-mates, their order, or the parameters' order."""
    factors = make_factors(9, dtype=dtype)
    whole, full = project(given(kind, factors)), flat(factors)
    for order in ([4, 0, 8, 2], [3], [8, 7, 6, 5, 4, 3, 2, 1, 0]):
        assert_same(project(given(kind, pick(factors, order))), whole[order], full[order])
    turned = Factors(9, dict(reversed(factors.shapes.items())), dict(reversed(factors.parts.items())))
    assert_same(project(given(kind, turned)), whole, full)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_nothing(kind, dtype):
    """One thread and two give the same numbers."""
    factors = make_factors(32, dtype=dtype)
    one = project(given(kind, factors), 512)
    torch.set_num_threads(2)
    assert_same(project(given(kind, factors), 512), one, flat(factors))


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_model_id_change_the_map_and_repeat(kind):
    """Another seed or model id is another map; the same ones are the same map, also after another was used."""
    grads = given(kind, make_factors(2))
    projector = SketchProjector(0, 64, 5)
    first = projector.project(grads, 0)
    assert not torch.allclose(first, projector.project(grads, 1))
    assert not torch.allclose(first, project(grads, seed=6))
    torch.testing.assert_close(projector.project(grads, 0), first, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_freeing_memory_does_not_change_the_map(kind):
    """traker frees the projector and then goes on projecting."""
    projector, grads = SketchProjector(0, 64, 0), given(kind, make_factors(2))
    before = projector.project(grads, 0)
    projector.free_memory()
    projector.free_memory()
    torch.testing.assert_close(projector.project(grads, 0), before, rtol=0, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_not_finite_names_the_row(kind, name, value):
    """A NaN or Inf in any kind of gradient names its place in the batch and nothing else."""
    factors = make_factors(4)
    part = factors.parts[name][0]
    block = int(torch.nonzero(part.owner == 2)[0])
    (part.right if isinstance(part, Outer) else part.values)[block] = value
    with pytest.raises(NonFiniteGradient, match=r"positions \[2\]") as error:
        project(given(kind, factors))
    assert error.value.positions == [2]


def test_inner_products_are_unbiased():
    """The mean over 200 seeds lies within three standard errors of the true inner product, for each pair of rows."""
    factors = make_factors(3, dtype=torch.float64)
    for parts in factors.parts.values():  # rows that share a direction, so that no inner product is near zero
        for part in parts:
            for values in [part.left, part.right] if isinstance(part, Outer) else [part.values]:
                values += 0.5
    x = flat(factors)
    found = torch.stack([s @ s.T for s in (project(factors, 64, seed) for seed in range(200))])
    error = (found.mean(dim=0) - x @ x.T) / (found.std(dim=0) / 200**0.5)
    assert float(error.abs().max()) < 3


def error_ratio(grads, x, k, seeds=50):
    """R.m.s. error of inner products over pairs and seeds, in units of sqrt((1 + cos^2) / K) |g||g'|."""
    first, second = torch.triu_indices(len(x), len(x), offset=1)
    exact, size = (x @ x.T)[first, second], x.norm(dim=1)[first] * x.norm(dim=1)[second]
    scale = size * ((1 + (exact / size) ** 2) / k).sqrt()
    found = torch.stack([(s @ s.T)[first, second] for s in (project(grads, k, seed) for seed in range(seeds))])
    return float(((found - exact) / scale).square().mean().sqrt())


def orthogonal(count, dim):
    return torch.linalg.qr(torch.randn(dim, count, dtype=torch.float64))[0].T


def positive(*shape):
    return torch.rand(*shape, dtype=torch.float64) + 0.2


def dominant(rows, cols, *place):
    """Six gradients that are small but at `place`."""
    g = torch.randn(6, rows, cols, dtype=torch.float64)
    small = 0.01 * g
    small[(slice(None), *place)] = g[(slice(None), *place)]
    return small


def one_row_each(rows, cols, *which):
    """Gradients that are one and the same vector, each in another row of the parameter."""
    g = torch.zeros(len(which), rows, cols, dtype=torch.float64)
    g[torch.arange(len(which)), torch.tensor(which)] = positive(cols)
    return g


STRUCTURES = {
    "random": lambda r, c: torch.randn(6, r, c, dtype=torch.float64),
    "positive": lambda r, c: positive(6, r, c),
    "rank one": lambda r, c: torch.randn(6, r, 1, dtype=torch.float64) * torch.randn(6, 1, c, dtype=torch.float64),
    "rank one, positive": lambda r, c: positive(6, r, 1) * positive(6, 1, c),
    "aligned inputs, orthogonal outputs": lambda r, c: orthogonal(6, r)[:, :, None] * positive(1, 1, c),
    "aligned outputs, orthogonal inputs": lambda r, c: positive(1, r, 1) * orthogonal(6, c)[:, None],
    "a few columns": lambda r, c: dominant(r, c, slice(None), torch.randperm(c)[:3]),
    "a few rows": lambda r, c: dominant(r, c, torch.randperm(r)[:3]),
    "one row each": lambda r, c: one_row_each(r, c, *torch.randperm(r)[:6].tolist()),
}
SIZES = {(40, 24): 64, (150, 130): 64, (90, 70): 61, (300, 20): 512}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_error_is_as_small_as_theory_asks(structure, size):
    """R.m.s. error over pairs and 50 seeds is at most 1.25 sqrt((1 + cos^2) / K) of |g||g'|."""
    g = STRUCTURES[structure](*size)
    assert error_ratio({"w": g}, g.flatten(1), SIZES[size]) <= 1.25


FAR_APART = {  # places whose buckets would be the same for every seed, were tiles not shifted by random offsets
    "rows K apart": (lambda: one_row_each(600, 8, *range(3, 600, 64)), 64),
    "rows 8 K apart": (lambda: one_row_each(3000, 8, *range(3, 3000, 512)), 64),
    "columns K apart": (lambda: one_row_each(200, 9, *range(3, 200, 64)).transpose(1, 2), 64),
    "two rows of a narrow parameter": (lambda: one_row_each(300, 20, 0, 73), 512),
}


@pytest.mark.parametrize("name", FAR_APART)
def test_error_does_not_depend_on_where_entries_stand(name):
    """The same bound where entries stand at any distance: no pair of places meets for all, or too many, seeds."""
    make, k = FAR_APART[name]
    g = make()
    assert error_ratio({"w": g}, g.flatten(1), k) <= 1.25


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_a_model_are_sketched_as_exactly(tmp_path, name):
    """Factors of real rows: the sketch of their full gradients, within the same bound on the error."""
    model, inputs = world(tmp_path, name)
    computer = FactoredComputer(model, ClickOutput("softmax"))
    factors = computer.compute_per_sample_grad(make_batch("factored", model, inputs, np.arange(12), "cpu"))
    assert_same(project(factors), project(factors.dense()), flat(factors))
    assert error_ratio(factors, flat(factors), 64) <= 1.25


def kernel_scores(targets, train):
    """phi_t' (Phi'Phi)^-1 phi_i without a ridge."""
    return (targets @ torch.linalg.pinv(train.T @ train, hermitian=True) @ train.T).flatten()


@pytest.mark.parametrize("members", [1, 10])
@pytest.mark.parametrize("k", [64, 128])
def test_projection_law(k, members):
    """On isotropic features of rank p, scores correlate with unprojected ones by sqrt(kappa/(kappa+(1-kappa)/E)).

    kappa = K / p, ridge 0. The law is for a flat spectrum, so N is ten times p: with N = 3 p any projection, also a
    gaussian one, stays .06 to .10 below it.

    Source: formulas.md, "Projection law".
    """
    rank, train, targets = 200, torch.randn(2000, 200, dtype=torch.float64), torch.randn(60, 200, dtype=torch.float64)
    basis = orthogonal(rank, 60 * 50 + 100)
    grads = {"w": basis[:, :3000].reshape(-1, 60, 50), "b": basis[:, 3000:]}
    maps = [project(grads, k, seed) for seed in range(members)]  # the sketch is linear: a row's is a sum of these
    found = torch.stack([kernel_scores(targets @ m, train @ m) for m in maps]).mean(dim=0)
    kappa = k / rank
    correlation = float(torch.corrcoef(torch.stack([found, kernel_scores(targets, train)]))[0, 1])
    assert abs(correlation - (kappa / (kappa + (1 - kappa) / members)) ** 0.5) < 0.06
