"""Hashes and tables of the sketch: pinned, even, and without the collisions that they promise not to have."""

import math

import pytest
import torch

from rec_trak.sketch.hashing import SIGN_ROWS, hash_uint64, matrix_map, signs, vector_map

PINNED = [1034873727052403483, 8073125511865785521]  # SplitMix64 output for the key "0|0|w"
SIZES = (1, 2, 7, 12, 16, 30, 31, 64)  # K: one, primes, powers of two, even composites


def buckets(table, rows, cols):
    """(rows, cols) bucket of each entry, by the law that `MatrixMap` states."""
    i, j = torch.arange(rows)[:, None], torch.arange(cols)
    return (i * table.stride + j + table.offsets[i // table.proj_dim, j // table.proj_dim]) % table.proj_dim


def test_hash_is_the_same_on_every_machine():
    """Pinned numbers: a change of the hash would silently mix two sketches in one store."""
    assert hash_uint64("0|0|w", 3).tolist() == hash_uint64("0|0|w", 5)[:3].tolist()
    assert [int(x) for x in hash_uint64("0|0|w", 2)] == PINNED


def test_signs_are_balanced_and_of_the_shape_asked_for():
    """Only 1 and -1, float32, with a sum within five standard deviations of zero."""
    found = signs("s", 40, 250)
    assert found.shape == (40, 250)
    assert found.dtype == torch.float32
    assert found.abs().eq(1).all()
    assert abs(float(found.sum())) < 5 * 10_000**0.5


def test_vector_buckets_are_even_and_signs_balanced():
    """Chi-square of the bucket counts and the sum of signs stay within five standard deviations."""
    table = vector_map("s", 100_000, 100)
    counts = torch.bincount(table.bucket, minlength=100).double()
    assert counts.shape == (100,)
    assert abs(float(((counts - 1000) ** 2 / 1000).sum()) - 99) < 5 * (2 * 99) ** 0.5
    assert abs(float(table.sign.sum())) < 5 * 100_000**0.5
    sums = torch.bincount(table.bucket, weights=table.sign.double())
    assert abs(float(sums.square().sum()) / 100_000 - 1) < 5 * (2 / 100) ** 0.5


@pytest.mark.parametrize("k", [1, 7, 512])
def test_vector_buckets_stay_in_range(k):
    """Buckets are whole numbers from 0 to K - 1, also for parameters shorter and longer than K."""
    for count in (1, 6, 5000):
        bucket = vector_map("s", count, k).bucket
        assert bucket.dtype == torch.int64
        assert int(bucket.min()) >= 0
        assert int(bucket.max()) < k


@pytest.mark.parametrize("k", [1, 2, 7, 16, 30, 64, 210, 509, 512, 2048])
@pytest.mark.parametrize("cols", [1, 5, 64, 300, 3000])
def test_stride_has_no_factor_in_common_with_k_and_is_wide_enough(k, cols):
    """gcd(stride, K) = 1 and stride >= min(C, K), for each of 40 keys."""
    for key in range(40):
        stride = matrix_map(str(key), 3, cols, k).stride
        assert math.gcd(stride, k) == 1
        assert stride >= min(cols, k)


def test_stride_depends_on_the_key():
    """Two rows that meet under one key do not meet under every key."""
    strides = {matrix_map(str(key), 3, 300, 512).stride for key in range(200)}
    assert len(strides) > 40


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("cols", [1, 3, 16, 70])
def test_no_two_entries_of_a_row_or_a_column_of_a_tile_meet(k, cols):
    """Within each K by K tile, all entries of one row, and all of one column, lie in different buckets."""
    rows = 2 * k + 1
    for key in range(10):
        table = matrix_map(str(key), rows, cols, k)
        place, seen = buckets(table, rows, cols), torch.zeros(rows, cols)
        for u, v, row_signs, col_signs, _ in table.tiles():
            tile = place[u, v].sort(dim=1).values
            assert (tile.diff(dim=1) > 0).all()
            assert (place[u, v].sort(dim=0).values.diff(dim=0) > 0).all()
            assert tile.shape == (len(row_signs), len(col_signs))
            seen[u, v] += 1
        assert seen.eq(1).all()  # the tiles are the whole parameter, each entry once


@pytest.mark.parametrize(("rows", "cols", "k"), [(5, 4, 64), (64, 64, 64), (65, 64, 64), (700, 130, 64), (9000, 5, 16)])
def test_tables_are_as_long_as_the_sides(rows, cols, k):
    """A side's table has one number for each place and tile across, whatever the product of the sides."""
    table = matrix_map("m", rows, cols, k)
    assert table.row_signs.shape == (math.ceil(cols / k), rows)
    assert table.col_signs.shape == (min(math.ceil(rows / k), SIGN_ROWS), cols)


def test_neighbouring_tiles_have_signs_of_their_own():
    """Tiles beside and below each other do not share their signs."""
    table = matrix_map("m", 300, 300, 100)
    found = {(tuple(r.tolist()), tuple(c.tolist())) for _, _, r, c, _ in table.tiles()}
    assert len(found) == 9
    for signs_of in (table.row_signs, table.col_signs):
        assert float((signs_of @ signs_of.T).fill_diagonal_(0).abs().max()) < 5 * 300**0.5


def test_keys_differ():
    """No two of nine (seed, model id) keys share a table, be it of a vector or a matrix; equal keys share all."""
    keys = [f"{seed}|{model}|w" for seed in (0, 1000, 100_000) for model in (0, 1, 2)]
    assert len({tuple(vector_map(key, 64, 4096).bucket.tolist()) for key in keys}) == 9
    assert len({tuple(vector_map(key, 64, 4096).sign.tolist()) for key in keys}) == 9
    assert len({tuple(matrix_map(key, 64, 50, 16).row_signs.flatten().tolist()) for key in keys}) == 9
    assert len({tuple(matrix_map(key, 64, 50, 16).col_signs.flatten().tolist()) for key in keys}) == 9
    again, first = matrix_map("a", 64, 50, 16), matrix_map("a", 64, 50, 16)
    assert first.stride == again.stride
    assert torch.equal(first.row_signs, again.row_signs)
    assert torch.equal(first.col_signs, again.col_signs)


def test_the_tables_of_one_parameter_do_not_repeat_each_other():
    """Row signs, column signs, and signs of a vector under one key are three different sequences."""
    table, vector = matrix_map("a", 64, 64, 64), vector_map("a", 64, 64)
    assert len({tuple(t.flatten().tolist()) for t in (table.row_signs, table.col_signs, vector.sign)}) == 3
