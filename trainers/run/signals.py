"""The lock of a run's folder and its signals: one run at a time, which ends with all saved."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from segpipe import advice, distributed
from segpipe.errors import InputError
from segpipe.log import get_logger

from .call_again import unused_folder

logger = get_logger(__name__)

PREEMPTED = 75
"""Exit code of a run that was told to stop and can be resumed (EX_TEMPFAIL)."""
_LAST_WARNINGS = {
    signal.SIGINT: (1, "Ctrl-C again stops without saving"),
    signal.SIGTERM: (2, "a third SIGTERM stops without saving"),  # schedulers send two
}
"""After how many of a signal it does again what it did before the run."""


@contextmanager
def sole_run(work_dir: Path) -> Iterator[None]:
    """Hold the work directory; a second run is refused. Only the main process writes, so only it holds the lock."""
    lock = FileLock(work_dir / ".lock")
    try:
        if distributed.is_main():
            lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"Another run works in {work_dir}. Wait for it to end, or give "
            f"{advice.argument('work_dir', unused_folder(work_dir))}.",
            path=work_dir,
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGTERM, SIGUSR1 as SLURM sends it, and Ctrl-C.

    The second Ctrl-C interrupts at once, and so does the third SIGTERM. Python hears no signal while torch waits for
    another process: a process whose partner hangs ends when the partner does or after `distributed.TIMEOUT`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
    before = {number: signal.getsignal(number) for number in numbers}
    heard: Counter[int] = Counter()

    def handle(number: int, _: object) -> None:
        stop()
        heard[number] += 1
        count, text = _LAST_WARNINGS.get(signal.Signals(number), (0, ""))
        if heard[number] == count:
            signal.signal(number, before[signal.Signals(number)])
            logger.warning("Saving after this step; %s", text)

    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
