"""Much small work, a thread of Python for each of torch's, in order. Not here: what is done.

A product of a few thousand numbers does not gain from a second thread of torch, it waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item, Done = TypeVar("Item"), TypeVar("Done")
MOST = 8  # threads: each holds its own share of work in memory


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch uses one thread."""
    held = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(held)


def side_by_side(
    work: Callable[[Item], Done], items: Iterable[Item], device: str, apart: bool = False
) -> Iterator[Done]:
    """`work` of each item, in the order of the items and one torch thread each; one after another on a GPU, or `apart`.

    Whatever `work` raises is raised here; no more items are held than threads.
    """
    threads = min(torch.get_num_threads(), MOST)
    if apart or not device.startswith("cpu"):
        yield from map(work, items)
        return
    with one_thread():
        if threads == 1:
            yield from map(work, items)
            return
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting: deque[Future] = deque()
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
