"""The save directory: refused when anything differs, never half-written, never shared by two writers."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from support import strange

from rec_trak.errors import StoreError
from rec_trak.store import manifest
from rec_trak.store import saver as saver_module
from rec_trak.store.blocks import end, unfinished
from rec_trak.store.manifest import (
    BLOCKS,
    MANIFEST,
    check_manifest,
    digest,
    locked,
    opened,
    read_manifest,
    write_json,
)
from rec_trak.store.reading import read_member
from rec_trak.store.saver import RowSaver

FEATURES = {"row_count": 5, "proj_dim": 3, "projector": "sketch", "loss": "softmax", "grad_wrt": ["a", "b"]}
WANTED = {"features": FEATURES, "models": {"0": "aaaa"}}


def make_saver(path, **changes):
    arguments = {
        "save_dir": path,
        "metadata": {"JL dimension": 3, "JL matrix type": "sketch", "train set size": 5},
        "train_set_size": 5,
        "proj_dim": 3,
        "load_from_save_dir": True,
        "logging_level": 40,
        "use_half_precision": False,
    }
    return RowSaver(**arguments | changes)


@pytest.fixture
def store(tmp_path):
    """A directory with the manifest and nothing else."""
    with opened(tmp_path / "store", WANTED, {}):
        pass
    return tmp_path / "store"


def test_manifest_is_written_before_anything_else(store):
    """A new directory holds what it will be made from, and traker's own files."""
    assert read_manifest(store)["features"] == FEATURES
    assert json.loads((store / "metadata.json").read_text())["train set size"] == 5
    assert not list(store.glob("id_*.json"))


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [("loss", "bce", '"bce"'), ("proj_dim", 4, "Got 4"), ("grad_wrt", ["a"], r'\["a"\]'), ("row_count", 6, "Got 6")],
)
def test_any_difference_is_refused_with_both_values(store, field, value, shown):
    """The message names the field, what was asked for and what is held."""
    other = {"features": FEATURES | {field: value}, "models": WANTED["models"]}
    with pytest.raises(StoreError, match=rf"`{field}` differs.*{shown}.*the directory holds"), opened(store, other, {}):
        pass


def test_a_new_field_is_a_difference(store):
    """A field that only one side has is not ignored."""
    with pytest.raises(StoreError, match="`extra` differs. Got 1, the directory holds null"):
        check_manifest(store, read_manifest(store), {"features": FEATURES | {"extra": 1}, "models": {}})


def test_another_checkpoint_under_the_same_id_is_refused(store):
    """traker would keep the old features of a known id silently."""
    other = {"features": FEATURES, "models": {"0": "bbbb"}}
    with (
        pytest.raises(StoreError, match='checkpoint 0 differs. Got "bbbb", the directory holds "aaaa"'),
        opened(store, other, {}),
    ):
        pass


def test_another_checkpoint_is_called_by_its_file(tmp_path):
    """Names where both are known and differ; digests where they are the same, with the name."""
    made = WANTED | {"names": {"0": "runs/old.pt"}}
    with opened(tmp_path / "s", made, {"checkpoints": ["runs/old.pt"]}):
        pass
    other = {"features": FEATURES, "models": {"0": "bbbb"}, "names": {"0": "runs/new.pt"}}
    message = 'checkpoint 0 differs. Got "runs/new.pt", the directory holds "runs/old.pt"'
    with pytest.raises(StoreError, match=message), opened(tmp_path / "s", other, {}):
        pass
    same = other | {"names": {"0": "runs/old.pt"}}
    message = r'checkpoint 0 \(runs/old.pt, with other weights\) differs. Got "bbbb", the directory holds "aaaa"'
    with pytest.raises(StoreError, match=message), opened(tmp_path / "s", same, {}):
        pass
    assert "names" not in read_manifest(tmp_path / "s")


def test_a_further_member_is_an_addition(store):
    """A second checkpoint joins; the first stays."""
    with opened(store, {"features": FEATURES, "models": {"0": "aaaa", "1": "cccc"}}, {}):
        pass
    with opened(store, WANTED, {}):
        pass
    assert read_manifest(store)["models"] == {"0": "aaaa", "1": "cccc"}


def test_two_writers_at_once_are_refused(store):
    """The second is told process and host of the first, and the lock goes when the first ends."""
    code = (
        f"from pathlib import Path; from rec_trak.store.manifest import locked\nwith locked(Path({str(store)!r})): pass"
    )
    with locked(store):
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"in use. Got a lock held by process {os.getpid()} on" in second.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "content",
    [
        *strange.JSON.values(),
        b"[]",
        b'{"format": 1}',
        b'{"format": 1, "features": {}, "models": [], "targets": {}}',
        b'{"format": 1, "features": {}, "models": {"x": "a"}, "targets": {}}',
        b'{"format": 1, "features": {}, "models": {}, "targets": {"t": 1}}',
    ],
)
def test_a_manifest_that_is_none_is_one_line(store, content):
    """Whatever its reader raises of it, and whatever stands in it instead."""
    (store / MANIFEST).write_bytes(content)
    with pytest.raises(StoreError, match=r"rec_trak.json: damaged \(.*\)\. Expected JSON\. Delete .* featurize again"):
        read_manifest(store)


def test_damaged_manifest_is_named(store):
    """Half a JSON file is not read as no file."""
    (store / MANIFEST).write_text('{"format": 1, ')
    with pytest.raises(StoreError, match=r"rec_trak\.json: damaged"):
        read_manifest(store)


