"""Several workers of one job: each piece of work is one worker's, and what was agreed is known to all."""

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading

import pytest
from support import ROOT, tiny
from torch.distributed import HashStore

from rec_trak import workers
from rec_trak.workers import Workers, agreed, drawn, is_first, nothing_more, shared_out, taken


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


@pytest.fixture
def world(tmp_path):
    """A tiny run of two blocks in a folder, and the environment of its commands."""
    tiny.write_tree(tmp_path / "data", rows=1100)
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    tiny.write_config(tmp_path)
    return tmp_path, {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def called(world, *start):
    """What featurize.py says, started in this way."""
    folder, environment = world
    command = [sys.executable, *start, str(ROOT / "scripts" / "featurize.py"), "--config", str(folder / "trak.yaml")]
    done = subprocess.run([*command, "--quiet"], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def stored(world):
    """The bytes of the save directory, and what it was made from; it is taken away."""
    folder = world[0] / "results" / "clean_train_clean" / "store"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
    recorded = json.loads(files.pop("rec_trak.json"))
    shutil.rmtree(world[0] / "results")
    return files, recorded["features"]


@pytest.mark.long
def test_two_workers_under_torchrun_fill_the_store_that_one_fills(world):
    """Byte for byte; the first alone speaks; a command that is not shared is the first one's alone."""
    out = called(world, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    assert out.count("featurized 1,100 rows") == 1
    assert out.startswith("2 workers, 2 on this machine with ")
    two = stored(world)
    called(world)
    assert stored(world) == two


@pytest.mark.long
def test_the_job_script(world, tmp_path):
    """Law: the script of docs/scale.md, started on two nodes that are both this machine, leaves the bytes of one
    process. There is no Slurm: its commands are stood in for, its variables set by hand."""
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8").split("## Slurm\n")[1].split("\n\n")[0]
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    script = textwrap.dedent(text).replace("my.yaml", str(tmp_path / "trak.yaml")).replace("29500", str(port))
    script = script.replace("/tmp/rec_trak", str(tmp_path / "cache"))
    programs = {
        "job": script,
        "scontrol": "#!/bin/bash\necho localhost\n",
        "srun": '#!/bin/bash\n[ "$1" = --cpus-per-task=1 ] || exit 1\nshift\n'
        'for node in 0 1; do "$@" & done\nwait -n && wait -n\n',
        "torchrun": f'#!/bin/bash\nexec {sys.executable} -m torch.distributed.run "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, content in programs.items():
        (tmp_path / "bin" / name).write_text(content, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    told = {"JOB_NUM_NODES": "2", "JOB_ID": "7", "JOB_NODELIST": "here[1-2]", "CPUS_PER_TASK": "1"}
    environment = world[1] | {f"SLURM_{name}": value for name, value in told.items()}
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    out = subprocess.run(["job"], env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.startswith("2 workers, 1 on this machine with ")
    assert out.count("featurized 1,100 rows") == 1
    two = stored(world)
    called(world)
    assert stored(world) == two


@pytest.mark.parametrize("size", [1, 2, 4])
def test_each_item_is_taken_once(monkeypatch, size):
    """Law: items that the first one shares out, in several calls of any number, are each one worker's; then all end."""

    def body(rank):
        if rank:
            return [int(item) for item in taken()]
        own = []
        for first, total in ((0, 5), (5, 0), (5, 3)):
            own += [first + number for number in shared_out(total, lambda number, a=first: str(a + number).encode())]
        nothing_more()
        return own

    assert sorted(item for own in together(monkeypatch, size, body) for item in own) == list(range(8))
