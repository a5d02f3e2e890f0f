"""A deadline for a whole connection, which holds however slowly the bytes arrive."""

from __future__ import annotations

import math
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

from .retries import TransientError


class Watchdog:
    """Shuts a connection down when its time is up.

    The timeout of a socket starts again with each byte, so a peer that drips holds its reader for as long as it likes.
    Shutting a socket down wakes the thread that reads from it; closing it from another thread does not.

    Args:
        deadline: a time of `time.monotonic`, which `allow` does not extend.
        error: what `check` raises after it.
    """

    def __init__(self, deadline: float = math.inf, error: TransientError | None = None) -> None:
        self._deadline = self._until = deadline
        self._final = self._error = error
        self._socket: socket.socket | None = None
        self._is_late = self._is_over = False
        self._changed = threading.Condition()

    def allow(self, seconds: float, error: TransientError) -> None:
        """Give the connection this long from now. `check` raises `error` when that was not enough."""
        with self._changed:
            until = time.monotonic() + seconds
            is_sooner = until < self._until
            if self._is_late:
                return
            self._until = min(until, self._deadline)
            self._error = error if until < self._deadline else self._final
            if is_sooner:
                self._changed.notify()

    def guard(self, connection: socket.socket) -> None:
        """Watch this connection instead of the one before."""
        with self._changed:
            self._drop()
            # A duplicate stays valid when the connection is wrapped in TLS, and cannot become another one when it is
            # closed and its number is used again.
            self._socket = connection.dup()
            if self._is_late:
                self._shut_down()

    def check(self) -> None:
        """Raise the error if the time was up."""
        if self._is_late and self._error is not None:
            raise self._error

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, name="segpipe-watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._drop()
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._is_over:
                left = self._until - time.monotonic()
                if left <= 0:
                    self._is_late = True
                    self._shut_down()
                    return
                self._changed.wait(min(left, threading.TIMEOUT_MAX))

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is not connected any more
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
