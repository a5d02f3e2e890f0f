"""Ctrl-C while packages are imported: the end at once, since half an import answers with an error of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from segpipe.progress_bars import clear_bars

from .printing import print_message

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def note_interruption() -> int:
    """Say that it was interrupted; the exit code."""
    clear_bars()
    print_message("interrupted.")
    return INTERRUPTED


@contextmanager
def imports_end_at_once() -> Iterator[None]:
    """Inside, Ctrl-C during an import ends the process; elsewhere it stays a KeyboardInterrupt.

    Raised in an import, some packages turn it into an ImportError, and torch's libraries abort. What stays on the disk
    is what a kill leaves. Where Ctrl-C does something else than usual, or in a thread, nothing changes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end_or_raise)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_or_raise(_: int, frame: FrameType | None) -> None:
    if not _is_importing(frame):
        raise KeyboardInterrupt
    with suppress(OSError):  # who reads may have gone
        note_interruption()
        sys.stdout.flush()
    os._exit(INTERRUPTED)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
