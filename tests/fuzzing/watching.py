"""One hostile input under watch: what it raised, how long it computed, and how much memory it took."""

from __future__ import annotations

import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segpipe.errors import SegpipeError

MOST_SECONDS = 10.0
"""Of computing, over all threads; real work on such inputs takes milliseconds."""
MOST_BYTES = 512 * 2**20
HANGS_AFTER = 60
"""Seconds on the clock, for what waits and does not compute."""


@dataclass
class Figures:
    """What one kind of input has shown so far."""

    kind: str
    inputs: int = 0
    refused: int = 0
    longest: float = 0.0
    """Seconds of computing."""
    largest: int = 0
    """Bytes of memory beyond what the process had before the input."""
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        """One line of the table of figures."""
        return (
            f"{self.kind:24} {self.inputs:9,} inputs {self.refused:9,} refused {self.longest:8.3f} s "
            f"{self.largest / 2**20:7.1f} MiB {len(self.faults):3} raw errors"
        )


FIGURES: list[Figures] = []
"""Of all kinds, in the order in which they were tried."""


def examine(figures: Figures, action: Callable[[Any], object], value: Any) -> None:
    """Give one input to its reader; AssertionError unless it is taken or refused by our own errors, within bounds."""
    figures.inputs += 1
    before, started = _reset_peak(), time.process_time()
    try:
        with _alarm(HANGS_AFTER):
            action(value)
    except SegpipeError:
        figures.refused += 1
    except Exception:
        figures.faults.append(traceback.format_exc(limit=-3))
        raise
    seconds, grown = time.process_time() - started, max(0, _peak() - before)
    figures.longest, figures.largest = max(figures.longest, seconds), max(figures.largest, grown)
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s of computing"
    assert grown < MOST_BYTES, f"{grown / 2**20:.0f} MiB of memory"


@contextmanager
def bounded_memory(extra: int = 6 * 2**30) -> Iterator[None]:
    """Let the process allocate so much more and no further, so that a bomb is an error and not the machine's end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    data = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (int(data.split()[1]) * 1024 + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _reset_peak() -> int:
    """Bytes in memory now, from which the peak is counted anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)
