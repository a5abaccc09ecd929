"""Several processes of one torchrun job that share a command's work; without torchrun the same code with one.

Work is drawn from a counter in the job's own store, so that nobody waits for a slower one, and what a dead worker had
drawn is simply not finished: the next run does it. Rank 0 alone writes JSON and speaks. Every worker goes through the
same calls in the same order. Not here: what the work is, or processes that a command starts itself.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any
from uuid import uuid4

MARK = "TORCHELASTIC_RUN_ID"  # torchrun alone sets it; RANK and the like stand in many an environment
FOREVER = timedelta(days=365)  # torchrun ends the others when one dies
SECONDS = 0.2  # between two looks at the store


@dataclass(frozen=True)
class Workers:
    """The job.

    Attributes:
        rank: of this process, 0 to `size` - 1.
        size: processes.
        store: torch.distributed's of the job; None for a process alone.
        calls: how many calls this process has made, which are keys in the store.
    """

    rank: int = 0
    size: int = 1
    store: Any = None
    calls: Iterator[int] = field(default_factory=count)


@cache
def workers() -> Workers:
    """This process's job, joined at the first call."""
    if not is_worker():
        return Workers()
    from torch.distributed import PrefixStore, rendezvous

    store, rank, size = next(rendezvous("env://", timeout=timedelta(minutes=10)))
    return Workers(rank, size, PrefixStore(_attempt(store, rank, size), store))


def _attempt(store: Any, rank: int, size: int) -> str:
    """A name that this attempt's workers agree on: after a restart torchrun's store still holds what the dead wrote.

    Rank 0 asks with a new name, the others answer with it and a word of their own, and it repeats their words: what was
    left by the dead repeats no word of the living.
    """
    own = uuid4().hex
    if rank == 0:
        store.set("attempt", own)
        answers = [""]
        while not all(answer.startswith(own) for answer in answers):
            time.sleep(SECONDS / 4)
            answers = [_held(store, f"answer {other}") for other in range(1, size)]
        store.set(f"words {own}", " ".join(answers))
        return own
    while True:
        asked = _held(store, "attempt")
        store.set(f"answer {rank}", f"{asked}/{own}")
        if f"{asked}/{own}" in _held(store, f"words {asked}").split():
            return asked
        time.sleep(SECONDS / 4)


def _held(store: Any, key: str) -> str:
    """What the store holds under a key, '' where it holds nothing."""
    return store.get(key).decode() if store.check([key]) else ""


def is_worker() -> bool:
    """Whether this process is one of several; says so without joining them."""
    return MARK in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process is the one that writes and speaks; says so without joining."""
    return not is_worker() or os.environ.get("RANK", "0") == "0"


def share_cores() -> str:
    """Give each worker of this machine its share of the cores; what to say of it."""
    import torch

    job, here = workers(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    threads = max(1, len(os.sched_getaffinity(0)) // here)
    torch.set_num_threads(threads)
    return f"{job.size} workers, {here} on this machine with {threads} thread(s) each"


def agreed(make: Callable[[], Any]) -> Any:
    """What `make` gives on rank 0, on all workers, which wait for it.

    Args:
        make: called on rank 0 alone; gives what JSON can hold.
    """
    job = workers()
    if job.store is None:
        return make()
    key = f"agreed {next(job.calls)}"
    if job.rank == 0:
        value = make()
        job.store.set(key, json.dumps(value))
        return value
    job.store.wait([key], FOREVER)
    return json.loads(job.store.get(key))


def drawn(total: int, told: Callable[[int], None] = lambda done: None) -> Iterator[int]:
    """Numbers from 0 to `total` - 1, each for one worker alone; on rank 0 it ends when all are done with theirs.

    Args:
        total: of all workers.
        told: called on rank 0 after each of its own, and while it waits, with how many are done by all.
    """
    job = workers()
    if job.store is None:
        for number in range(total):
            yield number
            told(number + 1)
        return
    key = next(job.calls)
    while (number := job.store.add(f"drawn {key}", 1) - 1) < total:
        yield number
        done = job.store.add(f"done {key}", 1)
        if job.rank == 0:
            told(done)
    if job.rank == 0:
        _wait_for(job, f"done {key}", total, told)


def shared_out(
    total: int, item: Callable[[int], bytes], told: Callable[[int], None] = lambda done: None
) -> Iterator[int]:
    """On rank 0: numbers of its own among items that the other workers `take`; it ends when all are done with theirs.

    Args:
        total: of the items.
        item: gives an item by its number, to be sent; not called in a process alone.
        told: as `drawn`.
    """
    job = workers()
    key = next(job.calls)
    if job.store is not None:
        for number in range(total):
            job.store.set(f"item {key} {number}", item(number))
    yield from drawn(agreed(lambda: total), told)


def taken() -> Iterator[bytes]:
    """On the other workers: items that rank 0 shares out, each to one of them, until `nothing_more`."""
    job = workers()
    while True:
        key = next(job.calls)
        total = agreed(lambda: None)
        if total is None:
            return
        for number in drawn(total):
            yield job.store.get(f"item {key} {number}")


def nothing_more() -> None:
    """On rank 0: let the others go, which wait for items."""
    next(workers().calls)
    agreed(lambda: None)


def _wait_for(job: Workers, key: str, total: int, told: Callable[[int], None]) -> None:
    while (done := job.store.add(key, 0)) < total:
        told(done)
        time.sleep(SECONDS)
    told(done)
