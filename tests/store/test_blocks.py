"""Blocks of a save directory: whole or absent, in whatever order, and compared when they are read."""

import json
import os
import shutil

import numpy as np
import pytest
from support import tiny

from rec_trak.attribution import filling
from rec_trak.attribution.influence import self_influence
from rec_trak.attribution.session import featurize, featurize_targets, missing_rows
from rec_trak.errors import StoreError
from rec_trak.store import blocks
from rec_trak.store.blocks import Cut, Part, check, damaged, end, rows_unfinished, unfinished
from rec_trak.store.layout import HEADER
from rec_trak.store.manifest import BLOCKS
from rec_trak.store.reading import read_member, read_targets


@pytest.fixture
def small(monkeypatch):
    """Blocks of five rows and two targets, so that a tiny world has several."""
    monkeypatch.setitem(BLOCKS, "rows", 5)
    monkeypatch.setitem(BLOCKS, "targets", 2)


def filled(folder, name="store", **keys):
    """A job whose rows and three targets are stored."""
    job = tiny.make_job(folder, save_dir=str(folder / name), **keys)
    featurize(job)
    featurize_targets(job, "t", job.impressions.subset(np.arange(3)))
    return job


def maps(job):
    """Every map's bytes, and every marker's."""
    return {path.name: path.read_bytes() for path in sorted(job.save_dir.glob("0/**/*")) if path.is_file()}


def test_blocks_cut_the_rows_once():
    """Every row is in one block, the last is shorter."""
    cut = Cut(None, 12, 5, "")
    assert [list(range(12)[cut.rows(b)]) for b in range(len(cut))] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    assert [cut.length(b) for b in range(3)] == [5, 5, 2]
    assert len(Cut(None, 0, 5, "")) == 0


def test_the_numbers_of_a_map_begin_at_a_page(tmp_path):
    """With blocks of 1,024 rows every block of every map is then whole pages; numpy reads the maps all the same."""
    job = filled(tmp_path)
    for path in job.save_dir.glob("0/*.mmap"):
        assert np.load(path, mmap_mode="r").offset == HEADER == 4096
        assert path.stat().st_size == HEADER + np.load(path).nbytes


@pytest.mark.usefixtures("small")
def test_any_order_and_any_gaps_give_the_same_bytes(tmp_path, monkeypatch):
    """Law: a block's bytes depend on its rows alone, not on what was computed before it or was lost."""
    whole = maps(filled(tmp_path, "whole"))
    monkeypatch.setattr(filling, "drawn", lambda total, told: reversed(range(total)))
    backwards = filled(tmp_path, "backwards")
    assert maps(backwards) == whole
    markers = sorted(backwards.save_dir.glob("0/*blocks/*.json"))
    assert len(markers) == 5 + 2
    for gone in (markers[:3], markers[1::2], markers):
        for path in gone:
            path.unlink(missing_ok=True)
        again = filled(tmp_path, "backwards")
        assert maps(again) == whole


@pytest.mark.usefixtures("small")
def test_only_a_marker_says_that_a_block_is_finished(tmp_path):
    """Bytes and masks without it are nothing; half a marker, or one of other rows, is none."""
    job = filled(tmp_path)
    marker = job.save_dir / "0" / "blocks" / "0000001.json"
    content = marker.read_text()
    for wrong in ("", content[:-3], content.replace("10", "11"), "[]"):
        marker.write_text(wrong)
        assert missing_rows(job) == 5
        with pytest.raises(StoreError, match="not all rows are featurized. Got 5 missing"):
            self_influence(job)
        assert featurize(job).computed == 5
        assert marker.read_text() == content


