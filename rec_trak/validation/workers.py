"""Processes that work for this one and end with it, however it ends. Not here: what they do.

A worker watches for the end of its parent, which a pipe tells it even where the parent is killed. Ctrl-C, which a
terminal sends to all of them, is the parent's: it ends its workers, and what they were at is lost.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from rec_trak.errors import WorkerError, told


def in_processes(
    work: Callable[[Any, Any], None], shared: Any, items: Sequence[Any], workers: int, done: Callable[[], None]
) -> None:
    """Call `work(shared, item)` for every item in fresh processes, which any error ends at once.

    Args:
        work: a function of a module.
        shared: sent to each process once.
        items: to work on, in any order.
        workers: processes; no more than there are items.
        done: called here after each item.

    Raises:
        WorkerError: a process ended on its own.
        Exception: what `work` raised.
    """
    waiting = list(items)[::-1]
    with _hired(min(workers, len(items))) as hired:
        try:
            for connection in hired:
                process = hired[connection]
                connection.send((work, shared))
                connection.send(waiting.pop())
            at_work = set(hired)
            while at_work:
                for connection in wait(list(at_work)):
                    process = hired[connection]
                    error = connection.recv()
                    if error is not None:
                        raise error
                    done()
                    if waiting:
                        connection.send(waiting.pop())
                    else:
                        at_work.remove(connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise _ended(process) from None


@contextmanager
def _hired(count: int) -> Iterator[dict[Connection, Any]]:
    """Processes that wait for work, by the connection to each."""
    context, hired = multiprocessing.get_context("spawn"), {}
    resource_tracker.ensure_running()  # where it started with the first process, it would unblock Ctrl-C before that
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            # A process inherits what is blocked; it is for the parent to heed Ctrl-C.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                process.start()
                hired[ours] = process
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        yield hired
    finally:
        for process in hired.values():
            process.kill()
        for connection, process in hired.items():
            process.join()
            connection.close()


def _serve(connection: Connection) -> None:
    """What a process does: receive the work, then one item after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work, shared = connection.recv()
        while True:
            connection.send(_error(work, shared, connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _error(work: Callable[[Any, Any], None], shared: Any, item: Any) -> Exception | None:
    """What went wrong, in a form that can be sent; where it came from is a note to it."""
    try:
        work(shared, item)
    except Exception as error:  # it is raised again in the parent
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # an exception class may need more arguments than it keeps
            return RuntimeError(told(error))
        return error
    return None


def _ended(process: Any) -> WorkerError:
    process.join(timeout=5)
    code = process.exitcode
    how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
    return WorkerError(
        f"workers: process {process.pid} ended on its own. Got {how}, expected it to work until it is told to stop. "
        "Where memory is short, give fewer --workers; what is finished is kept."
    )
