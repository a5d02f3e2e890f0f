"""What the commands print, in one place: escaped for a terminal, and with our error where it cannot be written."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from segpipe.errors import InputError
from segpipe.text import printable

_BAR_MOVES = re.compile(r"\r|(?:\x1b\[A)+\Z")
"""What a progress bar begins with: back to the start of its line, or up to another bar."""


@contextmanager
def printable_streams() -> Iterator[None]:
    """Inside, nothing that is written to stdout and stderr reaches a terminal as a control sequence.

    Whoever writes: a verb, a usage error, the log, a traceback, a warning of another package.
    """
    before = sys.stdout, sys.stderr
    if None in before:
        _occupy_closed_descriptors()
    sys.stdout, sys.stderr = _Output(sys.stdout), _Messages(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Stream:
    """A text stream that escapes; everything else is the stream's below it."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        if self._stream is None:
            raise io.UnsupportedOperation(f"the stream is closed, it has no {name}")
        return getattr(self._stream, name)

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # an encoding without this letter, such as ASCII
            self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))


class _Output(_Stream):
    """Results: where they cannot be written, the command has failed."""

    def _write(self, text: str) -> None:
        if self._stream is None:
            raise InputError("The result cannot be written: stdout is closed. Redirect it to a file, or to /dev/null.")
        with _written():
            super()._write(text)

    def flush(self) -> None:
        with _written():
            super().flush()


class _Messages(_Stream):
    """Messages and progress bars: where they cannot be written, there is nothing to say it with."""

    def write(self, text: str) -> int:
        moves = _BAR_MOVES.match(text)
        start = moves[0] if moves else ""
        self._write(start + printable(text[len(start) :]))
        return len(text)

    def _write(self, text: str) -> None:
        with _unless_full():
            super()._write(text)

    def flush(self) -> None:
        with _unless_full():
            super().flush()


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # who reads has gone
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"The result cannot be written to stdout: {reason}. Redirect it to another place.") from None


@contextmanager
def _unless_full() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        return


def _occupy_closed_descriptors() -> None:
    """Else the next file that is opened for writing would get what libraries print."""
    with suppress(OSError):
        while os.open(os.devnull, os.O_RDWR) <= 2:
            pass