def test_other_format_is_refused(store):
    """A directory of another version is not guessed at."""
    write_json(store / MANIFEST, {"format": 99})
    with pytest.raises(StoreError, match="written by another version. Got format 99"):
        read_manifest(store)


def test_bare_traker_directory_is_refused(tmp_path):
    """Features without a record of what they were made from are not adopted."""
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(StoreError, match="that rec-trak did not make"):
        read_manifest(tmp_path)


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A write that fails half way leaves the old file."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": 2, "b": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_long_list_has_the_digest_of_its_json(monkeypatch):
    """Law: what is hashed some of it at a time is hashed as if it were one; directories of earlier builds still fit."""
    names = [f'u{i}, "é' for i in range(7)]
    whole = digest(names, np.arange(4), {"a": names})
    monkeypatch.setattr(manifest, "AT_ONCE", 3)
    assert digest(names, np.arange(4), {"a": names}) == whole


def test_digest_sees_every_change():
    """Value, dtype, shape and order all count; equal content is equal."""
    x = np.arange(6, dtype=np.int32)
    different = [
        digest(x),
        digest(x.astype(np.int64)),
        digest(x.reshape(2, 3)),
        digest(x[::-1]),
        digest(x, "a"),
        digest("a", x),
    ]
    assert len(set(different)) == len(different)
    assert digest(x, ["é"]) == digest(x.copy(), ["é"])


def test_full_disk_is_an_error_and_leaves_no_file(store, monkeypatch):
    """Space is taken when the files are made: a full disk under a sparse map would kill the process later."""

    def no_room(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saver_module.os, "posix_fallocate", no_room)
    with pytest.raises(StoreError, match="no room for grads.mmap .No space left on device.*GB free, expected"):
        make_saver(store).register_model_id(0, False)
    assert not (store / "0" / "grads.mmap").exists()
    assert not (store / "id_0.json").exists()


def test_space_is_really_reserved(store):
    """The gradient file holds its blocks before the first row is written (numpy alone would leave a hole)."""
    make_saver(
        store, train_set_size=5000, metadata={"JL dimension": 3, "JL matrix type": "sketch", "train set size": 5}
    ).register_model_id(0, False)
    held = (store / "0" / "grads.mmap").stat()
    assert held.st_blocks * 512 >= held.st_size >= 5000 * 3 * 4


def test_no_matrix_files_unless_asked_for(store):
    """(N, K) features and (N, M) scores are only made on request."""
    saver = make_saver(store)
    saver.register_model_id(0, False)
    saver.init_experiment("t", 4, 0)
    assert {p.name for p in (store / "0").iterdir()} == {
        "grads.mmap",
        "out_to_loss.mmap",
        "_is_featurized.mmap",
        "t_grads.mmap",
        "t_done.mmap",
    }
    assert not list((store / "scores").iterdir())


def test_ids_of_nested_runs_are_not_adopted(store):
    """traker's search takes the ids of every directory below."""
    (store / "other").mkdir()
    write_json(store / "other" / "id_7.json", {"7": {"is_featurized": 1, "is_finalized": 1}})
    assert make_saver(store).model_ids == {}


def test_array_of_another_shape_is_refused(store):
    """numpy ignores the shape asked for when it opens an existing map."""
    saver = make_saver(store)
    saver.register_model_id(0, False)
    saver.init_experiment("t", 4, 0)
    with pytest.raises(StoreError, match=r"not this run's. Got shape \(4, 3\) of float32, expected \(9, 3\)"):
        saver.init_experiment("t", 9, 0)


def test_a_missing_array_is_made_anew(store):
    """With all of the member, of which no block counts as finished any more; a damaged one is named."""
    saver = make_saver(store)
    saver.register_model_id(0, False)
    end(saver.part(BLOCKS), 0)
    (store / "0" / "grads.mmap").unlink()
    saver.load_current_store(0)
    assert unfinished(saver.part(BLOCKS).cut) == [0]
    (store / "0" / "grads.mmap").write_bytes(b"half")
    with pytest.raises(StoreError, match=r"grads\.mmap: cannot be read"):
        make_saver(store).load_current_store(0)


def test_targets_before_rows_are_refused(store):
    """A member that was never featurized has no target scores."""
    with pytest.raises(StoreError, match="checkpoint 3 has no features"):
        make_saver(store).init_experiment("t", 4, 3)


def test_commit_tells_what_is_pending(store):
    """Finished rows are counted from the mask; the id file says finished only when all are."""
    saver = make_saver(store)
    saver.register_model_id(0, False)
    saver.current_store["is_featurized"][[0, 3]] = 1
    assert saver.commit() == 3
    assert make_saver(store).model_ids[0]["is_featurized"] == 0
    assert np.flatnonzero(np.asarray(saver.current_store["is_featurized"]).reshape(-1) == 0).tolist() == [1, 2, 4]
    saver.current_store["is_featurized"][:] = 1
    assert saver.commit() == 0
    assert make_saver(store).model_ids[0]["is_featurized"] == 1


def test_read_member_gives_what_was_written(store):
    """Projected gradients as a read-only map, Q as float64."""
    saver = make_saver(store)
    saver.register_model_id(0, False)
    saver.current_store["grads"][:] = np.arange(15).reshape(5, 3)
    saver.current_store["out_to_loss"][:, 0] = 0.5
    end(saver.part(BLOCKS), 0)
    phi, q = read_member(store, 0)
    assert phi[4, 2] == 14
    assert not phi.flags.writeable
    assert q.tolist() == [0.5] * 5
