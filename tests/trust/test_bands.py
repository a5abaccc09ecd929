"""A band with any ridge, and a factor by blocks, against numpy: the same products and solutions as their matrix."""

import numpy as np
import pytest
import torch

from rec_trak.trust import bands, blocks, systems
from rec_trak.trust.bands import band_factor, banded
from rec_trak.trust.blocks import block_factor
from rec_trak.trust.members import see_member, views_of


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Several blocks of small matrices."""
    monkeypatch.setattr(bands, "WIDTH", 6)
    monkeypatch.setattr(blocks, "WIDTH", 6)


def rows_of(k, rank):
    """(50, K) float64 of a rank."""
    rng = np.random.default_rng(k)
    return torch.from_numpy(rng.standard_normal((50, rank)) @ rng.standard_normal((rank, k)))


@pytest.mark.parametrize(("k", "rank"), [(4, 4), (6, 6), (24, 24), (27, 27), (27, 3), (31, 31)])
def test_whitened_rows_give_the_products_of_the_inverse(k, rank):
    """Law: Z Z' = Phi (A + ridge I)^-1 Phi', whatever ridge, ragged last block or rank; `solved` is the inverse."""
    rows = rows_of(k, rank)
    matrix = rows.T @ rows
    band = banded(matrix)
    turned = band.turned(rows)
    for ridge in (0.5, 30.0):
        factor = band_factor(band, ridge)
        exact = rows @ torch.linalg.solve(matrix + ridge * torch.eye(k, dtype=torch.float64), rows.T)
        white = factor.whitened(turned)
        torch.testing.assert_close(white @ white.T, exact, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(factor.solved(turned) @ turned.T, exact, rtol=1e-9, atol=1e-9)
        blockwise = block_factor(matrix + ridge * torch.eye(k, dtype=torch.float64))
        white = blockwise.whitened(rows)
        torch.testing.assert_close(white @ white.T, exact, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(blockwise.solved(rows) @ rows.T, exact, rtol=1e-9, atol=1e-9)


def test_a_matrix_that_is_a_band_already_stays_as_it_is():
    """Law: columns that are 0 below turn nothing; a diagonal is its own band."""
    matrix = torch.diag(torch.arange(1.0, 21.0, dtype=torch.float64))
    band = banded(matrix)
    torch.testing.assert_close(torch.block_diag(*band.diagonal), matrix)
    torch.testing.assert_close(band.turned(matrix), matrix)


def test_turning_leaves_the_rows_given_alone():
    """Law: rows are read, never written."""
    rows = rows_of(24, 24)
    before = rows.clone()
    banded(rows.T @ rows).turned(rows)
    assert torch.equal(rows, before)


def test_what_is_not_positive_definite_has_no_factor():
    """Law: None, in the first block and in a later one."""
    for place in (0, 20):
        matrix = torch.eye(24, dtype=torch.float64)
        matrix[place, place] = -1
        assert band_factor(banded(matrix), 0.5) is None
        assert block_factor(matrix) is None


@pytest.mark.parametrize("lambda_rel", [1.0, 1e-2, 1e-7])
@pytest.mark.parametrize("q", [None, np.linspace(0.1, 0.9, 50)], ids=["", "margins"])
def test_a_member_is_the_same_by_band_and_by_factor(lambda_rel, q, monkeypatch):
    """Law: which way views are solved changes nothing but rounding, in either precision."""
    monkeypatch.setattr(systems, "CHUNK", 16)
    phi = rows_of(27, 27).float().numpy()
    views, found = views_of(27, lambda_rel, np.random.default_rng(0)), []
    for least in (0, 1000):
        monkeypatch.setattr(systems, "LEAST_BANDED", least)
        targets = rows_of(27, 5)[:4].float()
        found.append(see_member(phi, np.arange(1, 50), targets, lambda_rel, views, q=q))
    for name in views:
        np.testing.assert_allclose(found[0].leverage[name], found[1].leverage[name], rtol=1e-4)
        scale = np.abs(found[1].kernel[name]).max(initial=1e-30)
        np.testing.assert_allclose(found[0].kernel[name] / scale, found[1].kernel[name] / scale, atol=1e-4)
    assert found[0].explained == pytest.approx(found[1].explained, rel=1e-3)
    assert found[0].condition_number == pytest.approx(found[1].condition_number, rel=1e-3)


def test_one_band_serves_all_ridges(monkeypatch):
    """Law: a member is turned once for each precision, and every other system is of a part of the buckets."""
    made, factored = [], []
    real = systems.banded, systems.block_factor
    monkeypatch.setattr(systems, "LEAST_BANDED", 0)
    monkeypatch.setattr(systems, "banded", lambda matrix: made.append(len(matrix)) or real[0](matrix))
    monkeypatch.setattr(systems, "block_factor", lambda matrix: factored.append(len(matrix)) or real[1](matrix))
    phi = rows_of(24, 24).float().numpy()
    see_member(phi, np.arange(50), torch.zeros(0, 24), 1.0, views_of(24, 1.0, np.random.default_rng(0)))
    assert made == [24]
    assert set(factored) == {12, 6}
