"""Several workers of one job: each piece of work is one worker's, and what was agreed is known to all."""

import json
import os
import subprocess
import sys
import threading

import pytest
from support import ROOT, tiny
from torch.distributed import HashStore

from rec_trak import workers
from rec_trak.workers import Workers, agreed, drawn, is_first


def together(monkeypatch, size, body):
    """What `body(rank)` gives in each of so many threads that stand for workers; their order is anybody's guess."""
    local, store = threading.local(), HashStore()
    jobs = [Workers(rank, size, store) for rank in range(size)]
    monkeypatch.setattr(workers, "workers", lambda: local.job)
    monkeypatch.setattr(workers, "SECONDS", 0.002)
    found = [None] * size

    def run(rank):
        local.job = jobs[rank]
        found[rank] = body(rank)

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


@pytest.mark.parametrize("size", [1, 2, 5])
def test_each_number_is_drawn_once(monkeypatch, size):
    """More workers than numbers, fewer, and several draws one after another; the first sees all done, in order."""
    seen = []

    def body(rank):
        return [list(drawn(total, seen.append if rank == 0 else lambda done: None)) for total in (7, 0, 2)]

    found = together(monkeypatch, size, body)
    for at, total in enumerate((7, 0, 2)):
        assert sorted(number for worker in found for number in worker[at]) == list(range(total))
    assert seen[-1] == 2
    assert 7 in seen


def test_what_is_agreed_is_the_first_ones(monkeypatch):
    """Others never make it themselves, and the first may be late."""
    made = []

    def body(rank):
        return [agreed(lambda: made.append(rank) or {"made": len(made)}) for _ in range(3)]

    assert together(monkeypatch, 3, body) == [[{"made": 1}, {"made": 2}, {"made": 3}]] * 3
    assert made == [0, 0, 0]


def test_what_the_dead_left_in_the_store_is_no_answer(monkeypatch):
    """torchrun keeps its store over a restart: old names, answers and words lie there, and a new name is agreed on."""
    store, found = HashStore(), []
    monkeypatch.setattr(workers, "SECONDS", 0.002)
    for _ in range(3):
        found.append(together(monkeypatch, 3, lambda rank: workers._attempt(store, rank, 3)))
    assert all(len(set(names)) == 1 for names in found)
    assert len({names[0] for names in found}) == 3


def test_a_process_alone_draws_everything(monkeypatch):
    """RANK and WORLD_SIZE of something else than torchrun mean nothing."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv(workers.MARK, raising=False)
    workers.workers.cache_clear()
    assert is_first()
    assert workers.workers().size == 1
    assert list(drawn(3)) == [0, 1, 2]
    assert agreed(lambda: 5) == 5


@pytest.mark.long
def test_two_workers_under_torchrun_fill_the_store_that_one_fills(tmp_path):
    """Byte for byte; the first alone speaks; a command that is not shared is the first one's alone."""
    tiny.write_tree(tmp_path / "data", rows=1100)
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    config = tiny.write_config(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def call(*start):
        command = [sys.executable, *start, str(ROOT / "scripts" / "featurize.py"), "--config", str(config), "--quiet"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def stored():
        folder = tmp_path / "results" / "clean_train_clean" / "store"
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
        recorded = json.loads(files.pop("rec_trak.json"))
        return files, recorded["features"]

    out = call("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    assert out.count("featurized 1,100 rows") == 1
    assert out.startswith("2 workers, 2 on this machine with ")
    two = stored()
    (tmp_path / "results").rename(tmp_path / "of two")
    call()
    assert stored() == two
