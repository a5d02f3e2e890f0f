"""The loader's worker processes: how they begin, how their death is told, how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from segpipe import advice
from segpipe.errors import SegpipeError
from segpipe.extras import import_opencv


def usable_workers(wanted: int) -> int:
    """As many as wanted, at most one for each processor that this process may use; batches do not depend on it."""
    is_bound = hasattr(os, "sched_getaffinity")
    return min(wanted, len(os.sched_getaffinity(0)) if is_bound else os.cpu_count() or 1)


def prepare_worker(worker: int, form: Any = None) -> None:
    """The training process decides when workers end: it still needs batches while it answers a signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if form is not None:
        advice.take_form(*form)
    import_opencv().setNumThreads(0)
    torch.set_num_threads(1)


@contextmanager
def signals_held() -> Iterator[None]:
    """Workers that start in the block are born with these signals blocked, so that none ends them before
    `prepare_worker` does its work; in this process they come after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def dead_workers_explained() -> Iterator[None]:
    """Turn torch's error about a worker that is gone into one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SegpipeError(
            f"A loader worker ended without a word, as when memory or shared memory (/dev/shm) is full: {error} "
            f"Use fewer workers or a smaller batch; {advice.setting('train.workers', 0)} shows an error of the code."
        ) from None


def stop_workers(running: list[Any]) -> None:
    """End workers by torch's own way out. At the end of Python it has to come first: workers ignore SIGTERM, with
    which multiprocessing would end them, and then wait for them."""
    for batches in running:
        shut_down = getattr(batches, "_shutdown_workers", None)  # readers in this process have none
        if shut_down is not None:
            shut_down()
        for worker in getattr(batches, "_workers", ()):
            if worker.is_alive():  # it hangs, and Python would wait for it at its end
                worker.kill()
    running.clear()
