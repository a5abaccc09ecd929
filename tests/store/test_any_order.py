"""Blocks filled by two workers in any order, with kills and resumes between any two steps: always the same bytes."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.properties import documents, fewer, read_or_refused

from rec_trak.errors import StoreError
from rec_trak.store import blocks
from rec_trak.store.blocks import Part, begin, check, cut_rows, end, unfinished
from rec_trak.store.layout import member_maps
from rec_trak.store.manifest import MANIFEST, read_manifest
from rec_trak.store.saver import _new_map

ROWS, K, SIZES = 8, 3, {"rows": 3}
TRUTH = {
    "grads.mmap": np.arange(ROWS * K, dtype=np.float32).reshape(ROWS, K) + 1,
    "out_to_loss.mmap": np.ones((ROWS, 1)),
}
STEPS = ("draw", "half", "whole", "end", "kill")


def new_store(folder):
    """Empty maps of a member."""
    folder.mkdir()
    for path, shape, dtype in member_maps(folder, ROWS, K).values():
        _new_map(path, shape, np.dtype(dtype))
    return folder


def opened(folder):
    """The member's part as a process has it that has just begun."""
    *paths, mask = (path for path, _, _ in member_maps(folder, ROWS, K).values())
    return Part(cut_rows(folder, ROWS, SIZES), {p.name: np.load(p, mmap_mode="r+") for p in paths}, np.load(mask, "r+"))


def work(folder, steps):
    """Do steps of two workers: each draws a block that is not finished, fills it in halves, ends it, or is killed."""
    parts, at = [opened(folder) for _ in range(2)], [None, None]
    for worker, step in steps:
        part, block = parts[worker], at[worker]
        if step == "kill":  # what it had written stays in the maps, as the system leaves it
            parts[worker], at[worker] = opened(folder), None
        elif step == "draw" and block is None:
            left = [one for one in unfinished(part.cut) if one not in at]
            at[worker] = left[0] if left else None
            if left:
                begin(part, left[0])
        elif block is not None and step != "draw":
            fill(part, block, part.cut.length(block) // 2 if step == "half" else None)
            if step == "end":
                end(part, block)
                at[worker] = None


def fill(part, block, rows=None):
    """Write the block's rows, or the first so many, and no others."""
    there = part.cut.rows(block)
    there = slice(there.start, there.stop if rows is None else there.start + rows)
    for name, array in part.arrays.items():
        array[there] = TRUTH[name][there]


def finish(folder):
    """What the next run does that nobody stops."""
    part = opened(folder)
    for block in unfinished(part.cut):
        begin(part, block)
        fill(part, block)
        end(part, block)


def refused(folder, part):
    """What is said of the rows when they are read; None where all is well."""
    blocks._agreed.clear()
    try:
        check(part.cut, {folder / name: array for name, array in part.arrays.items()})
    except StoreError as error:
        return str(error)
    return None


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one worker leaves that nobody stops."""
    folder = new_store(tmp_path_factory.mktemp("alone") / "0")
    finish(folder)
    return contents(folder)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@fewer
@given(steps=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(STEPS)), max_size=20))
def test_any_interleaving(tmp_path_factory, alone, steps):
    """Law: whatever two workers did, and wherever they were killed, a finished block holds its rows, and the next run
    leaves the bytes of one that was alone."""
    folder = new_store(tmp_path_factory.mktemp("any") / "0")
    work(folder, steps)
    part = opened(folder)
    for block in set(range(len(part.cut))) - set(unfinished(part.cut)):
        assert all(
            np.array_equal(part.arrays[name][part.cut.rows(block)], TRUTH[name][part.cut.rows(block)]) for name in TRUTH
        )
    finish(folder)
    assert contents(folder) == alone


@fewer
@given(block=st.integers(0, 2), at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7) | st.none())
def test_any_damaged_marker(tmp_path_factory, block, at, bit):
    """Law: a marker with a flipped bit, or cut short, is none, or is refused with the rows when they are read, or says
    what it said; computed again, the bytes are those of before."""
    folder = new_store(tmp_path_factory.mktemp("any") / "0")
    finish(folder)
    whole, marker = contents(folder), opened(folder).cut.marker(block)
    content = bytearray(marker.read_bytes())
    place = int(at * len(content))
    if bit is None:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    told = json.loads(marker.read_bytes())
    marker.write_bytes(content)
    part = opened(folder)
    if block not in unfinished(part.cut) and refused(folder, part) is None:
        assert json.loads(content)["sums"] == told["sums"]
    marker.unlink()
    finish(folder)
    assert contents(folder) == whole


@given(content=documents(("format", "features", "models", "targets", "blocks", "recorded")))
def test_any_manifest(tmp_path, capsys, content):
    """Law: a manifest that is read has the parts that its readers take for granted, or it is refused in one line."""
    assume(not isinstance(content, dict) or content.setdefault("format", 1))
    (tmp_path / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    held = read_or_refused(capsys, lambda: read_manifest(tmp_path))
    assert held is None or all(isinstance(held[part], dict) for part in ("features", "models", "targets"))
