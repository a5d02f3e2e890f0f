"""Printing of JSON and messages, through streams that escape them and report what cannot be written."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from segpipe.errors import InputError
from segpipe.text import printable, printable_json

_BAR_MOVES = re.compile(r"\r|(?:\x1b\[A)+\Z")
"""The beginning of a progress bar: back to the start of its line, or up to another bar."""


def print_json(document: Any) -> None:
    """Print one JSON document on stdout. Numbers that JSON does not have become null."""
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print_json_text(json.dumps(_without_nan(document), indent=2, ensure_ascii=not is_unicode, allow_nan=False))


def print_result(options: argparse.Namespace, document: Any, text: str) -> None:
    """Print a result on stdout, as a JSON document where --json asks for it, else as text."""
    if options.json:
        print_json(document)
    else:
        print(text)


def print_json_text(text: str) -> None:
    """Print JSON on stdout, escaped as `printable_json` does it."""
    print(printable_json(text))


def print_note(text: str) -> None:
    """Print a line for people on stderr."""
    print(text, file=sys.stderr)


def print_message(text: str) -> None:
    """Print what went wrong on stderr. Further lines are indented, so that none of them looks like another message."""
    print("segpipe: " + text.replace("\n", "\n  "), file=sys.stderr)


@contextmanager
def printable_streams() -> Iterator[None]:
    """Let nothing that is written to stdout and stderr reach a terminal as a control sequence.

    That covers verbs, usage errors, the log, tracebacks and the warnings of other packages.
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
    """A text stream that escapes what is written. Everything else is that of the stream below."""

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
    """Results: the command fails if they cannot be written."""

    def _write(self, text: str) -> None:
        if self._stream is None:
            raise InputError("The result cannot be written: stdout is closed. Redirect it to a file, or to /dev/null.")
        with _written():
            super()._write(text)

    def flush(self) -> None:
        with _written():
            super().flush()


class _Messages(_Stream):
    """Messages and progress bars: if they cannot be written, there is no other place to say so."""

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
    except BrokenPipeError:  # the reader has gone
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
    """Keep libraries from printing into the next file that is opened for writing."""
    with suppress(OSError):
        while os.open(os.devnull, os.O_RDWR) <= 2:
            pass


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
