"""Start and stop the loader's worker processes, bring their errors over, and explain their death."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import torch

from segpipe import advice
from segpipe.errors import SegpipeError
from segpipe.extras import import_opencv

from .sample import Batch
from .sample_order import Key


def usable_workers(wanted: int) -> int:
    """Return at most one worker per processor that this process may use; batches do not depend on their number."""
    is_bound = hasattr(os, "sched_getaffinity")
    return min(wanted, len(os.sched_getaffinity(0)) if is_bound else os.cpu_count() or 1)


def prepare_worker(worker: int, form: Any = None) -> None:
    """Set up a worker that ignores signals, since the training process needs batches while it handles one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if form is not None:
        advice.take_form(*form)
    import_opencv().setNumThreads(0)
    torch.set_num_threads(1)


@contextmanager
def signals_held() -> Iterator[None]:
    """Block signals in workers that start in the block, so that none ends them before `prepare_worker` has run.

    In this process the signals come after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_workers(running: list[Any]) -> None:
    """End workers as torch itself does.

    At the end of Python it has to come first: workers ignore SIGTERM, with which multiprocessing would end them before
    it waits for them.
    """
    for batches in running:
        shut_down = getattr(batches, "_shutdown_workers", None)  # readers in this process have none
        if shut_down is not None:
            shut_down()
        for worker in getattr(batches, "_workers", ()):
            if worker.is_alive():  # it hangs, and Python would wait for it at its end
                worker.kill()
    running.clear()


@contextmanager
def dead_workers_explained() -> Iterator[None]:
    """Turn torch's error about a worker that is gone into one that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SegpipeError(
            "A loader worker exited without an error message, as when memory or shared memory (/dev/shm) is full: "
            f"{error} Use fewer workers or a smaller batch; {advice.setting('train.workers', 0)} shows an error of the "
            "code."
        ) from None


class WorkerFailure(NamedTuple):
    """An error on its way from a worker."""

    error: SegpipeError
    traceback: str
    """Of the code that raised the error's cause; empty if there is none."""

    def reraise(self) -> NoReturn:
        """Raise the error; its cause shows the traceback."""
        raise self.error from (_WorkerError(self.traceback) if self.traceback else None)


@dataclass(frozen=True)
class Reporter:
    """A worker's reader of batches. It returns errors instead of raising them, since torch would change them."""

    read: Callable[[Sequence[Key]], Batch]

    def __getitem__(self, keys: Sequence[Key]) -> Batch | WorkerFailure:
        try:
            return self.read(keys)
        except SegpipeError as error:
            told = "" if error.__cause__ is None else traceback.format_exc()
            return WorkerFailure(error.with_traceback(None), told)


class _WorkerError(Exception):
    """The traceback of a worker, shown as the cause of an error."""

    def __str__(self) -> str:
        return f"in a loader worker:\n{self.args[0]}"