@pytest.mark.parametrize("name", ["grads", "out_to_loss", "t_grads"])
@pytest.mark.usefixtures("small")
def test_a_flipped_bit_is_found_and_mended(tmp_path, name):
    """The message names file, rows, marker and command; that done, the bytes are those of before."""
    job = filled(tmp_path)
    whole, path = maps(job), job.save_dir / "0" / f"{name}.mmap"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    rows, marker = ("2 to 2", "t_blocks/0000001.json") if name == "t_grads" else ("20 to 23", "blocks/0000004.json")
    command = "score.py with --targets t" if name == "t_grads" else "featurize.py"

    def read():
        return read_targets(job.save_dir, 0, "t") if name == "t_grads" else read_member(job.save_dir, 0)

    told = rf"{name}.mmap: rows {rows} are damaged.*in .*{marker}, .*Delete that file, and run scripts/{command}"
    with pytest.raises(StoreError, match=told):
        read()
    (job.save_dir / "0" / marker).unlink()
    filled(tmp_path)
    assert maps(job) == whole
    read()


def test_a_map_of_other_shape_is_refused(tmp_path):
    """A flipped bit in a header, too, is one line with both shapes."""
    job = filled(tmp_path)
    path = job.save_dir / "0" / "grads.mmap"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(24, 16)", b"(16, 24)"))
    with pytest.raises(StoreError, match=r"grads.mmap: damaged. Got shape \(16, 24\) of float32, expected \(24, 16\)"):
        read_member(job.save_dir, 0)
    path.write_bytes(content[:-40])
    with pytest.raises(
        StoreError, match=r"damaged. Got an array that cannot be read \(.*\), expected .*and run scripts/featurize.py"
    ):
        read_member(job.save_dir, 0)
    path.unlink()
    with pytest.raises(StoreError, match=r"grads.mmap: no such file. .* \(24, 16\). Run scripts/featurize"):
        read_member(job.save_dir, 0)
    assert featurize(job).computed == 24
    assert path.read_bytes() == content


def test_sums_are_compared_once_for_bytes_that_nobody_changed(tmp_path, monkeypatch):
    """A command reads its gradients several times, and compares them in the first pass."""
    job, summed, real = filled(tmp_path), [], blocks._sum
    monkeypatch.setattr(blocks, "_sum", lambda array: summed.append(len(array)) or real(array))
    read_member(job.save_dir, 0)
    assert summed == [24, 24]
    read_member(job.save_dir, 0)
    assert summed == [24, 24]
    os.utime(job.save_dir / "0" / "grads.mmap")
    read_member(job.save_dir, 0)
    assert summed == [24, 24, 24, 24]


@pytest.mark.usefixtures("small")
def test_a_directory_of_an_earlier_build_is_read_and_gone_on_with(tmp_path):
    """Without block sizes in its manifest, its masks say what is done: it is scored so, and filled up by block."""
    job = filled(tmp_path)
    whole = maps(job)
    manifest = job.save_dir / "rec_trak.json"
    told = json.loads(manifest.read_text())
    del told["blocks"]
    manifest.write_text(json.dumps(told))
    for folder in ("blocks", "t_blocks"):
        shutil.rmtree(job.save_dir / "0" / folder)
    scores = self_influence(job).scores
    assert missing_rows(job) == 0
    mask = np.load(job.save_dir / "0" / "_is_featurized.mmap", mmap_mode="r+")
    mask[7] = 0
    mask.flush()
    assert missing_rows(job) == 1
    assert featurize(job).computed == 5
    assert maps(job) == whole
    np.testing.assert_array_equal(self_influence(job).scores, scores)


def test_damaged_blocks_are_listed(tmp_path):
    """Those with a marker whose bytes are others; what has no marker is unfinished, not damaged."""
    cut = Cut(tmp_path / "blocks", 6, 2, "run it")
    array = np.arange(6.0)
    part = Part(cut, {"a.mmap": array}, np.zeros(6))
    for block in (0, 2):
        end(part, block)
    assert (unfinished(cut), rows_unfinished(cut)) == ([1], 2)
    array[5] = 0
    assert damaged(cut, {tmp_path / "a.mmap": array}) == [slice(4, 6)]
    with pytest.raises(StoreError, match="rows 2 to 3 are damaged"):
        check(cut, {tmp_path / "a.mmap": array})
